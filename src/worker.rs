//! A packet enters here. One OS thread with one UDP port and one event loop: receive a batch, let the core decide,
//! send what it wrote, once. The only code in the media plane that reads the clock.
#![allow(clippy::disallowed_methods)] // the protocol code is told the time by this file

pub mod latency;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use tokio::sync::{mpsc, oneshot};

use crate::relay::command::{Command, Event};
use crate::relay::counters::{Counters, Drop as DropReason};
use crate::relay::outbox::{Outbox, Path};
use crate::relay::{Datagram, Relay};
use crate::udp::egress::Egress;
use crate::udp::{Batch, ClockPair, Socket};
use latency::Latency;

/// What a worker runs: the relay, or a stand-in in tests.
pub trait Core {
    /// Handles one datagram that arrived at `arrived`, in place.
    fn handle_datagram(&mut self, now: Instant, path: Path, arrived: Instant, bytes: &mut [u8], out: &mut Outbox);
    /// Handles one command.
    fn handle_command(&mut self, now: Instant, command: Command, out: &mut Outbox);
    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox);
    /// When something is due next.
    fn next_timeout(&self) -> Option<Instant>;
    /// What was counted.
    fn counters(&self) -> &Counters;
}

impl Core for Relay {
    fn handle_datagram(&mut self, now: Instant, path: Path, arrived: Instant, bytes: &mut [u8], out: &mut Outbox) {
        self.handle_datagram(now, Datagram { path, arrived, bytes }, out);
    }

    fn handle_command(&mut self, now: Instant, command: Command, out: &mut Outbox) {
        self.handle_command(now, command, out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.handle_timeout(now, out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next_timeout()
    }

    fn counters(&self) -> &Counters {
        self.counters()
    }
}

/// The control plane's end of a worker.
#[derive(Clone)]
pub struct Handle {
    orders: SyncSender<Order>,
    waker: Arc<Waker>,
    address: SocketAddr,
}

/// A running worker.
pub struct Worker {
    handle: Handle,
    thread: JoinHandle<()>,
}

/// Everything that one worker counted since start.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The core's counters, with what the socket dropped.
    pub counters: Counters,
    /// From the kernel's arrival time of a media packet to the end of the flush that forwarded it.
    pub latency: Latency,
    /// Events that the control plane did not take in time.
    pub events_lost: u64,
}

/// Why a worker ended by itself; there is no going on without it.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The event loop or the socket failed.
    #[error("media worker {0} failed: {1}")]
    Io(usize, io::Error),
    /// A defect outside any call.
    #[error("media worker {0} ended by a panic")]
    Panic(usize),
}

/// The worker cannot take the command: too many wait, or it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the media worker is overloaded or gone")]
pub struct Overloaded;

enum Order {
    Command(Command),
    Report(oneshot::Sender<Report>),
    Stop,
}

impl Worker {
    /// Starts a thread that owns the socket and the core that `core` makes there. Events go to `events`; an end that
    /// nobody asked for goes to `failed`.
    ///
    /// Threads are not pinned: the control plane shares the cores, and a pinned worker would wait behind it while
    /// another core idles; a busy thread stays where it is anyway.
    pub fn start<C: Core>(
        index: usize,
        socket: Socket,
        core: impl FnOnce(Instant) -> C + Send + 'static,
        events: mpsc::Sender<Event>,
        failed: mpsc::Sender<WorkerError>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), SOCKET, interest)?;
        let address = socket.local_addr()?;
        let (orders, inbox) = sync_channel(MOST_ORDERS);
        let run = move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let core = core(Instant::now());
                Loop::new(poll, socket, core, inbox, events).run()
            }));
            let error = match outcome {
                Ok(Ok(())) => return,
                Ok(Err(error)) => WorkerError::Io(index, error),
                Err(_) => WorkerError::Panic(index),
            };
            // Full means that the end of another worker is already known.
            let _ = failed.try_send(error);
        };
        let thread = std::thread::Builder::new().name(format!("media-{index}")).spawn(run)?;
        Ok(Self { handle: Handle { orders, waker, address }, thread })
    }

    /// Its end for the control plane.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Stops it and waits until it is gone.
    pub fn stop(self) {
        if self.handle.order(Order::Stop).is_ok() {
            let _ = self.thread.join();
        }
    }
}

impl Handle {
    /// The address that its socket is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a command that may be refused when too many wait.
    pub fn try_send(&self, command: Command) -> Result<(), Overloaded> {
        match self.orders.try_send(Order::Command(command)) {
            Ok(()) => self.wake(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Overloaded),
        }
    }

    /// Sends a command that must not be lost. Waits where too many wait already, which is short: a worker never waits
    /// for the control plane.
    pub fn send(&self, command: Command) -> Result<(), Overloaded> {
        self.order(Order::Command(command))
    }

    /// Asks for everything that it counted. `None` when it does not answer in time.
    pub async fn report(&self, patience: Duration) -> Option<Report> {
        let (told, answer) = oneshot::channel();
        self.orders.try_send(Order::Report(told)).ok()?;
        self.wake().ok()?;
        tokio::time::timeout(patience, answer).await.ok()?.ok()
    }

    fn order(&self, order: Order) -> Result<(), Overloaded> {
        self.orders.send(order).map_err(|_| Overloaded)?;
        self.wake()
    }

    fn wake(&self) -> Result<(), Overloaded> {
        self.waker.wake().map_err(|_| Overloaded)
    }
}

struct Loop<C> {
    poll: Poll,
    egress: Egress<Socket>,
    batch: Batch,
    core: C,
    out: Outbox,
    inbox: Receiver<Order>,
    events: mpsc::Sender<Event>,
    untold: VecDeque<Event>,
    events_lost: u64,
    media_arrivals: Vec<Instant>,
    latency: Latency,
    readable: bool,
}

impl<C: Core> Loop<C> {
    fn new(poll: Poll, socket: Socket, core: C, inbox: Receiver<Order>, events: mpsc::Sender<Event>) -> Self {
        Self {
            poll,
            egress: Egress::new(socket),
            batch: Batch::new(),
            core,
            out: Outbox::new(),
            inbox,
            events,
            untold: VecDeque::new(),
            events_lost: 0,
            media_arrivals: Vec::with_capacity(MOST_DATAGRAMS),
            latency: Latency::default(),
            readable: true,
        }
    }

    fn run(mut self) -> io::Result<()> {
        let mut ready = Events::with_capacity(4); // two sources
        loop {
            match self.poll.poll(&mut ready, self.patience()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            // Readiness is told once, when it begins: it stays true until the socket says that it is empty.
            self.readable |= ready.iter().any(|event| event.token() == SOCKET && event.is_readable());
            if self.take_orders(Instant::now()) {
                return Ok(());
            }
            if self.readable {
                self.receive()?;
            }
            let now = Instant::now();
            if self.core.next_timeout().is_some_and(|due| due <= now) {
                self.core.handle_timeout(now, &mut self.out);
            }
            self.flush(now);
            self.tell();
        }
    }

    /// How long the loop may sleep.
    fn patience(&self) -> Option<Duration> {
        if self.readable {
            return Some(Duration::ZERO);
        }
        let due = self.core.next_timeout().map(|due| due.saturating_duration_since(Instant::now()));
        let retry = (!self.untold.is_empty() || self.egress.is_waiting()).then_some(RETRY);
        [due, retry].into_iter().flatten().min()
    }

    /// Handles what the control plane asks; true when it asks to stop.
    fn take_orders(&mut self, now: Instant) -> bool {
        for _ in 0..MOST_ORDERS {
            match self.inbox.try_recv() {
                Ok(Order::Command(command)) => self.core.handle_command(now, command, &mut self.out),
                Ok(Order::Report(to)) => {
                    let _ = to.send(self.report());
                }
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => return false,
            }
        }
        false
    }

    /// Drains the socket up to a bound, so that one flush serves what arrived together and nothing starves.
    fn receive(&mut self) -> io::Result<()> {
        let mut handled = 0;
        while handled < MOST_DATAGRAMS {
            match self.egress.wire().receive(&mut self.batch) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(());
                }
                // A pending ICMP error is told here once; it says nothing about this socket.
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(error),
            }
            let clock = ClockPair { instant: Instant::now(), wall: SystemTime::now() };
            let (core, out, arrivals) = (&mut self.core, &mut self.out, &mut self.media_arrivals);
            self.batch.each(clock, |path, arrived, bytes| {
                handled += 1;
                if is_media(bytes) {
                    arrivals.push(arrived);
                }
                core.handle_datagram(clock.instant, path, arrived, bytes, out);
            });
        }
        Ok(())
    }

    fn flush(&mut self, now: Instant) {
        if !self.out.is_empty() || self.egress.is_waiting() {
            self.egress.flush(now, &self.out);
            self.out.clear();
        }
        if !self.media_arrivals.is_empty() {
            let done = Instant::now();
            for arrived in self.media_arrivals.drain(..) {
                self.latency.observe(done.saturating_duration_since(arrived));
            }
        }
    }

    /// Passes events on in order. What the control plane does not take waits here, and beyond a bound is counted.
    fn tell(&mut self) {
        self.untold.extend(self.out.events.drain(..));
        while let Some(event) = self.untold.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.untold.push_front(event);
                break;
            }
        }
        while self.untold.len() > MOST_UNTOLD {
            self.untold.pop_front();
            self.events_lost += 1;
        }
    }

    fn report(&self) -> Report {
        let mut counters = self.core.counters().clone();
        let losses = self.egress.losses();
        counters.drops[DropReason::Congested as usize] += losses.congested;
        counters.drops[DropReason::SendError as usize] += losses.refused;
        Report { counters, latency: self.latency.clone(), events_lost: self.events_lost }
    }
}

/// RTP by its first byte, RTCP excluded by its second (RFC 7983, RFC 5761).
fn is_media(bytes: &[u8]) -> bool {
    matches!(bytes, [128..=191, second, ..] if !(192..=223).contains(second))
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable | Interrupted)
}

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);
/// Commands that may wait: a thousand joins at once, far beyond what handshakes allow in one turn.
const MOST_ORDERS: usize = 1_024;
/// Datagrams per flush: enough to fill segmented sends, yet with 100 receivers each the first of them waits for less
/// than 20 ms.
const MOST_DATAGRAMS: usize = 256;
/// Events kept while the control plane is slow: more than the participants of a full worker.
const MOST_UNTOLD: usize = 65_536;
/// How soon something that waits for somebody else is tried again.
const RETRY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
