//! What is sent and how it is known again: sources of sound and picture, packets, frames put together and compared.
//!
//! A frame ends in a [`stamp`]: who sent it, as the how-manieth, when, and from what its [`content`] can be made again.

pub mod assembly;
pub mod block;
pub mod clip;
pub mod content;
pub mod continuity;
pub mod descriptor;
pub mod inbound;
pub mod outgoing;
pub mod packetizer;
pub mod sizes;
pub mod sound;
pub mod stamp;
pub mod voice;

pub use inbound::Inbound;
pub use outgoing::Outgoing;

/// Who sends: a participant of a run of this tester. A receiver that expects another counts a mismatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// A number of the run, so that two testers in one call do not take each other's frames for their own.
    pub run: u64,
    /// The call, from 0.
    pub call: u32,
    /// The place in the call, from 0.
    pub index: u32,
}

/// Whether the frame with this RTP timestamp is among the `one_in` that are decrypted and checked; 0 and 1 mean all.
/// Engines leave the packets of others sealed. Streams differ in their first timestamp, and so in their sample.
pub fn in_sample(timestamp: u32, one_in: u32) -> bool {
    // Timestamps advance in even steps, which a remainder alone would follow in step.
    one_in <= 1 || (timestamp.wrapping_mul(GOLDEN) >> 16).is_multiple_of(one_in)
}

/// 2^32 divided by the golden ratio, odd: multiplication by it spreads even steps evenly.
const GOLDEN: u32 = 0x9e37_79b9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_takes_its_share_of_voice_and_picture() {
        for (step, one_in) in [(960, 10), (3_000, 10), (1_500, 7), (960, 100)] {
            let frames = 20_000;
            let taken = (0..frames).filter(|n| in_sample(77 + n * step, one_in)).count() as f64;
            let share = taken * f64::from(one_in) / f64::from(frames);
            assert!((0.8..1.2).contains(&share), "one in {one_in} of steps of {step}: {share}");
        }
        assert!((0..100).all(|n| in_sample(n * 960, 1) && in_sample(n, 0)));
    }
}
