//! Calls of two over real sockets on loopback: what the media thread spends on each packet that it brings to the other
//! one, by forwarding and by the tunnel, in turns under the same load. `-- --calls N --seconds S --rounds R` changes it.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a load in real time that prints a table"
)]

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use arrayvec::ArrayString;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use sotto::relay::command::{CallKey, Command, LegKey, ParticipantKey, Source};
use sotto::relay::{Config, Relay};
use sotto::rtp::rtcp::report::{ReportBlock, write_receiver_report};
use sotto::session::{IceParameters, Kind, Mid, Ssrc};
use sotto::transport::dtls::Certificate;
use sotto::transport::srtp::{MasterKey, Outbound, Profile};
use sotto::udp::Socket;
use sotto::worker::{Handle, Worker};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

#[allow(dead_code)]
#[path = "../tests/simulation/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../tests/simulation/handshake.rs"]
mod handshake;
#[allow(dead_code)]
#[path = "../tests/simulation/track.rs"]
mod track;

use client::{Client, Plan, check};
use track::{Hop, Outgoing};

/// How the two of a call reach each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Forwarding,
    Tunnel,
}

/// What a run is made of.
struct Size {
    calls: u64,
    measured: Duration,
    rounds: usize,
}

/// What a run cost.
struct Cost {
    /// Packets of sound and picture that arrived.
    packets: u64,
    /// Of those that were sent, not arrived: in thousandths.
    lost: u64,
    user: Duration,
    system: Duration,
    running: Duration,
    took: Duration,
}

/// One participant with a socket of its own.
struct Peer {
    socket: UdpSocket,
    end: End,
    feedback_at: Instant,
    media_sent: u64,
    media_received: u64,
}

enum End {
    /// ICE, DTLS, SRTP and RTCP with the relay.
    Session(Box<Client>),
    /// ICE with the relay; the rest is protected for the other one.
    Leg { check: Vec<u8>, check_at: Instant, tracks: Box<[Outgoing; 2]>, outbound: Outbound, transport_sequence: u16 },
}

/// All participants, driven by one thread.
struct Load {
    began: Instant,
    poll: Poll,
    peers: Vec<Peer>,
}

fn main() {
    let size = Size::from_arguments();
    let rate = "1.5 Mbit/s of video and 50 packets of sound a second each way";
    println!("two_party: {} calls, {rate}, {:?} measured", size.calls, size.measured);
    println!("way         packets/s   lost ‰   of a core   user ns   system ns   CPU ns per packet");
    let (mut forwarding, mut tunnel, mut most_lost) = (Vec::new(), Vec::new(), 0);
    for _ in 0..size.rounds {
        for (way, costs) in [(Way::Forwarding, &mut forwarding), (Way::Tunnel, &mut tunnel)] {
            let cost = run(way, &size);
            cost.print(way);
            most_lost = most_lost.max(cost.lost);
            costs.push(cost.per_packet());
        }
    }
    let [forwarding, tunnel] = [forwarding, tunnel].map(median);
    let ratio = tunnel / forwarding;
    println!("median: forwarding {forwarding:.0} ns, tunnel {tunnel:.0} ns per packet, ratio {ratio:.2}");
    if most_lost > MOST_LOST {
        println!("Packets were lost: the machine does something else, so that the two had unlike loads. Run it alone.");
    }
}

fn run(way: Way, size: &Size) -> Cost {
    let (events, _told) = mpsc::channel(4 * size.calls as usize);
    let (failed, _) = mpsc::channel(1);
    let certificate = Certificate::generate().unwrap();
    let core = move |now| Relay::new(Config { certificate }, now, 1);
    let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let worker = Worker::start(0, socket, core, events, failed).unwrap();
    let mut load = Load::connect(way, size.calls, worker.handle());
    load.run_for(WARM_UP);
    let thread = thread_named("media-0");
    let before = (Instant::now(), Times::of(&thread), load.media());
    load.run_for(size.measured);
    let after = (Instant::now(), Times::of(&thread), load.media());
    worker.stop();
    let [sent, arrived] = [after.2.0 - before.2.0, after.2.1 - before.2.1];
    Cost {
        packets: arrived,
        lost: (1_000 * sent.saturating_sub(arrived) / sent.max(1)),
        user: after.1.user - before.1.user,
        system: after.1.system - before.1.system,
        running: after.1.running - before.1.running,
        took: after.0 - before.0,
    }
}

/// What a thread has used of a core.
struct Times {
    user: Duration,
    system: Duration,
    running: Duration,
}

impl Times {
    fn of(thread: &Path) -> Self {
        let stat = fs::read_to_string(thread.join("stat")).unwrap();
        // Behind the name, which may hold anything, come the state and then numbers: the 14th and 15th of all are times.
        let numbers: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks = |place: usize| TICK * numbers[place - 3].parse::<u32>().unwrap();
        let schedstat = fs::read_to_string(thread.join("schedstat")).unwrap();
        let running = schedstat.split_whitespace().next().unwrap().parse().unwrap();
        Times { user: ticks(14), system: ticks(15), running: Duration::from_nanos(running) }
    }
}

fn thread_named(name: &str) -> PathBuf {
    let mut threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let is_it = |thread: &PathBuf| fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim() == name);
    threads.find(is_it).expect("the media thread runs")
}

impl Size {
    /// Without `--bench`, as when tests run every target, it is only seen to work.
    fn from_arguments() -> Self {
        let arguments: Vec<String> = std::env::args().collect();
        let is_bench = arguments.iter().any(|argument| argument == "--bench");
        let number = |name: &str, full: u64, least: u64| {
            let place = arguments.iter().position(|argument| argument == name);
            let given = place.and_then(|place| arguments.get(place + 1)?.parse().ok());
            given.unwrap_or(if is_bench { full } else { least })
        };
        let measured = Duration::from_millis(if is_bench { 1_000 } else { 200 });
        Size {
            calls: number("--calls", 50, 2),
            measured: measured * number("--seconds", 6, 1) as u32,
            rounds: number("--rounds", 3, 1) as usize,
        }
    }
}

impl Cost {
    fn per_packet(&self) -> f64 {
        self.running.as_nanos() as f64 / self.packets as f64
    }

    fn print(&self, way: Way) {
        let name = if way == Way::Forwarding { "forwarding" } else { "tunnel" };
        let rate = self.packets as f64 / self.took.as_secs_f64();
        let share = 100.0 * self.running.as_secs_f64() / self.took.as_secs_f64();
        // The kernel tells the two apart by its clock's ticks, and the sum by the nanosecond.
        let ticks = (self.user + self.system).as_secs_f64().max(f64::MIN_POSITIVE);
        let user = self.per_packet() * self.user.as_secs_f64() / ticks;
        let (system, lost) = (self.per_packet() - user, self.lost);
        let total = self.per_packet();
        println!("{name:10} {rate:10.0} {lost:8} {share:10.1} % {user:9.0} {system:11.0} {total:19.0}");
    }
}

impl Load {
    fn connect(way: Way, calls: u64, relay: &Handle) -> Self {
        let mut load = Load { began: Instant::now(), poll: Poll::new().unwrap(), peers: Vec::new() };
        for call in 0..calls {
            relay.send(Command::Open { call: CallKey(call) }).unwrap();
            for side in 0..2 {
                load.join(way, call, side, relay);
            }
            if way == Way::Forwarding {
                bind(call, relay);
            }
        }
        let patience = Instant::now() + PATIENCE;
        while load.peers.iter().any(|peer| peer.media_received == 0) {
            assert!(Instant::now() < patience, "every call is up within {PATIENCE:?}");
            load.run_for(Duration::from_millis(100));
        }
        load.spread();
        load
    }

    fn join(&mut self, way: Way, call: u64, side: u64, relay: &Handle) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(relay.address()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let token = Token(self.peers.len());
        let source = std::os::fd::AsRawFd::as_raw_fd(&socket);
        self.poll.registry().register(&mut SourceFd(&source), token, Interest::READABLE).unwrap();
        let key = call * 2 + side;
        let end = match way {
            Way::Forwarding => session(call, key, socket.local_addr().unwrap(), relay),
            Way::Tunnel => leg(call, key, relay),
        };
        let mut peer = Peer { socket, end, feedback_at: Instant::now(), media_sent: 0, media_received: 0 };
        peer.tracks().iter_mut().filter(|track| track.kind == Kind::Video).for_each(shape);
        self.peers.push(peer);
    }

    /// Each participant's frames from now on at a time of its own, the same in every run.
    fn spread(&mut self) {
        let now = Instant::now();
        for (key, peer) in self.peers.iter_mut().enumerate() {
            // The golden ratio's multiples lie evenly, however many there are.
            let share = (key as f64 * 0.618_033_988_75).fract();
            peer.feedback_at = now + FEEDBACK.mul_f64(share);
            for track in peer.tracks() {
                track.due = now + track.interval.mul_f64(share);
            }
        }
    }

    /// Sends what is due and takes what comes.
    fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        let mut ready = Events::with_capacity(1_024);
        let mut send = Vec::new();
        while Instant::now() < end {
            let now = Instant::now();
            for peer in &mut self.peers {
                peer.poll(self.began, now, &mut send);
                send.drain(..).for_each(|bytes| peer.send(&bytes));
            }
            // The least that epoll waits is a millisecond.
            match self.poll.poll(&mut ready, Some(Duration::from_millis(1))) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => panic!("{error}"),
                _ => {}
            }
            for event in &ready {
                self.peers[event.token().0].receive(Instant::now());
            }
        }
    }

    /// Packets of sound and picture so far: sent, and received.
    fn media(&self) -> (u64, u64) {
        let sums = self.peers.iter().map(|peer| (peer.media_sent, peer.media_received));
        sums.fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1))
    }
}

impl Peer {
    fn tracks(&mut self) -> &mut [Outgoing] {
        match &mut self.end {
            End::Session(client) => &mut client.tracks,
            End::Leg { tracks, .. } => &mut tracks[..],
        }
    }

    fn poll(&mut self, began: Instant, now: Instant, send: &mut Vec<Vec<u8>>) {
        match &mut self.end {
            End::Session(client) => {
                client.poll(now, send);
            }
            End::Leg { check, check_at, tracks, outbound, transport_sequence } => {
                if now >= *check_at {
                    *check_at = now + CHECKS;
                    send.push(check.clone());
                }
                for track in tracks.iter_mut().filter(|track| track.due <= now) {
                    let mut hop = Hop { outbound, transport_sequence, audio: 111, video: 96 };
                    track.frame(began, now, &mut hop, send);
                }
            }
        }
        if now >= self.feedback_at {
            self.feedback_at += FEEDBACK;
            self.feed_back(send);
        }
    }

    /// What a browser says of what it receives, some ten times a second.
    fn feed_back(&mut self, send: &mut Vec<Vec<u8>>) {
        let mut compound = Vec::new();
        let (ssrc, lost, highest_sequence, jitter) = (Ssrc(2), 0, 0, 0);
        let block =
            ReportBlock { ssrc, fraction_lost: 0, lost, highest_sequence, jitter, last_sr: 0, delay_since_last_sr: 0 };
        write_receiver_report(Ssrc(1), &[block; 3], &mut compound);
        match &mut self.end {
            End::Session(client) if client.is_connected() => send.push(client.protect_rtcp(&compound)),
            End::Session(_) => {}
            End::Leg { outbound, .. } => {
                let mut bytes = Vec::new();
                outbound.protect_rtcp(&compound, &mut bytes).unwrap();
                send.push(bytes);
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.media_sent += u64::from(is_media(bytes));
        let _ = self.socket.send(bytes);
    }

    fn receive(&mut self, now: Instant) {
        let mut bytes = [0; 2_048];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            self.media_received += u64::from(is_media(&bytes[..length]));
            if let End::Session(client) = &mut self.end {
                client.receive(now, &bytes[..length]);
            }
        }
    }
}

/// A participant of forwarding, with what it sends and a pair of slots.
fn session(call: u64, key: u64, address: SocketAddr, relay: &Handle) -> End {
    let seed = rand::random::<u64>();
    let client = Client::new(call, key, address, Plan { pairs: 1, ..Plan::usual() }, Instant::now(), seed);
    let (participant, session) = (ParticipantKey(key), Box::new(client.session()));
    relay.send(Command::Negotiated { call: CallKey(call), participant, session }).unwrap();
    End::Session(Box::new(client))
}

/// Points each one's slots at the other one.
fn bind(call: u64, relay: &Handle) {
    for side in 0..2 {
        for (slot, mid) in [("a0", "mic"), ("v0", "cam")] {
            let from = ParticipantKey(call * 2 + 1 - side);
            let source = Some(Source { participant: from, mid: Mid::from(mid).unwrap() });
            let (receiver, slot) = (ParticipantKey(call * 2 + side), Mid::from(slot).unwrap());
            relay.send(Command::Bind { call: CallKey(call), receiver, slot, source }).unwrap();
        }
    }
}

/// A participant of a tunnel, whose tracks are protected under keys that the relay never has.
fn leg(call: u64, key: u64, relay: &Handle) -> End {
    let ice = IceParameters {
        local_ufrag: ArrayString::from(&format!("{key:08}")).unwrap(),
        local_pwd: Zeroizing::new(format!("the password of leg {key:08}")),
        remote_ufrag: None,
    };
    let (participant, other) = (LegKey(key), LegKey(key ^ 1));
    relay.send(Command::Tunnel { call: CallKey(call), participant, other, ice: ice.clone() }).unwrap();
    let master = MasterKey::new(Profile::Aes128Gcm, &[key as u8; 16], &[7; 12]).unwrap();
    let (now, seed) = (Instant::now(), rand::random::<u64>());
    let track = |mid, kind, ssrc| Outgoing::new(mid, kind, None, ssrc, now, seed);
    End::Leg {
        check: check(&ice, true),
        check_at: now,
        tracks: Box::new([track("mic", Kind::Audio, 1), track("cam", Kind::Video, 3)]),
        outbound: Outbound::new(Profile::Aes128Gcm, &master),
        transport_sequence: 0,
    }
}

/// Frames of five and six packets, so that 30 of them are 1.5 Mbit/s.
fn shape(video: &mut Outgoing) {
    (video.parts, video.size) = ([5, 6], 1_085);
}

fn is_media(bytes: &[u8]) -> bool {
    matches!(bytes, [128..=191, second, ..] if !(192..=223).contains(second))
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}

/// Handshakes and the first key frames are over by then.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long all handshakes may take, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(60);
/// In thousandths: what a frame that is under way at the end may make of a short run.
const MOST_LOST: u64 = 10;
/// As often as browsers check the path.
const CHECKS: Duration = Duration::from_millis(2_500);
/// As often as browsers report, roughly.
const FEEDBACK: Duration = Duration::from_millis(100);
/// USER_HZ of every Linux.
const TICK: Duration = Duration::from_millis(10);
