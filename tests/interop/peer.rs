//! One participant: signaling as PROTOCOL.md says it, media through the `webrtc` crate.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use futures_util::{SinkExt, StreamExt};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_VP8};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use sotto_signaling::admission::{call_id, proof_statement, statement};
use sotto_signaling::base64url::Base64Url;
use sotto_signaling::message::{ClientMessage, Join, ServerMessage, Stream, VERSION};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, Registry, register_default_interceptors,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use webrtc::runtime::default_runtime;

use super::media::{self, Heard, PICTURE_SSRC, Sent, Tracks, VOICE_SSRC};
use super::relay::Relay;

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// What everyone with the link has.
pub struct Link {
    admission: Ed25519KeyPair,
    host: Base64Url<16>,
}

impl Link {
    pub fn random() -> Self {
        let admission = Ed25519KeyPair::generate().unwrap();
        Self { admission, host: Base64Url::random() }
    }

    fn join(&self, nonce: &Base64Url<32>, host_name: &str) -> Join {
        let admission = Base64Url(self.admission.public_key().as_ref().try_into().unwrap());
        let call = call_id(&admission.0, &self.host.0);
        let own = Ed25519KeyPair::generate().unwrap();
        let identity = Base64Url(own.public_key().as_ref().try_into().unwrap());
        let (host, none) = (self.host, Base64Url([0; 64]));
        let unsigned = Join { v: VERSION, call, admission, host, identity, signature: none, proof: none };
        let by = |key: &Ed25519KeyPair, covered: Vec<u8>| Base64Url(key.sign(&covered).as_ref().try_into().unwrap());
        let signature = by(&self.admission, statement(&unsigned, nonce, host_name));
        let proof = by(&own, proof_statement(&unsigned, nonce, host_name));
        Join { signature, proof, ..unsigned }
    }
}

/// What `webrtc` tells of a connection.
enum Event {
    Gathered,
    Connected,
    Voice(Heard),
    Picture(Heard),
}

struct Handler(mpsc::UnboundedSender<Event>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.0.send(Event::Gathered);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            let _ = self.0.send(Event::Connected);
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let events = self.0.clone();
        tokio::spawn(async move {
            let is_voice = track.kind().await == RtpCodecKind::Audio;
            while let Some(event) = track.poll().await {
                let TrackRemoteEvent::OnRtpPacket(packet) = event else { continue };
                let event = if is_voice {
                    Event::Voice(media::hear_voice(&packet))
                } else {
                    Event::Picture(media::hear_picture(&packet))
                };
                let _ = events.send(event);
            }
        });
    }
}

pub struct Peer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    connection: Arc<dyn PeerConnection>,
    events: mpsc::UnboundedReceiver<Event>,
    /// Streams of others that we were told of and have not asked for.
    published: Vec<(sotto_signaling::message::ParticipantId, Stream)>,
    pairs: u32,
    media_port: u16,
    relay_port: u16,
}

impl Peer {
    /// Enters the call of `link`; media goes by way of `media_port`.
    pub async fn join(relay: &Relay, link: &Link, media_port: u16) -> Self {
        let host_name = format!("127.0.0.1:{}", relay.http);
        let mut request = format!("ws://{host_name}/v1/ws").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "sotto.v1".parse().unwrap());
        let (socket, _) = connect_async(request).await.unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        let connection = connection(sender).await;
        let mut peer =
            Self { socket, connection, events, published: Vec::new(), pairs: 0, media_port, relay_port: relay.media };
        let ServerMessage::Welcome { nonce, .. } = peer.hear().await else { panic!("a welcome comes first") };
        peer.say(ClientMessage::Join(link.join(&nonce, &host_name))).await;
        let ServerMessage::Joined { participants, .. } = peer.hear().await else { panic!("joined comes next") };
        for entry in participants {
            peer.published.extend(entry.streams.into_iter().map(|stream| (entry.id, stream)));
        }
        peer
    }

    /// Publishes a voice and a picture, to be written to the tracks returned.
    pub async fn publish(&mut self) -> Tracks {
        let voice = track(RtpCodecKind::Audio, VOICE_SSRC, opus());
        let picture = track(RtpCodecKind::Video, PICTURE_SSRC, vp8());
        let mut lines = Vec::new();
        for (track, stream) in [(&voice, Stream::Microphone), (&picture, Stream::Camera)] {
            let track = Arc::clone(track) as Arc<dyn TrackLocal>;
            let init = only(RTCRtpTransceiverDirection::Sendonly);
            lines.push((self.connection.add_transceiver_from_track(track, init).await.unwrap(), stream));
        }
        self.negotiate().await;
        for (transceiver, stream) in lines {
            let mid = transceiver.mid().await.unwrap().expect("an answered m-line has a mid");
            self.say(ClientMessage::Publish { stream, mid }).await;
        }
        self.connected().await;
        Tracks { voice, picture }
    }

    /// Asks for all that the others publish and returns once every slot is assigned and acknowledged.
    pub async fn subscribe(&mut self) {
        while self.pairs == 0 || self.published.len() < 2 {
            let message = self.hear().await;
            self.note(&message);
        }
        for _ in 0..self.pairs {
            for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
                let init = only(RTCRtpTransceiverDirection::Recvonly);
                self.connection.add_transceiver_from_kind(kind, init).await.unwrap();
            }
        }
        self.negotiate().await;
        self.connected().await;
        for (participant, stream) in std::mem::take(&mut self.published) {
            self.say(ClientMessage::Subscribe { participant, stream, height: 360 }).await;
        }
        for _ in 0..2 {
            let (slot, epoch) = loop {
                if let ServerMessage::Assign { slot, epoch, .. } = self.hear().await {
                    break (slot, epoch);
                }
            };
            self.say(ClientMessage::Assigned { slot, epoch }).await;
        }
    }

    /// Everything received, until the last packet that was sent has come, or nothing comes any more.
    pub async fn received(&mut self, sent: &Sent) -> (Vec<Heard>, Vec<Heard>) {
        let (mut voice, mut picture) = (Vec::new(), Vec::new());
        while let Ok(Some(event)) = timeout(Duration::from_secs(2), self.events.recv()).await {
            match event {
                Event::Voice(heard) => voice.push(heard),
                Event::Picture(heard) => picture.push(heard),
                Event::Gathered | Event::Connected => {}
            }
        }
        let reached = |all: &[Heard], last| all.iter().any(|heard| heard.count == last);
        assert!(reached(&voice, sent.voice), "the last voice packet of {} arrived", voice.len());
        assert!(reached(&picture, sent.picture), "the last picture packet of {} arrived", picture.len());
        (voice, picture)
    }

    pub async fn leave(mut self) {
        self.say(ClientMessage::Leave).await;
        let _ = self.connection.close().await;
    }

    async fn negotiate(&mut self) {
        let offer = self.connection.create_offer(None).await.unwrap();
        self.connection.set_local_description(offer).await.unwrap();
        while !matches!(timeout(PATIENCE, self.events.recv()).await, Ok(Some(Event::Gathered))) {}
        let sdp = self.connection.local_description().await.unwrap().sdp;
        self.say(ClientMessage::Offer { id: 1, sdp }).await;
        let answer = loop {
            let message = self.hear().await;
            if let ServerMessage::Answer { sdp, .. } = message {
                break sdp;
            }
            self.note(&message);
        };
        let detour =
            answer.replace(&format!(" {} typ host", self.relay_port), &format!(" {} typ host", self.media_port));
        assert_ne!(detour, answer, "the answer names the worker's port");
        let answer = RTCSessionDescription::answer(detour).unwrap();
        self.connection.set_remote_description(answer).await.unwrap();
    }

    async fn connected(&mut self) {
        while !matches!(timeout(PATIENCE, self.events.recv()).await.expect("connected in time"), Some(Event::Connected))
        {
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
            match message.expect("the relay keeps the connection").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(_) => panic!("the relay closed the connection"),
                _ => {}
            }
        }
    }
}

async fn connection(events: mpsc::UnboundedSender<Event>) -> Arc<dyn PeerConnection> {
    let mut engine = MediaEngine::default();
    engine.register_default_codecs().unwrap();
    engine.register_feedback(nack(), RtpCodecKind::Audio); // pictures have it by default
    let registry = register_default_interceptors(Registry::new(), &mut engine).unwrap();
    let connection = PeerConnectionBuilder::new()
        .with_media_engine(engine)
        .with_interceptor_registry(registry)
        .with_handler(Arc::new(Handler(events)))
        .with_runtime(default_runtime().expect("the crate's tokio feature is on"))
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .build()
        .await
        .unwrap();
    Arc::new(connection)
}

fn track(kind: RtpCodecKind, ssrc: u32, codec: RTCRtpCodec) -> Arc<TrackLocalStaticRTP> {
    let coding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
        codec,
        ..Default::default()
    };
    let name = if kind == RtpCodecKind::Audio { "voice" } else { "picture" };
    let track = MediaStreamTrack::new("test".into(), name.into(), name.into(), kind, vec![coding]);
    Arc::new(TrackLocalStaticRTP::new(track))
}

fn only(direction: RTCRtpTransceiverDirection) -> Option<RTCRtpTransceiverInit> {
    Some(RTCRtpTransceiverInit { direction, ..Default::default() })
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: vec![nack()],
    }
}

fn nack() -> RTCPFeedback {
    RTCPFeedback { typ: "nack".to_owned(), parameter: String::new() }
}

fn vp8() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_VP8.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: vec![],
    }
}
