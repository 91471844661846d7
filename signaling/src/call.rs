//! The task of one call: takes what clients and the media plane say to the room, and carries out what follows.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::base64url::Base64Url;
use crate::call_log::{EndReason, EndedCall};
use crate::counters::{JoinOutcome, RoomSize};
use crate::media::{MediaCall, MediaError, MediaEvent, ParticipantKey};
use crate::message::{CallId, ClientMessage, ClosingReason, ErrorCode, ParticipantId, ServerMessage};
use crate::outbox::{Outbox, encode};
use crate::room::{Caps, Effect, Room, RoomError};
use crate::server::{Phase, Shared};

/// What a session says to its call.
pub(crate) enum Input {
    /// An admitted client.
    Join { key: ParticipantKey, identity: Base64Url<32>, outbox: Outbox },
    /// Something a joined client said.
    Message { key: ParticipantKey, message: ClientMessage },
    /// The connection is gone.
    Leave { key: ParticipantKey },
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
}

struct Client {
    outbox: Outbox,
    joined: Instant,
    connected: bool,
}

/// Becomes the call's one row when it is dropped, however the call ends.
struct Record {
    shared: Arc<Shared>,
    began: Option<Instant>,
    peak: usize,
    reason: EndReason,
}

impl Call {
    pub(crate) fn new(shared: Arc<Shared>, id: CallId, number: u64, media: Box<dyn MediaCall>) -> Self {
        let limits = &shared.limits;
        let caps = Caps { participants: limits.participants, publications: limits.publications, pairs: limits.pairs };
        shared.counters.count_calls(1);
        Self {
            id,
            number,
            media,
            room: Room::new(caps),
            clients: HashMap::new(),
            effects: Vec::new(),
            told: RoomSize::default(),
            // Failed until it ends another way: a panic is a failure.
            record: Record { shared: Arc::clone(&shared), began: None, peak: 0, reason: EndReason::Failed },
            shared,
        }
    }

    /// Runs until the last seat is gone, the media plane fails, or the relay stops.
    pub(crate) async fn run(mut self, mut inputs: mpsc::Receiver<Input>, mut events: mpsc::Receiver<MediaEvent>) {
        let mut phase = self.shared.phase.subscribe();
        phase.mark_changed(); // it may have moved on while the call was begun
        let reason = loop {
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
            }
            self.report();
        };
        self.record.reason = reason;
        self.shared.directory.retire(self.id, self.number);
        for client in self.clients.values_mut() {
            client.outbox.end(ErrorCode::Ended);
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Join { key, identity, outbox } => self.join(key, identity, outbox),
            Input::Message { key, message } => self.message(key, message),
            Input::Leave { key } => self.leave(key),
        }
    }

    fn join(&mut self, key: ParticipantKey, identity: Base64Url<32>, mut outbox: Outbox) {
        if let Some(older) = self.room.holder(&identity) {
            if let Some(client) = self.clients.get_mut(&older) {
                client.outbox.end(ErrorCode::Replaced);
            }
            self.leave(older);
        }
        let id = ParticipantId(Base64Url::random());
        let Ok((participants, pairs)) = self.room.join(key, id, identity, &mut self.effects) else {
            self.shared.counters.count_join(JoinOutcome::Full);
            outbox.end(ErrorCode::Full);
            return;
        };
        let limits = self.shared.limits.told();
        outbox.send(encode(&ServerMessage::Joined { participant: id, participants, limits }));
        outbox.send(encode(&ServerMessage::Slots { pairs }));
        if let Phase::Draining { seconds } = *self.shared.phase.borrow() {
            outbox.send(encode(&closing(seconds)));
        }
        let joined = Instant::now();
        self.clients.insert(key, Client { outbox, joined, connected: false });
        self.record.began.get_or_insert(joined);
        self.record.peak = self.record.peak.max(self.clients.len());
        self.shared.counters.count_join(JoinOutcome::Accepted);
        self.carry_out();
    }

    fn message(&mut self, key: ParticipantKey, message: ClientMessage) {
        if !self.clients.contains_key(&key) {
            return; // replaced, or ended, with messages still under way
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
            ClientMessage::Ping { t } => {
                effects.push(Effect::Send(key, ServerMessage::Pong { t }));
                Ok(())
            }
            ClientMessage::Unknown => {
                self.refuse(key, ErrorCode::UnknownType.message(), ErrorCode::UnknownType);
                Ok(())
            }
            // The session answers these itself.
            ClientMessage::Join(_) | ClientMessage::Leave => Ok(()),
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

    fn leave(&mut self, key: ParticipantKey) {
        if self.clients.remove(&key).is_some() {
            self.media.leave(key);
            self.room.leave(key, &mut self.effects);
            self.carry_out();
        }
    }

    fn connected(&mut self, key: ParticipantKey) {
        if let Some(client) = self.clients.get_mut(&key).filter(|client| !client.connected) {
            client.connected = true;
            self.shared.counters.observe_join_time(client.joined.elapsed());
        }
    }

    fn announce_closing(&mut self, seconds: u32) {
        let text = encode(&closing(seconds));
        for client in self.clients.values_mut() {
            client.outbox.send(text.clone());
        }
    }

    fn carry_out(&mut self) {
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Send(to, message) => {
                    if let Some(client) = self.clients.get_mut(&to) {
                        client.outbox.send(encode(&message));
                    }
                }
                Effect::Tell(except, message) => {
                    let text = encode(&message);
                    for (_, client) in self.clients.iter_mut().filter(|(key, _)| **key != except) {
                        client.outbox.send(text.clone());
                    }
                }
                Effect::Bind { receiver, slot, source } => self.media.bind(receiver, &slot, source),
            }
        }
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

impl Drop for Record {
    fn drop(&mut self) {
        let Some(began) = self.began else { return };
        let peak_participants = u32::try_from(self.peak).unwrap_or(u32::MAX);
        let reason = self.reason;
        self.shared.call_log.ended(EndedCall { duration: began.elapsed(), peak_participants, reason });
    }
}
