//! What a participant does about each message of the server.

use sotto_signaling::message::{ClientMessage, ErrorCode, ParticipantId, RosterEntry, ServerMessage, Stream, VERSION};

use super::session::{Joined, Loss};
use super::{Output, Participant};
use crate::clock::Moment;
use crate::engine::Command;

impl Participant {
    pub(super) fn handle_message(&mut self, now: Moment, message: ServerMessage) {
        let Some(session) = &mut self.session else { return };
        session.heard();
        match message {
            ServerMessage::Welcome { v: VERSION, nonce } => {
                let join = self.encryption.join(&nonce, &self.spec.host_name);
                self.outputs.push_back(Output::Say(ClientMessage::Join(join)));
            }
            ServerMessage::Welcome { v, .. } => {
                let failure = format!("the relay speaks version {v} of the protocol, this tester {VERSION}");
                self.finish(now, &failure);
            }
            ServerMessage::Joined { participant, participants, limits } => {
                session.join(now, limits.rate);
                self.enter(now, participant, &participants);
            }
            ServerMessage::Slots { pairs } => session.negotiation.receive(pairs),
            ServerMessage::Answer { id, sdp } => self.answer(now, id, sdp),
            ServerMessage::Published { participant, stream } => self.roster.published(participant, stream),
            ServerMessage::Unpublished { participant, stream } => {
                self.roster.unpublished(participant, stream);
                self.forget(now, participant, Some(stream));
            }
            ServerMessage::Assign { slot, epoch, participant, stream } => {
                self.assign(now, slot, epoch, participant, stream);
            }
            ServerMessage::Release { slot, epoch } => {
                let tenant = session.slots.release(&slot, epoch);
                self.reception.end(now, tenant);
            }
            ServerMessage::Relay { from, data } => self.encryption.receive(now, from, &data),
            ServerMessage::Participant { id } => {
                self.roster.arrived(now, id);
                self.encryption.arrived(now, id);
            }
            ServerMessage::Left { id } => {
                self.encryption.departed(now, id);
                self.forget(now, id, None);
                self.roster.departed(now, id);
            }
            ServerMessage::Waiting { .. } => self.finish(now, LOCKED),
            // Who takes part in no tunnel and lets nobody in has no use for the rest.
            ServerMessage::Pong { .. }
            | ServerMessage::Closing { .. }
            | ServerMessage::Tunnel { .. }
            | ServerMessage::Knock { .. }
            | ServerMessage::KnockEnd { .. }
            | ServerMessage::Receipt { .. } => {}
            ServerMessage::Error { code, message, fatal, .. } => self.handle_error(now, code, &message, fatal),
        }
    }

    fn enter(&mut self, now: Moment, me: ParticipantId, others: &[RosterEntry]) {
        self.roster.reset(others);
        let ids: Vec<_> = others.iter().map(|entry| entry.id).collect();
        self.encryption.joined(now, me, &ids);
        self.begin_hints(now);
    }

    fn answer(&mut self, now: Moment, id: u64, sdp: String) {
        let Some(session) = self.session.as_mut().filter(|session| session.joined.is_some()) else { return };
        if !session.negotiation.answered(id) {
            return;
        }
        session.path.answered(now);
        self.outputs.push_back(Output::Do(Command::Answer { sdp }));
        let Some(Joined { outbox, published, .. }) = &mut session.joined else { return };
        for (stream, mid) in self.sending.mids() {
            if !published.contains(stream) {
                published.push(*stream);
                outbox.push(ClientMessage::Publish { stream: *stream, mid: mid.clone() });
            }
        }
    }

    fn assign(&mut self, now: Moment, mid: String, epoch: u32, participant: ParticipantId, stream: Stream) {
        let Some(session) = &mut self.session else { return };
        let Some((place, ended)) = session.slots.assign(&mid, epoch) else { return };
        self.reception.end(now, ended);
        let is_it = |wanted: &&super::Wanted| wanted.participant == participant && wanted.stream == stream;
        let since = session.wanted.iter().find(is_it).map_or(now, |wanted| wanted.since);
        let origin = self.roster.get(participant).and_then(|other| other.origin);
        let tenant = self.reception.begin(now, (participant, stream), origin, since);
        session.slots.move_in(place, tenant);
        session.say(ClientMessage::Assigned { slot: mid, epoch });
    }

    fn forget(&mut self, now: Moment, participant: ParticipantId, stream: Option<Stream>) {
        let Some(session) = &mut self.session else { return };
        session
            .wanted
            .retain(|wanted| wanted.participant != participant || stream.is_some_and(|stream| wanted.stream != stream));
        let tenants = session.slots.forget(participant, stream);
        self.reception.end(now, tenants);
    }

    fn handle_error(&mut self, now: Moment, code: ErrorCode, message: &str, fatal: bool) {
        match code {
            // Joining again would be answered alike, or would push another out of the call.
            ErrorCode::Refused | ErrorCode::Full | ErrorCode::Replaced | ErrorCode::Removed | ErrorCode::Version => {
                self.finish(now, &format!("the relay says `{}`: {message}", code.name()));
            }
            // Half an exchange must not be described by a later offer.
            ErrorCode::Offer => self.lose(now, &Loss::Told(code.name(), message.to_owned())),
            _ if fatal => self.lose(now, &Loss::Told(code.name(), message.to_owned())),
            // Such as a subscription to what ended in the same moment.
            _ => {}
        }
    }
}

/// A tester does not knock: nobody would be there to let so many in.
const LOCKED: &str =
    "the call is locked: unlock it on the host's page, or leave out --link for calls of the tester's own";
