//! A stretch of network between a peer and the relay that loses some media packets of one direction and notes which,
//! by what their headers say in clear; all of them for a while, if told so.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Payload type and sequence number of packets.
pub type Names = BTreeSet<(u8, u16)>;

pub struct Detour {
    /// Where the peer sends to instead of the relay.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    peer: Mutex<Option<SocketAddr>>,
    lost: Mutex<Names>,
    /// Loses one media packet in so many, while it is not 0; with the state of the dice.
    every: Mutex<(u64, u64)>,
    broken: AtomicBool,
    over: AtomicBool,
}

/// Which packets may be lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToRelay,
    ToPeer,
}

impl Detour {
    pub fn new(relay: u16, way: Way) -> Self {
        let (near, far) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        far.connect(("127.0.0.1", relay)).unwrap();
        let detour = Self { port: near.local_addr().unwrap().port(), shared: Arc::default() };
        for (from, to, direction) in
            [(near.try_clone().unwrap(), far.try_clone().unwrap(), Way::ToRelay), (far, near, Way::ToPeer)]
        {
            let shared = Arc::clone(&detour.shared);
            from.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            thread::spawn(move || shared.carry(&from, &to, direction, direction == way));
        }
        detour
    }

    /// Loses one media packet in so many from now on, at random but always the same ones; none with 0.
    pub fn lose_one_in(&self, every: u64) {
        *self.shared.every.lock().unwrap() = (every, 7);
    }

    /// Carries nothing, in either direction, until told otherwise.
    pub fn interrupt(&self, broken: bool) {
        self.shared.broken.store(broken, Ordering::Relaxed);
    }

    /// What was lost.
    pub fn lost(&self) -> Names {
        self.shared.lost.lock().unwrap().clone()
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn carry(&self, from: &UdpSocket, to: &UdpSocket, way: Way, lossy: bool) {
        let mut buffer = [0; 2048];
        while !self.over.load(Ordering::Relaxed) {
            let Ok((length, sender)) = from.recv_from(&mut buffer) else { continue };
            let packet = &buffer[..length];
            if way == Way::ToRelay {
                *self.peer.lock().unwrap() = Some(sender);
            }
            if self.broken.load(Ordering::Relaxed) || lossy && self.loses(packet) {
                continue;
            }
            let _ = match way {
                Way::ToRelay => to.send(packet),
                Way::ToPeer => self.peer.lock().unwrap().map_or(Ok(0), |peer| to.send_to(packet, peer)),
            };
        }
    }

    fn loses(&self, packet: &[u8]) -> bool {
        let mut every = self.every.lock().unwrap();
        // RFC 7983: RTP and RTCP begin with 128 to 191, and RTCP's packet types are 192 to 223.
        if every.0 == 0 || !(128..192).contains(&packet[0]) || (192..224).contains(&packet[1]) {
            return false;
        }
        every.1 = every.1.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let loses = (every.1 >> 33).is_multiple_of(every.0);
        if loses {
            let name = (packet[1] & 0x7f, u16::from_be_bytes([packet[2], packet[3]]));
            self.lost.lock().unwrap().insert(name);
        }
        loses
    }
}
