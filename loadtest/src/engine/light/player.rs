//! One participant as a thread plays it: its state, its connection, its socket, its WebSocket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rtc_crypto::RTCCryptoProvider;
use tokio::sync::mpsc::UnboundedReceiver;

use super::connection::{Connection, Parts};
use super::dtls::{Anchor, Identity};
use super::socket::{Batch, ClockPair, Socket};
use crate::clock::Moment;
use crate::engine::{Command, Event};
use crate::fleet::{Seat, Updates};
use crate::participant::{Order, Output, Participant};
use crate::signaling::{self, Connector};

/// One participant.
pub struct Player {
    participant: Participant,
    connector: Connector,
    updates: Updates,
    setting: Setting,
    identity: Arc<Identity>,
    random: ChaCha20Rng,
    /// Counts WebSockets, so that what an older one still says is known as such.
    session: u64,
    websocket: Option<signaling::Connection>,
    connection: Option<Connection>,
    socket: Option<Socket>,
    /// To whom the socket is connected.
    connected: Option<SocketAddr>,
    over: bool,
}

/// Takes what comes on a WebSocket.
pub type Listener = Box<dyn FnMut(signaling::Event) + Send>;

/// What a player needs of its thread.
#[derive(Clone)]
pub struct Setting {
    /// Primitives for STUN and DTLS.
    pub provider: Arc<dyn RTCCryptoProvider>,
    /// The same moment on both clocks.
    pub anchor: Anchor,
    /// Where its sockets are registered, and under what.
    pub registry: Arc<Registry>,
    /// Under what.
    pub token: Token,
    /// Makes what the WebSocket of a session calls with what comes.
    pub listen: Arc<dyn Fn(u64) -> Listener + Send + Sync>,
}

impl Player {
    /// Takes a seat; its orders are for the thread to listen to. Fails without random numbers.
    pub fn new(seat: Seat, setting: Setting) -> Option<(Self, UnboundedReceiver<Order>)> {
        let Seat { participant, connector, orders, updates } = seat;
        let identity = Arc::new(Identity::generate(setting.provider.as_ref()).ok()?);
        let random = ChaCha20Rng::seed_from_u64(participant.spec().seed ^ SALT);
        let player = Self {
            participant,
            connector,
            updates,
            setting,
            identity,
            random,
            session: 0,
            websocket: None,
            connection: None,
            socket: None,
            connected: None,
            over: false,
        };
        Some((player, orders))
    }

    /// Something came on the WebSocket of that session.
    pub fn handle_signaling(&mut self, now: Moment, session: u64, event: signaling::Event) {
        if session == self.session {
            self.participant.handle_signaling(now, event);
            self.settle(now);
        }
    }

    /// It is told to do something.
    pub fn handle_order(&mut self, now: Moment, order: Order) {
        self.participant.handle_order(now, order);
        self.settle(now);
    }

    /// Takes what waits in the socket. Returns whether more does.
    pub fn receive(&mut self, batch: &mut Batch) -> bool {
        let (Some(socket), Some(connection)) = (&self.socket, &mut self.connection) else { return false };
        let mut more = true;
        for _ in 0..RECEIVES {
            match socket.receive(batch) {
                Ok(full) => more = full,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => more = false,
                // Nobody listens there any more: checks of the path will tell when that lasts.
                Err(_) => continue,
            }
            if !more && batch.is_empty() {
                break;
            }
            let clock = ClockPair::now();
            let participant = &mut self.participant;
            batch.each(clock, |arrived, datagram| {
                let hear = &mut |received: crate::engine::Received<'_>| participant.handle_packet(clock.now, received);
                connection.handle_datagram(clock.now, arrived, datagram, hear);
            });
            if !more {
                break;
            }
        }
        self.settle(Moment::now());
        more
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Moment) {
        if self.connection.as_ref().and_then(Connection::next_timeout).is_some_and(|next| next <= now)
            && let Some(connection) = &mut self.connection
        {
            connection.handle_timeout(now);
        }
        if self.participant.next_timeout().is_some_and(|next| next <= now) {
            self.participant.handle_timeout(now);
        }
        self.settle(now);
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Moment> {
        let connection = self.connection.as_ref().and_then(Connection::next_timeout);
        [self.participant.next_timeout(), connection].into_iter().flatten().min()
    }

    /// Whether it is over; nothing follows then.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Carries what each side says to the other until both are silent, and sends what came of it.
    fn settle(&mut self, now: Moment) {
        loop {
            while let Some(event) = self.connection.as_mut().and_then(Connection::poll_event) {
                self.participant.handle_event(now, event);
            }
            let Some(output) = self.participant.poll() else { break };
            match output {
                Output::Connect => self.connect(now),
                Output::Say(message) => {
                    if let Some(websocket) = &self.websocket {
                        websocket.say(message);
                    }
                }
                Output::Do(command) => self.command(now, command),
                Output::Tell(update) => self.updates.send(update),
                Output::Over => {
                    self.disconnect(now);
                    self.over = true;
                    return;
                }
            }
        }
        self.send();
    }

    fn connect(&mut self, now: Moment) {
        self.disconnect(now);
        self.session += 1;
        self.websocket = Some(self.connector.connect((self.setting.listen)(self.session)));
        self.connection = Some(Connection::new(Parts {
            provider: Arc::clone(&self.setting.provider),
            identity: Arc::clone(&self.identity),
            anchor: self.setting.anchor,
            random: ChaCha20Rng::from_seed(self.random.random()),
            check_one_in: self.participant.spec().check_one_in,
        }));
    }

    fn disconnect(&mut self, now: Moment) {
        if let Some(mut connection) = self.connection.take() {
            connection.close(now);
            if let (Some(socket), Some(_)) = (&self.socket, self.connected) {
                let outbox = connection.outbox();
                socket.send_all(&outbox.bytes, &outbox.lengths);
            }
        }
        (self.socket, self.connected, self.websocket) = (None, None, None);
    }

    fn command(&mut self, now: Moment, command: Command) {
        if let Some(connection) = &mut self.connection {
            connection.handle_command(now, command);
        }
    }

    fn send(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        while let Some((to, check)) = connection.poll_check() {
            // A connected socket hears nobody else: another address needs another socket.
            if self.socket.is_none() || self.connected.is_some_and(|connected| connected != to) {
                self.connected = None;
                match open(&self.setting, to) {
                    Ok(socket) => self.socket = Some(socket),
                    Err(error) => {
                        let reason = format!("no UDP socket can be opened: {error}");
                        return self.participant.handle_event(Moment::now(), Event::Lost { reason });
                    }
                }
            }
            if let Some(socket) = &self.socket {
                let _ = socket.send_to(&check, to); // repeated until it is answered
            }
        }
        let remote = connection.remote();
        if let (Some(socket), Some(to)) = (&self.socket, remote)
            && self.connected.is_none()
            && socket.connect(to).is_ok()
        {
            self.connected = Some(to);
        }
        let outbox = connection.outbox();
        if !outbox.is_empty() {
            if let (Some(socket), Some(_)) = (&self.socket, self.connected) {
                socket.send_all(&outbox.bytes, &outbox.lengths); // what the kernel refuses is lost, as on any network
            }
            outbox.clear();
        }
    }
}

fn open(setting: &Setting, to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::for_peer(to)?;
    setting.registry.register(&mut SourceFd(&socket.as_raw_fd()), setting.token, Interest::READABLE)?;
    Ok(socket)
}

/// The participant draws from the same seed.
const SALT: u64 = 0x6c69_6768_7400_0001;
/// Batches taken of one socket before others have their turn.
const RECEIVES: usize = 4;
