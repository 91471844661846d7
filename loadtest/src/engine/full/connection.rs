//! One peer connection of the `webrtc` crate, told [`Command`]s and answering with [`Event`]s.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use sotto_signaling::message::Stream;
use tokio::runtime::Handle;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceConnectionState, RTCPeerConnectionState,
    RTCSessionDescription, SettingEngineBuilder,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit, RtpTransceiver};

use super::inbox::{Arrival, Inbox};
use super::lines::{self, Line};
use super::runtime::Stamping;
use super::slots::{Streams, payload_type_of};
use crate::clock::Moment;
use crate::engine::{Command, Event, Packet, Sending};

/// Why something could not be done. Holds no address and no SDP.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No socket, or a configuration that the crate refuses.
    #[error("no peer connection can be made: {0}")]
    Build(String),
    /// An m-line could not be added.
    #[error("the connection cannot be described: {0}")]
    Offer(String),
    /// The answer is not one to our offer.
    #[error("the relay's answer does not fit: {0}")]
    Answer(String),
    /// A packet for an m-line or encoding that was not offered.
    #[error("nothing was offered that could carry this packet")]
    NotOffered,
    /// It was closed, or its driver ended.
    #[error("the connection is closed")]
    Closed,
}

/// A connection. Dropped, it closes in the background.
pub struct Connection {
    peer: Arc<dyn PeerConnection>,
    shared: Arc<Shared>,
    lines: Vec<Line>,
    /// Transceivers of the slots, audio and video in turn.
    slots: Vec<Arc<dyn RtpTransceiver>>,
    mids: Vec<String>,
    ssrc: u32,
}

/// What the crate's driver, its interceptors and the participant's task have in common.
struct Shared {
    inbox: Arc<Inbox>,
    streams: Arc<Mutex<Streams>>,
    /// Feedback can be sent in the name of any track.
    remote: Mutex<Option<Arc<dyn TrackRemote>>>,
    /// Counts states of ICE, so that an old worry about one is known to be old.
    states: AtomicU64,
}

impl Connection {
    /// Opens sockets. Needs a tokio runtime, on which its driver lives.
    ///
    /// # Errors
    /// Where the machine has none left.
    pub async fn open() -> Result<Self, ConnectionError> {
        let inbox = Arc::new(Inbox::default());
        let streams = Arc::new(Mutex::new(Streams::default()));
        let shared = Arc::new(Shared { inbox, streams, remote: Mutex::new(None), states: AtomicU64::new(0) });
        let ssrc = rand::random();
        let (engine, registry) = lines::configure(&shared.inbox, &shared.streams, epoch(), ssrc)
            .map_err(|error| ConnectionError::Build(error.to_string()))?;
        let settings = SettingEngineBuilder::new()
            .with_ice_timeouts(Some(SILENCE), Some(FAILURE), Some(CHECK_EVERY))
            .with_srtp_replay_protection_window(0) // packets that came twice are to be counted, not hidden
            .build();
        let peer = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings)
            .with_handler(Arc::new(Handler(Arc::clone(&shared))))
            .with_runtime(Arc::new(Stamping::new(Arc::clone(&shared.inbox))))
            .with_udp_addrs(NOMINAL.to_vec())
            .build()
            .await
            .map_err(|error| ConnectionError::Build(error.to_string()))?;
        let (lines, slots, mids) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { peer: Arc::new(peer), shared, lines, slots, mids, ssrc })
    }

    /// Does what a participant wants. Returns what it asked for; everything else comes by [`Connection::arrivals`].
    pub async fn handle(&mut self, command: Command) -> Result<Option<Event>, ConnectionError> {
        match command {
            Command::Offer { send, pairs, restart_ice } => self.offer(&send, pairs, restart_ice).await.map(Some),
            Command::Answer { sdp } => self.answer(sdp).await.map(|()| None),
            Command::Packet { stream, layer, packet } => self.send(stream, layer, packet).await.map(|()| None),
            Command::RequestKeyFrame { slot } => self.request_key_frame(slot).await.map(|()| None),
        }
    }

    /// Waits for packets and events and returns all that are there, in order.
    pub async fn arrivals(&self) -> VecDeque<Arrival> {
        self.shared.inbox.take().await
    }

    /// Says goodbye (DTLS close_notify) and ends the driver.
    pub async fn close(self) {
        let _ = self.peer.close().await; // fails where it is closed
    }

    async fn offer(&mut self, send: &[Sending], pairs: u32, restart_ice: bool) -> Result<Event, ConnectionError> {
        let fail = |error: webrtc::error::Error| ConnectionError::Offer(error.to_string());
        for sending in send {
            if !self.lines.iter().any(|line| line.sending().stream == sending.stream) {
                let line = Line::add(&*self.peer, sending.clone(), &self.shared.streams).await.map_err(fail)?;
                self.lines.push(line);
            }
        }
        while self.slots.len() < 2 * pairs as usize {
            for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
                let direction = RTCRtpTransceiverDirection::Recvonly;
                let init = RTCRtpTransceiverInit { direction, ..Default::default() };
                self.slots.push(self.peer.add_transceiver_from_kind(kind, Some(init)).await.map_err(fail)?);
            }
        }
        if restart_ice {
            self.peer.restart_ice().await.map_err(fail)?;
        }
        let offer = self.peer.create_offer(None).await.map_err(fail)?;
        self.peer.set_local_description(offer).await.map_err(fail)?;
        // The relay is ICE-lite and learns our address from our checks: no candidate is waited for.
        let sdp = self.peer.local_description().await.ok_or(ConnectionError::Closed)?.sdp;
        let mut sending = Vec::new();
        for line in &self.lines {
            sending.push((line.sending().stream, mid(line.transceiver()).await?));
        }
        self.mids.clear();
        for slot in &self.slots {
            self.mids.push(mid(&**slot).await?);
        }
        let mut streams = self.shared.streams.lock().expect(UNPOISONED);
        sending.iter().for_each(|(stream, mid)| streams.set_mid(*stream, mid));
        Ok(Event::Offered { sdp, sending, slots: self.mids.clone() })
    }

    async fn answer(&mut self, sdp: String) -> Result<(), ConnectionError> {
        self.shared.streams.lock().expect(UNPOISONED).read_answer(&sdp, &self.mids);
        let fail = |error: webrtc::error::Error| ConnectionError::Answer(error.to_string());
        let answer = RTCSessionDescription::answer(sdp).map_err(fail)?;
        self.peer.set_remote_description(answer).await.map_err(fail)
    }

    async fn send(&self, stream: Stream, layer: usize, packet: Packet) -> Result<(), ConnectionError> {
        let line = self.lines.iter().find(|line| line.sending().stream == stream).ok_or(ConnectionError::NotOffered)?;
        let header = rtp::Header {
            version: 2,
            marker: packet.marker,
            payload_type: payload_type_of(line.sending().codec),
            sequence_number: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: line.ssrc(layer).ok_or(ConnectionError::NotOffered)?,
            ..Default::default()
        };
        let packet = rtp::Packet { header, payload: packet.payload };
        line.track().write_rtp(packet).await.map_err(|_| ConnectionError::Closed)
    }

    async fn request_key_frame(&self, slot: usize) -> Result<(), ConnectionError> {
        let ssrc = self.shared.streams.lock().expect(UNPOISONED).ssrc_of(slot);
        let media_ssrc = ssrc.ok_or(ConnectionError::NotOffered)?;
        // Without a packet from the relay there is no picture to repair; it asks for a first key frame by itself.
        let Some(remote) = self.shared.remote.lock().expect(UNPOISONED).clone() else { return Ok(()) };
        let pli = PictureLossIndication { sender_ssrc: self.ssrc, media_ssrc };
        remote.write_rtcp(vec![Box::new(pli)]).await.map_err(|_| ConnectionError::Closed)
    }
}

async fn mid(transceiver: &dyn RtpTransceiver) -> Result<String, ConnectionError> {
    let mid = transceiver.mid().await.map_err(|_| ConnectionError::Closed)?;
    mid.ok_or_else(|| ConnectionError::Offer("an m-line has no name".to_owned()))
}

/// One instant on both clocks.
#[allow(
    clippy::disallowed_methods,
    reason = "the crate's time is an `Instant`; both are the same clock of the machine"
)]
fn epoch() -> (Instant, Moment) {
    (Instant::now(), Moment::now())
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It holds on to the driver, which holds on to the rest.
        self.shared.remote.lock().expect(UNPOISONED).take();
        if let Ok(runtime) = Handle::try_current() {
            let peer = Arc::clone(&self.peer);
            runtime.spawn(async move { peer.close().await });
        }
    }
}

struct Handler(Arc<Shared>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        let count = self.0.states.fetch_add(1, Ordering::Relaxed) + 1;
        match state {
            RTCIceConnectionState::Connected => self.0.event(Event::IceConnected { at: Moment::now() }),
            RTCIceConnectionState::Failed => self.0.lost("no path to the relay answers"),
            RTCIceConnectionState::Disconnected => {
                let shared = Arc::clone(&self.0);
                tokio::spawn(async move {
                    tokio::time::sleep(HEAL).await;
                    if shared.states.load(Ordering::Relaxed) == count {
                        shared.lost("nothing came from the relay any more");
                    }
                });
            }
            _ => {}
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            self.0.event(Event::DtlsConnected { at: Moment::now() });
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        self.0.remote.lock().expect(UNPOISONED).get_or_insert(track);
    }
}

impl Shared {
    fn event(&self, event: Event) {
        self.inbox.push(Arrival::Event(event));
    }

    fn lost(&self, reason: &str) {
        self.event(Event::Lost { reason: reason.to_owned() });
    }
}

/// What the crate is told to bind to: one address of each family, see [`Stamping`].
const NOMINAL: [SocketAddr; 2] =
    [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0)];
const UNPOISONED: &str = "nobody panics while holding it";
/// Without an answer for so long a path counts as broken, about as in browsers.
const SILENCE: Duration = Duration::from_secs(3);
/// A path that cannot be made in this time never will; the page waits as long.
const FAILURE: Duration = Duration::from_secs(10);
/// Between checks of the path (RFC 7675): six may be lost before [`SILENCE`] is over.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// A broken path may heal by itself for so long, as the page allows it.
const HEAL: Duration = Duration::from_secs(2);
