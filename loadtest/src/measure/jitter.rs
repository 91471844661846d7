//! Interarrival jitter (RFC 3550, section 6.4.1), of frames instead of packets: those of one frame share a timestamp.

use std::time::Duration;

use crate::clock::Moment;

/// The running estimate of one stream.
#[derive(Clone, Debug)]
pub struct Jitter {
    rate: f64,
    last: Option<(Moment, u32)>,
    estimate: f64,
}

impl Jitter {
    /// For timestamps of a clock of `rate` Hz.
    pub fn new(rate: u32) -> Self {
        Self { rate: f64::from(rate), last: None, estimate: 0.0 }
    }

    /// A frame is whole. Gives the estimate, from the second frame on.
    pub fn frame(&mut self, arrived: Moment, timestamp: u32) -> Option<Duration> {
        let (before, stamped) = self.last.replace((arrived, timestamp))?;
        let transit = (arrived.0 as i64 - before.0 as i64) as f64 / NANOS
            - f64::from(timestamp.wrapping_sub(stamped) as i32) / self.rate;
        self.estimate += (transit.abs() - self.estimate) / 16.0;
        Some(Duration::from_secs_f64(self.estimate))
    }

    /// The next frame's timestamp has nothing to do with the last one's.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

const NANOS: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames every 20 ms, each `late(n)` milliseconds late, with timestamps that wrap on the way.
    fn estimate(late: impl Fn(u64) -> u64) -> f64 {
        let mut jitter = Jitter::new(48_000);
        let frames = (0..1_000u64).map(|n| (Moment((n * 20 + late(n)) * 1_000_000), (n * 960) as u32));
        let estimates = frames.map(|(arrived, ticks)| jitter.frame(arrived, ticks.wrapping_sub(48_000)));
        estimates.last().flatten().expect("a thousand frames").as_secs_f64() * 1e3
    }

    #[test]
    fn a_constant_delay_is_no_jitter() {
        assert_eq!(estimate(|_| 300), 0.0);
    }

    #[test]
    fn frames_that_alternate_by_8_ms_have_a_jitter_of_8_ms() {
        assert!((estimate(|n| n % 2 * 8) - 8.0).abs() < 1e-6);
    }

    #[test]
    fn the_estimate_follows_the_formula_of_the_rfc() {
        let mut jitter = Jitter::new(48_000);
        assert_eq!(jitter.frame(Moment(0), 0), None);
        let found = jitter.frame(Moment(36_000_000), 960).expect("a second frame");
        assert_eq!(found, Duration::from_millis(1), "16 ms late, a sixteenth of it");
        let found = jitter.frame(Moment(56_000_000), 1_920).expect("a third frame");
        assert_eq!(found, Duration::from_nanos(937_500), "one sixteenth less");
    }
}
