//! Which packets of a received stream are missing, when to ask for them again (generic NACK, RFC 4585 section 6.2.1),
//! and whether one that comes late comes for having been asked for.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;

/// One received stream.
pub struct Gaps {
    highest: Option<u64>,
    missing: VecDeque<Missing>,
    /// Asked for at some time, newest last.
    asked: VecDeque<u64>,
    round_trip: Duration,
}

struct Missing {
    index: u64,
    since: Moment,
    asked: Option<Moment>,
    tries: u8,
}

impl Default for Gaps {
    /// Nothing received.
    fn default() -> Self {
        Self { highest: None, missing: VecDeque::new(), asked: VecDeque::new(), round_trip: ROUND_TRIP }
    }
}

impl Gaps {
    /// Notes a packet of the stream itself; says whether it is a repair: one that was asked for before it came. Sound
    /// is repeated as the same bytes, so what comes late by itself after that cannot be told from it.
    pub fn receive(&mut self, now: Moment, sequence: u16) -> bool {
        let Some(highest) = self.highest else {
            self.highest = Some(u64::from(sequence) + WRAP); // those before the first have room below
            return false;
        };
        let index = unwrap(highest, sequence);
        if index <= highest {
            self.found(now, index);
            return self.asked.contains(&index);
        }
        self.highest = Some(index);
        if index - highest > SPAN {
            self.missing.clear(); // the sender began anew, or was away for so long that nobody keeps the packets
            return false;
        }
        let missing = |index| Missing { index, since: now, asked: None, tries: 0 };
        self.missing.extend((highest + 1..index).map(missing));
        let excess = self.missing.len().saturating_sub(SPAN as usize);
        self.missing.drain(..excess);
        false
    }

    /// Notes what came as a retransmission (RFC 4588) of `sequence`.
    pub fn repair(&mut self, now: Moment, sequence: u16) {
        if let Some(highest) = self.highest {
            self.found(now, unwrap(highest, sequence));
        }
    }

    /// When to ask next.
    pub fn deadline(&self) -> Option<Moment> {
        let due = |missing: &Missing| missing.asked.map_or(missing.since + REORDER, |at| at + self.retry());
        self.missing.iter().map(due).min()
    }

    /// The sequence numbers to ask for now.
    pub fn poll(&mut self, now: Moment) -> Vec<u16> {
        let retry = self.retry();
        self.missing.retain(|missing| missing.tries < TRIES && now < missing.since + AGE);
        let mut wanted = Vec::new();
        for missing in &mut self.missing {
            if now < missing.asked.map_or(missing.since + REORDER, |at| at + retry) {
                continue;
            }
            if missing.tries == 0 {
                self.asked.push_back(missing.index);
            }
            missing.asked = Some(now);
            missing.tries += 1;
            wanted.push(missing.index as u16);
        }
        let excess = self.asked.len().saturating_sub(SPAN as usize);
        self.asked.drain(..excess);
        wanted
    }

    fn found(&mut self, now: Moment, index: u64) {
        let Ok(place) = self.missing.binary_search_by_key(&index, |missing| missing.index) else { return };
        let missing = self.missing.remove(place).expect("it was found there");
        if let (1, Some(asked)) = (missing.tries, missing.asked) {
            self.round_trip = (self.round_trip * 7 + now.since(asked)) / 8; // asked once: the answer is to that
        }
    }

    fn retry(&self) -> Duration {
        self.round_trip.clamp(RETRY.0, RETRY.1)
    }
}

/// The index near `highest` that has these low 16 bits.
fn unwrap(highest: u64, sequence: u16) -> u64 {
    let step = sequence.wrapping_sub(highest as u16) as i16;
    highest.saturating_add_signed(i64::from(step))
}

/// Packets remembered: a second of the fastest stream. Whoever sends keeps no more than that.
const SPAN: u64 = 1_024;
/// Values of a sequence number.
const WRAP: u64 = 1 << 16;
/// By this much packets may overtake each other before one is asked for.
const REORDER: Duration = Duration::from_millis(10);
/// Bounds of the time between two requests for a packet: browsers wait for a round trip.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
/// Round trip assumed before the first repair.
const ROUND_TRIP: Duration = Duration::from_millis(50);
/// Requests for a packet, as browsers make.
const TRIES: u8 = 10;
/// A packet that is missing for so long is of no use any more.
const AGE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment(milliseconds * 1_000_000)
    }

    #[test]
    fn a_missing_packet_is_asked_for_after_reordering_had_its_time_and_again_after_a_round_trip() {
        let mut gaps = Gaps::default();
        gaps.receive(at(0), 65_534);
        gaps.receive(at(1), 1);
        assert!(gaps.poll(at(5)).is_empty());
        assert_eq!(gaps.deadline(), Some(at(11)));
        assert_eq!(gaps.poll(at(11)), [65_535, 0]);
        assert!(gaps.poll(at(30)).is_empty());
        assert_eq!(gaps.deadline(), Some(at(61)));
        gaps.repair(at(40), 65_535);
        assert_eq!(gaps.poll(at(70)), [0]);
    }

    #[test]
    fn a_packet_that_never_comes_is_given_up() {
        let (mut gaps, mut asked) = (Gaps::default(), 0);
        gaps.receive(at(0), 1);
        gaps.receive(at(0), 3);
        while let Some(deadline) = gaps.deadline() {
            asked += gaps.poll(deadline).len();
        }
        assert_eq!(asked, usize::from(TRIES));
    }

    #[test]
    fn a_reordered_packet_is_no_repair() {
        let mut gaps = Gaps::default();
        gaps.receive(at(0), 1);
        gaps.receive(at(1), 3);
        assert!(!gaps.receive(at(5), 2));
        assert_eq!(gaps.deadline(), None);
    }

    #[test]
    fn a_packet_on_the_same_ssrc_is_a_repair_if_it_was_asked_for() {
        let mut gaps = Gaps::default();
        gaps.receive(at(0), 1);
        gaps.receive(at(1), 3);
        assert_eq!(gaps.poll(at(20)), [2]);
        assert!(gaps.receive(at(40), 2));
        assert!(gaps.receive(at(41), 2), "also where it comes a second time");
    }

    #[test]
    fn an_answer_tells_the_round_trip() {
        let mut gaps = Gaps::default();
        gaps.receive(at(0), 0);
        for turn in 1..60 {
            let (now, sequence) = (at(1_000 * u64::from(turn)), turn * 2);
            gaps.receive(now, sequence);
            assert_eq!(gaps.poll(now + REORDER), [sequence - 1]);
            gaps.repair(now + REORDER + Duration::from_millis(200), sequence - 1);
        }
        assert!(gaps.retry() > Duration::from_millis(190), "{:?}", gaps.retry());
    }
}
