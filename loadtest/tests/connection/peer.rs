//! A participant without encryption: signaling by hand, media by the connection that is tested.

use std::collections::VecDeque;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use sotto_loadtest::clock::Moment;
use sotto_loadtest::engine::full::inbox::{Arrival, Packet as Received};
use sotto_loadtest::engine::{Command, Event, Packet, Sending};
use sotto_loadtest::relay_process::RelayProcess;
use sotto_signaling::admission::{call_id, join_fields, statement};
use sotto_signaling::base64url::Base64Url;
use sotto_signaling::message::{ClientMessage, Join, ParticipantId, ServerMessage, Stream, VERSION};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::Connection;

/// Longer than any step takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Link {
    admission: Ed25519KeyPair,
    host: Base64Url<16>,
}

impl Link {
    pub fn random() -> Self {
        Self { admission: Ed25519KeyPair::generate().unwrap(), host: Base64Url::random() }
    }

    fn join(&self, nonce: &Base64Url<32>, host_name: &str) -> Join {
        let admission = Base64Url(self.admission.public_key().as_ref().try_into().unwrap());
        let call = call_id(&admission.0, &self.host.0);
        let participant = Ed25519KeyPair::generate().unwrap();
        let identity = Base64Url(participant.public_key().as_ref().try_into().unwrap());
        let none = Base64Url([0; 64]);
        let mut join = Join { v: VERSION, call, admission, host: self.host, identity, signature: none, proof: none };
        let signature = self.admission.sign(&statement(&join, nonce, host_name));
        join.signature = Base64Url(signature.as_ref().try_into().unwrap());
        let fields: [&[u8]; 6] = [b"sotto/1 proof", &[0], &call.0.0, &nonce.0, host_name.as_bytes(), &admission.0];
        let proof = participant.sign(&join_fields(&fields));
        join.proof = Base64Url(proof.as_ref().try_into().unwrap());
        join
    }
}

pub struct Peer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub connection: Connection,
    published: Vec<(ParticipantId, Stream)>,
    sending: Vec<Sending>,
    pairs: u32,
    offers: u64,
    /// The detour that media takes instead of going to the relay.
    detour: Option<u16>,
    pub events: Vec<Event>,
    pub packets: VecDeque<Received>,
}

impl Peer {
    pub async fn join(relay: &RelayProcess, link: &Link) -> Self {
        let mut request = relay.signaling().into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "sotto.v1".parse().unwrap());
        let (socket, _) = connect_async(request).await.unwrap();
        let connection = Connection::open().await.unwrap();
        let (published, sending, events, packets) = (Vec::new(), Vec::new(), Vec::new(), VecDeque::new());
        let mut peer =
            Self { socket, connection, published, sending, pairs: 0, offers: 0, detour: None, events, packets };
        let ServerMessage::Welcome { nonce, .. } = peer.hear().await else { panic!("a welcome comes first") };
        peer.say(ClientMessage::Join(link.join(&nonce, &relay.host_name()))).await;
        let ServerMessage::Joined { participants, .. } = peer.hear().await else { panic!("joined comes next") };
        for entry in participants {
            peer.published.extend(entry.streams.into_iter().map(|stream| (entry.id, stream)));
        }
        peer
    }

    /// From the next offer on media goes this way.
    pub fn detour(&mut self, port: u16) {
        self.detour = Some(port);
    }

    pub async fn publish(&mut self, sending: Vec<Sending>) {
        self.sending = sending;
        let (lines, _) = self.negotiate(false).await;
        for (stream, mid) in lines {
            self.say(ClientMessage::Publish { stream, mid }).await;
        }
        self.connected().await;
    }

    /// Asks for all that others publish, `count` streams, and returns which slot carries which.
    pub async fn subscribe(&mut self, count: usize, height: u32) -> Vec<(Stream, usize)> {
        while self.pairs == 0 || self.published.len() < count {
            let message = self.hear().await;
            self.note(&message);
        }
        let (_, slots) = self.negotiate(false).await;
        self.connected().await;
        for (participant, stream) in std::mem::take(&mut self.published) {
            self.say(ClientMessage::Subscribe { participant, stream, height }).await;
        }
        let mut assigned = Vec::new();
        while assigned.len() < count {
            if let ServerMessage::Assign { slot, epoch, stream, .. } = self.hear().await {
                assigned.push((stream, slots.iter().position(|mid| *mid == slot).unwrap()));
                self.say(ClientMessage::Assigned { slot, epoch }).await;
            }
        }
        assigned
    }

    /// Offers and takes the answer; returns the m-lines that send and the slots.
    pub async fn negotiate(&mut self, restart_ice: bool) -> (Vec<(Stream, String)>, Vec<String>) {
        let offer = Command::Offer { send: self.sending.clone(), pairs: self.pairs, restart_ice };
        let offered = self.connection.handle(offer).await.unwrap();
        let Some(Event::Offered { sdp, sending, slots }) = offered else { panic!("an offer is answered by one") };
        self.offers += 1;
        self.say(ClientMessage::Offer { id: self.offers, sdp }).await;
        let mut answer = loop {
            let message = self.hear().await;
            if let ServerMessage::Answer { sdp, .. } = message {
                break sdp;
            }
            self.note(&message);
        };
        if let Some(port) = self.detour {
            let relay = media_port(&answer);
            answer = answer.replace(&format!(" {relay} typ host"), &format!(" {port} typ host"));
        }
        self.connection.handle(Command::Answer { sdp: answer }).await.unwrap();
        (sending, slots)
    }

    pub async fn send(&mut self, stream: Stream, layer: usize, packet: Packet) {
        self.connection.handle(Command::Packet { stream, layer, packet }).await.unwrap();
    }

    /// Takes what came, waiting for at most `time`; whether anything did.
    pub async fn gather(&mut self, time: Duration) -> bool {
        let Ok(arrivals) = timeout(time, self.connection.arrivals()).await else { return false };
        for arrival in arrivals {
            match arrival {
                Arrival::Event(event) => self.events.push(event),
                Arrival::Packet(packet) => self.packets.push_back(packet),
            }
        }
        true
    }

    /// Waits for an event of this kind.
    pub async fn event<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.events.iter().position(|event| wanted(event).is_some()) {
                return wanted(&self.events.remove(place)).unwrap();
            }
            assert!(tokio::time::Instant::now() < deadline, "the event came in time");
            self.gather(Duration::from_millis(100)).await;
        }
    }

    async fn connected(&mut self) {
        let ice = self.event(|event| if let Event::IceConnected { at } = event { Some(*at) } else { None }).await;
        let dtls = self.event(|event| if let Event::DtlsConnected { at } = event { Some(*at) } else { None }).await;
        assert!(ice <= dtls && dtls <= Moment::now(), "a path, then keys");
    }

    pub async fn relay_media_port(&mut self, relay: &RelayProcess) -> u16 {
        let mut probe = Self::join(relay, &Link::random()).await;
        probe.pairs = 1;
        let offer = Command::Offer { send: Vec::new(), pairs: 1, restart_ice: false };
        let Some(Event::Offered { sdp, .. }) = probe.connection.handle(offer).await.unwrap() else { panic!("offered") };
        probe.say(ClientMessage::Offer { id: 1, sdp }).await;
        loop {
            if let ServerMessage::Answer { sdp, .. } = probe.hear().await {
                return media_port(&sdp);
            }
        }
    }

    fn note(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Slots { pairs } => self.pairs = *pairs,
            ServerMessage::Published { participant, stream } => self.published.push((*participant, *stream)),
            ServerMessage::Error { code, .. } => panic!("the relay says {code:?}"),
            _ => {}
        }
    }

    async fn say(&mut self, message: ClientMessage) {
        self.socket.send(Message::text(serde_json::to_string(&message).unwrap())).await.unwrap();
    }

    async fn hear(&mut self) -> ServerMessage {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.expect("an answer in time");
            if let Message::Text(text) = message.expect("the relay keeps the connection").unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }
}

/// The port of the relay's candidate.
fn media_port(answer: &str) -> u16 {
    let line = answer.lines().find(|line| line.starts_with("a=candidate:")).expect("an answer has a candidate");
    line.split(' ').nth(5).unwrap().parse().unwrap()
}

pub fn packet(sequence: u16, timestamp: u32, marker: bool, payload: Vec<u8>) -> Packet {
    Packet { marker, sequence, timestamp, payload: Bytes::from(payload) }
}
