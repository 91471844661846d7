//! Signaling: the messages of PROTOCOL.md, WebSocket sessions, rooms, and the embedded web client.

pub mod media;
