//! Which address a peer has: learned from its first connectivity check (RFC 8445, section 7.2.2). Whatever comes from
//! elsewhere is not the peer's.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

/// A peer's address, as far as it is known.
#[derive(Default)]
pub struct PeerAddress {
    address: Option<SocketAddr>,
    /// The user names seen, hashed; the last is the current one.
    sessions: Vec<u64>,
}

impl PeerAddress {
    /// The address.
    pub fn get(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Whether a datagram is the peer's. The first check of a new ICE session, under a user name that was not seen
    /// before, may come from another address: a restarted agent may have new sockets.
    pub fn admits(&mut self, from: SocketAddr, datagram: &[u8]) -> bool {
        if self.address == Some(from) && datagram.first().is_some_and(|&byte| byte > 3) {
            return true; // no STUN (RFC 7983)
        }
        if let Some(session) = user_name(datagram).map(hash)
            && !self.sessions.contains(&session)
        {
            if self.sessions.len() >= MOST_SESSIONS {
                self.sessions.remove(0);
            }
            self.sessions.push(session);
            self.address = Some(from);
        }
        self.address == Some(from)
    }
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// USERNAME of a STUN binding request (RFC 8489, sections 5 and 14.3).
fn user_name(datagram: &[u8]) -> Option<&[u8]> {
    let (header, mut attributes) = datagram.split_at_checked(20)?;
    if header[..2] != BINDING_REQUEST || header[4..8] != COOKIE {
        return None;
    }
    loop {
        let (head, rest) = attributes.split_at_checked(4)?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..length)?;
        if head[..2] == USERNAME {
            return Some(value);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
}

const BINDING_REQUEST: [u8; 2] = [0, 1];
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const USERNAME: [u8; 2] = [0, 6];
/// ICE sessions remembered: reconnections of one peer, of which the older ones are over.
const MOST_SESSIONS: usize = 16;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A binding request under this name, after another attribute.
    pub fn request(name: &str) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        bytes.extend([0x80, 0x22, 0, 3, b'a', b'b', b'c', 0]); // SOFTWARE, padded
        bytes.extend([0, 6, 0, name.len() as u8]);
        bytes.extend(name.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn the_first_check_tells_the_address_and_others_are_strangers() {
        let mut peer = PeerAddress::default();
        assert!(!peer.admits(address(1), &[0x80, 96]), "no check yet");
        assert!(!peer.admits(address(1), &request("a:b")[..24]), "a check without a name");
        assert!(peer.admits(address(1), &request("relay:peer")));
        assert!(peer.admits(address(1), &[0x80, 96]));
        assert!(!peer.admits(address(2), &[0x80, 96]));
        assert!(!peer.admits(address(2), &request("relay:peer")), "the same session from elsewhere");
        assert_eq!(peer.get(), Some(address(1)));
    }

    #[test]
    fn a_new_session_may_come_from_elsewhere_and_the_old_one_never_takes_it_back() {
        let mut peer = PeerAddress::default();
        assert!(peer.admits(address(1), &request("one:x")));
        assert!(peer.admits(address(2), &request("two:y")));
        assert!(!peer.admits(address(1), &request("one:x")));
        assert!(!peer.admits(address(1), &[0x80, 96]));
        assert_eq!(peer.get(), Some(address(2)));
        for session in 0..1_000 {
            peer.admits(address(3), &request(&format!("relay:{session}")));
        }
        assert_eq!(peer.sessions.len(), MOST_SESSIONS);
    }
}
