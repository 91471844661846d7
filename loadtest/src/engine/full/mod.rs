//! The engine that is the `webrtc` crate from end to end: its ICE, DTLS, SRTP, retransmission, transport-wide feedback
//! and reports; as independent of the relay as a browser. A packet costs it several times what it costs the relay, so
//! on one machine it is the first to have enough.

pub mod connection;
pub mod gaps;
pub mod inbox;
pub mod lines;
pub mod play;
pub mod runtime;
pub mod slots;
pub mod tap;
