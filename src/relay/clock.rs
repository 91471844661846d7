//! The relay's wall clock for sender reports, and how publishers' clocks map to it (RFC 3550, section 6.4.1).
//!
//! Audio and video of one participant are mapped by one offset, so whatever error it has is the same for both and lips
//! stay together.

use std::time::{Duration, Instant};

/// A time as NTP writes it: seconds in the upper, 1/2^32 s in the lower half. Only differences mean anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ntp(pub u64);

impl Ntp {
    /// The middle 32 bits, as report blocks echo them.
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// Seconds from `earlier` to `self`, negative where it is later.
    pub fn seconds_since(self, earlier: Ntp) -> f64 {
        self.0.wrapping_sub(earlier.0) as i64 as f64 / UNIT
    }

    /// This time moved by `seconds`.
    pub fn plus(self, seconds: f64) -> Ntp {
        Ntp(self.0.wrapping_add_signed((seconds * UNIT) as i64))
    }
}

const UNIT: f64 = (1u64 << 32) as f64;

/// Turns the monotonic clock into NTP times. It begins at an arbitrary number: the relay tells nobody what time it is.
#[derive(Clone, Copy)]
pub struct RelayClock {
    start: Instant,
    base: Ntp,
}

impl RelayClock {
    /// A clock that shows `base` at `start`.
    pub fn new(start: Instant, base: Ntp) -> Self {
        Self { start, base }
    }

    /// The time at `now`.
    pub fn at(&self, now: Instant) -> Ntp {
        let elapsed: Duration = now.saturating_duration_since(self.start);
        // Nanoseconds below one second need 30 bits, so the product fits.
        let fraction = (u64::from(elapsed.subsec_nanos()) << 32) / 1_000_000_000;
        Ntp(self.base.0.wrapping_add(elapsed.as_secs() << 32).wrapping_add(fraction))
    }
}

/// How far a participant's clock is from the relay's: the least difference seen between a report's time and its
/// arrival, since delay only ever adds.
#[derive(Clone, Copy, Default)]
pub struct ClockOffset {
    state: Option<(Ntp, Ntp, f64)>,
}

/// A least difference may rise by this much per second, so that a drifting clock (crystals differ by up to 100 ppm) is
/// followed.
const LEAK: f64 = 100e-6;

/// A report this far off the others comes from a clock that was set anew: begin again.
const STEP: f64 = 1.0;

impl ClockOffset {
    /// Notes a sender report of any of the participant's streams.
    pub fn report(&mut self, theirs: Ntp, arrived: Ntp) {
        let Some((base_theirs, base_arrived, least)) = self.state else {
            self.state = Some((theirs, arrived, 0.0));
            return;
        };
        let elapsed = arrived.seconds_since(base_arrived);
        let difference = elapsed - theirs.seconds_since(base_theirs);
        if (difference - least).abs() > STEP {
            self.state = Some((theirs, arrived, 0.0));
            return;
        }
        // The base moves along, so that the leak counts from the last report.
        let allowed = least + LEAK * elapsed.max(0.0);
        self.state = Some((theirs, arrived, allowed.min(difference) - difference));
    }

    /// The relay's time at which the participant's clock showed `theirs`; `None` before the first report.
    pub fn to_relay(self, theirs: Ntp) -> Option<Ntp> {
        let (base_theirs, base_arrived, least) = self.state?;
        Some(base_arrived.plus(theirs.seconds_since(base_theirs) + least))
    }
}

/// One stream's timestamps on its publisher's clock, from its latest sender report.
#[derive(Clone, Copy)]
pub struct StreamClock {
    /// The publisher's time in the report.
    pub ntp: Ntp,
    /// The timestamp that belongs to it.
    pub timestamp: u32,
    /// Hz.
    pub rate: u32,
}

impl StreamClock {
    /// The publisher's time of `timestamp`, which may lie up to half the timestamps' range away.
    pub fn ntp_of(&self, timestamp: u32) -> Ntp {
        let advance = timestamp.wrapping_sub(self.timestamp) as i32;
        self.ntp.plus(f64::from(advance) / f64::from(self.rate))
    }

    /// The timestamp at the publisher's time `ntp`.
    pub fn timestamp_at(&self, ntp: Ntp) -> u32 {
        let advance = ntp.seconds_since(self.ntp) * f64::from(self.rate);
        self.timestamp.wrapping_add(advance.round() as i64 as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> (Instant, RelayClock) {
        let start = Instant::now();
        (start, RelayClock::new(start, Ntp(0x1234_5678_9abc_def0)))
    }

    #[test]
    fn the_clock_counts_seconds_in_its_upper_half() {
        let (start, clock) = clock();
        assert_eq!(clock.at(start + Duration::from_secs(3)).0 - clock.at(start).0, 3 << 32);
        assert_eq!(
            clock.at(start + Duration::from_millis(1500)).middle().wrapping_sub(clock.at(start).middle()),
            98_304
        );
    }

    #[test]
    fn delayed_reports_do_not_move_the_mapping() {
        let (start, clock) = clock();
        let mut offset = ClockOffset::default();
        let theirs = |ms: u64| Ntp(77 << 32).plus(ms as f64 / 1000.0);
        for (sent, delay) in [(0, 40), (500, 20), (1000, 95), (1500, 31), (2000, 60)] {
            offset.report(theirs(sent), clock.at(start + Duration::from_millis(sent + delay)));
        }
        let mapped = offset.to_relay(theirs(2500)).expect("reports came");
        let ideal = clock.at(start + Duration::from_millis(2520));
        assert!(mapped.seconds_since(ideal).abs() < 0.001, "{}", mapped.seconds_since(ideal));
    }

    #[test]
    fn a_drifting_clock_is_followed() {
        let (start, clock) = clock();
        let mut offset = ClockOffset::default();
        // Theirs runs 50 ppm slow: the difference grows by 3 ms a minute.
        let theirs = |second: u64| Ntp(0).plus(second as f64 * (1.0 - 50e-6));
        for second in 0..3600 {
            offset.report(theirs(second), clock.at(start + Duration::from_secs(second)));
        }
        let mapped = offset.to_relay(theirs(3600)).expect("reports came");
        assert!(mapped.seconds_since(clock.at(start + Duration::from_secs(3600))).abs() < 0.002);
    }

    #[test]
    fn timestamps_and_times_convert_both_ways_over_the_wrap() {
        let stream = StreamClock { ntp: Ntp(9 << 32), timestamp: u32::MAX - 44_999, rate: 90_000 };
        let later = stream.ntp_of(45_000);
        assert!((later.seconds_since(stream.ntp) - 1.0).abs() < 1e-6);
        assert_eq!(stream.timestamp_at(later), 45_000);
        assert_eq!(stream.timestamp_at(stream.ntp.plus(-0.5)), u32::MAX - 89_999);
    }
}
