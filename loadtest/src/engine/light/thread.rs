//! A thread of the engine: one loop over the sockets, timers and signaling of many participants. Here alone the clock
//! is read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token, Waker};
use rtc_crypto::RTCCryptoProvider;
use tokio::runtime::Handle;

use super::dtls::Anchor;
use super::player::{Player, Setting};
use super::socket::Batch;
use crate::clock::Moment;
use crate::fleet::Seat;
use crate::participant::Order;
use crate::signaling;

/// The near end of a thread. The thread ends when it is dropped.
pub struct Thread {
    mouth: Mouth,
}

/// Tells a thread something and wakes it.
#[derive(Clone)]
struct Mouth {
    sender: Sender<Input>,
    waker: Arc<Waker>,
}

enum Input {
    Play(Box<Seat>, Handle),
    Signaling { player: usize, session: u64, event: signaling::Event },
    Order { player: usize, order: Order },
    Stop,
}

struct Loop {
    poll: Poll,
    registry: Arc<Registry>,
    inputs: Receiver<Input>,
    mouth: Mouth,
    provider: Arc<dyn RTCCryptoProvider>,
    anchor: Anchor,
    /// Places are never used again: what is late for one cannot reach another.
    players: Vec<Option<Box<Player>>>,
    /// The earliest entry of each player in `timers`.
    scheduled: Vec<Option<Moment>>,
    timers: BinaryHeap<Reverse<(Moment, usize)>>,
    /// Sockets that had more than was taken.
    unread: Vec<usize>,
    /// Whether there was more to listen to than there was time for.
    unheard: bool,
    batch: Batch,
}

impl Thread {
    /// Starts one.
    ///
    /// # Errors
    /// Where the machine has no threads or descriptors left, or no random numbers.
    pub fn start(number: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = Arc::new(poll.registry().try_clone()?);
        let waker = Arc::new(Waker::new(&registry, WAKER)?);
        let (sender, inputs) = mpsc::channel();
        let mouth = Mouth { sender, waker };
        let provider = rtc_crypto::default_provider().map_err(io::Error::other)?;
        let own = mouth.clone();
        thread::Builder::new().name(format!("light-{number}")).spawn(move || {
            let mut worker = Loop {
                poll,
                registry,
                inputs,
                mouth: own,
                provider,
                anchor: anchor(),
                players: Vec::new(),
                scheduled: Vec::new(),
                timers: BinaryHeap::new(),
                unread: Vec::new(),
                unheard: false,
                batch: Batch::new(),
            };
            worker.run();
        })?;
        Ok(Self { mouth })
    }

    /// Plays a participant.
    pub fn play(&self, seat: Seat) {
        self.mouth.tell(Input::Play(Box::new(seat), Handle::current()));
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.mouth.tell(Input::Stop);
    }
}

impl Mouth {
    /// What a thread that ended is told is lost with it.
    fn tell(&self, input: Input) {
        let _ = self.sender.send(input);
        let _ = self.waker.wake();
    }
}

impl Loop {
    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let idle = self.unread.is_empty() && !self.unheard;
            let wait = if idle { self.wait() } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return, // the players' seats tell it
                _ => {}
            }
            for place in std::mem::take(&mut self.unread) {
                self.receive(place);
            }
            let mut woken = self.unheard;
            for event in &events {
                match event.token() {
                    WAKER => woken = true,
                    Token(place) => self.receive(place),
                }
            }
            if woken && !self.take_inputs() {
                return;
            }
            self.fire();
        }
    }

    /// Until the earliest timer.
    fn wait(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((at, _))| at.since(Moment::now()))
    }

    fn receive(&mut self, place: usize) {
        let Some(Some(player)) = self.players.get_mut(place) else { return };
        if player.receive(&mut self.batch) {
            self.unread.push(place);
        }
        self.schedule(place);
    }

    /// Listens for a while, so that signatures, of which a large call checks thousands when it begins, do not hold up
    /// its media. Returns whether to go on.
    fn take_inputs(&mut self) -> bool {
        let until = Moment::now() + LISTENING;
        self.unheard = false;
        while let Ok(input) = self.inputs.try_recv() {
            match input {
                Input::Play(seat, runtime) => self.play(*seat, &runtime),
                Input::Signaling { player, session, event } => {
                    if let Some(Some(known)) = self.players.get_mut(player) {
                        known.handle_signaling(Moment::now(), session, event);
                        self.schedule(player);
                    }
                }
                Input::Order { player, order } => {
                    if let Some(Some(known)) = self.players.get_mut(player) {
                        known.handle_order(Moment::now(), order);
                        self.schedule(player);
                    }
                }
                Input::Stop => return false,
            }
            if Moment::now() >= until {
                self.unheard = true;
                break;
            }
        }
        true
    }

    fn play(&mut self, seat: Seat, runtime: &Handle) {
        let place = self.players.len();
        let mouth = self.mouth.clone();
        let setting = Setting {
            provider: Arc::clone(&self.provider),
            anchor: self.anchor,
            registry: Arc::clone(&self.registry),
            token: Token(place),
            listen: Arc::new(move |session| {
                let mouth = mouth.clone();
                Box::new(move |event| mouth.tell(Input::Signaling { player: place, session, event }))
            }),
        };
        let Some((player, mut orders)) = Player::new(seat, setting) else { return };
        let mouth = self.mouth.clone();
        runtime.spawn(async move {
            while let Some(order) = orders.recv().await {
                mouth.tell(Input::Order { player: place, order });
            }
        });
        self.players.push(Some(Box::new(player)));
        self.scheduled.push(None);
        self.schedule(place);
    }

    fn fire(&mut self) {
        let now = Moment::now();
        while let Some(&Reverse((at, place))) = self.timers.peek()
            && at <= now
        {
            self.timers.pop();
            // Superseded by an earlier entry, which was handled.
            if self.scheduled[place] != Some(at) {
                continue;
            }
            self.scheduled[place] = None;
            if let Some(player) = &mut self.players[place] {
                player.handle_timeout(Moment::now());
            }
            self.schedule(place);
        }
    }

    /// Enters a player's next moment, unless an earlier one is entered, which will find out; removes who is over.
    fn schedule(&mut self, place: usize) {
        let Some(player) = &self.players[place] else { return };
        if player.is_over() {
            self.players[place] = None;
            self.scheduled[place] = None;
            return;
        }
        let Some(next) = player.next_timeout() else { return };
        if self.scheduled[place].is_none_or(|scheduled| next < scheduled) {
            self.scheduled[place] = Some(next);
            self.timers.push(Reverse((next, place)));
        }
    }
}

#[allow(clippy::disallowed_methods)] // the library's clock has to begin somewhere, once
fn anchor() -> Anchor {
    Anchor { instant: Instant::now(), moment: Moment::now() }
}

const WAKER: Token = Token(usize::MAX);
/// Of one turn: a tenth of the time between two packets of a voice.
const LISTENING: Duration = Duration::from_millis(2);
/// Sockets told of at once; more wait for the next turn.
const EVENTS: usize = 1024;
