//! A media plane and a call log that take notes, and a server on a port of its own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sotto_signaling::call_log::{BoxFuture, CallLog, EndedCall, Receipt, ReceiptRow, TransparencyError};
use sotto_signaling::limits::Limits;
use sotto_signaling::media::{
    Direction, Kind, Line, Media, MediaCall, MediaError, MediaEvent, Negotiated, ParticipantKey, PublishedMid,
    TunnelLeg,
};
use sotto_signaling::{Server, Services, listener};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What the media plane was told, in short words.
#[derive(Default)]
pub struct Notes {
    pub said: Mutex<Vec<String>>,
    pub open: AtomicUsize,
    pub events: Mutex<Vec<mpsc::Sender<MediaEvent>>>,
    pub joined: Mutex<Vec<ParticipantKey>>,
    pub rows: Mutex<Vec<EndedCall>>,
}

struct FakeMedia(Arc<Notes>);

struct FakeCall(Arc<Notes>);

struct FakeLog(Arc<Notes>);

impl Media for FakeMedia {
    fn open(&self, events: mpsc::Sender<MediaEvent>) -> Result<Box<dyn MediaCall>, MediaError> {
        self.0.open.fetch_add(1, Relaxed);
        self.0.events.lock().unwrap().push(events);
        Ok(Box::new(FakeCall(Arc::clone(&self.0))))
    }
}

impl MediaCall for FakeCall {
    /// An offer here is words: `0:audio:sends 1:video:receives …`, and the answer is the offer.
    fn negotiate(&mut self, participant: ParticipantKey, offer: &str) -> Result<Negotiated, MediaError> {
        let lines: Option<Vec<Line>> = offer.split_whitespace().map(line).collect();
        let lines = lines.ok_or_else(|| MediaError::Offer("write mid:kind:direction".into()))?;
        self.0.joined.lock().unwrap().push(participant);
        Ok(Negotiated { answer: offer.to_owned(), lines })
    }

    fn bind(&mut self, _: ParticipantKey, slot: &str, source: Option<PublishedMid>) {
        let source = source.map_or_else(|| "nothing".to_owned(), |source| source.mid);
        self.0.said.lock().unwrap().push(format!("{slot} carries {source}"));
    }

    fn leave(&mut self, _: ParticipantKey) {
        self.0.said.lock().unwrap().push("leave".into());
    }

    fn tunnel(&mut self, _: ParticipantKey, _: ParticipantKey) -> Result<TunnelLeg, MediaError> {
        self.0.said.lock().unwrap().push("tunnel".into());
        let candidates = vec!["1 1 udp 2130706431 192.0.2.1 3478 typ host".into()];
        Ok(TunnelLeg { ufrag: "relayuf1".into(), pwd: String::from("relaypassword0123456789a").into(), candidates })
    }

    fn end_tunnel(&mut self, _: ParticipantKey) {
        self.0.said.lock().unwrap().push("end tunnel".into());
    }
}

impl Drop for FakeCall {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl CallLog for FakeLog {
    fn ended(&self, call: EndedCall) -> Receipt {
        self.0.rows.lock().unwrap().push(call);
        self.receipt(call)
    }

    fn receipt(&self, call: EndedCall) -> Receipt {
        let row = ReceiptRow {
            ended_day: "2026-11-22".into(),
            duration_minutes: call.duration.as_secs() as u32 / 60 + 1,
            peak_participants: call.peak_participants,
            end_reason: call.reason,
            expires_at: 1_764_417_600,
        };
        Receipt { retention_days: 7, row: Some(row) }
    }

    fn transparency(&self) -> BoxFuture<'_, Result<serde_json::Value, TransparencyError>> {
        let rows = self.0.rows.lock().unwrap().len();
        Box::pin(async move { Ok(serde_json::json!({ "rows": rows })) })
    }
}

fn line(word: &str) -> Option<Line> {
    let mut parts = word.split(':');
    let mid = parts.next()?.to_owned();
    let kind = match parts.next()? {
        "audio" => Kind::Audio,
        "video" => Kind::Video,
        _ => return None,
    };
    let direction = match parts.next()? {
        "sends" => Direction::Sends,
        "receives" => Direction::Receives,
        _ => return None,
    };
    Some(Line { mid, kind, direction })
}

/// A running server.
pub struct Running {
    pub server: Server,
    pub address: SocketAddr,
    pub host: String,
    pub notes: Arc<Notes>,
}

pub async fn start(limits: Limits) -> Running {
    start_with(limits, None).await
}

pub async fn start_with(limits: Limits, tls: Option<Arc<rustls::ServerConfig>>) -> Running {
    let notes = Arc::new(Notes::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = address.to_string();
    let server = Server::new(Services {
        media: Arc::new(FakeMedia(Arc::clone(&notes))),
        call_log: Arc::new(FakeLog(Arc::clone(&notes))),
        hosts: vec!["sotto.example".into(), host.clone()],
        limits,
    });
    tokio::spawn(listener::serve(listener, tls, server.clone(), std::future::pending()));
    Running { server, address, host, notes }
}

impl Running {
    /// Waits until something holds that another task brings about.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..1_000 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}");
    }

    pub async fn until_empty(&self) {
        self.until("everybody left", |running| {
            let counters = running.server.counters();
            counters.sockets == 0 && counters.calls == 0 && running.notes.open.load(Relaxed) == 0
        })
        .await;
        let counters = self.server.counters();
        assert_eq!((counters.participants, counters.publications, counters.subscriptions), (0, 0, 0));
    }
}
