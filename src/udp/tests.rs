//! The socket on loopback: batches, segmentation both ways, arrival times and source addresses.

use std::net::UdpSocket;

use super::egress::{Egress, Losses};
use super::*;
use crate::relay::outbox::{Class, Outbox};

fn bound(address: &str) -> Socket {
    Socket::bind(address.parse().unwrap()).unwrap()
}

fn peer(address: &str) -> UdpSocket {
    let peer = UdpSocket::bind(address).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    peer
}

fn clock() -> ClockPair {
    ClockPair { instant: Instant::now(), wall: SystemTime::now() }
}

/// Receives until `count` datagrams came or five seconds passed.
fn collect(socket: &Socket, count: usize) -> Vec<(Path, Instant, Vec<u8>)> {
    let (mut batch, mut all) = (Batch::new(), Vec::new());
    let deadline = Instant::now() + Duration::from_secs(5);
    while all.len() < count && Instant::now() < deadline {
        match socket.receive(&mut batch) {
            Ok(()) => batch.each(clock(), |path, arrived, bytes| all.push((path, arrived, bytes.to_vec()))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    all
}

fn outbox(path: Path, sizes: &[usize]) -> Outbox {
    let mut outbox = Outbox::new();
    let key = outbox.open();
    outbox.set_path(key, path);
    for (index, size) in sizes.iter().enumerate() {
        outbox.push(key, Class::Video, |arena| arena.resize(arena.len() + size, index as u8));
    }
    outbox
}

fn to(peer: &UdpSocket) -> Path {
    Path { remote: peer.local_addr().unwrap(), local: None }
}

struct Plain(Socket);

impl Wire for Plain {
    fn segments(&self) -> bool {
        false
    }
    fn send(&self, path: &Path, bytes: &[u8], segment: Option<u16>) -> io::Result<()> {
        assert!(segment.is_none());
        self.0.send(path, bytes, None)
    }
}

const MIXED: [usize; 9] = [1200, 1200, 1200, 700, 300, 1200, 1201, 1201, 1];

fn arrives_whole(egress: &mut Egress<impl Wire>) {
    let peer = peer("127.0.0.1:0");
    egress.flush(Instant::now(), &outbox(to(&peer), &MIXED));
    let mut buffer = [0; 2048];
    for (index, size) in MIXED.into_iter().enumerate() {
        let length = peer.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], vec![index as u8; size], "datagram {index}");
    }
    assert_eq!(egress.losses(), Losses::default());
}

#[test]
fn unequal_sizes_arrive_as_they_were_with_segmentation_and_without() {
    let socket = bound("127.0.0.1:0");
    assert!(socket.segments(), "this kernel knows UDP_SEGMENT");
    arrives_whole(&mut Egress::new(socket));
    arrives_whole(&mut Egress::new(Plain(bound("127.0.0.1:0"))));
}

#[test]
fn a_hundred_equal_datagrams_leave_in_two_sends_and_arrive_each_for_itself() {
    let (sender, receiver) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
    let path = Path { remote: receiver.local_addr().unwrap(), local: None };
    Egress::new(sender).flush(Instant::now(), &outbox(path, &[600; 100]));
    let mut batch = Batch::new();
    receiver.receive(&mut batch).unwrap();
    assert!(batch.filled <= 2, "the kernel joined them again, so one call brings many");
    let mut seen = Vec::new();
    batch.each(clock(), |_, _, bytes| {
        assert_eq!(bytes.len(), 600);
        seen.push(bytes[0]);
    });
    assert_eq!(seen, (0..100).collect::<Vec<u8>>());
}

#[test]
fn arrival_times_are_the_kernels_and_never_run_backwards() {
    let socket = bound("127.0.0.1:0");
    let peer = peer("127.0.0.1:0");
    let before = Instant::now();
    peer.send_to(b"first", socket.local_addr().unwrap()).unwrap();
    let between = Instant::now();
    std::thread::sleep(Duration::from_millis(50));
    peer.send_to(b"second", socket.local_addr().unwrap()).unwrap();
    let all = collect(&socket, 2);
    assert_eq!(all.len(), 2);
    let slack = Duration::from_millis(5);
    assert!(all[0].1 + slack >= before && all[0].1 <= between + slack, "stamped on arrival, not when read");
    assert!(all[1].1 >= all[0].1 + Duration::from_millis(40));
    assert!(all[1].1 <= Instant::now());
}

#[test]
fn a_moved_wall_clock_moves_no_arrival() {
    let pair = clock();
    let year = Duration::from_secs(365 * 86_400);
    assert_eq!(pair.arrival(pair.wall + year), pair.instant);
    assert_eq!(pair.arrival(pair.wall - year), pair.instant);
    assert_eq!(pair.arrival(pair.wall - Duration::from_millis(3)), pair.instant - Duration::from_millis(3));
}

#[test]
fn a_reply_leaves_from_the_address_that_was_asked() {
    for bind in ["0.0.0.0:0", "[::]:0"] {
        let socket = bound(bind);
        let port = socket.local_addr().unwrap().port();
        let peer = peer("127.0.0.1:0");
        peer.send_to(b"ask", ("127.0.0.2", port)).unwrap();
        let all = collect(&socket, 1);
        let path = all[0].0;
        assert_eq!(path.local, Some("127.0.0.2".parse().unwrap()));
        assert_eq!(path.remote, peer.local_addr().unwrap(), "a mapped address is shown as IPv4");
        let mut egress = Egress::new(socket);
        egress.flush(Instant::now(), &outbox(path, &[40, 40, 40]));
        let mut buffer = [0; 64];
        for _ in 0..3 {
            let (length, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!((length, from), (40, SocketAddr::new("127.0.0.2".parse().unwrap(), port)));
        }
        assert_eq!(egress.losses(), Losses::default());
    }
}

#[test]
fn one_socket_serves_ipv6_too() {
    let socket = bound("[::]:0");
    let port = socket.local_addr().unwrap().port();
    let peer = peer("[::1]:0");
    peer.send_to(b"ask", ("::1", port)).unwrap();
    let all = collect(&socket, 1);
    assert_eq!(all[0].0.local, Some("::1".parse().unwrap()));
    Egress::new(socket).flush(Instant::now(), &outbox(all[0].0, &[5, 5]));
    let mut buffer = [0; 64];
    assert_eq!(peer.recv_from(&mut buffer).unwrap().0, 5);
}

#[test]
fn every_length_is_received_as_it_was_sent() {
    let socket = bound("127.0.0.1:0");
    let peer = peer("127.0.0.1:0");
    let lengths = [0, 1, 2, 11, 12, 1199, 1500, 9000, 65_507];
    for length in lengths {
        peer.send_to(&vec![7; length], socket.local_addr().unwrap()).unwrap();
    }
    let all = collect(&socket, lengths.len() - 1);
    let seen: Vec<usize> = all.iter().map(|(_, _, bytes)| bytes.len()).collect();
    assert_eq!(seen, lengths[1..], "an empty datagram carries nothing to handle");
}

#[test]
fn a_port_in_use_is_named_together_with_the_flag() {
    let taken = bound("127.0.0.1:0").local_addr().unwrap();
    let holder = UdpSocket::bind(taken).unwrap();
    let text = Socket::bind(holder.local_addr().unwrap()).err().unwrap().to_string();
    assert!(text.contains("--media-port") && text.contains(&taken.port().to_string()), "{text}");
    let text = Socket::bind("192.0.2.1:0".parse().unwrap()).err().unwrap().to_string();
    assert!(text.contains("--media-bind"), "{text}");
}

#[test]
fn buffers_are_as_large_as_wanted_or_the_setting_to_change_is_named() {
    let mut socket = bound("127.0.0.1:0");
    assert_eq!(socket.buffer_advice().is_none(), socket.buffers().receive.min(socket.buffers().send) >= WANTED_BUFFER);
    socket.buffers = Buffers { receive: 1000, send: WANTED_BUFFER };
    let advice = socket.buffer_advice().unwrap();
    assert!(advice.contains("sysctl -w net.core.rmem_max=4194304") && !advice.contains("wmem"), "{advice}");
}
