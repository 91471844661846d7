//! The keys between two participants, one per direction: X25519 (RFC 7748) with the link's secret mixed in.

use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use zeroize::Zeroizing;

use super::bytes::{covered, join};
use super::derive::{Secret, aes128, hkdf, open, seal};
use super::link::Link;

/// Our X25519 key of one connection.
pub struct ConnectionKey {
    private: PrivateKey,
    public: [u8; 32],
}

impl ConnectionKey {
    /// From 32 random bytes.
    pub fn new(secret: &Secret<32>) -> Self {
        let private = PrivateKey::from_private_key(&X25519, secret.as_slice()).expect("every 32 bytes are a key");
        let public = private.compute_public_key().expect("an X25519 key has a public half");
        Self { public: public.as_ref().try_into().expect("an X25519 key has 32 bytes"), private }
    }

    /// D, for our hello.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Agrees with a peer; `None` where the result is all zero, or theirs is no key.
    pub fn agree(&self, link: &Link, ours: &[u8; 32], theirs: &[u8; 32], key: &[u8; 32]) -> Option<Pair> {
        let key = UnparsedPublicKey::new(&X25519, key);
        let shared = agree(&self.private, key, (), |shared| Ok(Zeroizing::new(shared.to_vec()))).ok()?;
        if shared.iter().all(|&byte| byte == 0) {
            return None;
        }
        let direction = |from: &[u8; 32], to: &[u8; 32]| {
            let info = join(&[b"sotto/1 pair", from, to]);
            aes128(&hkdf(&shared, link.psk().as_slice(), &[&info]))
        };
        Some(Pair {
            call: *link.call_bytes(),
            ours: *ours,
            theirs: *theirs,
            sending: direction(ours, theirs),
            receiving: direction(theirs, ours),
            sent: 0,
            received: 0,
        })
    }
}

/// Both directions between us and one peer, for one connection of each.
pub struct Pair {
    call: [u8; 16],
    ours: [u8; 32],
    theirs: [u8; 32],
    sending: LessSafeKey,
    receiving: LessSafeKey,
    sent: u64,
    received: u64,
}

impl Pair {
    /// Seals a message: its counter and the box. What is sealed first must be sent first.
    pub fn seal(&mut self, kind: &str, body: &[u8]) -> (u64, Vec<u8>) {
        let counter = self.sent;
        self.sent += 1;
        let additional = self.additional(kind, &self.ours, &self.theirs, counter);
        (counter, seal(&self.sending, nonce(counter), &additional, body))
    }

    /// Opens the next message; one that is not the next, or not theirs, changes nothing.
    pub fn open(&mut self, kind: &str, counter: u64, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        if counter != self.received {
            return None;
        }
        let additional = self.additional(kind, &self.theirs, &self.ours, counter);
        let body = open(&self.receiving, nonce(counter), &additional, sealed)?;
        self.received += 1;
        Some(body)
    }

    fn additional(&self, kind: &str, sender: &[u8; 32], receiver: &[u8; 32], counter: u64) -> Vec<u8> {
        covered(kind, &self.call, &[sender, receiver, &counter.to_be_bytes()])
    }
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}
