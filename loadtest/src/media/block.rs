//! A block of random bytes that every tester has alike: contents of frames are slices of it, so that a receiver compares
//! instead of generating.

use std::sync::OnceLock;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Bytes of the largest slice: a key frame of a picture of 20 Mbit/s.
pub const LONGEST: usize = 256 * 1024;

/// Where slices may begin.
pub const OFFSETS: u32 = (LENGTH - LONGEST) as u32;

/// `length` bytes from `offset` on; `None` beyond the bounds above.
pub fn slice(offset: u32, length: usize) -> Option<&'static [u8]> {
    static BLOCK: OnceLock<Box<[u8]>> = OnceLock::new();
    if length > LONGEST || offset >= OFFSETS {
        return None;
    }
    let block = BLOCK.get_or_init(|| {
        let mut bytes = vec![0; LENGTH];
        ChaCha8Rng::seed_from_u64(SEED).fill_bytes(&mut bytes);
        bytes.into_boxed_slice()
    });
    block.get(offset as usize..offset as usize + length)
}

/// Twice the longest: as many places to begin as bytes to hold, and still at home in a second-level cache.
const LENGTH: usize = 2 * LONGEST;
/// Any number; another one would make this tester's frames a mismatch for older ones.
const SEED: u64 = 0x536f_7474_6f31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_stay_within_the_block() {
        assert_eq!(slice(0, LONGEST).map(<[u8]>::len), Some(LONGEST));
        assert_eq!(slice(OFFSETS - 1, LONGEST).map(<[u8]>::len), Some(LONGEST));
        assert_eq!(slice(OFFSETS, 1), None);
        assert_eq!(slice(0, LONGEST + 1), None);
        assert_eq!(slice(5, 4), slice(0, 9).map(|all| &all[5..]));
    }
}
