//! What a stream was like for who received it: told of packets and frames and the time, it counts.

pub mod durations;
pub mod interval;
pub mod jitter;
pub mod playback;
pub mod sequences;
pub mod tally;

pub use durations::Durations;
pub use interval::Interval;
pub use tally::Tally;
