//! The host state: who may be in a call, signed by the host's key (Ed25519, RFC 8032), to which the call id commits.
//! Members check it among themselves; the server checks the same and enforces it.

use std::cmp::Ordering;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::admission::join_fields;
use crate::base64url::Base64Url;
use crate::message::CallId;

/// A host state as it travels: anybody may have made it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// The host's public key.
    pub key: Base64Url<32>,
    /// I of the host who signs.
    pub host: Base64Url<32>,
    /// Higher in each state.
    pub counter: u64,
    /// Whether newcomers wait until they are admitted.
    pub locked: bool,
    /// I's that are let in while it is locked, ascending.
    pub admitted: Vec<Base64Url<32>>,
    /// I's that are not let in, ascending.
    pub removed: Vec<Base64Url<32>>,
    /// By the host's key.
    pub signature: Base64Url<64>,
}

/// A host state that the host of the call has signed. The greater of two is in force: the one with the higher counter,
/// and of two devices that counted alike the one with the greater bytes, so that all who have seen both agree.
#[derive(Clone)]
pub struct Ruling {
    state: HostState,
    /// What was signed; decides between states of the same counter.
    covered: Vec<u8>,
}

/// One word for every reason: the sender has the rules, and a forger learns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a state of this call's host")]
pub struct NotTheHosts;

impl HostState {
    /// Takes the state for the word of the host of `call`, whose key hashes to `host`. The cheap checks come first:
    /// nothing here is secret.
    pub fn check(self, call: &CallId, host: &Base64Url<16>) -> Result<Ruling, NotTheHosts> {
        let is_key = digest(&SHA256, &self.key.0).as_ref()[..16] == host.0;
        let is_counter = (1..=MOST_COUNTED).contains(&self.counter);
        if !(is_key && is_counter && is_list(&self.admitted) && is_list(&self.removed)) {
            return Err(NotTheHosts);
        }
        let covered = self.covered(call);
        let key = UnparsedPublicKey::new(&ED25519, &self.key.0);
        key.verify(&covered, &self.signature.0).map_err(|_| NotTheHosts)?;
        Ok(Ruling { state: self, covered })
    }

    /// What the host's key signs.
    ///
    /// # Panics
    /// When a list has more than 2,047 entries.
    pub fn covered(&self, call: &CallId) -> Vec<u8> {
        join_fields(&[
            b"sotto/1 host-state",
            &[0],
            &call.0.0,
            &self.host.0,
            &self.counter.to_be_bytes(),
            &[u8::from(self.locked)],
            &concatenated(&self.admitted),
            &concatenated(&self.removed),
        ])
    }
}

impl Ruling {
    /// The state as it came.
    pub fn state(&self) -> &HostState {
        &self.state
    }

    /// Whether the participant with this identity was removed, and must not be let in.
    pub fn removes(&self, identity: &Base64Url<32>) -> bool {
        self.state.removed.binary_search(identity).is_ok()
    }

    /// Whether the participant with this identity may be in the call: not removed, and no lock, or admitted. The host
    /// who signed is.
    pub fn admits(&self, identity: &Base64Url<32>) -> bool {
        let HostState { locked, host, admitted, .. } = &self.state;
        !self.removes(identity) && (!locked || host == identity || admitted.binary_search(identity).is_ok())
    }
}

impl Ord for Ruling {
    fn cmp(&self, other: &Self) -> Ordering {
        self.state.counter.cmp(&other.state.counter).then_with(|| self.covered.cmp(&other.covered))
    }
}

impl PartialOrd for Ruling {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ruling {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ruling {}

/// Short enough, strictly ascending.
fn is_list(identities: &[Base64Url<32>]) -> bool {
    identities.len() <= MOST_LISTED && identities.windows(2).all(|pair| pair[0] < pair[1])
}

fn concatenated(identities: &[Base64Url<32>]) -> Vec<u8> {
    identities.iter().flat_map(|identity| identity.0).collect()
}

/// More than a call holds; both lists together stay far below what one message may have.
const MOST_LISTED: usize = 128;

/// The greatest integer that every JSON reader has exactly (RFC 8259, section 6).
const MOST_COUNTED: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests;
