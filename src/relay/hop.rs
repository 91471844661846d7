//! A participant's transport within its call: ICE checks make paths, DTLS over them makes keys, consent keeps them.

use std::time::Instant;

use crate::transport::dtls::{DtlsError, Handshake, Progress};
use crate::transport::srtp::{Inbound, Outbound, SrtpKeys};

use super::call::Call;
use super::command::{Disconnect, Event};
use super::context::Context;
use super::counters::{Drop, Protocol};
use super::downlink::Downlink;
use super::outbox::Path;
use super::participant::Participant;
use super::subscription::Subscription;

impl Call {
    /// Answers a check that names this participant, and follows what it changed.
    pub fn handle_check(&mut self, index: usize, path: Path, bytes: &[u8], context: &mut Context<'_>) {
        let participant = &mut self.participants[index];
        if !participant.link.answer_check(path, bytes, context) {
            return;
        }
        if participant.handshake.is_none() && participant.inbound.is_none() && !participant.spent {
            participant.handshake = Some(Handshake::new(context.certificate, context.now, participant.fingerprint));
            participant.dtls_path = Some(path);
        }
        self.become_live(index, context);
        if let Some(at) = self.participants[index].transport_deadline() {
            self.participants[index].link.arm(at, context);
        }
    }

    /// Takes a DTLS datagram from a path that passed a check.
    pub fn handle_dtls(&mut self, index: usize, path: Path, bytes: &[u8], context: &mut Context<'_>) {
        context.counters.received[Protocol::Dtls as usize].add(bytes.len());
        let participant = &mut self.participants[index];
        participant.dtls_path = Some(path);
        let Some(handshake) = &mut participant.handshake else { return context.drop(Drop::Early) };
        let outcome = handshake.handle_datagram(context.now, bytes);
        self.drive_handshake(index, outcome, context);
    }

    /// Does what is due for the transport.
    pub fn transport_timeout(&mut self, index: usize, context: &mut Context<'_>) {
        let participant = &mut self.participants[index];
        if participant.live && participant.link.ice.consent_deadline().is_none_or(|at| at <= context.now) {
            self.disconnect(index, Disconnect::ConsentExpired, context);
        }
        let participant = &mut self.participants[index];
        let Some(handshake) = &mut participant.handshake else { return };
        if handshake.next_timeout().is_some_and(|at| at <= context.now) {
            let outcome = handshake.handle_timeout(context.now);
            self.drive_handshake(index, outcome, context);
        }
    }

    /// Sends what the handshake wants sent and takes what it reached.
    fn drive_handshake(&mut self, index: usize, outcome: Result<(), DtlsError>, context: &mut Context<'_>) {
        let mut outcome = outcome;
        while outcome.is_ok() {
            let participant = &mut self.participants[index];
            let (Some(handshake), Some(path)) = (&mut participant.handshake, participant.dtls_path) else { return };
            match handshake.poll(|bytes| context.send_single(path, Protocol::Dtls, bytes)) {
                Ok(Progress::Pending) => break,
                Ok(Progress::Connected(keys)) => self.take_keys(index, &keys, context),
                Ok(Progress::Closed) => return self.disconnect(index, Disconnect::Closed, context),
                Err(error) => outcome = Err(error),
            }
        }
        match outcome {
            Err(DtlsError::Fingerprint) => self.disconnect(index, Disconnect::Fingerprint, context),
            Err(DtlsError::Timeout | DtlsError::Handshake) => {
                self.disconnect(index, Disconnect::Handshake, context);
            }
            Ok(()) => {
                if let Some(at) = self.participants[index].transport_deadline() {
                    self.participants[index].link.arm(at, context);
                }
            }
        }
    }

    fn take_keys(&mut self, index: usize, keys: &SrtpKeys, context: &mut Context<'_>) {
        let participant = &mut self.participants[index];
        participant.inbound = Some(Inbound::new(keys.profile, &keys.inbound));
        let outbound = Outbound::new(keys.profile, &keys.outbound);
        participant.downlink = Some(Downlink::new(outbound, participant.link.run, participant.extensions, context.now));
        participant.slots.iter_mut().for_each(Subscription::rekeyed);
        context.counters.handshakes_completed += 1;
        self.become_live(index, context);
    }

    /// Begins to send, once there are keys, a nominated path and consent.
    fn become_live(&mut self, index: usize, context: &mut Context<'_>) {
        let participant = &mut self.participants[index];
        if participant.live || participant.downlink.is_none() || !participant.link.consents(context.now) {
            return;
        }
        participant.live = true;
        participant.report_at = Some(context.now);
        participant.link.arm(context.now, context);
        let participant = participant.key;
        context.event(Event::Connected { call: self.key, participant });
        self.want_all_key_frames(index, context);
    }

    /// Stops sending and tells the control plane. After expired consent another check may revive the transport; an
    /// association that ended has no successor until the participant negotiates anew.
    fn disconnect(&mut self, index: usize, reason: Disconnect, context: &mut Context<'_>) {
        let participant = &mut self.participants[index];
        participant.live = false;
        participant.report_at = None;
        participant.link.forget_paths(context);
        if reason != Disconnect::ConsentExpired {
            participant.forget_keys();
            participant.spent = true;
        }
        context.counters.disconnects[reason as usize] += 1;
        let participant = participant.key;
        context.event(Event::Disconnected { call: self.key, participant, reason });
    }
}

impl Participant {
    /// When its transport needs attention.
    pub fn transport_deadline(&self) -> Option<Instant> {
        let consent = self.link.ice.consent_deadline().filter(|_| self.live);
        let handshake = self.handshake.as_ref().and_then(Handshake::next_timeout);
        consent.into_iter().chain(handshake).min()
    }

    /// Forgets its DTLS association and everything that was keyed by it.
    pub fn forget_keys(&mut self) {
        self.handshake = None;
        self.inbound = None;
        self.downlink = None;
        self.live = false;
    }
}
