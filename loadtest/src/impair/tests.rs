//! The proxy over real sockets of loopback. Times are bounds that a busy machine keeps; the link's own tests are exact.

use std::net::UdpSocket;

use super::peer::tests::request;
use super::*;

struct Ends {
    peer: UdpSocket,
    relay: UdpSocket,
    detour: Detour,
}

/// A peer and a relay that know each other over the proxy.
fn connected(proxy: &Proxy, up: &Impairment, down: &Impairment, outages: &[Outage]) -> Ends {
    let [peer, relay] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let detour = proxy.open(relay.local_addr().unwrap(), up, down, outages, 7, Moment::now()).unwrap();
    for socket in [&peer, &relay] {
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        socket2::SockRef::from(socket).set_recv_buffer_size(1 << 20).unwrap();
    }
    peer.connect(detour.address).unwrap();
    let ends = Ends { peer, relay, detour };
    let mut buffer = [0; 2_048];
    // checks are repeated, as an agent does, until one gets through
    for _ in 0..100 {
        ends.peer.send(&request("relay:peer")).unwrap();
        if let Ok((_, from)) = ends.relay.recv_from(&mut buffer) {
            ends.relay.connect(from).unwrap();
            return ends;
        }
    }
    panic!("no check of a hundred got through");
}

fn rtp(number: u64) -> Vec<u8> {
    let mut datagram = vec![0; 300];
    datagram[..2].copy_from_slice(&[0x80, 96]);
    datagram[2..10].copy_from_slice(&number.to_be_bytes());
    datagram
}

/// Numbers and delays of what arrives until nothing does.
fn drain(socket: &UdpSocket, sent: &[Moment]) -> Vec<(u64, Duration)> {
    let (mut arrivals, mut buffer) = (Vec::new(), [0; 2_048]);
    while let Ok(length) = socket.recv(&mut buffer) {
        if buffer[0] == 0x80 && length == 300 {
            let number = u64::from_be_bytes(*buffer[2..].first_chunk().unwrap());
            arrivals.push((number, Moment::now().since(sent[number as usize])));
        }
    }
    arrivals
}

/// Sends 1,000 packets in half a second, as a camera would, while the other end reads.
fn carry(from: &UdpSocket, to: &UdpSocket) -> Vec<(u64, Duration)> {
    let to = to.try_clone().unwrap();
    let (tell, told) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let sent: Vec<Moment> = told.recv().unwrap();
        drain(&to, &sent)
    });
    let mut pause = Poll::new().unwrap();
    let start = Moment::now();
    // the times are known in advance, so that the reader can measure as packets come
    let sent: Vec<Moment> = (0..1_000).map(|number| start + Duration::from_micros(500) * number).collect();
    tell.send(sent.clone()).unwrap();
    for (number, &at) in sent.iter().enumerate() {
        let wait = at.since(Moment::now());
        if !wait.is_zero() {
            pause.poll(&mut Events::with_capacity(1), Some(wait)).unwrap();
        }
        from.send(&rtp(number as u64)).unwrap();
    }
    reader.join().unwrap()
}

#[test]
fn datagrams_pass_both_ways_with_loss_and_delay_as_counted() {
    let proxy = Proxy::start().unwrap();
    let up = Impairment { loss: 0.1, delay_ms: 30.0, ..Impairment::default() };
    let down = Impairment { delay_ms: 5.0, ..Impairment::default() };
    let ends = connected(&proxy, &up, &down, &[]);
    let there = carry(&ends.peer, &ends.relay);
    let back = carry(&ends.relay, &ends.peer);
    let flows = proxy.close(ends.detour);
    assert_eq!(there.len() as u64, flows.up.rtp.left - flows.up.rtp.refused);
    assert_eq!((flows.up.rtp.entered, flows.down.rtp.entered), (1_000, 1_000));
    assert!((50..=150).contains(&flows.up.rtp.lost), "{} of 1000 at 10 %", flows.up.rtp.lost);
    assert_eq!((back.len(), flows.down.rtp.missing()), (1_000, 0));
    for (arrivals, delay) in [(&there, 30), (&back, 5)] {
        assert!(arrivals.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order");
        let shortest = arrivals.iter().map(|arrival| arrival.1).min().unwrap();
        let mut delays: Vec<_> = arrivals.iter().map(|arrival| arrival.1).collect();
        delays.sort();
        let (least, most) = (Duration::from_millis(delay), Duration::from_millis(delay + 20));
        assert!(shortest >= least && delays[delays.len() / 2] < most, "{shortest:?}, {:?}", delays[delays.len() / 2]);
    }
}

#[test]
fn strangers_get_nothing_through_and_nothing_passes_in_an_outage() {
    let proxy = Proxy::start().unwrap();
    let none = Impairment::default();
    let ends = connected(&proxy, &none, &none, &[]);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(&rtp(0), ends.detour.address).unwrap();
    // to the far side, where the kernel lets the relay alone through
    stranger.send_to(&rtp(1), ends.relay.peer_addr().unwrap()).unwrap();
    ends.peer.send(&rtp(2)).unwrap();
    let sent = [Moment::now(); 3];
    assert_eq!(drain(&ends.relay, &sent).iter().map(|arrival| arrival.0).collect::<Vec<_>>(), [2]);
    assert!(drain(&ends.peer, &sent).is_empty());
    assert_eq!(ends.detour.flows().strange, 1);

    let forever = Outage { at: Duration::from_millis(700), lasts: Duration::from_secs(1_000) };
    let start = Moment::now();
    let ends = connected(&proxy, &none, &none, &[forever]);
    while Moment::now().since(start) < Duration::from_millis(800) {
        std::thread::yield_now();
    }
    ends.peer.send(&rtp(0)).unwrap();
    ends.relay.send(&rtp(1)).unwrap();
    let sent = [Moment::now(); 2];
    assert!(drain(&ends.relay, &sent).is_empty() && drain(&ends.peer, &sent).is_empty());
    let flows = ends.detour.flows();
    assert_eq!((flows.up.rtp.lost_in_outages, flows.down.rtp.lost_in_outages), (1, 1));
}

#[test]
fn a_closed_way_frees_its_sockets() {
    let proxy = Proxy::start().unwrap();
    let none = Impairment::default();
    let ends = connected(&proxy, &none, &none, &[]);
    let address = ends.detour.address;
    drop(ends.detour);
    let start = Moment::now();
    while UdpSocket::bind(address).is_err() {
        assert!(Moment::now().since(start) < Duration::from_secs(5), "its port is still taken");
    }
}
