//! The task of one call: takes what clients and the media plane say to the room, and carries out what follows.

mod record;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::base64url::Base64Url;
use crate::call_log::EndReason;
use crate::counters::{JoinOutcome, RoomSize};
use crate::host::Ruling;
use crate::media::{MediaCall, MediaError, MediaEvent, ParticipantKey, TunnelLeg};
use crate::message::{CallId, ClientMessage, ClosingReason, ErrorCode, ParticipantId, ServerMessage};
use crate::outbox::{Outbox, encode};
use crate::room::{Caps, Effect, Entry, Room, RoomError, Ruled};
use crate::server::{Phase, Shared};
use record::Record;

/// What a session says to its call.
pub(crate) enum Input {
    /// An admitted client.
    Join { key: ParticipantKey, identity: Base64Url<32>, outbox: Outbox },
    /// Something a joined client said.
    Message { key: ParticipantKey, message: ClientMessage },
    /// What a client says is a host state; `None` where the host of this call did not sign it.
    Host { key: ParticipantKey, ruling: Option<Box<Ruling>> },
    /// The connection is over. Who asked for it is told what is stored.
    Leave { key: ParticipantKey, asked: bool },
}

/// One running call.
pub(crate) struct Call {
    shared: Arc<Shared>,
    id: CallId,
    number: u64,
    media: Box<dyn MediaCall>,
    room: Room,
    clients: HashMap<ParticipantKey, Client>,
    /// Reused between inputs.
    effects: Vec<Effect>,
    told: RoomSize,
    record: Record,
    /// When the legs of a tunnel are ended that are still there though a third has joined.
    mixed_until: Option<Instant>,
}

struct Client {
    outbox: Outbox,
    /// None while it waits outside.
    joined: Option<Instant>,
    connected: bool,
}

impl Call {
    pub(crate) fn new(shared: Arc<Shared>, id: CallId, number: u64, media: Box<dyn MediaCall>) -> Self {
        let limits = &shared.limits;
        let caps = Caps {
            participants: limits.participants,
            publications: limits.publications,
            pairs: limits.pairs,
            waiting: limits.waiting,
            tunnel: limits.tunnel,
        };
        shared.counters.count_calls(1);
        Self {
            id,
            number,
            media,
            room: Room::new(caps),
            clients: HashMap::new(),
            effects: Vec::new(),
            told: RoomSize::default(),
            record: Record::new(Arc::clone(&shared.call_log)),
            mixed_until: None,
            shared,
        }
    }

    /// Runs until the last seat is gone, the media plane fails, or the relay stops.
    pub(crate) async fn run(mut self, mut inputs: mpsc::Receiver<Input>, mut events: mpsc::Receiver<MediaEvent>) {
        let mut phase = self.shared.phase.subscribe();
        phase.mark_changed(); // it may have moved on while the call was begun
        let reason = loop {
            let mixed_until = self.mixed_until;
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.input(input),
                    None => break EndReason::Completed,
                },
                event = events.recv() => match event {
                    Some(MediaEvent::Connected(key)) => self.connected(key),
                    // The client restarts ICE, or its WebSocket goes as well.
                    Some(MediaEvent::Disconnected(_)) => {}
                    Some(MediaEvent::Failed) | None => break EndReason::Failed,
                },
                _ = phase.changed() => match *phase.borrow_and_update() {
                    Phase::Open => {}
                    Phase::Draining { seconds } => self.announce_closing(seconds),
                    Phase::Over => break EndReason::Drained,
                },
                () = until(mixed_until) => self.end_tunnels(),
            }
            self.report();
        };
        self.shared.directory.retire(self.id, self.number);
        self.record.close(reason);
        for mut client in std::mem::take(&mut self.clients).into_values() {
            if client.joined.is_some() {
                client.outbox.send(encode(&self.record.receipt()));
            }
            client.outbox.end(ErrorCode::Ended);
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Join { key, identity, outbox } => self.join(key, identity, outbox),
            Input::Message { key, message } => self.message(key, message),
            Input::Host { key, ruling } => self.rule(key, ruling),
            Input::Leave { key, asked } => self.leave(key, asked),
        }
        if self.room.size().participants == 0 {
            self.record.close(EndReason::Completed);
        }
        self.mixed_until = match self.mixed_until {
            _ if !self.room.is_mixed() => None,
            None => Some(Instant::now() + LONGEST_MIX),
            until => until,
        };
    }

    fn join(&mut self, key: ParticipantKey, identity: Base64Url<32>, mut outbox: Outbox) {
        let id = ParticipantId(Base64Url::random());
        let outcome = match self.room.join(key, id, identity, &mut self.effects) {
            Ok(Entry::Enters) => JoinOutcome::Accepted,
            Ok(Entry::Waits) => JoinOutcome::Waiting,
            Err(error) => {
                outbox.end(error.code());
                if error == RoomError::Removed { JoinOutcome::Removed } else { JoinOutcome::Full }
            }
        };
        if matches!(outcome, JoinOutcome::Accepted | JoinOutcome::Waiting) {
            self.clients.insert(key, Client { outbox, joined: None, connected: false });
        }
        if outcome != JoinOutcome::Accepted {
            self.shared.counters.count_join(outcome); // who enters is counted there, whether at once or later
        }
        self.carry_out();
    }

    fn message(&mut self, key: ParticipantKey, message: ClientMessage) {
        if !self.clients.contains_key(&key) {
            return; // replaced, or ended, with messages still under way
        }
        if self.room.waits(key) && !matches!(message, ClientMessage::Knock { .. } | ClientMessage::Ping { .. }) {
            self.refuse(key, ErrorCode::Waiting.message(), ErrorCode::Waiting);
            return self.carry_out();
        }
        let (room, effects) = (&mut self.room, &mut self.effects);
        let done = match message {
            ClientMessage::Offer { id, sdp } => {
                self.offer(key, id, &sdp);
                Ok(())
            }
            ClientMessage::Publish { stream, mid } => room.publish(key, stream, mid, effects),
            ClientMessage::Unpublish { stream } => room.unpublish(key, stream, effects),
            ClientMessage::Subscribe { participant, stream, height } => {
                room.subscribe(key, participant, stream, height, effects)
            }
            ClientMessage::Unsubscribe { participant, stream } => {
                room.unsubscribe(key, participant, stream, effects);
                Ok(())
            }
            ClientMessage::Assigned { slot, epoch } => room.assigned(key, &slot, epoch, effects),
            ClientMessage::Relay { to, data } => {
                room.relay(key, to, data, effects);
                Ok(())
            }
            ClientMessage::Tunnel { peer } => room.tunnel(key, peer, effects),
            ClientMessage::TunnelEnd => {
                room.end_tunnel(key, effects);
                Ok(())
            }
            ClientMessage::Detach => {
                room.detach(key, effects);
                Ok(())
            }
            ClientMessage::Knock { data } => {
                room.knock(key, data, effects);
                Ok(())
            }
            ClientMessage::Ping { t } => {
                effects.push(Effect::Send(key, ServerMessage::Pong { t }));
                Ok(())
            }
            ClientMessage::Unknown => {
                self.refuse(key, ErrorCode::UnknownType.message(), ErrorCode::UnknownType);
                Ok(())
            }
            // The session makes inputs of their own of these, or answers them itself.
            ClientMessage::Join(_) | ClientMessage::Host { .. } | ClientMessage::Leave => Ok(()),
        };
        if let Err(error) = done.map_err(RoomError::code) {
            self.refuse(key, error.message(), error);
        }
        self.carry_out();
    }

    fn offer(&mut self, key: ParticipantKey, id: u64, sdp: &str) {
        match self.media.negotiate(key, sdp) {
            Ok(negotiated) => {
                self.effects.push(Effect::Send(key, ServerMessage::Answer { id, sdp: negotiated.answer }));
                self.room.negotiated(key, &negotiated.lines, &mut self.effects);
            }
            Err(error) => {
                let code = ErrorCode::Offer;
                let message = match error {
                    MediaError::Offer(what) => what,
                    MediaError::Full | MediaError::Unavailable => error.to_string(),
                };
                let told = ServerMessage::Error { code, message, fatal: code.is_fatal(), id: Some(id) };
                self.refuse(key, told, code);
            }
        }
    }

    fn refuse(&mut self, key: ParticipantKey, told: ServerMessage, code: ErrorCode) {
        self.shared.counters.count_error(code);
        self.effects.push(Effect::Send(key, told));
    }

    fn rule(&mut self, key: ParticipantKey, ruling: Option<Box<Ruling>>) {
        if !self.clients.contains_key(&key) {
            return;
        }
        let ruling = ruling.ok_or(RoomError::Host);
        match ruling.and_then(|ruling| self.room.rule(*ruling, &mut self.effects)) {
            Ok(Ruled::Changed) => self.shared.counters.count_host_state(),
            Ok(Ruled::Known) => {}
            Err(error) => self.refuse(key, error.code().message(), error.code()),
        }
        self.carry_out();
    }

    fn leave(&mut self, key: ParticipantKey, asked: bool) {
        let Some(mut client) = self.clients.remove(&key) else { return };
        self.room.leave(key, &mut self.effects);
        if client.joined.is_some() {
            self.media.leave(key);
            if asked {
                self.tell_receipt(&mut client);
            }
        }
        self.carry_out();
    }

    /// The row is made when the last one has gone; it is what all who went with it are told.
    fn tell_receipt(&mut self, leaver: &mut Client) {
        if self.room.size().participants == 0 {
            self.record.close(EndReason::Completed);
        }
        leaver.outbox.send(encode(&self.record.receipt()));
    }

    fn end_tunnels(&mut self) {
        self.mixed_until = None;
        self.room.end_tunnels(&mut self.effects);
        self.carry_out();
    }

    fn connected(&mut self, key: ParticipantKey) {
        let Some(client) = self.clients.get_mut(&key).filter(|client| !client.connected) else { return };
        let Some(joined) = client.joined else { return };
        client.connected = true;
        self.shared.counters.observe_join_time(joined.elapsed());
    }

    fn announce_closing(&mut self, seconds: u32) {
        let text = encode(&closing(seconds));
        for client in self.clients.values_mut() {
            client.outbox.send(text.clone());
        }
    }

    fn carry_out(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            self.perform(effect);
        }
        self.effects = effects;
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send(to, message) => self.send(to, &message),
            Effect::Tell(except, message) => {
                let text = encode(&message);
                let others = self.clients.iter_mut().filter(|(key, client)| **key != except && client.joined.is_some());
                others.for_each(|(_, client)| client.outbox.send(text.clone()));
            }
            Effect::Enter { key, participant, participants, pairs } => {
                let limits = self.shared.limits.told();
                self.admit(key, ServerMessage::Joined { participant, participants, limits }, pairs);
            }
            Effect::End(key, code) => self.end(key, code),
            Effect::Bind { receiver, slot, source } => self.media.bind(receiver, &slot, source),
            Effect::Detach(key) => self.media.leave(key),
            Effect::Tunnel { participant, other, peer } => match self.media.tunnel(participant, other) {
                Ok(TunnelLeg { ufrag, pwd, candidates }) => {
                    self.shared.counters.count_tunnel_leg();
                    let pwd = pwd.to_string();
                    self.send(participant, &ServerMessage::Tunnel { peer, ufrag, pwd, candidates });
                }
                Err(_) => {
                    self.shared.counters.count_error(ErrorCode::Tunnel);
                    self.send(participant, &ErrorCode::Tunnel.message());
                }
            },
            Effect::EndTunnel(key) => self.media.end_tunnel(key),
        }
    }

    fn send(&mut self, to: ParticipantKey, message: &ServerMessage) {
        if let Some(client) = self.clients.get_mut(&to) {
            client.outbox.send(encode(message));
        }
    }

    fn admit(&mut self, key: ParticipantKey, joined: ServerMessage, pairs: u32) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        client.outbox.send(encode(&joined));
        client.outbox.send(encode(&ServerMessage::Slots { pairs }));
        if let Phase::Draining { seconds } = *self.shared.phase.borrow() {
            client.outbox.send(encode(&closing(seconds)));
        }
        let now = Instant::now();
        client.joined = Some(now);
        self.record.count(now, self.room.size().participants);
        self.shared.counters.count_join(JoinOutcome::Accepted);
    }

    fn end(&mut self, key: ParticipantKey, code: ErrorCode) {
        let Some(mut client) = self.clients.remove(&key) else { return };
        if client.joined.is_some() {
            self.media.leave(key);
            if matches!(code, ErrorCode::Removed | ErrorCode::Ended) {
                self.tell_receipt(&mut client);
            }
        }
        client.outbox.end(code);
    }

    fn report(&mut self) {
        let size = self.room.size();
        self.shared.counters.resize_room(self.told, size);
        self.told = size;
    }
}

fn closing(seconds: u32) -> ServerMessage {
    ServerMessage::Closing { reason: ClosingReason::Draining, seconds }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.shared.counters.resize_room(self.told, RoomSize::default());
        self.shared.counters.count_calls(-1);
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Legs of a tunnel that are still there so long after a third joined are ended by us. Clients end them sooner, once
/// all media is forwarded; one that does not would go on talking past the newcomer.
const LONGEST_MIX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
