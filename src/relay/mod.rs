//! The media plane's core, free of input and output: it is told the time and the bytes, and answers with datagrams,
//! events and its next deadline.

pub mod command;
pub mod counters;
pub mod outbox;
