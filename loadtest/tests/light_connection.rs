//! Connections of the `light` engine meet on the relay's real binary.
#![allow(clippy::unwrap_used)] // a test that cannot go on says where
#![allow(missing_docs)]

#[path = "connection/detour.rs"]
mod detour;
#[path = "connection/light.rs"]
mod light;
#[path = "connection/peer.rs"]
mod peer;
#[path = "connection/scenarios.rs"]
mod scenarios;

pub use light::Connection;
