//! A participant's transport within its call: ICE checks make paths, DTLS over them makes keys, consent keeps them.

use std::time::Instant;

use crate::transport::dtls::{DtlsError, Handshake, Progress};
use crate::transport::ice::{Outcome, Standing};
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
        // Whoever passed a check from an address first keeps it: another participant's word does not take it away.
        if context.routes.paths.get(&path).is_some_and(|&place| place != participant.place) {
            return context.drop(Drop::Stun);
        }
        let (ice, now) = (&mut participant.ice, context.now);
        let mut outcome = None;
        let written =
            context.out.push_single(path, |reply| outcome = Some(ice.handle_request(now, path, bytes, reply)));
        if written > 0 {
            context.counters.sent[Protocol::Stun as usize].add(written);
        }
        match outcome {
            Some(Ok(outcome)) if outcome.standing != Standing::Refused => {
                self.follow_check(index, path, outcome, context);
            }
            Some(Ok(_)) => {}
            _ => context.drop(Drop::Stun),
        }
    }

    /// Takes a DTLS datagram from a path that passed a check.
    pub fn handle_dtls(&mut self, index: usize, path: Path, bytes: &[u8], context: &mut Context<'_>) {
        let participant = &mut self.participants[index];
        participant.dtls_path = Some(path);
        let Some(handshake) = &mut participant.handshake else { return context.drop(Drop::Early) };
        let outcome = handshake.handle_datagram(context.now, bytes);
        self.drive_handshake(index, outcome, context);
    }

    /// Does what is due for the transport.
    pub fn transport_timeout(&mut self, index: usize, context: &mut Context<'_>) {
        let participant = &mut self.participants[index];
        if participant.live && participant.ice.consent_deadline().is_none_or(|at| at <= context.now) {
            self.disconnect(index, Disconnect::ConsentExpired, context);
        }
        let participant = &mut self.participants[index];
        let Some(handshake) = &mut participant.handshake else { return };
        if handshake.next_timeout().is_some_and(|at| at <= context.now) {
            let outcome = handshake.handle_timeout(context.now);
            self.drive_handshake(index, outcome, context);
        }
    }

    fn follow_check(&mut self, index: usize, path: Path, outcome: Outcome, context: &mut Context<'_>) {
        let participant = &mut self.participants[index];
        if let Some(forgotten) = outcome.forgotten {
            context.routes.forget_path(&forgotten, participant.place);
        }
        context.routes.paths.insert(path, participant.place);
        if outcome.restarted {
            participant.publish_ufrags(context);
        }
        if outcome.standing == Standing::Selected || (!participant.live && participant.ice.selected() == Some(path)) {
            context.out.set_path(participant.run, path);
        }
        if participant.handshake.is_none() && participant.inbound.is_none() && !participant.spent {
            participant.handshake = Some(Handshake::new(context.certificate, context.now, participant.fingerprint));
            participant.dtls_path = Some(path);
        }
        self.become_live(index, context);
        if let Some(at) = self.participants[index].transport_deadline() {
            self.participants[index].arm(at, context);
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
                    self.participants[index].arm(at, context);
                }
            }
        }
    }

    fn take_keys(&mut self, index: usize, keys: &SrtpKeys, context: &mut Context<'_>) {
        let participant = &mut self.participants[index];
        participant.inbound = Some(Inbound::new(keys.profile, &keys.inbound));
        let outbound = Outbound::new(keys.profile, &keys.outbound);
        participant.downlink = Some(Downlink::new(outbound, participant.run, participant.extensions, context.now));
        participant.slots.iter_mut().for_each(Subscription::rekeyed);
        context.counters.handshakes_completed += 1;
        self.become_live(index, context);
    }

    /// Begins to send, once there are keys, a nominated path and consent.
    fn become_live(&mut self, index: usize, context: &mut Context<'_>) {
        let participant = &mut self.participants[index];
        let consent = participant.ice.consent_deadline().is_some_and(|at| at > context.now);
        if participant.live || participant.downlink.is_none() || participant.ice.selected().is_none() || !consent {
            return;
        }
        participant.live = true;
        participant.report_at = Some(context.now);
        participant.arm(context.now, context);
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
        participant.forget_paths(context);
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
        let consent = self.ice.consent_deadline().filter(|_| self.live);
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
