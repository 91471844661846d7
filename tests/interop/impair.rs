//! A stretch of network between one peer and the relay that may lose every eleventh picture packet, one way, until
//! shortly before the end.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::relay::Relay;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToRelay,
    ToPeer,
}

pub struct Impair {
    /// Where the peer sends to instead of the relay.
    pub port: u16,
    lost: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Impair {
    pub fn new(relay: &Relay, loss: Option<Way>) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        far.connect(("127.0.0.1", relay.media)).unwrap();
        for socket in [&near, &far] {
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        }
        let impair = Self {
            port: near.local_addr().unwrap().port(),
            lost: Arc::default(),
            over: Arc::new(AtomicBool::new(false)),
        };
        let peer = Arc::new(std::sync::Mutex::new(None::<SocketAddr>));
        let (lost, over) = (impair.lost.clone(), impair.over.clone());
        let (near_back, far_back, peer_back) = (near.try_clone().unwrap(), far.try_clone().unwrap(), peer.clone());
        thread::spawn(move || {
            let mut losses = Losses { active: loss == Some(Way::ToRelay), seen: 0, lost };
            let mut buffer = [0; 2048];
            while !over.load(Ordering::Relaxed) {
                let Ok((length, from)) = near.recv_from(&mut buffer) else { continue };
                *peer.lock().unwrap() = Some(from);
                if !losses.takes(&buffer[..length]) {
                    let _ = far.send(&buffer[..length]);
                }
            }
        });
        let (lost, over) = (impair.lost.clone(), impair.over.clone());
        thread::spawn(move || {
            let mut losses = Losses { active: loss == Some(Way::ToPeer), seen: 0, lost };
            let mut buffer = [0; 2048];
            while !over.load(Ordering::Relaxed) {
                let Ok(length) = far_back.recv(&mut buffer) else { continue };
                let Some(to) = *peer_back.lock().unwrap() else { continue };
                if !losses.takes(&buffer[..length]) {
                    let _ = near_back.send_to(&buffer[..length], to);
                }
            }
        });
        impair
    }

    /// How many packets did not get through.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Impair {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

struct Losses {
    active: bool,
    seen: usize,
    lost: Arc<AtomicUsize>,
}

impl Losses {
    /// Picture packets are the large ones that are RTP by their first byte (RFC 7983).
    fn takes(&mut self, datagram: &[u8]) -> bool {
        if !self.active || datagram.len() < 500 || !(128..192).contains(&datagram[0]) {
            return false;
        }
        self.seen += 1;
        // the first ones get through, so that the stream is known before it has holes
        let has_holes = self.seen > 50 && self.lost.load(Ordering::Relaxed) < MOST_LOST;
        let taken = has_holes && self.seen.is_multiple_of(11);
        self.lost.fetch_add(usize::from(taken), Ordering::Relaxed);
        taken
    }
}

/// Twice what the tests ask for. The end has no holes: nothing that follows would show that the last packet is missing,
/// so nobody could ask for it. And these peers go on asking for what was repeated long ago, until the relay's budget
/// for retransmissions is used up: with many more losses it is those answers that go missing.
const MOST_LOST: usize = 20;
