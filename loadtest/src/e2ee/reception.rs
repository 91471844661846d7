//! How a stream of another participant fares: whether its frames can be verified.

use std::time::Duration;

use super::receiver_key::Refusal;
use crate::clock::Moment;

/// One stream of one participant.
#[derive(Clone, Copy, Default)]
pub struct Reception {
    /// A frame authenticated.
    live: bool,
    /// Since when nothing but failures came.
    failing_since: Option<Moment>,
    told: bool,
}

impl Reception {
    /// A frame authenticated.
    pub fn opened(&mut self) {
        *self = Self { live: true, failing_since: None, told: false };
    }

    /// A frame did not. True where it is time to show that, once: after a second of nothing else, and not before
    /// `first_key_by`, until which the first key may be under way.
    pub fn refused(&mut self, now: Moment, refusal: Refusal, first_key_by: Option<Moment>) -> bool {
        // Networks are probed with packets sent again, so that a frame may come twice: no cause for alarm.
        if refusal == Refusal::Replay && self.live {
            return false;
        }
        let failing = *self.failing_since.get_or_insert(now);
        let since = first_key_by.map_or(failing, |by| failing.max(by));
        let tell = !self.told && now >= since + PATIENCE;
        self.told |= tell;
        tell
    }
}

/// Of nothing but failures, after which it is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// That a newcomer's first key may take: two seconds to change a generation, and the way.
pub const FIRST_KEY: Duration = Duration::from_secs(3);
