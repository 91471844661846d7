//! The engine that is the `webrtc` crate from end to end: its ICE, DTLS, SRTP, retransmission, transport-wide feedback
//! and reports. Costs more than a browser's share of a core for each participant, and is as independent of the relay
//! as a browser.

pub mod connection;
pub mod gaps;
pub mod inbox;
pub mod lines;
pub mod play;
pub mod runtime;
pub mod slots;
pub mod tap;
