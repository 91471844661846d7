//! The relay between simulated clients: virtual time, a network whose every mishap is decided by one seed, and clients
//! that do real ICE checks, DTLS, SRTP and RTCP. `SOTTO_SEED` repeats a run.

mod allocation;
mod client;
mod feedback;
mod forwarding;
mod hostile;
mod membership;
mod track;
mod transport;
mod world;

#[global_allocator]
static ALLOCATOR: allocation::Counting = allocation::Counting;
