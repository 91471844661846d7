//! The signaling server over real sockets, with a media plane and a call log that only take notes.

#![allow(clippy::unwrap_used)] // in a test, what goes wrong is the result

mod abuse;
mod admission;
mod call;
mod client;
mod fake;
mod host;
mod http;
mod stopping;
mod tls;
mod tunnel;
