//! The engine for saturation: the `webrtc` family's handshake, then a media path of its own, many participants to a
//! thread.

pub mod connection;
pub mod description;
pub mod dtls;
pub mod feedback;
pub mod ice;
pub mod nack;
pub mod receiving;
pub mod rtp;
pub mod sending;
pub mod socket;
pub mod srtp;
