//! An impaired network between peers and relay, in user space: one thread with a pair of UDP sockets for each peer
//! that has one. The peer is told the near socket's address instead of the relay's ([`candidate::detour_answer`]).

pub mod candidate;
pub mod flow;
pub mod link;
mod passage;
pub mod peer;
pub mod profile;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::net::UdpSocket;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use socket2::{Domain, Protocol, Type};

use crate::clock::Moment;
use crate::plan::{Impairment, Outage};
use flow::Flow;
use link::Link;
use passage::Passage;

/// The thread that carries the datagrams of all impaired peers. Dropped, it ends.
pub struct Proxy {
    line: Line,
    next: AtomicUsize,
    thread: Option<JoinHandle<()>>,
}

/// One peer's way to the relay. Dropped, it is closed.
pub struct Detour {
    /// Where the peer is to send to.
    pub address: SocketAddr,
    relay: SocketAddr,
    number: usize,
    flows: Arc<Mutex<Flows>>,
    line: Line,
}

/// What was done to one peer's datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// From peer to relay.
    pub up: Flow,
    /// From relay to peer.
    pub down: Flow,
    /// Datagrams that were not from the peer and went nowhere.
    pub strange: u64,
}

/// Why the network could not be impaired.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// No thread, no timer or no poll.
    #[error("the impaired network cannot be started: {0}; raise the limit of open files (`ulimit -n`) or of threads")]
    Start(io::Error),
    /// No sockets, or no way to the relay.
    #[error("a peer's impaired network cannot be opened: {0}; raise the limit of open files (`ulimit -n`)")]
    Open(io::Error),
    /// The thread is gone.
    #[error("the impaired network has ended, which is a defect of this program")]
    Ended,
}

/// The way to tell the thread something.
#[derive(Clone)]
struct Line {
    orders: mpsc::Sender<Order>,
    waker: Arc<Waker>,
}

enum Order {
    Open(usize, Box<Passage>),
    Close(usize),
    Stop,
}

impl Proxy {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the machine has no descriptors or threads left.
    pub fn start() -> Result<Self, ProxyError> {
        let (orders, inbox) = mpsc::channel();
        let poll = Poll::new().map_err(ProxyError::Start)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).map_err(ProxyError::Start)?);
        let carrier = Carrier::new(poll, inbox).map_err(ProxyError::Start)?;
        let thread = std::thread::Builder::new().name("impair".into()).spawn(move || carrier.run());
        let thread = thread.map_err(ProxyError::Start)?;
        // Numbers begin where the tokens of their sockets do not touch the others.
        Ok(Self { line: Line { orders, waker }, next: AtomicUsize::new(1), thread: Some(thread) })
    }

    /// Opens a way to `relay` that does to datagrams what `up` and `down` say, and lets nothing pass during `outages`,
    /// counted from `run_start`. The same `seed` loses the same datagrams.
    ///
    /// # Errors
    /// Where the machine has no descriptors left, or no route to the relay.
    pub fn open(
        &self,
        relay: SocketAddr,
        up: &Impairment,
        down: &Impairment,
        outages: &[Outage],
        seed: u64,
        run_start: Moment,
    ) -> Result<Detour, ProxyError> {
        let (near, far) = socket_pair(relay).map_err(ProxyError::Open)?;
        let address = near.local_addr().map_err(ProxyError::Open)?;
        let link = |impairment, direction| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(direction);
            Link::new(impairment, outages, run_start, rng)
        };
        let flows = Arc::default();
        let passage = Passage::new(near, far, link(up, 0), link(down, 1), Arc::clone(&flows));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.line.tell(Order::Open(number, Box::new(passage)))?;
        Ok(Detour { address, relay, number, flows, line: self.line.clone() })
    }

    /// Closes a way and tells what was done to its datagrams; those under way are gone.
    pub fn close(&self, detour: Detour) -> Flows {
        detour.flows()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.line.tell(Order::Stop); // fails only where it has ended
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Detour {
    /// The relay's address that it leads to.
    pub fn relay(&self) -> SocketAddr {
        self.relay
    }

    /// What was done to its datagrams until now.
    pub fn flows(&self) -> Flows {
        *self.flows.lock().expect("no holder panics")
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        let _ = self.line.tell(Order::Close(self.number)); // an ended thread has closed it
    }
}

impl Line {
    fn tell(&self, order: Order) -> Result<(), ProxyError> {
        self.orders.send(order).map_err(|_| ProxyError::Ended)?;
        self.waker.wake().map_err(ProxyError::Start)
    }
}

/// What the thread owns.
struct Carrier {
    poll: Poll,
    timer: OwnedFd,
    armed: Option<Moment>,
    inbox: mpsc::Receiver<Order>,
    passages: HashMap<usize, Passage>,
}

impl Carrier {
    fn new(poll: Poll, inbox: mpsc::Receiver<Order>) -> io::Result<Self> {
        // The timeout of a poll counts in whole milliseconds, too coarse for delays of a few.
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        Ok(Self { poll, timer, armed: None, inbox, passages: HashMap::new() })
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        loop {
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return;
            }
            for event in &events {
                match event.token() {
                    TIMER => {}
                    WAKE => {
                        if !self.take_orders() {
                            return;
                        }
                    }
                    Token(token) => {
                        if let Some(passage) = self.passages.get_mut(&(token / 2)) {
                            passage.receive(token % 2 == NEAR, &mut buffer);
                        }
                    }
                }
            }
            self.transmit();
        }
    }

    /// `false` where it is to end.
    fn take_orders(&mut self) -> bool {
        while let Ok(order) = self.inbox.try_recv() {
            match order {
                Order::Open(number, mut passage) => {
                    if passage.register(self.poll.registry(), number).is_ok() {
                        self.passages.insert(number, *passage);
                    }
                }
                // Its sockets leave the poll as they close.
                Order::Close(number) => drop(self.passages.remove(&number)),
                Order::Stop => return false,
            }
        }
        true
    }

    /// Hands on what is due, and sets the timer for what is due next.
    fn transmit(&mut self) {
        let mut next: Option<Moment> = None;
        for passage in self.passages.values_mut() {
            if let Some(due) = passage.transmit(Moment::now()) {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        if next == self.armed {
            return;
        }
        // Zero disarms; a time that has passed by now fires at once.
        let due = Duration::from_nanos(next.map_or(0, |next| next.0));
        let value = Timespec { tv_sec: due.as_secs() as i64, tv_nsec: due.subsec_nanos().into() };
        let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let set = timerfd_settime(
            &self.timer,
            TimerfdTimerFlags::ABSTIME,
            &Itimerspec { it_interval: interval, it_value: value },
        );
        self.armed = next.filter(|_| set.is_ok());
    }
}

impl Passage {
    fn register(&mut self, registry: &Registry, number: usize) -> io::Result<()> {
        let (near, far) = self.sockets();
        registry.register(near, Token(number * 2 + NEAR), Interest::READABLE)?;
        registry.register(far, Token(number * 2 + FAR), Interest::READABLE)
    }
}

/// A socket for the peer and one that is connected to the relay, both on the address from which the relay is reached.
fn socket_pair(relay: SocketAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    let any = match relay {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let far = socket(any)?;
    far.connect(&relay.into())?;
    let far: std::net::UdpSocket = far.into();
    let near = socket(SocketAddr::new(far.local_addr()?.ip(), 0))?;
    Ok((UdpSocket::from_std(near.into()), UdpSocket::from_std(far)))
}

fn socket(address: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    // The kernel grants less where the machine's limit is lower; what does not fit shows among the tester's own drops.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.bind(&address.into())?;
    Ok(socket)
}

const WAKE: Token = Token(0);
const TIMER: Token = Token(1);
/// Which socket of a passage an odd or even token is.
const NEAR: usize = 0;
const FAR: usize = 1;
/// Readiness of this many sockets at a time; more come with the next poll.
const EVENTS: usize = 256;
/// The largest that UDP carries.
const LARGEST_DATAGRAM: usize = 65_535;
/// Bytes for 10 ms of 100 Mbit/s with the kernel's own overhead, should the thread be kept from a core that long.
const BUFFER: usize = 1 << 20;

#[cfg(test)]
mod tests;
