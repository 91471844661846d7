//! A participant's life in one tokio task: its WebSocket, its connection, its timers and what it is told to do.

use std::collections::VecDeque;
use std::future::pending;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::connection::Connection;
use super::inbox::Arrival;
use crate::clock::Moment;
use crate::engine::{Command, Event};
use crate::fleet::{Engine, Seat};
use crate::participant::{Order, Output};
use crate::signaling::{self, Connector};

/// Plays participants on a tokio runtime, as many threads as it has: a connection's driver is a task, and so is its
/// participant.
pub struct Full {
    runtime: Handle,
}

impl Full {
    /// On this runtime.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime }
    }
}

impl Engine for Full {
    fn play(&mut self, seat: Seat) {
        self.runtime.spawn(play(seat));
    }
}

/// What a participant is connected by, from one [`Output::Connect`] to the next.
struct Session {
    signaling: signaling::Connection,
    heard: mpsc::UnboundedReceiver<signaling::Event>,
    media: Result<Connection, String>,
    /// Whether it was told that nothing can be sent; a packet is not told of each.
    is_dead: bool,
}

/// What happened first.
enum Woken {
    Timer,
    Ordered(Order),
    Heard(signaling::Event),
    Arrived(VecDeque<Arrival>),
}

/// Plays one participant until it is over.
pub async fn play(mut seat: Seat) {
    let mut session = None;
    seat.participant.handle_timeout(Moment::now());
    while carry_out(&mut seat, &mut session).await {
        let woken = wait(&mut seat, &mut session).await;
        let now = Moment::now();
        match woken {
            Woken::Timer => {}
            Woken::Ordered(order) => seat.participant.handle_order(now, order),
            Woken::Heard(event) => seat.participant.handle_signaling(now, event),
            Woken::Arrived(arrivals) => {
                for arrival in arrivals {
                    match arrival {
                        Arrival::Packet(packet) => seat.participant.handle_packet(now, packet.received()),
                        Arrival::Event(event) => seat.participant.handle_event(now, event),
                    }
                }
            }
        }
        // Also where something else always comes first.
        if seat.participant.next_timeout().is_some_and(|at| at <= now) {
            seat.participant.handle_timeout(now);
        }
    }
}

/// Does what the participant wants. False where that is nothing more.
async fn carry_out(seat: &mut Seat, session: &mut Option<Session>) -> bool {
    while let Some(output) = seat.participant.poll() {
        match (output, &mut *session) {
            (Output::Connect, _) => *session = Some(Session::open(&seat.connector).await),
            (Output::Say(message), Some(session)) => session.signaling.say(message),
            (Output::Do(command), Some(session)) => {
                if let Some(event) = session.carry_out(command).await {
                    seat.participant.handle_event(Moment::now(), event);
                }
            }
            (Output::Tell(update), _) => seat.updates.send(update),
            (Output::Over, _) => {
                if let Some(Session { media: Ok(media), .. }) = session.take() {
                    media.close().await;
                }
                return false;
            }
            (Output::Say(_) | Output::Do(_), None) => {} // for a connection that there was before
        }
    }
    true
}

async fn wait(seat: &mut Seat, session: &mut Option<Session>) -> Woken {
    let timeout = seat.participant.next_timeout();
    let timer = async move {
        match timeout {
            Some(at) => sleep(at.since(Moment::now())).await,
            None => pending().await,
        }
    };
    let (heard, media) = match session {
        Some(session) => (Some(&mut session.heard), session.media.as_ref().ok()),
        None => (None, None),
    };
    let heard = async move {
        match heard {
            Some(heard) => heard.recv().await,
            None => None,
        }
    };
    let arrivals = async move {
        match media {
            Some(media) => media.arrivals().await,
            None => pending().await,
        }
    };
    // In this order: media comes in numbers and would hide the rest. What is over is not looked at again.
    tokio::select! {
        biased;
        () = timer => Woken::Timer,
        Some(order) = seat.orders.recv() => Woken::Ordered(order),
        Some(event) = heard => Woken::Heard(event),
        arrivals = arrivals => Woken::Arrived(arrivals),
        else => Woken::Timer,
    }
}

impl Session {
    async fn open(connector: &Connector) -> Self {
        let (hear, heard) = mpsc::unbounded_channel();
        let signaling = connector.connect(move |event| {
            let _ = hear.send(event); // nobody hears a session that is over
        });
        let media = Connection::open().await.map_err(|error| error.to_string());
        Self { signaling, heard, media, is_dead: false }
    }

    async fn carry_out(&mut self, command: Command) -> Option<Event> {
        let often = matches!(command, Command::Packet { .. } | Command::RequestKeyFrame { .. });
        let outcome = match &mut self.media {
            Ok(media) => media.handle(command).await.map_err(|error| error.to_string()),
            Err(reason) => Err(reason.clone()),
        };
        match outcome {
            Ok(event) => event,
            Err(_) if often && self.is_dead => None,
            Err(reason) => {
                self.is_dead |= often;
                Some(Event::Lost { reason })
            }
        }
    }
}
