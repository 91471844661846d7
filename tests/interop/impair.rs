//! A stretch of network between one peer and the relay that may lose every eleventh packet of voice and picture, one way,
//! until it is mended.

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
    mended: Arc<AtomicBool>,
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
            mended: Arc::default(),
            over: Arc::new(AtomicBool::new(false)),
        };
        let peer = Arc::new(std::sync::Mutex::new(None::<SocketAddr>));
        let (mut losses, over) = (impair.losses(loss == Some(Way::ToRelay)), impair.over.clone());
        let (near_back, far_back, peer_back) = (near.try_clone().unwrap(), far.try_clone().unwrap(), peer.clone());
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !over.load(Ordering::Relaxed) {
                let Ok((length, from)) = near.recv_from(&mut buffer) else { continue };
                *peer.lock().unwrap() = Some(from);
                if !losses.takes(&buffer[..length]) {
                    let _ = far.send(&buffer[..length]);
                }
            }
        });
        let (mut losses, over) = (impair.losses(loss == Some(Way::ToPeer)), impair.over.clone());
        thread::spawn(move || {
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

    /// Loses nothing from now on.
    pub fn mend(&self) {
        self.mended.store(true, Ordering::Relaxed);
    }

    fn losses(&self, active: bool) -> Losses {
        Losses { active, seen: 0, lost: self.lost.clone(), mended: self.mended.clone() }
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
    mended: Arc<AtomicBool>,
}

impl Losses {
    /// RTP, by its first two bytes (RFC 7983; RFC 5761, section 4).
    fn takes(&mut self, datagram: &[u8]) -> bool {
        let is_rtp = matches!(datagram, [128..=191, kind, ..] if !(192..=223).contains(kind));
        if !self.active || !is_rtp {
            return false;
        }
        self.seen += 1;
        // the first ones get through, so that the stream is known before it has holes
        let taken = self.seen > 50 && self.seen.is_multiple_of(11) && !self.mended.load(Ordering::Relaxed);
        self.lost.fetch_add(usize::from(taken), Ordering::Relaxed);
        taken
    }
}
