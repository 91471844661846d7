//! One WebSocket (RFC 6455): welcome, admission, then messages in and out until either side ends it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::admission::Nonce;
use crate::call::Input;
use crate::counters::JoinOutcome;
use crate::directory::Seat;
use crate::limits::Limits;
use crate::message::{ClientMessage, ErrorCode, Join, ServerMessage, VERSION};
use crate::outbox::{Verdict, Waiting, encode, outbox};
use crate::server::{Phase, Shared};

/// One client's connection.
pub(crate) struct Session {
    shared: Arc<Shared>,
    sink: SplitSink<WebSocket, Message>,
    reader: Reader,
    /// Held to the end, so that a stopping server can wait for its sessions.
    phase: watch::Receiver<Phase>,
}

struct Reader {
    stream: SplitStream<WebSocket>,
    limits: Limits,
    allowance: Allowance,
    knocks: Bucket,
}

/// Why a session ends.
enum Ending {
    /// The client said so.
    Left,
    /// The connection is dead or already closed.
    Gone,
    /// The server says so.
    Error(ErrorCode),
}

/// What a client may send.
struct Allowance {
    messages: Bucket,
    bytes: Bucket,
}

/// A token bucket that holds four seconds' worth.
struct Bucket {
    rate: u32,
    left: f64,
    filled: Instant,
}

impl Session {
    pub(crate) fn new(socket: WebSocket, shared: Arc<Shared>) -> Self {
        let (sink, stream) = socket.split();
        let phase = shared.phase.subscribe();
        let limits = shared.limits;
        let knocks = Bucket::full(limits.knocks_per_second, Instant::now());
        let reader = Reader { stream, limits, allowance: Allowance::full(&limits, Instant::now()), knocks };
        Self { shared, sink, reader, phase }
    }

    /// Serves the client until the end.
    pub(crate) async fn run(mut self) {
        let join_timeout = self.shared.limits.join_timeout;
        let admitted = timeout(join_timeout, self.admit()).await.unwrap_or(Err(Ending::Error(ErrorCode::Timeout)));
        let (ending, waiting) = match admitted {
            Ok((seat, join)) => self.take_part(seat, join).await,
            Err(ending) => {
                self.count_refused_join(&ending);
                (ending, None)
            }
        };
        self.close(ending, waiting).await;
    }

    async fn admit(&mut self) -> Result<(Seat, Join), Ending> {
        let nonce = Nonce::random();
        let welcome = encode(&ServerMessage::Welcome { v: VERSION, nonce: nonce.sent() });
        self.sink.send(Message::Text(welcome)).await.map_err(|_| Ending::Gone)?;
        let message = tokio::select! {
            message = self.reader.next() => message?,
            _ = self.phase.wait_for(|phase| *phase == Phase::Over) => return Err(Ending::Error(ErrorCode::Unavailable)),
        };
        let ClientMessage::Join(join) = message else { return Err(Ending::Error(ErrorCode::Malformed)) };
        if join.v != VERSION {
            return Err(Ending::Error(ErrorCode::Version));
        }
        nonce.admit(&join, &self.shared.hosts).map_err(|_| Ending::Error(ErrorCode::Refused))?;
        let seat = self.shared.directory.enter(&self.shared, join.call).map_err(Ending::Error)?;
        Ok((seat, join))
    }

    /// From the join to the end. The seat is given back before the socket's slow closing.
    async fn take_part(&mut self, seat: Seat, join: Join) -> (Ending, Option<Waiting>) {
        let (outbox, mut waiting, mut verdict) = outbox(&self.shared.limits);
        let key = seat.key;
        if seat.inbox.send(Input::Join { key, identity: join.identity, outbox }).await.is_err() {
            return (Ending::Error(ErrorCode::Ended), None);
        }
        let ending = tokio::select! {
            ending = read(&mut self.reader, &seat, &join) => ending,
            () = write(&mut self.sink, &mut waiting, self.shared.limits.ping_interval) => Ending::Gone,
            ending = judge(&mut verdict) => ending,
        };
        // When both came at once, the call's word explains more than a connection that went silent.
        let ending = match (ending, verdict.try_recv()) {
            (Ending::Gone, Ok(code)) => Ending::Error(code),
            (ending, _) => ending,
        };
        // A call that has ended needs no telling.
        let asked = matches!(ending, Ending::Left);
        let _ = seat.inbox.send(Input::Leave { key, asked }).await;
        (ending, Some(waiting))
    }

    /// Says why, closes, and lingers: a socket that is closed with unread bytes resets, which could cost the client
    /// the very message that explains the end.
    async fn close(mut self, ending: Ending, waiting: Option<Waiting>) {
        let farewell = async {
            let (code, reason) = match ending {
                Ending::Gone => return None,
                Ending::Left => {
                    self.send_last(waiting).await?;
                    (close_code::NORMAL, "left")
                }
                Ending::Error(code) => {
                    self.shared.counters.count_error(code);
                    if code != ErrorCode::TooSlow {
                        self.send_rest(waiting).await?;
                    }
                    self.sink.send(Message::Text(encode(&code.message()))).await.ok()?;
                    (close_code_of(code), code.name())
                }
            };
            let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
            self.sink.send(Message::Close(Some(frame))).await.ok()?;
            while let Some(Ok(_)) = self.reader.stream.next().await {}
            if let Ending::Error(ErrorCode::TooLarge) = ending {
                // The rest of that message will not be read; the client gets the time to read us.
                std::future::pending::<()>().await;
            }
            Some(())
        };
        let _ = timeout(FAREWELL, farewell).await;
    }

    async fn send_rest(&mut self, waiting: Option<Waiting>) -> Option<()> {
        let mut waiting = waiting;
        while let Some(text) = waiting.as_mut().and_then(Waiting::next_now) {
            self.sink.send(Message::Text(text)).await.ok()?;
        }
        Some(())
    }

    /// What the call still says to one who leaves; it drops its end of the outbox when that is all.
    async fn send_last(&mut self, waiting: Option<Waiting>) -> Option<()> {
        let mut waiting = waiting?;
        while let Some(text) = waiting.next().await {
            self.sink.send(Message::Text(text)).await.ok()?;
        }
        Some(())
    }

    fn count_refused_join(&self, ending: &Ending) {
        let outcome = match ending {
            Ending::Error(ErrorCode::Refused) => JoinOutcome::Refused,
            Ending::Error(ErrorCode::Full) => JoinOutcome::Full,
            Ending::Error(ErrorCode::Unavailable) => JoinOutcome::Unavailable,
            Ending::Error(ErrorCode::Timeout) => JoinOutcome::Timeout,
            Ending::Error(_) => JoinOutcome::Malformed,
            Ending::Left | Ending::Gone => return,
        };
        self.shared.counters.count_join(outcome);
    }
}

impl Reader {
    async fn next(&mut self) -> Result<ClientMessage, Ending> {
        loop {
            let frame = timeout(self.limits.idle_timeout, self.stream.next()).await;
            let message = match frame {
                Err(_) => return Err(Ending::Error(ErrorCode::Timeout)),
                Ok(None | Some(Ok(Message::Close(_)))) => return Err(Ending::Gone),
                Ok(Some(Err(error))) => return Err(ending_of(error)),
                Ok(Some(Ok(message))) => message,
            };
            let length = match &message {
                Message::Text(text) => text.len(),
                Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
                Message::Close(_) => 0,
            };
            if !self.allowance.take(length, Instant::now()) {
                return Err(Ending::Error(ErrorCode::TooFast));
            }
            match message {
                Message::Text(text) => return self.parse(&text),
                Message::Binary(_) => return Err(Ending::Error(ErrorCode::Malformed)),
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
            }
        }
    }

    fn parse(&mut self, text: &str) -> Result<ClientMessage, Ending> {
        match serde_json::from_str(text) {
            Ok(ClientMessage::Relay { data, .. }) if data.len() > self.limits.relay_bytes => {
                Err(Ending::Error(ErrorCode::TooLarge))
            }
            Ok(ClientMessage::Knock { data }) if data.len() > self.limits.knock_bytes => {
                Err(Ending::Error(ErrorCode::TooLarge))
            }
            Ok(ClientMessage::Knock { .. }) if !self.knocks.take(1.0, Instant::now()) => {
                Err(Ending::Error(ErrorCode::TooFast))
            }
            Ok(message) => Ok(message),
            // The error would quote the message.
            Err(_) => Err(Ending::Error(ErrorCode::Malformed)),
        }
    }
}

impl Allowance {
    fn full(limits: &Limits, now: Instant) -> Self {
        let Limits { messages_per_second, bytes_per_second, .. } = *limits;
        Self { messages: Bucket::full(messages_per_second, now), bytes: Bucket::full(bytes_per_second, now) }
    }

    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        self.messages.take(1.0, now) & self.bytes.take(bytes as f64, now)
    }
}

impl Bucket {
    fn full(rate: u32, now: Instant) -> Self {
        Self { rate, left: burst(rate), filled: now }
    }

    fn take(&mut self, tokens: f64, now: Instant) -> bool {
        let seconds = now.duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.left = (self.left + seconds * f64::from(self.rate)).min(burst(self.rate)) - tokens;
        self.left >= 0.0
    }
}

async fn read(reader: &mut Reader, seat: &Seat, join: &Join) -> Ending {
    let key = seat.key;
    loop {
        let input = match reader.next().await {
            Err(ending) => return ending,
            Ok(ClientMessage::Leave) => return Ending::Left,
            Ok(ClientMessage::Join(_)) => return Ending::Error(ErrorCode::Malformed),
            // Checked here, so that only its sender waits for it.
            Ok(ClientMessage::Host { state }) => {
                Input::Host { key, ruling: state.check(&join.call, &join.host).ok().map(Box::new) }
            }
            Ok(message) => Input::Message { key, message },
        };
        if seat.inbox.send(input).await.is_err() {
            return Ending::Error(ErrorCode::Ended);
        }
    }
}

/// Ends when the connection cannot be written to, or the call has nothing more to say.
async fn write(sink: &mut SplitSink<WebSocket, Message>, waiting: &mut Waiting, ping_interval: Duration) {
    let mut pings = interval(ping_interval);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.tick().await; // the first one is due at once
    loop {
        let message = tokio::select! {
            text = waiting.next() => match text {
                Some(text) => Message::Text(text),
                // The verdict, or the dead call, is the reason; neither is to be overtaken by this.
                None => std::future::pending().await,
            },
            _ = pings.tick() => Message::Ping(Default::default()),
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

async fn judge(verdict: &mut Verdict) -> Ending {
    Ending::Error(verdict.await.unwrap_or(ErrorCode::Ended))
}

fn ending_of(error: axum::Error) -> Ending {
    match error.into_inner().downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => Ending::Error(ErrorCode::TooLarge),
        Some(tungstenite::Error::Utf8(_)) => Ending::Error(ErrorCode::Malformed),
        _ => Ending::Gone,
    }
}

fn close_code_of(code: ErrorCode) -> u16 {
    match code {
        ErrorCode::Full | ErrorCode::Unavailable => close_code::AGAIN,
        ErrorCode::Ended => close_code::AWAY,
        _ => close_code::POLICY,
    }
}

/// Four seconds' worth: a newcomer answers everyone at once.
fn burst(rate: u32) -> f64 {
    f64::from(rate) * 4.0
}

/// Long enough for a farewell over a slow network, short enough that many of them hold few sockets.
const FAREWELL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_allowance_is_used_up_by_a_burst_and_refills_at_its_rate() {
        let limits = Limits { messages_per_second: 10, bytes_per_second: 1_000, ..Limits::default() };
        let start = Instant::now();
        let mut allowance = Allowance::full(&limits, start);
        assert!((0..40).all(|_| allowance.take(1, start)));
        assert!(!allowance.take(1, start));
        assert!(allowance.take(1, start + Duration::from_millis(210)));
        assert!(!allowance.take(5_000, start + Duration::from_secs(60)));
    }
}
