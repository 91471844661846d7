//! A participant: its hop, what it publishes and what it receives.

use std::time::Instant;

use arrayvec::{ArrayString, ArrayVec};

use crate::bwe::arrivals::Arrivals;
use crate::session::{ExtensionIds, Session, Ssrc};
use crate::transport::dtls::Handshake;
use crate::transport::ice::IceLite;
use crate::transport::srtp::Inbound;

use super::clock::ClockOffset;
use super::command::ParticipantKey;
use super::context::Context;
use super::downlink::Downlink;
use super::latch::Latches;
use super::outbox::{Path, RunKey};
use super::subscription::Subscription;
use super::timers::{Alarm, Place};

/// One participant of a call.
pub struct Participant {
    /// Where it stands on this worker.
    pub place: Place,
    /// What the control plane calls it.
    pub key: ParticipantKey,
    /// Its deadline.
    pub alarm: Alarm,
    /// The paths to it.
    pub ice: IceLite,
    /// The relay's ufrags that lead to it, as the routes know them.
    pub ufrags: ArrayVec<ArrayString<8>, 2>,
    /// SHA-256 of the certificate that it must show.
    pub fingerprint: [u8; 32],
    /// Its DTLS association, begun on the first valid path.
    pub handshake: Option<Handshake>,
    /// Its DTLS association failed or was closed. There is no other before it negotiates anew: a browser begins none on
    /// the same connection, a wrong certificate stays wrong, and whoever insists would have the relay sign at every check.
    pub spent: bool,
    /// Where its latest DTLS datagram came from.
    pub dtls_path: Option<Path>,
    /// Its run in the outbox.
    pub run: RunKey,
    /// Opens what it sends; there are keys.
    pub inbound: Option<Inbound>,
    /// The way to it; there are keys.
    pub downlink: Option<Downlink>,
    /// Keys, a nominated path and consent: it may be sent to.
    pub live: bool,
    /// The SSRC that the relay's own feedback to it comes from.
    pub ssrc: Ssrc,
    /// The numbers of its header extensions.
    pub extensions: ExtensionIds,
    /// Indices of its publications within the call.
    pub publications: Vec<usize>,
    /// What its SSRCs carry.
    pub latches: Latches,
    /// Arrivals for transport-wide feedback.
    pub arrivals: Arrivals,
    /// The latest SSRC that it sent media with, which transport-wide feedback names.
    pub latest_ssrc: Ssrc,
    /// Its clock against the relay's.
    pub clock: ClockOffset,
    /// When the next reports are due.
    pub report_at: Option<Instant>,
    /// What it receives. A slot that a renegotiation takes away stays here unbound: its SSRC must never begin anew
    /// under the same keys.
    pub slots: Vec<Subscription>,
}

impl Participant {
    /// A participant whose transport is yet to come; its m-lines are added by the call.
    pub fn new(place: Place, key: ParticipantKey, session: &Session, context: &mut Context<'_>) -> Self {
        Self {
            place,
            key,
            alarm: Alarm::default(),
            ice: IceLite::new(&session.ice),
            ufrags: ArrayVec::new(),
            fingerprint: session.fingerprint,
            handshake: None,
            spent: false,
            dtls_path: None,
            run: context.out.open(),
            inbound: None,
            downlink: None,
            live: false,
            ssrc: context.random_ssrc(),
            extensions: session.extensions,
            publications: Vec::new(),
            latches: Latches::default(),
            arrivals: Arrivals::new(context.now),
            latest_ssrc: Ssrc(0),
            clock: ClockOffset::default(),
            report_at: None,
            slots: Vec::new(),
        }
    }

    /// Makes sure that it is called at `at` or earlier.
    pub fn arm(&mut self, at: Instant, context: &mut Context<'_>) {
        context.timers.arm(self.place, &mut self.alarm, at);
    }

    /// Sends the compound that stands in the context, if any does, and empties it.
    pub fn send_rtcp(&mut self, context: &mut Context<'_>) {
        if let Some(downlink) = self.downlink.as_mut().filter(|_| self.live && !context.rtcp.is_empty()) {
            downlink.send_rtcp(context.rtcp, context.out, context.counters);
        }
        context.rtcp.clear();
    }

    /// Makes the relay's ufrags of this participant those that its ICE answers to.
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
