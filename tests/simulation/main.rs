//! The relay between simulated clients: virtual time, a network whose every mishap is decided by one seed, and clients
//! that do real ICE checks, DTLS, SRTP and RTCP. `SOTTO_SEED` repeats a run.

#![allow(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
#![allow(clippy::print_stdout, reason = "a run prints its seed")]
#![allow(clippy::unwrap_used, reason = "a client that fails fails its test")]

mod allocation;
mod blindness;
mod client;
mod codecs;
mod feedback;
mod flood;
mod forwarding;
mod handshake;
mod hostile;
mod membership;
mod track;
mod transport;
mod tunnel;
mod world;

#[global_allocator]
static ALLOCATOR: allocation::Counting = allocation::Counting;
