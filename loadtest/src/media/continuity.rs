//! What the senders' own counting of frames tells beyond sequence numbers, which a relay writes anew: whether frames that
//! did not come were lost on the way, or left out on purpose.

/// The frames of one stream, as their stamps count them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Continuity {
    last: Option<Last>,
    /// Frames since then that came without a stamp that can be read.
    unread: u64,
    /// Frames since then that are known to be lost.
    lost: u64,
    /// Packets were lost since then.
    torn: bool,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: u32,
    index: u64,
}

/// Frames between two that came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Between {
    /// Lost, besides those that were known to be.
    pub lost: u64,
    /// Never sent to us.
    pub withheld: u64,
}

impl Continuity {
    /// A packet of sound with this extended sequence number came. Frames that have no place among the sequence numbers
    /// were withheld; answers with how many.
    pub fn heard(&mut self, index: u64, sequence: Option<u32>) -> u64 {
        let Some(sequence) = sequence else { return 0 };
        let Some(last) = self.last.filter(|last| last.index < index) else {
            self.last.get_or_insert(Last { sequence, index });
            return 0;
        };
        self.last = Some(Last { sequence, index });
        frames_from(last.sequence, sequence).saturating_sub(index - last.index)
    }

    /// A picture came whole and in order, perhaps with a stamp.
    pub fn seen(&mut self, sequence: Option<u32>) -> Between {
        let Some(sequence) = sequence else {
            self.unread += 1;
            return Between::default();
        };
        let before = std::mem::replace(self, Self { last: Some(Last { sequence, index: 0 }), ..Self::default() });
        let Some(last) = before.last else { return Between::default() };
        let missing = frames_from(last.sequence, sequence).saturating_sub(1 + before.unread + before.lost);
        if before.torn { Between { lost: missing, withheld: 0 } } else { Between { lost: 0, withheld: missing } }
    }

    /// Packets of pictures were lost, and with them a whole frame if that is known.
    pub fn lost(&mut self, frame: bool) {
        self.torn = true;
        self.lost += u64::from(frame);
    }
}

/// How far one count is from another; zero where it went back, as layers do against each other.
fn frames_from(before: u32, after: u32) -> u64 {
    u64::try_from(after.wrapping_sub(before) as i32).unwrap_or(0)
}
