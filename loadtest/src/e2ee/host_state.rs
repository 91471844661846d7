//! The host state: who may be in the call, signed with the host key to which the call id commits. Whoever holds it can
//! check it, so it matters not who hands it on.

use std::cmp::Ordering;

#[cfg(test)]
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use serde::Serialize;
use serde_json::Value;

use super::bytes::{array_from_base64url, covered, to_base64url};
use super::link::Link;

/// A host state whose signature held.
#[derive(Clone, PartialEq, Eq)]
pub struct HostState {
    key: [u8; 32],
    said: Said,
    signature: [u8; 64],
}

/// What the host signs.
#[derive(Clone, PartialEq, Eq)]
pub struct Said {
    /// I of the host.
    pub host: [u8; 32],
    /// Higher with each state.
    pub counter: u64,
    /// Whether newcomers must be admitted.
    pub locked: bool,
    /// Those who may enter while it is locked; ascending.
    pub admitted: Vec<[u8; 32]>,
    /// Those who may not be in the call; ascending.
    pub removed: Vec<[u8; 32]>,
}

impl HostState {
    /// Reads one; `None` unless it is whole, in its one form and signed by the host of the link's call.
    pub fn read(link: &Link, state: &Value) -> Option<Self> {
        let field = |name: &str| state.get(name)?.as_str();
        let said = Said {
            host: array_from_base64url(field("host")?)?,
            counter: state.get("counter")?.as_u64().filter(|counter| (1..=MAX_COUNTER).contains(counter))?,
            locked: state.get("locked")?.as_bool()?,
            admitted: identities(state.get("admitted")?)?,
            removed: identities(state.get("removed")?)?,
        };
        let key: [u8; 32] = array_from_base64url(field("key")?)?;
        let signature = array_from_base64url(field("signature")?)?;
        let statement = said.covered(link.call_bytes());
        let signed = || UnparsedPublicKey::new(&ED25519, key).verify(&statement, &signature).is_ok();
        (link.is_hosted_by(&key) && signed()).then_some(Self { key, said, signature })
    }

    /// As the host makes it.
    #[cfg(test)]
    pub fn sign(link: &Link, host_key: &Ed25519KeyPair, said: Said) -> Self {
        let signature = super::derive::sign(host_key, &said.covered(link.call_bytes()));
        Self { key: super::derive::public_half(host_key), said, signature }
    }

    /// What the host says.
    pub fn said(&self) -> &Said {
        &self.said
    }

    /// Whether this counts, where the other was there before. Of two with one counter the same one wins everywhere.
    pub fn supersedes(&self, other: &Self) -> bool {
        let by_bytes = || self.said.covered(&[0; 16]).cmp(&other.said.covered(&[0; 16]));
        self.said.counter.cmp(&other.said.counter).then_with(by_bytes) == Ordering::Greater
    }

    /// Whether that identity may come in.
    pub fn admits(&self, identity: &[u8; 32]) -> bool {
        let Said { host, locked, admitted, .. } = &self.said;
        !self.removes(identity) && (!locked || identity == host || admitted.binary_search(identity).is_ok())
    }

    /// Whether that identity may not be in the call.
    pub fn removes(&self, identity: &[u8; 32]) -> bool {
        self.said.removed.binary_search(identity).is_ok()
    }

    /// As it is handed on.
    pub fn written(&self) -> Written {
        let all = |identities: &[[u8; 32]]| identities.iter().map(|identity| to_base64url(identity)).collect();
        Written {
            key: to_base64url(&self.key),
            host: to_base64url(&self.said.host),
            counter: self.said.counter,
            locked: self.said.locked,
            admitted: all(&self.said.admitted),
            removed: all(&self.said.removed),
            signature: to_base64url(&self.signature),
        }
    }
}

impl Said {
    fn covered(&self, call: &[u8; 16]) -> Vec<u8> {
        let counter = self.counter.to_be_bytes();
        let locked = [u8::from(self.locked)];
        let lists = [self.admitted.as_flattened(), self.removed.as_flattened()];
        covered("host-state", call, &[&self.host, &counter, &locked, lists[0], lists[1]])
    }
}

/// The fields in the order in which the page writes them.
#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub struct Written {
    key: String,
    host: String,
    counter: u64,
    locked: bool,
    admitted: Vec<String>,
    removed: Vec<String>,
    signature: String,
}

/// A list of identities in its one order, each once.
fn identities(list: &Value) -> Option<Vec<[u8; 32]>> {
    let list = list.as_array().filter(|list| list.len() <= MAX_IDENTITIES)?;
    let identities = list.iter().map(|each| array_from_base64url(each.as_str()?)).collect::<Option<Vec<_>>>()?;
    identities.is_sorted_by(|one, next| one < next).then_some(identities)
}

/// Identities in a list: more than a call holds, and two lists in a sealed `ready` still fit a relayed message.
const MAX_IDENTITIES: usize = 128;

/// The highest integer that JavaScript tells from its neighbours.
const MAX_COUNTER: u64 = (1 << 53) - 1;
