//! A call in virtual time: the server's own rooms, a relay that forwards what they bind, and engines that carry packets.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sotto_signaling::admission::Nonce;
use sotto_signaling::base64url::Base64Url;
use sotto_signaling::limits::Limits;
use sotto_signaling::media::{Direction, Kind, Line, ParticipantKey, PublishedMid};
use sotto_signaling::message::{ClientMessage, ParticipantId, ServerMessage, Stream, VERSION};
use sotto_signaling::room::{Caps, Effect, Entry, Room};

use super::super::*;
use crate::e2ee::Link;
use crate::engine::{Codec, Packet, Received};
use crate::plan;

/// From a client to the server, and from the server to a client.
pub const SIGNALING: Duration = Duration::from_millis(5);
/// From a peer to another, by way of the relay.
pub const MEDIA: Duration = Duration::from_millis(20);
/// From the answer to a nominated pair, and from there to keys.
pub const ICE: Duration = Duration::from_millis(7);
pub const DTLS: Duration = Duration::from_millis(11);

/// Some participants of one call, and what lies between them.
pub struct World {
    pub now: Moment,
    pub peers: Vec<Peer>,
    /// Whether the relay's process is there.
    pub relay_is_up: bool,
    /// Share of packets that is lost on the way to the receiver.
    pub loss: f64,
    link: Arc<Link>,
    room: Room,
    rng: ChaCha8Rng,
    keys: u64,
    bound: HashMap<(ParticipantKey, String), Binding>,
    wire: BTreeMap<(Moment, u64), Delivery>,
    sent: u64,
}

/// One of them, with its engine.
pub struct Peer {
    pub participant: Participant,
    /// Whether its media passes.
    pub media_is_up: bool,
    pub updates: Vec<Update>,
    pub said: Vec<ClientMessage>,
    pub is_over: bool,
    /// Names the connection, so that nothing of an earlier one is handed in.
    connection: u64,
    nonce: Option<Nonce>,
    key: Option<ParticipantKey>,
    sending: Vec<(Stream, String)>,
    slots: Vec<String>,
    lines: Vec<Line>,
    is_connected: bool,
}

/// What a slot is forwarded, renumbered as the relay does.
struct Binding {
    source: PublishedMid,
    sequence: u16,
    waits_for_key: bool,
}

enum Delivery {
    ToServer(u64, ClientMessage),
    ToClient(u64, Event),
    ToParticipant(u64, engine::Event),
    Packet { connection: u64, slot: usize, codec: Codec, packet: Packet },
}

impl World {
    pub fn new() -> Self {
        Self {
            now: Moment(1_000_000_000),
            peers: Vec::new(),
            relay_is_up: true,
            loss: 0.0,
            link: Arc::new(Link::host([9; 32])),
            room: Room::new(CAPS),
            rng: ChaCha8Rng::seed_from_u64(5),
            keys: 0,
            bound: HashMap::new(),
            wire: BTreeMap::new(),
            sent: 0,
        }
    }

    /// What a participant with voice and picture is made from.
    pub fn spec(&self, index: usize) -> Spec {
        let layers = vec![plan::Layer { height: 360, bitrate: 300_000 }];
        Spec {
            call: 0,
            index,
            run: 77,
            link: Arc::clone(&self.link),
            host_name: HOST.to_owned(),
            microphone: Some(plan::Audio::default()),
            camera: Some(plan::Video { layers, ..plan::Video::default() }),
            hints: true,
            watch: None,
            stage_height: 360,
            check_one_in: 1,
            network: None,
            seed: index as u64,
        }
    }

    pub fn join(&mut self, spec: Spec) -> usize {
        let place = self.peers.len();
        let participant = Participant::new(PeerId(place), spec, self.now);
        self.peers.push(Peer {
            participant,
            media_is_up: true,
            updates: Vec::new(),
            said: Vec::new(),
            is_over: false,
            connection: 0,
            nonce: None,
            key: None,
            sending: Vec::new(),
            slots: Vec::new(),
            lines: Vec::new(),
            is_connected: false,
        });
        place
    }

    pub fn order(&mut self, peer: usize, order: Order) {
        self.peers[peer].participant.handle_order(self.now, order);
        self.drain(peer);
    }

    /// The media connection of a peer notices that nothing comes.
    pub fn lose_media(&mut self, peer: usize) {
        self.peers[peer].media_is_up = false;
        self.run(MEDIA * 2);
        let event = engine::Event::Lost { reason: "silence".into() };
        self.peers[peer].participant.handle_event(self.now, event);
        self.drain(peer);
    }

    /// The WebSocket of a peer breaks.
    pub fn cut(&mut self, peer: usize) {
        self.hang_up(peer);
        self.peers[peer].participant.handle_signaling(self.now, Event::Closed(Closed::Broken));
        self.drain(peer);
    }

    /// The relay says something to a peer.
    pub fn hear(&mut self, peer: usize, message: ServerMessage) {
        self.peers[peer].participant.handle_signaling(self.now, Event::Message(message));
        self.drain(peer);
    }

    /// The relay's process ends.
    pub fn kill_relay(&mut self) {
        self.relay_is_up = false;
        (0..self.peers.len()).for_each(|peer| self.cut(peer));
        self.bound.clear();
        self.room = Room::new(CAPS);
    }

    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let delivery = entry.remove();
                self.deliver(delivery);
            }
            for place in 0..self.peers.len() {
                let participant = &mut self.peers[place].participant;
                if participant.next_timeout().is_some_and(|at| at <= self.now) {
                    participant.handle_timeout(self.now);
                    let next = participant.next_timeout();
                    self.drain(place);
                    assert!(next.is_none_or(|next| next > self.now), "a timeout that was handled is over");
                }
            }
        }
        self.now = end;
    }

    fn next(&self) -> Option<Moment> {
        let timeouts = self.peers.iter().filter_map(|peer| peer.participant.next_timeout());
        timeouts.chain(self.wire.keys().next().map(|(at, _)| *at)).min()
    }

    fn send(&mut self, after: Duration, delivery: Delivery) {
        self.sent += 1;
        self.wire.insert((self.now + after, self.sent), delivery);
    }

    fn drain(&mut self, place: usize) {
        while let Some(output) = self.peers[place].participant.poll() {
            let connection = self.peers[place].connection;
            assert!(!self.peers[place].is_over, "nothing follows the end");
            match output {
                Output::Connect => self.connect(place),
                Output::Say(message) => {
                    self.peers[place].said.push(message.clone());
                    self.send(SIGNALING, Delivery::ToServer(connection, message));
                }
                Output::Do(command) => self.command(place, command),
                Output::Tell(update) => self.peers[place].updates.push(update),
                Output::Over => self.peers[place].is_over = true,
            }
        }
    }

    fn connect(&mut self, place: usize) {
        self.hang_up(place);
        self.keys += 1;
        let (connection, nonce) = (self.keys, Nonce::random());
        let answer = if self.relay_is_up {
            Event::Message(ServerMessage::Welcome { v: VERSION, nonce: nonce.sent() })
        } else {
            Event::Closed(Closed::Refused)
        };
        self.send(SIGNALING * 2, Delivery::ToClient(connection, answer));
        let peer = &mut self.peers[place];
        (peer.connection, peer.nonce, peer.is_connected) = (connection, Some(nonce), false);
        (peer.sending, peer.slots, peer.lines) = Default::default();
    }

    /// The server notices that a connection is over.
    fn hang_up(&mut self, place: usize) {
        self.peers[place].connection = 0;
        let Some(key) = self.peers[place].key.take() else { return };
        let mut effects = Vec::new();
        self.room.leave(key, &mut effects);
        self.bound.retain(|(receiver, _), binding| *receiver != key && binding.source.participant != key);
        self.carry_out(effects);
    }

    fn command(&mut self, place: usize, command: Command) {
        let connection = self.peers[place].connection;
        let peer = &mut self.peers[place];
        match command {
            Command::Offer { send, pairs, restart_ice } => {
                peer.describe(&send, pairs);
                let (sending, slots) = (peer.sending.clone(), peer.slots.clone());
                let sdp = if restart_ice { "restart" } else { "offer" }.to_owned();
                let offered = engine::Event::Offered { sdp, sending, slots };
                self.send(Duration::from_millis(1), Delivery::ToParticipant(connection, offered));
            }
            Command::Answer { sdp } => {
                let at = self.now + ICE;
                if sdp == "restart" || !peer.is_connected {
                    let ice = engine::Event::IceConnected { at };
                    let is_first = !std::mem::replace(&mut peer.is_connected, true);
                    if !peer.media_is_up {
                        return;
                    }
                    self.send(ICE, Delivery::ToParticipant(connection, ice));
                    if is_first {
                        let dtls = engine::Event::DtlsConnected { at: at + DTLS };
                        self.send(ICE + DTLS, Delivery::ToParticipant(connection, dtls));
                    }
                }
            }
            Command::Packet { stream, layer, packet } => self.forward(place, stream, layer, &packet),
            Command::RequestKeyFrame { slot } => {
                let key = self.peers[place].key.expect("it is in the call");
                let slot = self.peers[place].slots[slot].clone();
                if let Some(binding) = self.bound.get(&(key, slot)) {
                    let source = binding.source.clone();
                    self.want_key_frame(&source);
                }
            }
        }
    }

    fn forward(&mut self, from: usize, stream: Stream, layer: usize, packet: &Packet) {
        assert_eq!(layer, 0, "one encoding each");
        let peer = &self.peers[from];
        let Some(key) = peer.key.filter(|_| peer.media_is_up) else { return };
        let mid = &peer.sending.iter().find(|(each, _)| *each == stream).expect("it was described").1;
        let source = PublishedMid { participant: key, mid: mid.clone() };
        let codec = if stream.kind() == Kind::Audio { Codec::Opus } else { Codec::Vp8 };
        let mut deliveries = Vec::new();
        for ((receiver, slot), binding) in self.bound.iter_mut().filter(|(_, binding)| binding.source == source) {
            if binding.waits_for_key && !(codec == Codec::Opus || begins_key_frame(&packet.payload)) {
                continue;
            }
            binding.waits_for_key = false;
            binding.sequence = binding.sequence.wrapping_add(1);
            let packet = Packet { sequence: binding.sequence, ..packet.clone() };
            let Some(peer) = self.peers.iter().find(|peer| peer.key == Some(*receiver)) else { continue };
            let slot = peer.slots.iter().position(|mid| mid == slot).expect("it was described");
            if peer.media_is_up && !self.rng.random_bool(self.loss) {
                deliveries.push(Delivery::Packet { connection: peer.connection, slot, codec, packet });
            }
        }
        deliveries.into_iter().for_each(|delivery| self.send(MEDIA, delivery));
    }

    fn want_key_frame(&mut self, source: &PublishedMid) {
        let Some(peer) = self.peers.iter().find(|peer| peer.key == Some(source.participant)) else { return };
        let Some((stream, _)) = peer.sending.iter().find(|(_, mid)| *mid == source.mid) else { return };
        if stream.kind() == Kind::Video {
            let wanted = engine::Event::KeyFrameWanted { stream: *stream, layer: None };
            let connection = peer.connection;
            self.send(MEDIA, Delivery::ToParticipant(connection, wanted));
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let connection = match &delivery {
            Delivery::ToServer(connection, _)
            | Delivery::ToClient(connection, _)
            | Delivery::ToParticipant(connection, _)
            | Delivery::Packet { connection, .. } => *connection,
        };
        let Some(place) = self.peers.iter().position(|peer| peer.connection == connection) else { return };
        let participant = &mut self.peers[place].participant;
        match delivery {
            Delivery::ToServer(_, message) => return self.serve(place, message),
            Delivery::ToClient(_, event) => participant.handle_signaling(self.now, event),
            Delivery::ToParticipant(_, event) => participant.handle_event(self.now, event),
            Delivery::Packet { slot, codec, packet, .. } => {
                let received = Received {
                    slot,
                    arrived: self.now,
                    codec,
                    marker: packet.marker,
                    sequence: packet.sequence,
                    timestamp: packet.timestamp,
                    repaired: false,
                    size: packet.payload.len(),
                    payload: Some(&packet.payload),
                };
                participant.handle_packet(self.now, received);
            }
        }
        self.drain(place);
    }

    /// What the server's call does with a message.
    fn serve(&mut self, place: usize, message: ClientMessage) {
        let mut effects = Vec::new();
        let Some(key) = self.peers[place].key else {
            let ClientMessage::Join(join) = message else { panic!("a join comes first") };
            let nonce = self.peers[place].nonce.take().expect("it was welcomed");
            assert!(nonce.admit(&join, &[HOST.to_owned()]).is_ok(), "the join is signed for this server");
            let key = ParticipantKey(self.peers[place].connection);
            let id = ParticipantId(Base64Url(key.0.to_be_bytes()));
            assert_eq!(self.room.join(key, id, join.identity, &mut effects), Ok(Entry::Enters));
            self.peers[place].key = Some(key);
            return self.carry_out(effects);
        };
        let (room, effects_of) = (&mut self.room, &mut effects);
        let done = match message {
            ClientMessage::Offer { id, sdp } => {
                effects_of.push(Effect::Send(key, ServerMessage::Answer { id, sdp }));
                room.negotiated(key, &self.peers[place].lines, effects_of);
                Ok(())
            }
            ClientMessage::Publish { stream, mid } => room.publish(key, stream, mid, effects_of),
            ClientMessage::Subscribe { participant, stream, height } => {
                room.subscribe(key, participant, stream, height, effects_of)
            }
            ClientMessage::Unsubscribe { participant, stream } => {
                room.unsubscribe(key, participant, stream, effects_of);
                Ok(())
            }
            ClientMessage::Assigned { slot, epoch } => room.assigned(key, &slot, epoch, effects_of),
            ClientMessage::Relay { to, data } => {
                room.relay(key, to, data, effects_of);
                Ok(())
            }
            ClientMessage::Ping { t } => {
                effects_of.push(Effect::Send(key, ServerMessage::Pong { t }));
                Ok(())
            }
            ClientMessage::Leave => return self.hang_up(place),
            ClientMessage::Join(_)
            | ClientMessage::Unpublish { .. }
            | ClientMessage::Tunnel { .. }
            | ClientMessage::TunnelEnd
            | ClientMessage::Detach
            | ClientMessage::Host { .. }
            | ClientMessage::Knock { .. }
            | ClientMessage::Unknown => panic!("no participant says this now"),
        };
        if let Err(error) = done {
            effects.push(Effect::Send(key, error.code().message()));
        }
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(to, message) => self.tell(|key| key == to, &message),
                Effect::Tell(except, message) => self.tell(|key| key != except, &message),
                Effect::Enter { key, participant, participants, pairs } => {
                    let limits = Limits::default().told();
                    let joined = ServerMessage::Joined { participant, participants, limits };
                    self.tell(|to| to == key, &joined);
                    self.tell(|to| to == key, &ServerMessage::Slots { pairs });
                }
                Effect::End(..) | Effect::Detach(_) | Effect::Tunnel { .. } | Effect::EndTunnel(_) => {
                    panic!("nobody here is replaced, removed or tunnelled")
                }
                Effect::Bind { receiver, slot, source } => {
                    let before = self.bound.remove(&(receiver, slot.clone()));
                    let Some(source) = source else { continue };
                    self.want_key_frame(&source);
                    let sequence = before.map_or(40_000, |before| before.sequence);
                    self.bound.insert((receiver, slot), Binding { source, sequence, waits_for_key: true });
                }
            }
        }
    }

    fn tell(&mut self, to: impl Fn(ParticipantKey) -> bool, message: &ServerMessage) {
        let connections: Vec<_> =
            self.peers.iter().filter(|peer| peer.key.is_some_and(&to)).map(|peer| peer.connection).collect();
        for connection in connections {
            self.send(SIGNALING, Delivery::ToClient(connection, Event::Message(message.clone())));
        }
    }
}

impl Peer {
    /// What it found; it is gone.
    pub fn outcome(&self) -> &Outcome {
        match self.updates.last() {
            Some(Update::Gone { outcome, .. }) => outcome,
            _ => panic!("it is gone"),
        }
    }

    pub fn has_joined(&self) -> bool {
        self.updates.iter().any(|update| matches!(update, Update::Joined { .. }))
    }

    /// How many updates are of a sort.
    pub fn count(&self, sort: impl Fn(&Update) -> bool) -> usize {
        self.updates.iter().filter(|update| sort(update)).count()
    }

    /// Heights at which it last asked for pictures, by the ids of their owners.
    pub fn heights(&self) -> HashMap<ParticipantId, u32> {
        let mut heights = HashMap::new();
        for message in &self.said {
            match message {
                ClientMessage::Subscribe { participant, stream: Stream::Camera, height } => {
                    heights.insert(*participant, *height);
                }
                ClientMessage::Unsubscribe { participant, stream: Stream::Camera } => {
                    heights.remove(participant);
                }
                _ => {}
            }
        }
        heights
    }

    /// By which the server knows it.
    pub fn id(&self) -> ParticipantId {
        ParticipantId(Base64Url(self.key.expect("it is in the call").0.to_be_bytes()))
    }

    pub fn pairs(&self) -> usize {
        self.slots.len() / 2
    }

    fn describe(&mut self, send: &[engine::Sending], pairs: u32) {
        let mut line = |kind, direction| {
            let mid = self.lines.len().to_string();
            self.lines.push(Line { mid: mid.clone(), kind, direction });
            mid
        };
        for sending in send {
            if self.sending.iter().all(|(stream, _)| *stream != sending.stream) {
                self.sending.push((sending.stream, line(sending.stream.kind(), Direction::Sends)));
            }
        }
        while self.slots.len() < 2 * pairs as usize {
            let kind = if self.slots.len().is_multiple_of(2) { Kind::Audio } else { Kind::Video };
            self.slots.push(line(kind, Direction::Receives));
        }
    }
}

/// Whether a VP8 payload (RFC 7741, section 4.2) is the first of a key frame, the clear bytes of which say so.
fn begins_key_frame(payload: &[u8]) -> bool {
    let extended = payload[0] & 0x80 != 0;
    let (flags, mut place) = if extended { (payload[1], 2) } else { (0, 1) };
    if flags & 0x80 != 0 {
        place += if payload[place] & 0x80 != 0 { 2 } else { 1 };
    }
    place += usize::from(flags & 0x40 != 0) + usize::from(flags & 0x30 != 0);
    payload[0] & 0x17 == 0x10 && payload[place] & 1 == 0
}

const HOST: &str = "sotto.test";
const CAPS: Caps = Caps { participants: 100, publications: 400, pairs: 24, waiting: 0, tunnel: false };
