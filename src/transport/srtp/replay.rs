//! Replay windows (RFC 3711, section 3.3.2): which of the latest indices of an SSRC were seen. Only authentic packets
//! change them.

use crate::session::Ssrc;

/// A sliding window over the latest `64 * (WORDS - 1)` indices of one SSRC.
struct Window<const WORDS: usize> {
    highest: u64,
    /// A ring: the bit of an index stands where its low bits say. One word more than the window covers, since the
    /// word that the highest index stands in is only partly used.
    seen: [u64; WORDS],
}

/// The windows of one participant, at most `limit` of them.
///
/// A plain list: a participant has about ten SSRCs, a scan over their ids costs less than hashing, and no choice of
/// SSRCs makes it slower than a scan of the full list.
pub(super) struct Windows<const WORDS: usize> {
    ssrcs: Vec<Ssrc>,
    windows: Vec<Window<WORDS>>,
    limit: usize,
}

/// Where a packet stands before it is authenticated.
#[derive(Clone, Copy)]
pub(super) struct Place(Option<usize>);

impl<const WORDS: usize> Windows<WORDS> {
    pub(super) fn new(limit: usize) -> Self {
        Self { ssrcs: Vec::new(), windows: Vec::new(), limit }
    }

    /// The SSRC's place, or `None` where there is no room for another.
    pub(super) fn place(&self, ssrc: Ssrc) -> Option<Place> {
        let found = self.ssrcs.iter().position(|&known| known == ssrc);
        (found.is_some() || self.ssrcs.len() < self.limit).then_some(Place(found))
    }

    /// The highest index so far, `None` for a new SSRC.
    pub(super) fn highest(&self, place: Place) -> Option<u64> {
        place.0.map(|slot| self.windows[slot].highest)
    }

    /// Whether the index was not seen and is young enough to tell.
    pub(super) fn is_fresh(&self, place: Place, index: u64) -> bool {
        place.0.is_none_or(|slot| self.windows[slot].is_fresh(index))
    }

    /// Remembers an authentic packet.
    pub(super) fn admit(&mut self, place: Place, ssrc: Ssrc, index: u64) {
        match place.0 {
            Some(slot) => self.windows[slot].admit(index),
            None => {
                self.ssrcs.push(ssrc);
                self.windows.push(Window::new(index));
            }
        }
    }
}

impl<const WORDS: usize> Window<WORDS> {
    const SPAN: u64 = 64 * (WORDS as u64 - 1);

    fn new(first: u64) -> Self {
        let mut window = Self { highest: first, seen: [0; WORDS] };
        window.admit(first);
        window
    }

    fn is_fresh(&self, index: u64) -> bool {
        if index > self.highest {
            return true;
        }
        self.highest - index < Self::SPAN && self.seen[Self::word(index)] & Self::bit(index) == 0
    }

    fn admit(&mut self, index: u64) {
        if index > self.highest {
            let skipped = (index / 64 - self.highest / 64).min(WORDS as u64);
            for word in 1..=skipped {
                self.seen[Self::word(self.highest + 64 * word)] = 0;
            }
            self.highest = index;
        }
        self.seen[Self::word(index)] |= Self::bit(index);
    }

    fn word(index: u64) -> usize {
        (index / 64) as usize % WORDS
    }

    fn bit(index: u64) -> u64 {
        1 << (index % 64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_window_reaches_back_as_far_as_it_says_and_no_further() {
        let mut window = Window::<4>::new(1_000);
        assert!(window.is_fresh(1_000 - 191) && !window.is_fresh(1_000 - 192));
        window.admit(1_000 - 191);
        assert!(!window.is_fresh(1_000 - 191));
        window.admit(u64::MAX >> 16);
        assert!(!window.is_fresh(1_000));
    }

    #[test]
    fn an_ssrc_beyond_the_limit_has_no_place_and_takes_none() {
        let mut windows = Windows::<4>::new(2);
        for ssrc in [Ssrc(1), Ssrc(2)] {
            let place = windows.place(ssrc).unwrap();
            windows.admit(place, ssrc, 5);
        }
        assert!(windows.place(Ssrc(3)).is_none());
        assert!(!windows.is_fresh(windows.place(Ssrc(2)).unwrap(), 5));
    }

    proptest! {
        #[test]
        fn nothing_within_the_window_is_taken_twice_or_refused_once(
            steps in prop::collection::vec(prop_oneof![8 => -250i64..60, 1 => -2_000i64..2_000], 1..400),
        ) {
            let mut at = 5_000u64;
            let mut window = Window::<4>::new(at);
            let mut seen = HashSet::from([at]);
            let mut highest = at;
            for step in steps {
                at = at.saturating_add_signed(step);
                let expected = at > highest || (highest - at < 192 && !seen.contains(&at));
                prop_assert_eq!(window.is_fresh(at), expected, "{} below {}", at, highest);
                if expected {
                    window.admit(at);
                    seen.insert(at);
                    highest = highest.max(at);
                }
            }
        }
    }
}
