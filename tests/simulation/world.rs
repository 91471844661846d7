//! Relay, clients and the network between them, in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sotto::relay::command::{CallKey, Command, Event, ParticipantKey, Source};
use sotto::relay::outbox::{Outbox, Path};
use sotto::relay::{Config, Datagram, Relay};
use sotto::session::{Kind, Mid};
use sotto::transport::dtls::Certificate;

use crate::allocation;
use crate::client::{Client, Plan};

/// What a direction of the network does to datagrams.
#[derive(Clone, Copy)]
pub struct Network {
    /// Lost, of a thousand.
    pub loss: u32,
    /// Delivered twice, of a thousand.
    pub duplicate: u32,
    /// One way.
    pub delay: Duration,
    /// Added at random, so that packets overtake each other.
    pub jitter: Duration,
}

impl Network {
    /// 20 ms, nothing lost.
    pub const GOOD: Network =
        Network { loss: 0, duplicate: 0, delay: Duration::from_millis(20), jitter: Duration::ZERO };
    /// A tenth lost, some twice, reordered by up to 15 ms.
    pub const BAD: Network =
        Network { loss: 100, duplicate: 20, delay: Duration::from_millis(20), jitter: Duration::from_millis(15) };
}

/// Everything.
pub struct World {
    pub start: Instant,
    pub now: Instant,
    pub relay: Relay,
    pub out: Outbox,
    pub clients: Vec<Client>,
    pub events: Vec<(Instant, Event)>,
    pub up: Network,
    pub down: Network,
    /// Allocations while the relay handled datagrams.
    pub allocated: u64,
    /// Media datagrams that left for an address.
    pub media_to: HashMap<SocketAddr, u64>,
    /// Every datagram that reached the relay from a client, while recording.
    pub recording: Option<Vec<(usize, Vec<u8>)>>,
    /// Every media datagram that left the relay for a client, while listening.
    pub listening: Option<Vec<(usize, Vec<u8>)>>,
    /// What came to the relay and what left it, while it is kept.
    pub diary: Option<Diary>,
    /// Every datagram that left for an address that is no client's.
    pub letters: Vec<(SocketAddr, Vec<u8>)>,
    flights: BinaryHeap<Reverse<Flight>>,
    launched: u64,
    random: StdRng,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Instant,
    order: u64,
    to_relay: bool,
    client: usize,
    remote: SocketAddr,
    bytes: Vec<u8>,
}

/// Datagrams with their times, in order.
#[derive(Default)]
pub struct Diary {
    pub came: Vec<(Instant, usize, Vec<u8>)>,
    pub went: Vec<(Instant, usize, Vec<u8>)>,
}

impl World {
    /// An empty world; prints its seed.
    pub fn new(seed: u64) -> Self {
        static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
        let seed = std::env::var("SOTTO_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(seed);
        println!("seed {seed}");
        let start = Instant::now();
        let certificate = CERTIFICATE.get_or_init(|| Certificate::generate().unwrap()).clone();
        World {
            start,
            now: start,
            relay: Relay::new(Config { certificate }, start, seed),
            out: Outbox::new(),
            clients: Vec::new(),
            events: Vec::new(),
            up: Network::GOOD,
            down: Network::GOOD,
            allocated: 0,
            media_to: HashMap::new(),
            recording: None,
            listening: None,
            diary: None,
            letters: Vec::new(),
            flights: BinaryHeap::new(),
            launched: 0,
            random: StdRng::seed_from_u64(seed),
        }
    }

    pub fn open(&mut self, call: u64) {
        self.command(Command::Open { call: CallKey(call) });
    }

    /// Brings a client into a call and says which one it is.
    pub fn join(&mut self, call: u64, plan: Plan) -> usize {
        let index = self.clients.len();
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, (index >> 8) as u8, index as u8)), 5000);
        let client = Client::new(call, index as u64, address, plan, self.now, self.random.next_u64());
        let session = Box::new(client.session());
        let (call, participant) = (CallKey(call), ParticipantKey(index as u64));
        self.clients.push(client);
        self.command(Command::Negotiated { call, participant, session });
        index
    }

    /// A call of clients that all publish, each bound to the next ones, up to its slots; runs until all are connected.
    pub fn call_of(seed: u64, count: usize, plan: fn() -> Plan) -> Self {
        let mut world = World::new(seed);
        world.open(1);
        for _ in 0..count {
            world.join(1, plan());
        }
        for receiver in 0..count {
            for pair in 0..count - 1 {
                world.bind_pair(receiver, pair, Some((receiver + 1 + pair) % count));
            }
        }
        world.run_ms(1_000);
        for client in &world.clients {
            assert!(client.is_connected(), "every handshake is done within a second");
        }
        world
    }

    /// Hands the relay the session that the client has now.
    pub fn renegotiate(&mut self, client: usize) {
        let session = Box::new(self.clients[client].session());
        let (call, participant) = (CallKey(self.clients[client].call), ParticipantKey(client as u64));
        self.command(Command::Negotiated { call, participant, session });
    }

    /// A client that has left comes back with a new connection.
    pub fn return_anew(&mut self, client: usize) {
        let Client { call, mut address, plan, .. } = self.clients.swap_remove(client);
        address.set_port(address.port() + 1);
        let anew = Client::new(call, client as u64, address, plan, self.now, self.random.next_u64());
        self.clients.push(anew);
        let last = self.clients.len() - 1;
        self.clients.swap(client, last);
        self.renegotiate(client);
    }

    /// Points a pair of slots at another client's microphone and camera.
    pub fn bind_pair(&mut self, receiver: usize, pair: usize, from: Option<usize>) {
        self.bind(receiver, &format!("a{pair}"), from.map(|from| (from, "mic")));
        self.bind(receiver, &format!("v{pair}"), from.map(|from| (from, "cam")));
    }

    pub fn bind(&mut self, receiver: usize, slot: &str, source: Option<(usize, &str)>) {
        let source =
            source.map(|(from, mid)| Source { participant: ParticipantKey(from as u64), mid: Mid::from(mid).unwrap() });
        let (call, receiver) = (CallKey(self.clients[receiver].call), ParticipantKey(receiver as u64));
        self.command(Command::Bind { call, receiver, slot: Mid::from(slot).unwrap(), source });
    }

    pub fn leave(&mut self, client: usize) {
        self.clients[client].alive = false;
        let call = CallKey(self.clients[client].call);
        self.command(Command::Leave { call, participant: ParticipantKey(client as u64) });
    }

    pub fn command(&mut self, command: Command) {
        self.relay.handle_command(self.now, command, &mut self.out);
        self.flush();
    }

    /// Hands the relay a datagram at once.
    pub fn inject(&mut self, remote: SocketAddr, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let datagram = Datagram { path: Path { remote, local: None }, arrived: self.now, bytes: &mut bytes };
        let before = allocation::count();
        self.relay.handle_datagram(self.now, datagram, &mut self.out);
        self.allocated += allocation::count() - before;
        self.flush();
    }

    pub fn run_ms(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(at) = self.next().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.step();
        }
        self.now = end;
    }

    /// Milliseconds since the beginning.
    pub fn elapsed(&self, at: Instant) -> u64 {
        (at - self.start).as_millis() as u64
    }

    /// What a slot must never do: repeat a number, leave the order of its source, show another slot's packet, or begin
    /// a source's video without a key frame. `slot` is in the order of arrival.
    pub fn assert_sound(slot: &[&crate::track::Arrived]) {
        let mut sorted = slot.to_vec();
        sorted.sort_by_key(|arrived| arrived.index);
        for pair in sorted.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            assert!(after.index > before.index, "no number twice");
            assert!(after.timestamp.wrapping_sub(before.timestamp) < 1 << 31, "timestamps never go back");
            assert_eq!(before.mid, after.mid);
            let steps = after.index - before.index;
            if before.source == after.source {
                assert_eq!(after.source_index - before.source_index, steps, "numbers keep their distance");
                let same_frame = before.timestamp == after.timestamp;
                assert_eq!(same_frame, before.captured == after.captured);
                assert!(!same_frame || before.picture == after.picture);
            } else if after.kind == Kind::Video {
                assert!(after.key || steps > 1, "another source begins with a key frame");
            }
            let (Some(picture), Some(previous)) = (after.picture, before.picture) else { continue };
            let advance = picture.wrapping_sub(previous) & 0x7fff;
            let another = before.source != after.source;
            assert!(!another || (u64::from(advance) <= steps && advance > 0), "pictures go on: {advance}");
            if let (Some(tl0), Some(previous)) = (after.tl0, before.tl0) {
                assert_eq!(tl0.wrapping_sub(previous), advance as u8, "every picture is of the lowest temporal layer");
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let flight = self.flights.peek().map(|Reverse(flight)| flight.at);
        let clients = self.clients.iter().filter_map(Client::deadline).min();
        [flight, clients, self.relay.next_timeout()].into_iter().flatten().min()
    }

    fn step(&mut self) {
        while self.flights.peek().is_some_and(|Reverse(flight)| flight.at <= self.now) {
            let Reverse(flight) = self.flights.pop().unwrap();
            if flight.to_relay {
                if let Some(recording) = &mut self.recording {
                    recording.push((flight.client, flight.bytes.clone()));
                }
                if let Some(diary) = &mut self.diary {
                    diary.came.push((self.now, flight.client, flight.bytes.clone()));
                }
                self.inject(flight.remote, &flight.bytes);
            } else {
                self.clients[flight.client].receive(self.now, &flight.bytes);
            }
        }
        if self.relay.next_timeout().is_some_and(|at| at <= self.now) {
            self.relay.handle_timeout(self.now, &mut self.out);
            self.flush();
        }
        for index in 0..self.clients.len() {
            let mut send = Vec::new();
            self.clients[index].poll(self.now, &mut send);
            let remote = self.clients[index].address;
            for bytes in send {
                self.launch(true, index, remote, bytes);
            }
        }
    }

    fn flush(&mut self) {
        let mut sent = Vec::new();
        for run in self.out.dirty_runs() {
            let Some(path) = run.path() else { continue };
            let mut start = 0;
            for &(length, _) in run.datagrams() {
                let end = start + usize::from(length);
                sent.push((path.remote, run.bytes()[start..end].to_vec()));
                start = end;
            }
            assert_eq!(start, run.bytes().len(), "the datagrams cover the run");
        }
        sent.extend(self.out.singles().map(|(path, bytes)| (path.remote, bytes.to_vec())));
        self.out.clear();
        let now = self.now;
        self.events.extend(self.out.events.drain(..).map(|event| (now, event)));
        for (remote, bytes) in sent {
            let is_media = matches!(bytes[..], [128..=255, second, ..] if !(192..224).contains(&second));
            *self.media_to.entry(remote).or_default() += u64::from(is_media);
            if let Some(client) = self.clients.iter().position(|client| client.address == remote) {
                if let Some(listening) = self.listening.as_mut().filter(|_| is_media) {
                    listening.push((client, bytes.clone()));
                }
                if let Some(diary) = &mut self.diary {
                    diary.went.push((now, client, bytes.clone()));
                }
                self.launch(false, client, remote, bytes);
            } else {
                self.letters.push((remote, bytes));
            }
        }
    }

    /// Lets a datagram of a client reach the relay at a given time.
    pub fn land(&mut self, at: Instant, client: usize, bytes: Vec<u8>) {
        let remote = self.clients[client].address;
        self.launched += 1;
        self.flights.push(Reverse(Flight { at, order: self.launched, to_relay: true, client, remote, bytes }));
    }

    fn launch(&mut self, to_relay: bool, client: usize, remote: SocketAddr, bytes: Vec<u8>) {
        let network = if to_relay { self.up } else { self.down };
        let copies = match self.random.next_u32() % 1000 {
            dice if dice < network.loss => 0,
            dice if dice < network.loss + network.duplicate => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let jitter = network.jitter.mul_f64(f64::from(self.random.next_u32()) / f64::from(u32::MAX));
            let at = self.now + network.delay + jitter;
            self.launched += 1;
            let order = self.launched;
            self.flights.push(Reverse(Flight { at, order, to_relay, client, remote, bytes: bytes.clone() }));
        }
    }
}
