//! The engine for saturation: the `webrtc` family's handshake, then a media path of its own, many participants to a
//! thread.

pub mod connection;
pub mod description;
pub mod dtls;
pub mod feedback;
pub mod ice;
pub mod nack;
mod player;
pub mod receiving;
pub mod rtp;
pub mod sending;
pub mod socket;
pub mod srtp;
mod thread;

use std::io;

use crate::fleet::{Engine, Seat};
use thread::Thread;

/// The engine: threads, each with its share of the participants.
pub struct Light {
    threads: Vec<Thread>,
    next: usize,
}

impl Light {
    /// Starts so many threads, at least one. More than the machine has cores gain nothing; one leaves the others to
    /// the relay.
    ///
    /// # Errors
    /// Where the machine has no threads or descriptors left, or no random numbers.
    pub fn start(threads: usize) -> io::Result<Self> {
        let threads = (0..threads.max(1)).map(Thread::start).collect::<io::Result<_>>()?;
        Ok(Self { threads, next: 0 })
    }
}

impl Engine for Light {
    fn play(&mut self, seat: Seat) {
        self.threads[self.next].play(seat);
        self.next = (self.next + 1) % self.threads.len();
    }
}
