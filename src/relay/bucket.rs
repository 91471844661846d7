//! A budget of bytes: filled with time, or by what is earned, up to a burst.

use std::time::Instant;

/// Bytes that may be spent.
pub struct Bucket {
    bytes: f64,
    rate: f64,
    burst: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one: `rate` bytes a second, `burst` bytes at most.
    pub fn new(rate: f64, burst: f64, now: Instant) -> Self {
        Self { bytes: burst, rate, burst, filled: now }
    }

    /// Adds to it beside what time adds.
    pub fn earn(&mut self, bytes: f64) {
        self.bytes = (self.bytes + bytes).min(self.burst);
    }

    /// Whether so many bytes are there; they are spent then.
    pub fn afford(&mut self, bytes: usize, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled);
        self.filled = self.filled.max(now);
        self.earn(elapsed.as_secs_f64() * self.rate);
        let enough = self.bytes >= bytes as f64;
        if enough {
            self.bytes -= bytes as f64;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_more_is_spent_than_the_burst_the_rate_and_what_was_earned() {
        let start = Instant::now();
        let mut bucket = Bucket::new(16_000.0, 300_000.0, start);
        let mut spent = 0;
        for step in 0..10_000u32 {
            bucket.earn(500.0);
            for _ in 0..10 {
                spent += usize::from(bucket.afford(1_000, start + Duration::from_millis(step.into())));
            }
        }
        let allowed = (300_000 + 10_000 * 500 + 10 * 16_000) / 1_000;
        assert!((allowed - 2..=allowed + 1).contains(&spent), "{spent} of {allowed}");
    }

    #[test]
    fn a_clock_that_steps_back_fills_nothing_twice() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut bucket = Bucket::new(1_000.0, 1_000.0, start);
        assert!(bucket.afford(1_000, start) && !bucket.afford(1, start));
        assert!(!bucket.afford(1, start - Duration::from_secs(5)) && !bucket.afford(1, start));
        assert!(bucket.afford(1_000, start + Duration::from_secs(1)));
    }
}
