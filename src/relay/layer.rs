//! Which simulcast layer a receiver is sent. Today: the best that arrives. A choice by bandwidth or by the size of the
//! tile replaces [`choose`] alone.

use std::time::{Duration, Instant};

/// A layer counts as arriving while its latest packet is no older than this: browsers send at least two frames a second
/// in any layer that they send at all (screens at 5 fps, cameras paced down to 2), and viewers notice a longer freeze.
const ARRIVING: Duration = Duration::from_millis(500);

/// Layers per publication: the offer may name four encodings.
pub const LAYERS: usize = 4;

/// When each layer's latest packet arrived, worst layer first.
pub type Arrivals = [Option<Instant>; LAYERS];

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
