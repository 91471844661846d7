//! One peer's way through the impaired network: two sockets, and a link for each direction.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use mio::net::UdpSocket;

use super::Flows;
use super::link::Link;
use super::peer::PeerAddress;
use crate::clock::Moment;

/// One peer's way.
pub struct Passage {
    /// For the peer.
    near: UdpSocket,
    /// For the relay, connected, so that the kernel lets nobody else's datagrams through.
    far: UdpSocket,
    peer: PeerAddress,
    up: Link,
    down: Link,
    strange: u64,
    /// When something is due; now, where something came.
    next: Option<Moment>,
    told: Arc<Mutex<Flows>>,
}

impl Passage {
    /// A way that nothing has gone yet.
    pub fn new(near: UdpSocket, far: UdpSocket, up: Link, down: Link, told: Arc<Mutex<Flows>>) -> Self {
        Self { near, far, peer: PeerAddress::default(), up, down, strange: 0, next: None, told }
    }

    /// Both sockets, the peer's first.
    pub fn sockets(&mut self) -> (&mut UdpSocket, &mut UdpSocket) {
        (&mut self.near, &mut self.far)
    }

    /// Reads a socket until it is empty.
    pub fn receive(&mut self, near: bool, buffer: &mut [u8]) {
        let mut errors = 0;
        while errors < MOST_ERRORS {
            let received = if near { self.near.recv_from(buffer) } else { self.far.recv_from(buffer) };
            let (length, from) = match received {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // That an earlier datagram did not arrive, told by the other end; reading clears it.
                Err(_) => {
                    errors += 1;
                    continue;
                }
            };
            let (datagram, now) = (&buffer[..length], Moment::now());
            self.next = Some(now);
            if !near {
                self.down.handle_datagram(now, datagram);
            } else if self.peer.admits(from, datagram) {
                self.up.handle_datagram(now, datagram);
            } else {
                self.strange += 1;
            }
        }
    }

    /// Hands on what is due, and tells when something is due next.
    pub fn transmit(&mut self, now: Moment) -> Option<Moment> {
        if self.next.is_none_or(|next| next > now) {
            return self.next;
        }
        while let Some(datagram) = self.up.poll(now) {
            if self.far.send(&datagram).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                self.up.refused(&datagram);
            }
        }
        while let Some(datagram) = self.down.poll(now) {
            // The relay speaks to those alone that it heard, so an address is known.
            let Some(peer) = self.peer.get() else { continue };
            if self.near.send_to(&datagram, peer).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                self.down.refused(&datagram);
            }
        }
        *self.told.lock().expect("no holder panics") =
            Flows { up: self.up.flow(), down: self.down.flow(), strange: self.strange };
        self.next = [self.up.next_timeout(), self.down.next_timeout()].into_iter().flatten().min();
        self.next
    }
}

/// A socket that tells nothing but errors is left alone until the next event.
const MOST_ERRORS: u32 = 64;
