//! A participant: its hop, what it publishes and what it receives.

use std::time::Instant;

use crate::bwe::arrivals::Arrivals;
use crate::session::{ExtensionIds, Session, Ssrc};
use crate::transport::dtls::Handshake;
use crate::transport::srtp::Inbound;

use super::clock::ClockOffset;
use super::command::ParticipantKey;
use super::context::Context;
use super::downlink::Downlink;
use super::latch::Latches;
use super::link::Link;
use super::outbox::Path;
use super::subscription::Subscription;

/// One participant of a call.
pub struct Participant {
    /// What the control plane calls it.
    pub key: ParticipantKey,
    /// The way to it.
    pub link: Link,
    /// SHA-256 of the certificate that it must show.
    pub fingerprint: [u8; 32],
    /// Its DTLS association, begun on the first valid path.
    pub handshake: Option<Handshake>,
    /// Its DTLS association failed or was closed. There is no other before it negotiates anew: a browser begins none on
    /// the same connection, a wrong certificate stays wrong, and whoever insists would have the relay sign at every check.
    pub spent: bool,
    /// Where its latest DTLS datagram came from.
    pub dtls_path: Option<Path>,
    /// Opens what it sends; there are keys.
    pub inbound: Option<Inbound>,
    /// Protects what is sent to it; there are keys.
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
    pub fn new(link: Link, key: ParticipantKey, session: &Session, context: &mut Context<'_>) -> Self {
        Self {
            key,
            link,
            fingerprint: session.fingerprint,
            handshake: None,
            spent: false,
            dtls_path: None,
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

    /// Sends the compound that stands in the context, if any does, and empties it.
    pub fn send_rtcp(&mut self, context: &mut Context<'_>) {
        if let Some(downlink) = self.downlink.as_mut().filter(|_| self.live && !context.rtcp.is_empty()) {
            downlink.send_rtcp(context.rtcp, context.out, context.counters);
        }
        context.rtcp.clear();
    }
}
