//! Sotto, a selective forwarding unit (SFU) that carries a call without being able to watch it.
//!
//! Follow a packet: [`worker`] receives it, [`relay`] decides, [`transport`] opens and closes the hop, [`udp`] sends.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests begin virtual time somewhere"))]

pub mod audit;
pub mod bwe;
pub mod call_log;
pub mod config;
pub mod media;
pub mod metrics;
#[cfg(feature = "probe")]
pub mod probe;
pub mod records;
pub mod relay;
pub mod rtp;
pub mod sdp;
pub mod session;
pub mod transparency;
pub mod transport;
pub mod udp;
pub mod worker;

#[cfg(test)]
mod unprintable;
