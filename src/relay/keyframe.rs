//! Asking a publisher for key frames: at once, again until one comes, and never more often than a browser's encoder can
//! bear, however many receivers ask.

use std::time::{Duration, Instant};

/// Time between two requests for one layer: at most five in a second, and short enough that a lost request costs little.
const INTERVAL: Duration = Duration::from_millis(200);
/// Requests that may go unanswered before the pace drops: a paused camera sends no key frame, however often it is asked.
const EAGER: u32 = 25;
/// The pace afterwards.
const PATIENT: Duration = Duration::from_secs(1);

/// Key-frame requests for one layer of one publication.
#[derive(Default)]
pub struct KeyFrames {
    wanted: bool,
    last: Option<Instant>,
    unanswered: u32,
}

impl KeyFrames {
    /// Somebody needs a key frame. Tells whether to ask the publisher now; otherwise [`deadline`](Self::deadline) does.
    pub fn want(&mut self, now: Instant) -> bool {
        self.wanted = true;
        self.poll(now)
    }

    /// A key frame came: everybody who waited has it.
    pub fn arrived(&mut self) {
        self.wanted = false;
        self.unanswered = 0;
    }

    /// Nobody needs one any more.
    pub fn cancel(&mut self) {
        self.wanted = false;
    }

    /// When to ask again.
    pub fn deadline(&self) -> Option<Instant> {
        let interval = if self.unanswered < EAGER { INTERVAL } else { PATIENT };
        self.last.filter(|_| self.wanted).map(|last| last + interval)
    }

    /// Whether to ask the publisher now.
    pub fn poll(&mut self, now: Instant) -> bool {
        let due = self.wanted && self.deadline().is_none_or(|at| now >= at);
        if due {
            self.last = Some(now);
            self.unanswered = self.unanswered.saturating_add(1);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_requests_asks_five_times_a_second() {
        let (start, mut frames, mut sent) = (Instant::now(), KeyFrames::default(), 0);
        for microseconds in (0..10_000_000).step_by(200) {
            sent += u32::from(frames.want(start + Duration::from_micros(microseconds)));
            if microseconds % 50_000 == 0 {
                frames.arrived();
            }
        }
        assert_eq!(sent, 50);
    }

    #[test]
    fn a_request_repeats_until_the_key_frame_comes() {
        let (start, mut frames) = (Instant::now(), KeyFrames::default());
        assert!(frames.want(start));
        assert!(!frames.poll(start + Duration::from_millis(199)));
        assert!(frames.poll(start + Duration::from_millis(200)));
        frames.arrived();
        assert_eq!(frames.deadline(), None);
        assert!(!frames.poll(start + Duration::from_millis(400)));
    }

    #[test]
    fn a_publisher_that_never_answers_is_asked_less_often() {
        let (start, mut frames) = (Instant::now(), KeyFrames::default());
        frames.want(start);
        let mut at = start;
        for _ in 0..40 {
            at = frames.deadline().expect("still wanted");
            assert!(frames.poll(at));
        }
        assert_eq!(frames.deadline(), Some(at + PATIENT));
    }
}
