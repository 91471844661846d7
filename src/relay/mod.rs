//! The media plane's core, free of input and output: it is told the time and the bytes, and answers with datagrams,
//! events and its next deadline.

pub mod command;
pub mod counters;
pub mod outbox;

mod bucket;
mod cache;
mod call;
mod clock;
mod context;
mod downlink;
mod feedback;
mod forward;
mod hop;
mod keyframe;
mod latch;
mod layer;
mod link;
mod nack;
mod packet;
mod participant;
mod publication;
mod reception;
mod repeats;
mod report;
mod rewrite;
mod sent;
mod subscription;
mod timers;
mod tunnel;
#[cfg(test)]
mod unprintable;
mod window;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slab::Slab;

use crate::transport::dtls::Certificate;
use crate::transport::ice;

use self::call::Call;
use self::clock::{Ntp, RelayClock};
use self::command::{CallKey, Command, Event};
use self::context::{Context, Routes};
use self::counters::{Counters, Drop, Protocol};
use self::outbox::{Outbox, Path};
use self::timers::{End, Timers};

/// What a relay is made with.
pub struct Config {
    /// The certificate that it shows in DTLS; signaling announces its fingerprint.
    pub certificate: Certificate,
}

/// A datagram from the socket.
pub struct Datagram<'a> {
    /// Where it came from, and to which address of ours.
    pub path: Path,
    /// When the kernel took it in.
    pub arrived: Instant,
    /// Its bytes, which are decrypted where they stand.
    pub bytes: &'a mut [u8],
}

/// The calls of one worker.
pub struct Relay {
    calls: Slab<Call>,
    keys: HashMap<CallKey, usize, RandomState>,
    worker: Worker,
}

/// What the calls of a worker share.
struct Worker {
    routes: Routes,
    timers: Timers,
    counters: Counters,
    clock: RelayClock,
    certificate: Certificate,
    random: StdRng,
    rtcp: Vec<u8>,
    serial: u64,
}

impl Relay {
    /// A relay without calls. `seed` determines every random choice in it: SSRCs of its feedback, first sequence
    /// numbers and timestamps.
    pub fn new(config: Config, now: Instant, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let clock = RelayClock::new(now, Ntp(random.next_u64()));
        let worker = Worker {
            routes: Routes::default(),
            timers: Timers::default(),
            counters: Counters::default(),
            clock,
            certificate: config.certificate,
            random,
            rtcp: Vec::new(),
            serial: 0,
        };
        Self { calls: Slab::new(), keys: HashMap::default(), worker }
    }

    /// Takes one datagram. Whatever is not a participant's changes nothing but a counter.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>, out: &mut Outbox) {
        let Datagram { path, arrived, bytes } = datagram;
        let protocol = classify(bytes);
        let place = match protocol {
            Some(Protocol::Stun) => ice::ufrag_of(bytes)
                .and_then(|ufrag| std::str::from_utf8(ufrag).ok())
                .and_then(|ufrag| self.worker.routes.ufrags.get(ufrag)),
            _ => self.worker.routes.paths.get(&path),
        };
        let Some(&place) = place else {
            return self.worker.counters.drop(match protocol {
                Some(Protocol::Stun) => Drop::Stun,
                Some(_) => Drop::UnknownSource,
                None => Drop::Unrecognised,
            });
        };
        self.run(place.call, now, out, |call, context| match (place.end, protocol) {
            (End::Leg(side), Some(Protocol::Stun)) => call.tunnel.handle_check(side, path, bytes, context),
            (End::Leg(side), _) => call.tunnel.forward(side, protocol, bytes, context),
            (End::Session(index), Some(Protocol::Stun)) => call.handle_check(index, path, bytes, context),
            (End::Session(index), Some(Protocol::Dtls)) => call.handle_dtls(index, path, bytes, context),
            (End::Session(index), Some(Protocol::Rtcp)) => call.handle_rtcp(index, bytes, arrived, context),
            (End::Session(index), Some(_)) => call.handle_rtp(index, bytes, arrived, context),
            (End::Session(_), None) => context.drop(Drop::Unrecognised),
        });
    }

    /// Carries out one command.
    pub fn handle_command(&mut self, now: Instant, command: Command, out: &mut Outbox) {
        match command {
            Command::Open { call } => self.open(call),
            Command::Close { call } => self.close(call, now, out),
            Command::Negotiated { call, participant, session } => {
                self.run_key(call, now, out, |call, context| call.negotiated(participant, *session, context));
            }
            Command::Bind { call, receiver, slot, source } => {
                self.run_key(call, now, out, |call, context| call.bind(receiver, slot, source, context));
            }
            Command::Leave { call, participant } => {
                self.run_key(call, now, out, |call, context| call.leave(participant, context));
            }
            Command::Tunnel { call, participant, other, ice } => {
                self.run_key(call, now, out, |call, context| call.connect_tunnel((participant, other), &ice, context));
            }
            Command::EndTunnel { call, participant } => {
                self.run_key(call, now, out, |call, context| call.tunnel.end_leg(participant, context));
            }
        }
    }

    /// Does everything that is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        while let Some((at, place)) = self.worker.timers.pop(now) {
            if self.calls.get_mut(place.call).is_some_and(|call| call.alarm_fired(place, at)) {
                self.run(place.call, now, out, |call, context| match place.end {
                    End::Session(index) => call.handle_timeout(index, context),
                    End::Leg(side) => call.tunnel.handle_timeout(side, context),
                });
            }
        }
    }

    /// When something is due next; `None` while there is nothing to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.worker.timers.next()
    }

    /// What was counted since the start.
    pub fn counters(&self) -> &Counters {
        &self.worker.counters
    }

    /// Sizes of everything that grows with use: calls, paths, ufrags, deadlines. Tests see by them that nothing stays
    /// behind.
    #[doc(hidden)]
    pub fn sizes(&self) -> [usize; 4] {
        let routes = &self.worker.routes;
        [self.calls.len(), routes.paths.len(), routes.ufrags.len(), self.worker.timers.len()]
    }

    /// Makes the call panic on the next thing that happens in it.
    #[cfg(any(test, feature = "probe"))]
    pub fn doom(&mut self, call: CallKey) {
        if let Some(&index) = self.keys.get(&call) {
            self.calls[index].doomed = true;
        }
    }

    /// Makes the call drop a packet now and then for what its payload ends in.
    #[cfg(any(test, feature = "probe"))]
    pub fn make_curious(&mut self, call: CallKey) {
        if let Some(&index) = self.keys.get(&call) {
            self.calls[index].curious = true;
        }
    }

    fn open(&mut self, key: CallKey) {
        if self.keys.contains_key(&key) {
            return;
        }
        let entry = self.calls.vacant_entry();
        self.keys.insert(key, entry.key());
        let index = entry.key();
        entry.insert(Call::new(key, index));
        self.worker.counters.calls += 1;
    }

    fn close(&mut self, key: CallKey, now: Instant, out: &mut Outbox) {
        let Some(&index) = self.keys.get(&key) else { return };
        self.run(index, now, out, |call, context| call.close(context));
        // A panic while closing has removed it already.
        if self.keys.remove(&key).is_some() {
            self.calls.remove(index);
            self.worker.counters.calls -= 1;
        }
    }

    fn run_key(
        &mut self,
        key: CallKey,
        now: Instant,
        out: &mut Outbox,
        work: impl FnOnce(&mut Call, &mut Context<'_>),
    ) {
        if let Some(&index) = self.keys.get(&key) {
            self.run(index, now, out, work);
        }
    }

    /// Works on one call. A panic ends that call and no other.
    fn run(&mut self, index: usize, now: Instant, out: &mut Outbox, work: impl FnOnce(&mut Call, &mut Context<'_>)) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let mut context = self.worker.context(now, out);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(any(test, feature = "probe"))]
            assert!(!call.doomed, "this call was told to panic");
            work(call, &mut context);
        }));
        if outcome.is_err() {
            self.bury(index, now, out);
        }
    }

    /// Removes a call whose state a panic has left in doubt.
    #[cold]
    fn bury(&mut self, index: usize, now: Instant, out: &mut Outbox) {
        let mut call = self.calls.remove(index);
        let key = call.key;
        self.keys.remove(&key);
        let mut context = self.worker.context(now, out);
        // Even taking it apart may fail; the memory is given back as far as it goes.
        let _ = catch_unwind(AssertUnwindSafe(move || {
            call.abandon(&mut context);
            drop(call);
        }));
        self.worker.counters.calls -= 1;
        self.worker.counters.panics += 1;
        out.events.push(Event::Failed { call: key });
    }
}

impl Worker {
    fn context<'a>(&'a mut self, now: Instant, out: &'a mut Outbox) -> Context<'a> {
        Context {
            now,
            out,
            counters: &mut self.counters,
            timers: &mut self.timers,
            routes: &mut self.routes,
            clock: self.clock,
            certificate: &self.certificate,
            random: &mut self.random,
            rtcp: &mut self.rtcp,
            serial: &mut self.serial,
        }
    }
}

/// What a datagram is by its first bytes (RFC 7983; RFC 5761, section 4, for RTCP). Media counts as video here: its
/// m-line is known once it is opened.
fn classify(bytes: &[u8]) -> Option<Protocol> {
    match bytes {
        [0..=3, ..] => Some(Protocol::Stun),
        [20..=63, ..] => Some(Protocol::Dtls),
        [128..=191, 192..=223, ..] => Some(Protocol::Rtcp),
        [128..=191, _, ..] => Some(Protocol::Video),
        _ => None,
    }
}
