//! Which simulcast layer a receiver is sent. Today: the best that arrives. A choice by bandwidth or by the size of the
//! tile replaces [`choose`] alone.

use std::time::{Duration, Instant};

/// A layer counts as arriving while its latest packet is no older than this: browsers send at least two frames a second
/// in any layer that they send at all (screens at 5 fps, cameras paced down to 2), and viewers notice a longer freeze.
const ARRIVING: Duration = Duration::from_millis(500);

/// A layer has stopped once it missed this many frames of the lowest one. Encoders skip up to three in a row to hold their
/// rate, and a layer's packets never wait behind those of so many later frames; it is 200 ms at 30 frames a second.
const MISSED: u32 = 6;

/// Layers per publication: the offer may name four encodings.
pub const LAYERS: usize = 4;

/// When each layer's latest packet arrived, worst layer first; `None` where it never did or has stopped.
pub type Arrivals = [Option<Instant>; LAYERS];

/// How a layer keeps step with the lowest one, which browsers send for as long as they send any. A layer that stops is
/// so noticed well before its silence is long.
#[derive(Default)]
pub struct Pace {
    newest: Option<u32>,
    missed: u32,
    widest: u32,
}

impl Pace {
    /// The lowest layer has begun another frame.
    pub fn miss(&mut self) {
        self.missed = self.missed.saturating_add(1);
    }

    /// A packet of this layer has come, `silence` after the one before; tells whether it begins another frame. The widest
    /// gap within a running stream is remembered: a layer of fewer frames a second than the lowest must not be left
    /// between any two of them.
    pub fn arrived(&mut self, timestamp: u32, silence: Duration) -> bool {
        if silence <= ARRIVING {
            self.widest = self.widest.max(self.missed);
        }
        self.missed = 0;
        let another = self.newest.is_none_or(|newest| (timestamp.wrapping_sub(newest) as i32) > 0);
        if another {
            self.newest = Some(timestamp);
        }
        another
    }

    /// Whether the layer has fallen out of step.
    pub fn is_behind(&self) -> bool {
        self.missed >= MISSED.max(2 * self.widest)
    }
}

/// The layer to send now, worst 0; `current` is what the receiver is sent already. `None` while nothing ever arrived.
/// With every layer silent the current one stays wanted, so that a tile never goes black over a pause of all.
pub fn choose(arrivals: &Arrivals, current: Option<usize>, now: Instant) -> Option<usize> {
    let arriving = |at: &Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) <= ARRIVING);
    let best = arrivals.iter().rposition(arriving);
    best.or(current).or_else(|| arrivals.iter().rposition(Option::is_some))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_misses_frames_is_behind_unless_that_is_its_way() {
        let mut pace = Pace::default();
        let miss = |pace: &mut Pace, count| (0..count).for_each(|_| pace.miss());
        miss(&mut pace, 5);
        assert!(!pace.is_behind());
        miss(&mut pace, 1);
        assert!(pace.is_behind());
        assert!(pace.arrived(u32::MAX, Duration::from_millis(200)));
        assert!(!pace.arrived(u32::MAX, Duration::ZERO), "another packet of the same frame");
        miss(&mut pace, 11);
        assert!(!pace.is_behind(), "five frames a second besides thirty");
        miss(&mut pace, 1);
        assert!(pace.is_behind());
        let mut pace = Pace::default();
        miss(&mut pace, 900);
        assert!(pace.arrived(0, Duration::from_secs(30)));
        assert!(!pace.arrived(u32::MAX, Duration::ZERO), "a late packet of the frame before");
        miss(&mut pace, 6);
        assert!(pace.is_behind(), "that it was once stopped makes it no slow layer");
    }

    #[test]
    fn the_best_arriving_layer_is_chosen() {
        let start = Instant::now();
        let now = start + Duration::from_secs(2);
        let fresh = Some(now - Duration::from_millis(100));
        let stale = Some(start);
        assert_eq!(choose(&[fresh, fresh, fresh, None], Some(0), now), Some(2));
        assert_eq!(choose(&[fresh, fresh, stale, None], Some(2), now), Some(1), "a silent layer is left");
        assert_eq!(choose(&[stale, stale, stale, None], Some(1), now), Some(1), "a pause of all changes nothing");
        assert_eq!(choose(&[stale, stale, None, None], None, now), Some(1));
        assert_eq!(choose(&[None; LAYERS], None, now), None);
    }
}
