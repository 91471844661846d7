//! Signaling: the messages of PROTOCOL.md, WebSocket sessions, rooms, and the embedded web client.
//!
//! Follow a participant: [`server`] takes the request, `session` reads its WebSocket, [`admission`] lets it in, the
//! directory finds its call, and the call's task asks [`room`] what to do and [`media`] to carry it.

pub mod admission;
pub mod base64url;
mod call;
pub mod call_log;
pub mod counters;
mod directory;
pub mod host;
pub mod limits;
pub mod listener;
pub mod media;
pub mod message;
mod outbox;
pub mod pages;
pub mod room;
pub mod server;
mod session;
#[cfg(test)]
mod unprintable;

pub use server::{Server, Services};
