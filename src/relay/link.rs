//! How a browser is reached: its ICE end (RFC 8445), what of it stands in the worker's routes, its run in the outbox and
//! its deadline. Sessions and legs of a tunnel have one each.

use std::time::Instant;

use arrayvec::{ArrayString, ArrayVec};

use crate::session::IceParameters;
use crate::transport::ice::{IceLite, Standing};

use super::context::Context;
use super::counters::{Drop, Protocol};
use super::outbox::{Path, RunKey};
use super::timers::{Alarm, End, Place};

/// The way to one browser's connection.
pub struct Link {
    /// Where it stands on this worker.
    pub place: Place,
    /// Its deadline.
    pub alarm: Alarm,
    /// The paths to it.
    pub ice: IceLite,
    /// Its run in the outbox.
    pub run: RunKey,
    /// The relay's ufrags that lead to it, as the routes know them.
    ufrags: ArrayVec<ArrayString<8>, 2>,
}

impl Link {
    /// A link without any path yet, at `end` of a call.
    pub fn new(call: usize, end: End, ice: &IceParameters, context: &mut Context<'_>) -> Self {
        let place = Place { call, end, serial: context.next_serial() };
        let run = context.out.open();
        Self { place, alarm: Alarm::default(), ice: IceLite::new(ice), run, ufrags: ArrayVec::new() }
    }

    /// Makes sure that it is called at `at` or earlier.
    pub fn arm(&mut self, at: Instant, context: &mut Context<'_>) {
        context.timers.arm(self.place, &mut self.alarm, at);
    }

    /// Answers a check that names this link; true where it was authentic, so that its path now leads here.
    pub fn answer_check(&mut self, path: Path, bytes: &[u8], context: &mut Context<'_>) -> bool {
        context.counters.received[Protocol::Stun as usize].add(bytes.len());
        // Whoever passed a check from an address first keeps it: another one's word does not take it away.
        if context.routes.paths.get(&path).is_some_and(|&place| place != self.place) {
            context.drop(Drop::Stun);
            return false;
        }
        let (ice, now) = (&mut self.ice, context.now);
        let mut outcome = None;
        let written =
            context.out.push_single(path, |reply| outcome = Some(ice.handle_request(now, path, bytes, reply)));
        if written > 0 {
            context.counters.sent[Protocol::Stun as usize].add(written);
        }
        let Some(Ok(outcome)) = outcome else {
            context.drop(Drop::Stun);
            return false;
        };
        if outcome.standing == Standing::Refused {
            return false;
        }
        if let Some(forgotten) = outcome.forgotten {
            context.routes.forget_path(&forgotten, self.place);
        }
        context.routes.paths.insert(path, self.place);
        if outcome.restarted {
            self.publish_ufrags(context);
        }
        // Also where it was selected before: expired consent has taken it from the run.
        if self.ice.selected() == Some(path) {
            context.out.set_path(self.run, path);
        }
        true
    }

    /// Whether it may be sent to: the browser has nominated a path, and consents.
    pub fn consents(&self, now: Instant) -> bool {
        self.ice.selected().is_some() && self.ice.consent_deadline().is_some_and(|at| at > now)
    }

    /// Makes the relay's ufrags of this link those that its ICE answers to.
    pub fn publish_ufrags(&mut self, context: &mut Context<'_>) {
        for ufrag in self.ufrags.drain(..) {
            context.routes.ufrags.remove(&ufrag);
        }
        for ufrag in self.ice.local_ufrags().take(2) {
            let ufrag = ArrayString::from(ufrag).expect("a ufrag of ours has eight characters");
            context.routes.ufrags.insert(ufrag, self.place);
            self.ufrags.push(ufrag);
        }
    }

    /// Forgets how to reach it: its addresses count as a stranger's.
    pub fn forget_paths(&mut self, context: &mut Context<'_>) {
        for path in self.ice.paths() {
            context.routes.forget_path(path, self.place);
        }
        context.out.clear_path(self.run);
    }

    /// Gives back what it holds of the worker.
    pub fn release(&mut self, context: &mut Context<'_>) {
        self.forget_paths(context);
        for ufrag in self.ufrags.drain(..) {
            context.routes.ufrags.remove(&ufrag);
        }
        context.out.close(self.run);
    }
}
