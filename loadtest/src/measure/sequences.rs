//! Sequence numbers of one stream (RFC 3550, appendix A.1): what came, what came again, and what is missing.
//!
//! A number counts as missing when a later one came, and as lost when it is missing for a second. What is missing for less
//! is undecided, and not expected yet; what comes out of order in that time was never lost.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;

/// Missing for so long is lost: a player's buffer has given up by then, and a relay keeps packets for as long.
pub const GIVE_UP: Duration = Duration::from_secs(1);

/// The numbers of one stream.
pub struct Sequences {
    /// Extended; `None` before the first.
    first: Option<u64>,
    highest: u64,
    seen: Box<[u64; WORDS]>,
    repaired: Box<[u64; WORDS]>,
    missing: VecDeque<Missing>,
    counts: Counts,
}

/// What was counted. What is expected is the sum of the received, the repaired and the lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came by themselves.
    pub received: u64,
    /// Came only because they were asked for again.
    pub repaired: u64,
    /// Came twice, in whatever way.
    pub duplicate: u64,
    /// Never came, or too late.
    pub lost: u64,
    /// Of the lost, how many came too late.
    pub late: u64,
}

impl Counts {
    /// How many the sequence numbers say were sent to us.
    pub fn expected(&self) -> u64 {
        self.received + self.repaired + self.lost
    }

    /// Adds those of another stream.
    pub fn merge(&mut self, other: &Self) {
        self.received += other.received;
        self.repaired += other.repaired;
        self.duplicate += other.duplicate;
        self.lost += other.lost;
        self.late += other.late;
    }

    /// What was counted since it was `earlier`. A packet that was repaired before it came by itself moves from one count
    /// to the other, perhaps after `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            received: self.received - earlier.received,
            repaired: self.repaired.saturating_sub(earlier.repaired),
            duplicate: self.duplicate - earlier.duplicate,
            lost: self.lost - earlier.lost,
            late: self.late - earlier.late,
        }
    }
}

/// What a packet's number says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was not there before: its number, extended so that it never wraps.
    New(u64),
    /// It was, or it was given up.
    Useless,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    index: u64,
    since: Moment,
}

impl Sequences {
    /// Before the first packet.
    pub fn new() -> Self {
        Self {
            first: None,
            highest: 0,
            seen: Box::new([0; WORDS]),
            repaired: Box::new([0; WORDS]),
            missing: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// A packet came.
    pub fn receive(&mut self, sequence: u16, repaired: bool, now: Moment) -> Arrival {
        let Some(first) = self.first else {
            let index = BEGIN + u64::from(sequence);
            (self.first, self.highest) = (Some(index), index);
            return self.accept(index, repaired);
        };
        let ahead = sequence.wrapping_sub(self.highest as u16) as i16;
        let index = self.highest.wrapping_add_signed(ahead.into());
        if ahead > 0 {
            self.advance(index, now);
            return self.accept(index, repaired);
        }
        if self.highest - index >= WINDOW {
            self.counts.late += 1;
            return Arrival::Useless;
        }
        if is_set(&self.seen, index) {
            return self.again(index, repaired);
        }
        if index < first {
            return self.precede(first, index, repaired, now);
        }
        let place = self.missing.binary_search_by_key(&index, |missing| missing.index).ok();
        let Some(place) = place.filter(|&place| !self.missing[place].is_lost(now)) else {
            set(&mut self.seen, index);
            self.counts.late += 1;
            return Arrival::Useless;
        };
        self.missing.remove(place);
        self.accept(index, repaired)
    }

    /// Gives up the next number that is missing for too long.
    pub fn give_up(&mut self, now: Moment) -> Option<u64> {
        let index = self.missing.front().filter(|missing| missing.is_lost(now))?.index;
        self.missing.pop_front();
        self.counts.lost += 1;
        Some(index)
    }

    /// When [`Sequences::give_up`] has something.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.missing.front().map(|missing| missing.since + GIVE_UP)
    }

    /// The first number from `index` on that may still come, and since when it is missing.
    pub fn missing_from(&self, index: u64) -> Option<(u64, Moment)> {
        let place = self.missing.partition_point(|missing| missing.index < index);
        self.missing.get(place).map(|missing| (missing.index, missing.since))
    }

    /// What was counted, with what should have been given up by now.
    pub fn counts(&self, now: Moment) -> Counts {
        let lost = self.missing.iter().filter(|missing| missing.is_lost(now)).count() as u64;
        Counts { lost: self.counts.lost + lost, ..self.counts }
    }

    fn accept(&mut self, index: u64, repaired: bool) -> Arrival {
        set(&mut self.seen, index);
        if repaired {
            set(&mut self.repaired, index);
            self.counts.repaired += 1;
        } else {
            self.counts.received += 1;
        }
        Arrival::New(index)
    }

    /// Seen before. Where its repair overtook it, it did come by itself.
    fn again(&mut self, index: u64, repaired: bool) -> Arrival {
        self.counts.duplicate += 1;
        if !repaired && is_set(&self.repaired, index) {
            clear(&mut self.repaired, index);
            self.counts.repaired -= 1;
            self.counts.received += 1;
        }
        Arrival::Useless
    }

    /// From before the first that came: the stream began there.
    fn precede(&mut self, first: u64, index: u64, repaired: bool, now: Moment) -> Arrival {
        if first - index > BEFORE {
            self.counts.late += 1;
            return Arrival::Useless;
        }
        self.first = Some(index);
        // The lower is never given up later, so that the first in the queue is the next.
        let since = self.missing.front().map_or(now, |missing| missing.since);
        (index + 1..first).rev().for_each(|index| self.missing.push_front(Missing { index, since }));
        self.accept(index, repaired)
    }

    /// Makes `index` the highest; those between are missing.
    fn advance(&mut self, index: u64, now: Moment) {
        for passed in self.highest + 1..=index {
            clear(&mut self.seen, passed);
            clear(&mut self.repaired, passed);
            if passed < index {
                self.missing.push_back(Missing { index: passed, since: now });
            }
        }
        self.highest = index;
    }
}

impl Default for Sequences {
    fn default() -> Self {
        Self::new()
    }
}

impl Missing {
    fn is_lost(&self, now: Moment) -> bool {
        now >= self.since + GIVE_UP
    }
}

fn is_set(bits: &[u64; WORDS], index: u64) -> bool {
    bits[(index % WINDOW / 64) as usize] & 1 << (index % 64) != 0
}

fn set(bits: &mut [u64; WORDS], index: u64) {
    bits[(index % WINDOW / 64) as usize] |= 1 << (index % 64);
}

fn clear(bits: &mut [u64; WORDS], index: u64) {
    bits[(index % WINDOW / 64) as usize] &= !(1 << (index % 64));
}

/// Numbers back to which packets are told apart: three seconds at 30 Mbit/s, and a kilobyte of bits.
const WINDOW: u64 = 8_192;
const WORDS: usize = (WINDOW / 64) as usize;
/// Extended numbers begin here, so that there are some before the first; a multiple of 65,536.
const BEGIN: u64 = 1 << 20;
/// Packets by which the first to come may have overtaken others: a large key frame in disorder.
const BEFORE: u64 = 128;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    #[test]
    fn a_number_is_lost_a_second_after_it_was_missed() {
        let mut sequences = Sequences::new();
        sequences.receive(65_534, false, ms(0));
        let Arrival::New(index) = sequences.receive(1, false, ms(10)) else { panic!("it is new") };
        assert_eq!(sequences.missing_from(0), Some((index - 2, ms(10))));
        assert_eq!((sequences.counts(ms(1_009)).expected(), sequences.give_up(ms(1_009))), (2, None));
        assert_eq!(sequences.counts(ms(1_010)), Counts { received: 2, lost: 2, ..Counts::default() });
        assert_eq!(sequences.next_timeout(), Some(ms(1_010)));
        assert_eq!((sequences.give_up(ms(1_010)), sequences.give_up(ms(1_010))), (Some(index - 2), Some(index - 1)));
        assert_eq!((sequences.give_up(ms(1_010)), sequences.next_timeout()), (None, None));
        assert_eq!(sequences.receive(65_535, true, ms(1_020)), Arrival::Useless, "too late");
        assert_eq!(sequences.counts(ms(9_999)), Counts { received: 2, lost: 2, late: 1, ..Counts::default() });
    }

    #[test]
    fn what_the_first_packet_overtook_belongs_to_the_stream() {
        let mut sequences = Sequences::new();
        sequences.receive(3, false, ms(0));
        assert!(matches!(sequences.receive(0, false, ms(1)), Arrival::New(_)));
        assert!(matches!(sequences.receive(1, false, ms(1)), Arrival::New(_)));
        assert_eq!(sequences.counts(ms(2_000)), Counts { received: 3, lost: 1, ..Counts::default() });
        assert_eq!(sequences.receive(3u16.wrapping_sub(2_000), false, ms(2)), Arrival::Useless);
    }

    #[test]
    fn an_outage_longer_than_the_window_is_lost_in_full() {
        let mut sequences = Sequences::new();
        sequences.receive(0, false, ms(0));
        sequences.receive(30_000, false, ms(1));
        assert_eq!(sequences.counts(ms(1_001)).lost, 29_999);
        assert_eq!(sequences.receive(100, true, ms(2)), Arrival::Useless, "nobody could tell it from a duplicate");
        while sequences.give_up(ms(1_001)).is_some() {}
        assert_eq!(sequences.counts(ms(1_001)).expected(), 30_001);
    }

    proptest! {
        /// Packets in any order, twice, repaired, late, from any first number.
        #[test]
        fn counts_are_those_of_a_model_that_forgets_nothing(
            first: u16,
            arrivals in prop::collection::vec((0u64..60, any::<bool>(), 0u64..40), 1..400),
        ) {
            let (mut sequences, mut model, mut now) = (Sequences::new(), Model::default(), 0);
            for (n, (ahead, repaired, wait)) in arrivals.into_iter().enumerate() {
                now += wait;
                let number = 200 + n as u64 / 2 + ahead;
                while sequences.give_up(ms(now)).is_some() {}
                let arrival = sequences.receive(first.wrapping_add(number as u16), repaired, ms(now));
                let expected = model.receive(number, repaired, now);
                prop_assert_eq!(matches!(arrival, Arrival::New(_)), expected);
                prop_assert_eq!(sequences.counts(ms(now)), model.counts(now));
            }
        }
    }

    /// What became of each number between the lowest and the highest that came.
    #[derive(Default)]
    struct Model {
        states: BTreeMap<u64, State>,
        duplicate: u64,
    }

    enum State {
        Missing(u64),
        TooLate,
        Original,
        Repaired,
    }

    impl Model {
        fn receive(&mut self, number: u64, repaired: bool, now: u64) -> bool {
            let new = if repaired { State::Repaired } else { State::Original };
            let bounds = self.states.first_key_value().zip(self.states.last_key_value());
            let Some((low, high)) = bounds.map(|((low, _), (high, _))| (*low, *high)) else {
                return self.states.insert(number, new).is_none();
            };
            let first_missing = self.states.values().find_map(|state| match state {
                State::Missing(since) if now < since + 1_000 => Some(*since),
                _ => None,
            });
            self.states.extend((high + 1..number).map(|passed| (passed, State::Missing(now))));
            let since = first_missing.unwrap_or(now);
            self.states.extend((number + 1..low).map(|passed| (passed, State::Missing(since))));
            let state = self.states.entry(number).or_insert(State::Missing(now));
            match state {
                State::Missing(since) if now < *since + 1_000 => {
                    *state = new;
                    return true;
                }
                State::Missing(_) => *state = State::TooLate,
                State::Repaired if !repaired => {
                    *state = State::Original;
                    self.duplicate += 1;
                }
                _ => self.duplicate += 1,
            }
            false
        }

        fn counts(&self, now: u64) -> Counts {
            let mut counts = Counts { duplicate: self.duplicate, ..Counts::default() };
            for state in self.states.values() {
                match state {
                    State::Missing(since) => counts.lost += u64::from(now >= since + 1_000),
                    State::TooLate => (counts.lost, counts.late) = (counts.lost + 1, counts.late + 1),
                    State::Original => counts.received += 1,
                    State::Repaired => counts.repaired += 1,
                }
            }
            counts
        }
    }
}
