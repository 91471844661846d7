//! What a call needs of its worker while it handles one datagram, command or timeout.

use std::time::Instant;

use arrayvec::ArrayString;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use rand::rngs::StdRng;

use crate::session::Ssrc;
use crate::transport::dtls::Certificate;

use super::clock::{Ntp, RelayClock};
use super::command::Event;
use super::counters::{Counters, Drop, Protocol};
use super::outbox::{Outbox, Path};
use super::timers::{Place, Timers};

/// The worker's side of one step.
pub struct Context<'a> {
    /// The time of this step.
    pub now: Instant,
    /// Where datagrams and events go.
    pub out: &'a mut Outbox,
    /// What the worker counts.
    pub counters: &'a mut Counters,
    /// The worker's deadlines.
    pub timers: &'a mut Timers,
    /// Who is behind an address or a ufrag.
    pub routes: &'a mut Routes,
    /// The relay's wall clock.
    pub clock: RelayClock,
    /// The certificate shown in DTLS.
    pub certificate: &'a Certificate,
    /// Seeded randomness.
    pub random: &'a mut StdRng,
    /// Room to put RTCP together in.
    pub rtcp: &'a mut Vec<u8>,
    /// Counts streams, so that none is taken for another.
    pub serial: &'a mut u64,
}

impl Context<'_> {
    /// The time of this step on the relay's wall clock.
    pub fn ntp(&self) -> Ntp {
        self.clock.at(self.now)
    }

    /// Counts something thrown away.
    pub fn drop(&mut self, reason: Drop) {
        self.counters.drop(reason);
    }

    /// Tells the control plane.
    pub fn event(&mut self, event: Event) {
        self.out.events.push(event);
    }

    /// A number that no stream on this worker had before.
    pub fn next_serial(&mut self) -> u64 {
        *self.serial += 1;
        *self.serial
    }

    /// A random number.
    pub fn random(&mut self) -> u32 {
        rand::Rng::next_u32(self.random)
    }

    /// A random SSRC.
    pub fn random_ssrc(&mut self) -> Ssrc {
        Ssrc(self.random())
    }

    /// Sends a datagram that belongs to no run.
    pub fn send_single(&mut self, path: Path, protocol: Protocol, bytes: &[u8]) {
        self.counters.sent[protocol as usize].add(bytes.len());
        self.out.push_single(path, |buffer| buffer.extend_from_slice(bytes));
    }
}

/// Which link is behind an address or a ufrag. Only authenticated checks and signaling add to it: at most eight addresses
/// and two ufrags for each link.
#[derive(Default)]
pub struct Routes {
    /// Paths that passed a check.
    pub paths: HashMap<Path, Place, RandomState>,
    /// The relay's ufrags.
    pub ufrags: HashMap<ArrayString<8>, Place, RandomState>,
}

impl Routes {
    /// Forgets a path, if it is this link's.
    pub fn forget_path(&mut self, path: &Path, place: Place) {
        if self.paths.get(path) == Some(&place) {
            self.paths.remove(path);
        }
    }

    /// Forgets everything of a call.
    pub fn forget_call(&mut self, call: usize) {
        self.paths.retain(|_, place| place.call != call);
        self.ufrags.retain(|_, place| place.call != call);
    }
}
