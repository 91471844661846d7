//! Which packets of an incoming stream are missing, and when to ask for them again (generic NACK, RFC 4585).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Missing packets remembered per stream: half a second of a fast stream. Beyond that a key frame is cheaper.
const CAPACITY: usize = 256;
/// Packets may overtake each other by this much before one counts as missing.
const REORDER: Duration = Duration::from_millis(10);
/// Bounds of the time between two requests: browsers resend within a round trip, and asking faster only doubles them.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));
/// Round trip assumed before the first repair was timed.
const RTT: Duration = Duration::from_millis(50);
/// Requests per packet, then it is given up.
const TRIES: u8 = 10;
/// Requests per packet that lies before a key frame: its picture can still be shown if it comes soon, and nothing depends
/// on it.
const TRIES_BEFORE_KEY_FRAME: u8 = 3;
/// A packet older than this plays no part any more: receivers have long frozen or asked for a key frame.
const AGE: Duration = Duration::from_secs(1);

/// Missing packets of one stream.
pub struct Nacks {
    missing: VecDeque<Missing>,
    highest: Option<u64>,
    rtt: Duration,
}

struct Missing {
    index: u64,
    since: Instant,
    asked: Option<Instant>,
    tries: u8,
    /// Whether later packets depend on it.
    needed: bool,
}

/// What became of the missing packets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Some packets will not come: a video stream needs a key frame.
    pub given_up: bool,
}

impl Nacks {
    /// Nothing missing.
    pub fn new() -> Self {
        Self { missing: VecDeque::new(), highest: None, rtt: RTT }
    }

    /// Notes an arrival; `lost.given_up` where the gap is too wide to be repaired packet by packet.
    pub fn receive(&mut self, index: u64, now: Instant) -> Lost {
        let Some(highest) = self.highest else {
            self.highest = Some(index);
            return Lost::default();
        };
        if index <= highest {
            self.found(index, now);
            return Lost::default();
        }
        self.highest = Some(index);
        let gap = (index - highest - 1) as usize;
        if self.missing.len() + gap > CAPACITY {
            self.missing.clear();
            return Lost { given_up: true };
        }
        let new = |index| Missing { index, since: now, asked: None, tries: 0, needed: true };
        self.missing.extend((highest + 1..index).map(new));
        Lost::default()
    }

    /// A key frame begins at `index`: nothing depends on what came before it.
    pub fn key_frame(&mut self, index: u64) {
        self.missing.iter_mut().take_while(|missing| missing.index < index).for_each(|missing| missing.needed = false);
    }

    /// When to ask next.
    pub fn deadline(&self) -> Option<Instant> {
        let due = |missing: &Missing| missing.asked.map_or(missing.since + REORDER, |at| at + self.retry());
        self.missing.iter().map(due).min()
    }

    /// Writes the sequence numbers that are to be asked for now into `ask`, which it empties first.
    pub fn poll(&mut self, now: Instant, ask: &mut Vec<u16>) -> Lost {
        ask.clear();
        let retry = self.retry();
        let mut given_up = false;
        self.missing.retain(|missing| {
            let kept = missing.tries < missing.most_tries() && now < missing.since + AGE;
            given_up |= missing.needed && !kept;
            kept
        });
        for missing in &mut self.missing {
            if now >= missing.asked.map_or(missing.since + REORDER, |at| at + retry) {
                missing.asked = Some(now);
                missing.tries += 1;
                ask.push(missing.index as u16);
            }
        }
        Lost { given_up }
    }

    fn retry(&self) -> Duration {
        self.rtt.clamp(RETRY.0, RETRY.1)
    }

    fn found(&mut self, index: u64, now: Instant) {
        let Ok(place) = self.missing.binary_search_by_key(&index, |missing| missing.index) else { return };
        let Some(missing) = self.missing.remove(place) else { return };
        // Only a packet asked for once tells a round trip: with two requests it is unknown which was answered.
        if let (1, Some(asked)) = (missing.tries, missing.asked) {
            self.rtt = (self.rtt * 7 + now.saturating_duration_since(asked)) / 8;
        }
    }
}

impl Missing {
    fn most_tries(&self) -> u8 {
        if self.needed { TRIES } else { TRIES_BEFORE_KEY_FRAME }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_reordered_packet_is_never_asked_for() {
        let (start, mut nacks, mut ask) = (Instant::now(), Nacks::new(), Vec::new());
        for (index, at) in [(1, 0), (3, 1), (2, 5), (4, 6)] {
            nacks.receive(index, start + ms(at));
        }
        nacks.poll(start + ms(50), &mut ask);
        assert!(ask.is_empty());
        assert_eq!(nacks.deadline(), None, "nothing missing, nothing to wake up for");
    }

    #[test]
    fn a_missing_packet_is_asked_for_until_it_is_given_up() {
        let (start, mut nacks, mut ask) = (Instant::now(), Nacks::new(), Vec::new());
        nacks.receive(65_535, start);
        nacks.receive(65_537, start);
        let (mut asked, mut given_up) = (0, false);
        while let Some(at) = nacks.deadline() {
            let lost = nacks.poll(at, &mut ask);
            asked += ask.len();
            given_up |= lost.given_up;
            assert!(ask.iter().all(|&sequence| sequence == 0));
        }
        assert!(given_up);
        assert_eq!(asked, usize::from(TRIES));
    }

    #[test]
    fn what_lies_before_a_key_frame_is_asked_for_less_often_and_wants_no_other() {
        let (start, mut nacks, mut ask) = (Instant::now(), Nacks::new(), Vec::new());
        nacks.receive(1, start);
        nacks.receive(5, start);
        nacks.key_frame(5);
        let (mut asked, mut given_up) = (Vec::new(), false);
        while let Some(at) = nacks.deadline() {
            given_up |= nacks.poll(at, &mut ask).given_up;
            asked.extend_from_slice(&ask);
        }
        assert_eq!(asked, [2, 3, 4].repeat(TRIES_BEFORE_KEY_FRAME.into()));
        assert!(!given_up, "the key frame that would be asked for is there");
        for index in [9, 12] {
            nacks.receive(index, start + ms(500));
        }
        nacks.key_frame(9);
        asked.clear();
        while let Some(at) = nacks.deadline() {
            given_up |= nacks.poll(at, &mut ask).given_up;
            asked.extend_from_slice(&ask);
        }
        let times = [6, 7, 8, 10, 11].map(|sequence| asked.iter().filter(|&&asked| asked == sequence).count());
        assert_eq!(times, [3, 3, 3, 10, 10]);
        assert!(given_up, "what lies behind the key frame is needed");
    }

    #[test]
    fn a_leap_is_given_up_at_once_and_memory_stays_bounded() {
        let (start, mut nacks) = (Instant::now(), Nacks::new());
        nacks.receive(1, start);
        assert!(nacks.receive(60_000, start).given_up);
        assert_eq!(nacks.deadline(), None);
        for step in 0..1_000 {
            nacks.receive(60_001 + step * 50, start);
            assert!(nacks.missing.len() <= CAPACITY);
        }
    }
}
