//! When a player would have had nothing new to play: times without a whole frame for over 200 ms, while one was due.

use std::time::Duration;

use crate::clock::Moment;

/// Longer without a frame is a freeze.
pub const PATIENCE: Duration = Duration::from_millis(200);

/// The freezes of one stream.
#[derive(Clone, Debug, Default)]
pub struct Playback {
    /// The last frame since it began or went on; nothing is due before the first.
    last: Option<Shown>,
    ended: Freezes,
}

/// How often, how long together, and the longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freezes {
    /// How many.
    pub count: u64,
    /// How long together.
    pub total: Duration,
    /// The longest.
    pub longest: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    at: Moment,
    sent: Option<(u32, Moment)>,
}

impl Playback {
    /// A frame could be shown; `sent` is its sequence and when it was sent, where it says.
    pub fn shown(&mut self, at: Moment, sent: Option<(u32, Moment)>) {
        if let Some(last) = self.last.replace(Shown { at, sent }) {
            self.ended.add(at.since(last.at).saturating_sub(pause_of_sender(last.sent, sent)));
        }
    }

    /// Nothing is due until the next frame.
    pub fn pause(&mut self, now: Moment) {
        if let Some(last) = self.last.take() {
            self.ended.add(now.since(last.at));
        }
    }

    /// All freezes, the one that may be going on included.
    pub fn freezes(&self, now: Moment) -> Freezes {
        let mut all = self.ended;
        if let Some(last) = self.last {
            all.add(now.since(last.at));
        }
        all
    }
}

impl Freezes {
    /// Adds those of another stream.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    fn add(&mut self, gap: Duration) {
        if gap > PATIENCE {
            self.count += 1;
            self.total += gap;
            self.longest = self.longest.max(gap);
        }
    }
}

/// Where one frame was sent after the other with none between, and long after it, none was due meanwhile.
fn pause_of_sender(before: Option<(u32, Moment)>, after: Option<(u32, Moment)>) -> Duration {
    let (Some((first, sent)), Some((second, then))) = (before, after) else { return Duration::ZERO };
    let pause = if second == first.wrapping_add(1) { then.since(sent) } else { Duration::ZERO };
    if pause > PATIENCE { pause } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    /// Shows frames at these times.
    fn played(times: &[u64]) -> Playback {
        let mut playback = Playback::default();
        times.iter().for_each(|&at| playback.shown(ms(at), None));
        playback
    }

    fn freezes(count: u64, total: u64, longest: u64) -> Freezes {
        Freezes { count, total: Duration::from_millis(total), longest: Duration::from_millis(longest) }
    }

    #[test]
    fn two_hundred_milliseconds_are_no_freeze_and_one_more_is() {
        assert_eq!(played(&[100, 300, 500]).freezes(ms(700)), freezes(0, 0, 0));
        assert_eq!(played(&[100, 301, 400, 1_400]).freezes(ms(1_500)), freezes(2, 1_201, 1_000));
    }

    #[test]
    fn nothing_is_due_before_the_first_frame() {
        assert_eq!(Playback::default().freezes(ms(60_000)), freezes(0, 0, 0));
        assert_eq!(played(&[60_000]).freezes(ms(60_100)), freezes(0, 0, 0));
    }

    #[test]
    fn a_freeze_that_goes_on_counts_once_and_up_to_now() {
        let mut playback = played(&[100]);
        assert_eq!(playback.freezes(ms(400)), freezes(1, 300, 300));
        assert_eq!(playback.freezes(ms(900)), freezes(1, 800, 800));
        playback.shown(ms(1_000), None);
        assert_eq!(playback.freezes(ms(1_000)), freezes(1, 900, 900));
    }

    #[test]
    fn a_pause_is_no_freeze_and_one_before_it_ends_with_it() {
        let mut playback = played(&[100]);
        playback.pause(ms(500));
        assert_eq!(playback.freezes(ms(9_000)), freezes(1, 400, 400));
        playback.shown(ms(9_500), None);
        assert_eq!(playback.freezes(ms(9_600)), freezes(1, 400, 400));
    }

    #[test]
    fn who_sends_late_freezes_nothing_and_who_sends_meanwhile_does() {
        let mut playback = Playback::default();
        playback.shown(ms(10), Some((4, ms(0))));
        playback.shown(ms(910), Some((5, ms(900))));
        assert_eq!(playback.freezes(ms(910)), freezes(0, 0, 0), "none was sent for 900 ms");
        playback.shown(ms(1_810), Some((30, ms(1_800))));
        assert_eq!(playback.freezes(ms(1_810)), freezes(1, 900, 900), "24 were sent and never came");
        playback.shown(ms(2_610), Some((31, ms(2_100))));
        assert_eq!(playback.freezes(ms(2_610)), freezes(2, 1_400, 900), "500 ms more than it was sent late");
    }
}
