//! The hello with which a connection introduces itself to the others: identity, key, name, proof of the link.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, ParsedPublicKey, UnparsedPublicKey};
use serde::Serialize;
use sotto_signaling::base64url::Base64Url;
use sotto_signaling::message::ParticipantId;

use super::bytes::{array_from_base64url, covered, to_base64url};
use super::derive::{open, seal, sign};
use super::envelope::{Envelope, write};
use super::link::Link;
use super::name::tidy_name;

/// How a connection introduces itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// I, Ed25519.
    pub identity: [u8; 32],
    /// D, X25519.
    pub key: [u8; 32],
    /// Higher at each reconnection.
    pub seq: u64,
    /// Its id at the server.
    pub participant: ParticipantId,
    /// As its owner wants to be called; tidy.
    pub name: String,
}

impl Hello {
    /// Writes the message. `nonce` is random, for the name.
    pub fn write(&self, link: &Link, signing: &Ed25519KeyPair, nonce: [u8; NONCE]) -> String {
        let sealed = seal(link.profile(), nonce, &self.identity, self.name.as_bytes());
        let name = [nonce.as_slice(), &sealed].concat();
        let participant = write_id(self.participant);
        let seq = self.seq.to_be_bytes();
        let fields: [&[u8]; 5] = [&self.identity, &self.key, &seq, participant.as_bytes(), &name];
        let signature = sign(signing, &covered("hello", link.call_bytes(), &fields));
        let mac = hmac::sign(link.mac(), &authenticated(link, &fields, &signature));
        write(
            "hello",
            Written {
                identity: to_base64url(&self.identity),
                key: to_base64url(&self.key),
                seq: self.seq,
                participant,
                name: to_base64url(&name),
                signature: to_base64url(&signature),
                mac: to_base64url(mac.as_ref()),
            },
        )
    }

    /// Reads it; `None` unless it is whole, authenticated under the link and signed. With it the key that checks what
    /// this identity signs.
    pub fn read(link: &Link, message: &Envelope) -> Option<(Self, ParsedPublicKey)> {
        let identity = message.array::<32>("identity")?;
        let key = message.array::<32>("key")?;
        let name = message.bytes("name").filter(|name| name.len() <= MAX_SEALED_NAME)?;
        let signature = message.array::<64>("signature")?;
        let mac = message.array::<32>("mac")?;
        let participant = message.text("participant")?;
        let seq = message.count("seq").filter(|&seq| seq <= MAX_SEQ)?;
        let seq_bytes = seq.to_be_bytes();
        let fields: [&[u8]; 5] = [&identity, &key, &seq_bytes, participant.as_bytes(), &name];
        hmac::verify(link.mac(), &authenticated(link, &fields, &signature), &mac).ok()?;
        let verifying = UnparsedPublicKey::new(&ED25519, identity).parse().ok()?;
        verifying.verify_sig(&covered("hello", link.call_bytes(), &fields), &signature).ok()?;
        let (nonce, sealed) = name.split_first_chunk::<NONCE>()?;
        let name = open(link.profile(), *nonce, &identity, sealed)?;
        let name = tidy_name(std::str::from_utf8(&name).ok()?);
        let participant = ParticipantId(Base64Url(array_from_base64url(participant)?));
        Some((Self { identity, key, seq, participant, name }, verifying))
    }
}

/// The fields in the order in which the page writes them.
#[derive(Serialize)]
struct Written {
    identity: String,
    key: String,
    seq: u64,
    participant: String,
    name: String,
    signature: String,
    mac: String,
}

fn authenticated(link: &Link, fields: &[&[u8]; 5], signature: &[u8; 64]) -> Vec<u8> {
    let mut all = fields.to_vec();
    all.push(signature);
    covered("hello", link.call_bytes(), &all)
}

fn write_id(participant: ParticipantId) -> String {
    to_base64url(&participant.0.0)
}

/// Bytes of the name's nonce.
pub const NONCE: usize = 12;

/// Nonce, a name of 96 bytes and tag.
const MAX_SEALED_NAME: usize = NONCE + super::name::MAX_NAME + 16;

/// The highest integer that JavaScript tells from its neighbours.
const MAX_SEQ: u64 = (1 << 53) - 1;
