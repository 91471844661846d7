//! How often, and when last, each packet of a slot was sent again to its receiver.

use std::time::{Duration, Instant};

/// One packet goes again this often at most. Three leave nothing to repair even where a fifth is lost (0.2^4 is 0.16 %),
/// and bound what receivers cost that go on asking for what came as a retransmission: some never connect the two.
const MOST: u8 = 3;
/// The least time between two: receivers that batch their requests overlap by as much.
const INTERVAL: Duration = Duration::from_millis(10);
/// Packets remembered: as many as are kept for repeating, so that no two of them share a place.
const PLACES: usize = 1024;
/// What was sent again longer ago is another packet under the same 16 bits: none is kept for as long.
const AGE: Duration = Duration::from_secs(2);

/// The retransmissions of one slot. Takes no memory until there is one.
pub struct Repeats {
    /// By the lower bits of the sequence number.
    places: Vec<Repeat>,
    began: Instant,
}

#[derive(Clone, Copy, Default)]
struct Repeat {
    sequence: u16,
    times: u8,
    /// Milliseconds since the beginning.
    last: u32,
}

impl Repeats {
    /// Nothing was sent again yet.
    pub fn new(now: Instant) -> Self {
        Self { places: Vec::new(), began: now }
    }

    /// Whether a request for this packet should be answered: it was not answered too often, and no answer can still be
    /// under way.
    pub fn may(&self, sequence: u16, rtt: Duration, now: Instant) -> bool {
        let Some(repeat) = self.known(sequence, now) else { return true };
        repeat.times < MOST && self.since(repeat, now) >= rtt.max(INTERVAL)
    }

    /// Notes that this packet was sent again.
    pub fn note(&mut self, sequence: u16, now: Instant) {
        let times = self.known(sequence, now).map_or(0, |repeat| repeat.times);
        if self.places.is_empty() {
            self.places.resize(PLACES, Repeat::default());
        }
        self.places[usize::from(sequence) % PLACES] = Repeat { sequence, times: times + 1, last: self.ms(now) };
    }

    /// Forgets everything: other packets come under these numbers.
    pub fn clear(&mut self) {
        self.places.fill(Repeat::default());
    }

    fn known(&self, sequence: u16, now: Instant) -> Option<Repeat> {
        let repeat = *self.places.get(usize::from(sequence) % PLACES)?;
        let same = repeat.times > 0 && repeat.sequence == sequence && self.since(repeat, now) < AGE;
        same.then_some(repeat)
    }

    fn since(&self, repeat: Repeat, now: Instant) -> Duration {
        Duration::from_millis(self.ms(now).wrapping_sub(repeat.last).into())
    }

    fn ms(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.began).as_millis() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    #[test]
    fn a_packet_is_repeated_once_in_a_round_trip() {
        let start = Instant::now();
        let mut repeats = Repeats::new(start);
        assert!(repeats.may(9, RTT, start));
        repeats.note(9, start);
        assert!(!repeats.may(9, RTT, start + RTT - Duration::from_millis(1)));
        assert!(repeats.may(10, RTT, start), "another packet has a round trip of its own");
        assert!(repeats.may(9, RTT, start + RTT));
        assert!(!repeats.may(9, Duration::ZERO, start + INTERVAL / 2), "however short the round trip");
    }

    #[test]
    fn a_packet_is_repeated_three_times_and_its_number_is_free_again_a_cycle_later() {
        let start = Instant::now();
        let mut repeats = Repeats::new(start);
        let asked = (0..100).filter(|&step| {
            let now = start + Duration::from_millis(10) * step;
            let answered = repeats.may(65_535, Duration::from_millis(5), now);
            if answered {
                repeats.note(65_535, now);
            }
            answered
        });
        assert_eq!(asked.count(), usize::from(MOST));
        assert!(repeats.may(65_535, RTT, start + Duration::from_secs(60)));
        repeats.clear();
        assert!(repeats.may(65_535, RTT, start + Duration::from_secs(1)));
    }

    #[test]
    fn packets_that_are_kept_together_are_counted_apart() {
        let start = Instant::now();
        let mut repeats = Repeats::new(start);
        for time in 0..u32::from(MOST) {
            for sequence in 0..PLACES as u16 {
                let now = start + RTT * time;
                let sequence = sequence.wrapping_add(65_000);
                assert!(repeats.may(sequence, RTT, now), "{sequence} for the {time}th time");
                repeats.note(sequence, now);
            }
        }
        assert!((0..PLACES as u16).all(|sequence| !repeats.may(sequence.wrapping_add(65_000), RTT, start + RTT * 5)));
        assert_eq!(repeats.places.len(), PLACES);
    }
}
