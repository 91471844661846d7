//! A sliding window over extended sequence numbers that tells a first sight from a repetition.

/// Bits kept behind the highest index: 1,024 packets are three seconds of a 4 Mbit/s stream, longer than any
/// retransmission is worth.
const BITS: u64 = 1024;
const WORDS: usize = (BITS / 64) as usize;

/// Which of the latest indices were seen.
#[derive(Clone)]
pub struct Window {
    highest: Option<u64>,
    seen: [u64; WORDS],
}

impl Window {
    /// A window that has seen nothing.
    pub const fn new() -> Self {
        Self { highest: None, seen: [0; WORDS] }
    }

    /// Marks an index; `false` where it was marked before, or is too old to tell.
    pub fn insert(&mut self, index: u64) -> bool {
        match self.highest {
            None => self.highest = Some(index),
            Some(highest) if index > highest => {
                self.clear_range(highest, index);
                self.highest = Some(index);
            }
            Some(highest) if highest - index >= BITS => return false,
            Some(_) => {}
        }
        let (word, bit) = Self::place(index);
        let first = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        first
    }

    /// The highest index marked.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }

    fn clear_range(&mut self, highest: u64, index: u64) {
        if index - highest >= BITS {
            self.seen = [0; WORDS];
            return;
        }
        for index in highest + 1..=index {
            let (word, bit) = Self::place(index);
            self.seen[word] &= !bit;
        }
    }

    fn place(index: u64) -> (usize, u64) {
        ((index % BITS / 64) as usize, 1 << (index % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_counts_once() {
        let mut window = Window::new();
        assert!(window.insert(70_000));
        assert!(!window.insert(70_000));
        assert!(window.insert(69_999), "a late one is new");
        assert!(!window.insert(69_999));
        assert!(window.insert(70_001));
        assert_eq!(window.highest(), Some(70_001));
    }

    #[test]
    fn what_is_too_old_to_tell_counts_as_seen() {
        let mut window = Window::new();
        assert!(window.insert(5_000));
        assert!(!window.insert(5_000 - BITS));
        assert!(window.insert(5_001 - BITS));
        assert!(window.insert(9_000), "a leap forgets everything before");
        assert!(!window.insert(5_000));
        assert!(window.insert(8_999));
    }
}
