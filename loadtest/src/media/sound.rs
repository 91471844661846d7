//! What microphones hear: a tone, or something that an encoder takes for speech. Made to be looped without a seam.

use std::f64::consts::TAU;

use crate::plan::Signal;

/// Samples per second.
pub const RATE: u32 = 48_000;

/// Seconds of one loop: a phrase and the pause behind it.
pub const LOOP: u32 = 3;

/// One loop of a voice, mono.
pub fn samples(signal: Signal, variant: u8) -> Vec<f32> {
    let pitch = pitch(signal, variant);
    let sample = |n: u32| {
        let t = f64::from(n) / f64::from(RATE);
        match signal {
            Signal::Tone => LOUDNESS * (TAU * pitch * t).sin(),
            Signal::Speech => LOUDNESS * syllables(t) * vowel(pitch, t),
        }
    };
    (0..RATE * LOOP).map(|n| sample(n) as f32).collect()
}

/// The voice's pitch, Hz: a semitone higher for each variant, in whole periods per loop.
pub fn pitch(signal: Signal, variant: u8) -> f64 {
    let lowest = match signal {
        Signal::Tone => 330.0,
        Signal::Speech => 90.0, // a deep man's; the fifteenth variant is a woman's
    };
    let wanted = lowest * 2f64.powf(f64::from(variant) / 12.0);
    (wanted * f64::from(LOOP)).round() / f64::from(LOOP)
}

/// Four syllables a second, each of another loudness, for two thirds of the loop.
fn syllables(t: f64) -> f64 {
    if t >= PHRASE {
        return 0.0;
    }
    let loudness = 0.6 + 0.4 * (TAU * t / PHRASE * 3.0).cos();
    loudness * (TAU * 4.0 * t / 2.0).sin().abs()
}

/// Harmonics with two formants that wander as the vowel changes.
fn vowel(pitch: f64, t: f64) -> f64 {
    let turn = (TAU * t / PHRASE).sin();
    let (first, second) = (500.0 + 200.0 * turn, 1_500.0 - 500.0 * turn);
    let weight = |hz: f64| 1.0 / (1.0 + ((hz - first) / 150.0).powi(2)) + 0.5 / (1.0 + ((hz - second) / 250.0).powi(2));
    let harmonics = (1..=24).map(|n| f64::from(n) * pitch).filter(|&hz| hz < 4_000.0);
    harmonics.map(|hz| weight(hz) * (TAU * hz * t).sin()).sum::<f64>() / 2.0
}

/// Of full scale: speech level, with room for the harmonics' peaks.
const LOUDNESS: f64 = 0.25;
/// Seconds of each loop in which somebody speaks.
const PHRASE: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_goes_on_over_the_seam() {
        for variant in [0, 7, 15] {
            let tone = samples(Signal::Tone, variant);
            let step = tone.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
            assert!((tone[0] - tone[tone.len() - 1]).abs() <= step * 1.01);
        }
    }

    #[test]
    fn speech_pauses_and_does_not_clip() {
        for variant in 0..16 {
            let speech = samples(Signal::Speech, variant);
            let (spoken, pause) = speech.split_at((PHRASE * f64::from(RATE)) as usize);
            assert!(pause.iter().all(|&sample| sample == 0.0));
            let loudest = spoken.iter().fold(0f32, |loudest, sample| loudest.max(sample.abs()));
            assert!((0.05..0.95).contains(&loudest), "variant {variant}: {loudest}");
        }
    }
}
