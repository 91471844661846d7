//! A histogram of delays in fixed buckets: plain integers that one thread owns.

use std::time::Duration;

/// How often a delay fell into each bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Delays up to each bound that passed the bound before; the last one counts those beyond all.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// All delays together.
    pub sum: Duration,
}

impl Latency {
    /// Counts one delay.
    pub fn observe(&mut self, delay: Duration) {
        let bucket = BOUNDS.partition_point(|&bound| Duration::from_micros(bound) < delay);
        self.buckets[bucket] += 1;
        self.sum += delay;
    }

    /// Adds what another thread counted.
    pub fn merge(&mut self, other: &Latency) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.sum += other.sum;
    }
}

/// Upper bounds in microseconds: from what one packet costs up to what a jitter buffer notices.
pub const BOUNDS: [u64; 11] = [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_lands_in_the_first_bucket_that_holds_it() {
        let mut latency = Latency::default();
        for micros in [0, 50, 51, 100_000, 100_001] {
            latency.observe(Duration::from_micros(micros));
        }
        let mut both = latency.clone();
        both.merge(&latency);
        assert_eq!(latency.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(both.buckets.iter().sum::<u64>(), 10);
        assert_eq!(both.sum, Duration::from_micros(2 * 200_102));
    }
}
