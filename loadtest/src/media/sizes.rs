//! Sizes of encoded pictures as an encoder with a rate to hold makes them: large key frames, smaller ones until those are
//! paid back, and noise.

use std::f64::consts::TAU;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// The sizes of one encoding.
pub struct Sizes {
    average: f64,
    debt: f64,
    frames_per_second: f64,
    rng: ChaCha8Rng,
}

impl Sizes {
    /// Of an encoding with this many bits and frames per second.
    pub fn new(bitrate: u32, frames_per_second: u32, rng: ChaCha8Rng) -> Self {
        let frames_per_second = f64::from(frames_per_second.max(1));
        Self { average: f64::from(bitrate) / 8.0 / frames_per_second, debt: 0.0, frames_per_second, rng }
    }

    /// Bytes of the next picture.
    pub fn next(&mut self, key: bool) -> usize {
        let wanted = if key {
            KEY_FRAME * self.average
        } else {
            (self.average - self.debt / self.frames_per_second).max(LEAST * self.average)
        };
        let deviation = if key { KEY_DEVIATION } else { DEVIATION };
        // Mean of a lognormal distribution is 1 with this shift.
        let size = wanted * (deviation * self.gaussian() - deviation * deviation / 2.0).exp();
        self.debt = (self.debt + size - self.average).min(MOST_DEBT * self.average * self.frames_per_second);
        size.round() as usize
    }

    /// Box and Muller's method.
    fn gaussian(&mut self) -> f64 {
        let (radius, angle) = (self.uniform(), self.uniform());
        (-2.0 * (1.0 - radius).ln()).sqrt() * (TAU * angle).cos()
    }

    /// From 0 to below 1.
    fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A key frame in frames of the average size, as libvpx makes them of a talking head at call bitrates.
const KEY_FRAME: f64 = 5.0;
/// Standard deviations of the logarithms of sizes: content changes little from one picture to the next.
const DEVIATION: f64 = 0.25;
const KEY_DEVIATION: f64 = 0.1;
/// The smallest picture while a key frame is paid back, of the average.
const LEAST: f64 = 0.3;
/// Seconds that are paid back at most: who asks for key frames all the time gets a higher rate, as with real encoders.
const MOST_DEBT: f64 = 1.0;

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn sizes_hold_the_bitrate_and_key_frames_are_large() {
        for seed in 0..8 {
            let mut sizes = Sizes::new(1_200_000, 30, ChaCha8Rng::seed_from_u64(seed));
            let key = sizes.next(true);
            let deltas: Vec<_> = (0..3_000).map(|_| sizes.next(false)).collect();
            let total = (key + deltas.iter().sum::<usize>()) as f64;
            let bitrate = total * 8.0 * 30.0 / 3_001.0;
            assert!((bitrate / 1_200_000.0 - 1.0).abs() < 0.02, "seed {seed}: {bitrate}");
            assert!(key > 3 * 5_000, "seed {seed}: a key frame of {key} bytes");
            assert!(deltas.iter().min() < deltas.iter().max());
        }
    }
}
