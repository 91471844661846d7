//! Who may join: the call id commits to the link's admission key, which signs the server's nonce, and so does the
//! joiner's identity, so that nobody joins as another (Ed25519, RFC 8032).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use crate::base64url::Base64Url;
use crate::message::{CallId, Join};

/// What the server sends in `welcome` and the link's holder signs. Used up by the first attempt.
pub struct Nonce(Base64Url<32>);

/// One word for every reason, so that nothing is learnt from a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not admitted")]
pub struct Refused;

impl Nonce {
    /// A fresh nonce.
    pub fn random() -> Self {
        Self(Base64Url::random())
    }

    /// What `welcome` carries.
    pub fn sent(&self) -> Base64Url<32> {
        self.0
    }

    /// Lets a joiner in who holds the link of the call and the identity that it joins as, and signed this nonce with
    /// both for one of `hosts`.
    ///
    /// All checks run whatever the earlier ones gave: a refusal takes the same time for every reason, and is made
    /// before anything is looked up.
    pub fn admit(self, join: &Join, hosts: &[String]) -> Result<(), Refused> {
        let right_call = call_id(&join.admission.0, &join.host.0) == join.call;
        let link = UnparsedPublicKey::new(&ED25519, &join.admission.0);
        let identity = UnparsedPublicKey::new(&ED25519, &join.identity.0);
        let mut signed = false;
        for host in hosts {
            let by_link = link.verify(&statement(join, &self.0, host), &join.signature.0).is_ok();
            let by_identity = identity.verify(&proof_statement(join, &self.0, host), &join.proof.0).is_ok();
            signed |= by_link & by_identity;
        }
        if right_call & signed { Ok(()) } else { Err(Refused) }
    }
}

/// The call that a link with this admission key and host hash opens.
pub fn call_id(admission: &[u8; 32], host: &[u8; 16]) -> CallId {
    let hash = digest(&SHA256, &join_fields(&[b"sotto/1 call", admission, host]));
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_ref()[..16]);
    CallId(Base64Url(id))
}

/// What the admission key signs.
pub fn statement(join: &Join, nonce: &Base64Url<32>, host_name: &str) -> Vec<u8> {
    let Join { call, identity, .. } = join;
    join_fields(&[b"sotto/1 join", &[0], &call.0.0, &nonce.0, host_name.as_bytes(), &identity.0])
}

/// What the joiner's identity signs. Without it one holder of the link could join as another and have the connection of
/// that one replaced.
pub fn proof_statement(join: &Join, nonce: &Base64Url<32>, host_name: &str) -> Vec<u8> {
    let Join { call, admission, .. } = join;
    join_fields(&[b"sotto/1 proof", &[0], &call.0.0, &nonce.0, host_name.as_bytes(), &admission.0])
}

/// Each field behind its length in two bytes, big-endian.
///
/// # Panics
/// When a field is longer than 65,535 bytes.
pub fn join_fields(fields: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(fields.iter().map(|field| field.len() + 2).sum());
    for field in fields {
        let length = u16::try_from(field.len()).expect("fields are keys, ids and host names, far below 64 KiB");
        joined.extend_from_slice(&length.to_be_bytes());
        joined.extend_from_slice(field);
    }
    joined
}

#[cfg(test)]
mod tests;
