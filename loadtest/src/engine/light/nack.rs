//! Which packets of a stream are missing and when to ask for them (generic NACK, RFC 4585, section 6.2.1).

use std::time::Duration;

use crate::clock::Moment;

/// The missing packets of one stream, by extended sequence number.
#[derive(Default)]
pub struct Nacks {
    missing: Vec<Missing>,
    highest: Option<u64>,
    /// The earliest moment at which one is to be asked for.
    next: Option<Moment>,
}

struct Missing {
    index: u64,
    since: Moment,
    asked: Option<Moment>,
    tries: u8,
}

impl Nacks {
    /// Notes that a packet came; returns when it was last asked for.
    pub fn receive(&mut self, now: Moment, index: u64) -> Option<Moment> {
        let Some(highest) = self.highest else {
            self.highest = Some(index);
            return None;
        };
        if index <= highest {
            let place = self.missing.binary_search_by_key(&index, |missing| missing.index).ok()?;
            return self.missing.remove(place).asked;
        }
        self.highest = Some(index);
        let gap = (index - highest - 1) as usize;
        if gap == 0 {
            return None;
        }
        if self.missing.len() + gap > MISSING_MAX {
            self.missing.clear(); // beyond repair packet by packet: a key frame will be asked for
            return None;
        }
        self.missing.extend((highest + 1..index).map(|index| Missing { index, since: now, asked: None, tries: 0 }));
        let due = now + REORDER;
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
        None
    }

    /// When [`Self::poll`] has something to ask for.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.next
    }

    /// Appends the sequence numbers that are to be asked for now.
    pub fn poll(&mut self, now: Moment, round_trip: Duration, ask: &mut Vec<u16>) {
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        let retry = (round_trip + round_trip / 4).clamp(RETRY.0, RETRY.1);
        self.missing.retain(|missing| missing.tries < TRIES && now < missing.since + AGE);
        self.next = None;
        for missing in &mut self.missing {
            let mut due = missing.asked.map_or(missing.since + REORDER, |asked| asked + retry);
            if now >= due {
                missing.asked = Some(now);
                missing.tries += 1;
                ask.push(missing.index as u16);
                due = now + retry;
            }
            self.next = Some(self.next.map_or(due, |next| next.min(due)));
        }
    }
}

/// Missing packets remembered per stream: half a second of a fast one.
const MISSING_MAX: usize = 256;
/// Packets may overtake each other by this much before one counts as missing.
const REORDER: Duration = Duration::from_millis(5);
/// Bounds of the time between two requests for a packet.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));
/// Requests per packet at most.
const TRIES: u8 = 10;
/// A packet that is missing for this long is given up by the receiving end as well.
const AGE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    const RTT: Duration = Duration::from_millis(40);

    #[test]
    fn a_reordered_packet_is_never_asked_for() {
        let (mut nacks, mut ask) = (Nacks::default(), Vec::new());
        for (index, ms) in [(1, 0), (3, 1), (2, 4)] {
            assert_eq!(nacks.receive(at(ms), index), None);
        }
        nacks.poll(at(100), RTT, &mut ask);
        assert!(ask.is_empty());
    }

    #[test]
    fn a_missing_packet_is_asked_for_once_a_round_trip_until_it_comes() {
        let (mut nacks, mut ask) = (Nacks::default(), Vec::new());
        nacks.receive(at(0), 10);
        nacks.receive(at(0), 13);
        for ms in 0..120 {
            nacks.poll(at(ms), RTT, &mut ask);
        }
        assert_eq!(ask, [11, 12, 11, 12, 11, 12]);
        assert_eq!(nacks.receive(at(120), 11), Some(at(105)));
        ask.clear();
        nacks.poll(at(200), RTT, &mut ask);
        assert_eq!(ask, [12]);
    }

    #[test]
    fn what_never_comes_is_given_up() {
        let (mut nacks, mut ask) = (Nacks::default(), Vec::new());
        nacks.receive(at(0), 1);
        nacks.receive(at(0), 3);
        for ms in 0..5000 {
            nacks.poll(at(ms), RTT, &mut ask);
        }
        assert_eq!(ask.len(), usize::from(TRIES));
        assert_eq!(nacks.next_timeout(), None);
        nacks.receive(at(5000), 100_000);
        assert_eq!(nacks.next_timeout(), None, "a gap that wide is beyond repair");
    }
}
