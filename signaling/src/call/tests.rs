//! A call's task in virtual time, without sockets.

use std::sync::Mutex;

use serde_json::Value;
use tokio::time::advance;

use super::*;
use crate::call_log::{BoxFuture, CallLog, EndedCall, Receipt, ReceiptRow, TransparencyError};
use crate::directory::Seat;
use crate::limits::Limits;
use crate::media::{Media, Negotiated, PublishedMid};
use crate::outbox::{Verdict, Waiting, outbox};
use crate::server::{Server, Services};

#[derive(Default)]
struct Notes {
    said: Mutex<Vec<&'static str>>,
    rows: Mutex<Vec<EndedCall>>,
    /// Held open: a call whose media plane is gone fails.
    events: Mutex<Vec<mpsc::Sender<MediaEvent>>>,
    no_tunnel: bool,
}

struct Fake(Arc<Notes>);

impl Fake {
    fn note(&self, what: &'static str) {
        self.0.said.lock().unwrap().push(what);
    }
}

impl Media for Fake {
    fn open(&self, events: mpsc::Sender<MediaEvent>) -> Result<Box<dyn MediaCall>, MediaError> {
        self.0.events.lock().unwrap().push(events);
        Ok(Box::new(Fake(Arc::clone(&self.0))))
    }
}

impl MediaCall for Fake {
    fn negotiate(&mut self, _: ParticipantKey, _: &str) -> Result<Negotiated, MediaError> {
        Err(MediaError::Unavailable)
    }

    fn bind(&mut self, _: ParticipantKey, _: &str, _: Option<PublishedMid>) {}

    fn leave(&mut self, _: ParticipantKey) {
        self.note("leave");
    }

    fn tunnel(&mut self, _: ParticipantKey, _: ParticipantKey) -> Result<TunnelLeg, MediaError> {
        if self.0.no_tunnel {
            return Err(MediaError::Unavailable);
        }
        self.note("tunnel");
        Ok(TunnelLeg { ufrag: "u".into(), pwd: String::from("p").into(), candidates: Vec::new() })
    }

    fn end_tunnel(&mut self, _: ParticipantKey) {
        self.note("end tunnel");
    }
}

impl CallLog for Fake {
    fn ended(&self, call: EndedCall) -> Receipt {
        self.0.rows.lock().unwrap().push(call);
        self.receipt(call)
    }

    fn receipt(&self, call: EndedCall) -> Receipt {
        let row = ReceiptRow {
            ended_day: "2026-11-22".into(),
            duration_minutes: call.duration.as_millis().div_ceil(60_000) as u32,
            peak_participants: call.peak_participants,
            end_reason: call.reason,
            expires_at: 0,
        };
        Receipt { retention_days: 7, row: Some(row) }
    }

    fn transparency(&self) -> BoxFuture<'_, Result<Value, TransparencyError>> {
        Box::pin(async { Err(TransparencyError) })
    }
}

/// One session's end of the call.
struct Client {
    seat: Seat,
    waiting: Waiting,
    verdict: Verdict,
    id: ParticipantId,
}

fn server(notes: Notes) -> (Server, Arc<Notes>) {
    let notes = Arc::new(notes);
    let server = Server::new(Services {
        media: Arc::new(Fake(Arc::clone(&notes))),
        call_log: Arc::new(Fake(Arc::clone(&notes))),
        hosts: Vec::new(),
        limits: Limits::default(),
    });
    (server, notes)
}

impl Client {
    async fn join(server: &Server, number: u8) -> Self {
        let shared = server.shared();
        let Ok(seat) = shared.directory.enter(shared, CallId(Base64Url([1; 16]))) else { panic!("there is room") };
        let (outbox, waiting, verdict) = outbox(&shared.limits);
        let join = Input::Join { key: seat.key, identity: Base64Url([number; 32]), outbox };
        assert!(seat.inbox.send(join).await.is_ok());
        let mut client = Self { seat, waiting, verdict, id: ParticipantId(Base64Url([0; 8])) };
        let joined = client.expect("joined").await;
        client.id = serde_json::from_value(joined["participant"].clone()).unwrap();
        client
    }

    async fn say(&self, message: ClientMessage) {
        assert!(self.seat.inbox.send(Input::Message { key: self.seat.key, message }).await.is_ok());
    }

    /// The next message of this type.
    async fn expect(&mut self, kind: &str) -> Value {
        while let Some(text) = self.waiting.next().await {
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["type"] == kind {
                return message;
            }
        }
        panic!("no {kind} before the end");
    }

    /// Until the call has done all that was asked of it, and all that was due.
    async fn settle(&mut self) {
        self.say(ClientMessage::Ping { t: None }).await;
        self.expect("pong").await;
    }

    async fn leave(mut self) -> Value {
        let leave = Input::Leave { key: self.seat.key, asked: true };
        assert!(self.seat.inbox.send(leave).await.is_ok());
        self.expect("receipt").await
    }
}

fn said(notes: &Notes) -> Vec<&'static str> {
    std::mem::take(&mut notes.said.lock().unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_legs_of_a_tunnel_end_30_s_after_a_third_joined_and_not_before() {
    let (server, notes) = server(Notes::default());
    let (mut ana, ben) = (Client::join(&server, 1).await, Client::join(&server, 2).await);
    ana.say(ClientMessage::Tunnel { peer: ben.id }).await;
    ben.say(ClientMessage::Tunnel { peer: ana.id }).await;
    ana.expect("tunnel").await;
    advance(Duration::from_secs(3_600)).await;
    ana.settle().await;
    assert_eq!(said(&notes), ["tunnel", "tunnel"], "two may stay in it for as long as they like");
    let _cai = Client::join(&server, 3).await;
    advance(Duration::from_secs(29)).await;
    ana.settle().await;
    assert!(said(&notes).is_empty());
    advance(Duration::from_secs(1)).await;
    ana.settle().await;
    assert_eq!(said(&notes), ["end tunnel", "end tunnel"]);
    advance(Duration::from_secs(60)).await;
    ana.settle().await;
    assert!(said(&notes).is_empty(), "once");
}

#[tokio::test(start_paused = true)]
async fn a_third_who_leaves_again_in_time_costs_the_two_no_tunnel() {
    let (server, notes) = server(Notes::default());
    let (mut ana, ben) = (Client::join(&server, 1).await, Client::join(&server, 2).await);
    ana.say(ClientMessage::Tunnel { peer: ben.id }).await;
    for number in 3..5 {
        let visitor = Client::join(&server, number).await;
        advance(Duration::from_secs(20)).await;
        visitor.leave().await;
        ana.settle().await;
    }
    assert_eq!(said(&notes), ["tunnel", "leave", "leave"], "the time begins anew with each third");
    ana.say(ClientMessage::TunnelEnd).await;
    ana.settle().await;
    assert_eq!(said(&notes), ["end tunnel"]);
}

#[tokio::test(start_paused = true)]
async fn a_media_plane_that_gives_no_leg_is_an_error_that_the_call_survives() {
    let (server, _) = server(Notes { no_tunnel: true, ..Notes::default() });
    let (mut ana, ben) = (Client::join(&server, 1).await, Client::join(&server, 2).await);
    ana.say(ClientMessage::Tunnel { peer: ben.id }).await;
    let error = ana.expect("error").await;
    assert_eq!((&error["code"], &error["fatal"]), (&"tunnel".into(), &false.into()));
    ana.settle().await;
    assert_eq!(server.counters().tunnel_legs, 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_receipt_is_of_the_row_that_is_stored_though_its_socket_closes_minutes_later() {
    let (server, notes) = server(Notes::default());
    let (ana, ben) = (Client::join(&server, 1).await, Client::join(&server, 2).await);
    advance(Duration::from_secs(90)).await;
    let early = ben.leave().await;
    assert_eq!((&early["final"], &early["row"]["duration_minutes"]), (&false.into(), &2.into()));
    assert!(notes.rows.lock().unwrap().is_empty());
    advance(Duration::from_secs(60)).await;
    let shared = server.shared();
    let Ok(slow) = shared.directory.enter(shared, CallId(Base64Url([1; 16]))) else { panic!("there is room") };
    let last = ana.leave().await;
    assert_eq!((&last["final"], &last["row"]["duration_minutes"]), (&true.into(), &3.into()));
    advance(Duration::from_secs(600)).await;
    drop(slow);
    while server.counters().calls > 0 {
        tokio::task::yield_now().await;
    }
    let rows = notes.rows.lock().unwrap().clone();
    assert_eq!(
        rows,
        [EndedCall { duration: Duration::from_secs(150), peak_participants: 2, reason: EndReason::Completed }]
    );
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_from_an_older_connection_goes_on_with_the_call() {
    let (server, notes) = server(Notes::default());
    let mut older = Client::join(&server, 1).await;
    advance(Duration::from_secs(90)).await;
    let newer = Client::join(&server, 1).await;
    assert_eq!(older.verdict.try_recv(), Ok(ErrorCode::Replaced));
    assert!(notes.rows.lock().unwrap().is_empty(), "the call has not ended");
    assert_eq!(newer.leave().await["row"]["duration_minutes"], 2);
    assert_eq!(notes.rows.lock().unwrap().len(), 1);
}
