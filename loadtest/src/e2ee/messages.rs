//! What members tell one another: sealed like a frame of stream 255, with the sender's signature inside, so that not
//! even another member can speak in its name.

use aws_lc_rs::signature::Ed25519KeyPair;
use serde::Serialize;
use serde_json::Value;

use super::bytes::covered;
use super::derive::sign;
use super::envelope::read_object;
use super::frame::MESSAGES;
use super::membership::Peer;
use super::receiver_key::{Refusal, Shown};
use super::sender_key::{SenderKeys, key_id};

/// Kinds that are said; `alive` is said by the roster itself, and `mute` counts only from the host.
pub const KINDS: [&str; 5] = ["chat", "unsend", "speaking", "state", "mute"];

/// What cannot be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsayable {
    /// It would be taken for nothing by the others.
    #[error("the kind of message is not known: it is one of chat, unsend, speaking, state and mute")]
    Kind,
    /// Only objects can grow.
    #[error("the body of a message is an object")]
    Body,
    /// It could not be unsent.
    #[error("a message of this kind has an `id` of 1 to 64 characters")]
    Id,
    /// There is nothing to show.
    #[error("a chat message has a `text`")]
    Text,
    /// It would not fit a relayed message.
    #[error("the message is too large: 32 bytes of JSON in a speaking hint, 8,192 in others")]
    TooLarge,
}

/// A message that was opened, or why it was not.
pub enum Said {
    /// It is theirs.
    Message { kind: String, body: Value, opened: (super::Opened, Shown) },
    /// It did not open.
    Refused(Refusal),
    /// It opened and is not theirs, or no message.
    NotTheirs { opened: (super::Opened, Shown), signed: bool },
}

/// Seals a message: SFrame header, ciphertext, tag.
pub fn seal_message(
    keys: &mut SenderKeys,
    call: &[u8; 16],
    signing: &Ed25519KeyPair,
    kind: &str,
    body: &Value,
) -> Vec<u8> {
    let header = keys.take(MESSAGES);
    let plaintext = write(kind, body);
    let statement = statement(call, header.kid, header.counter, plaintext.as_bytes());
    let signature = sign(signing, &statement);
    keys.seal(header, &[signature.as_slice(), plaintext.as_bytes()].concat())
}

/// Opens a message of a peer.
pub fn open_message(call: &[u8; 16], peer: &mut Peer, sealed: &[u8]) -> Said {
    let mut plain = Vec::new();
    let opened = match peer.receiving.open(MESSAGES, sealed, 0, &mut plain) {
        Ok(opened) => opened,
        Err(refusal) => return Said::Refused(refusal),
    };
    let kid = key_id(opened.0.generation, opened.0.step, MESSAGES);
    let (signature, plaintext) = plain.split_at(plain.len().min(SIGNATURE));
    let statement = statement(call, kid, opened.0.counter, plaintext);
    if peer.verifying.verify_sig(&statement, signature).is_err() {
        return Said::NotTheirs { opened, signed: false };
    }
    let said = read_object(plaintext).and_then(|mut fields| match fields.remove("kind") {
        Some(Value::String(kind)) => Some((kind, fields.remove("body").unwrap_or(Value::Null))),
        _ => None,
    });
    match said {
        Some((kind, body)) => Said::Message { kind, body, opened },
        None => Said::NotTheirs { opened, signed: true },
    }
}

/// Checks what is about to be sent, or was received.
///
/// # Errors
/// Where the kind is unknown, or the body too large or of the wrong form.
pub fn check_message(kind: &str, body: &Value) -> Result<(), Unsayable> {
    if !KINDS.contains(&kind) {
        return Err(Unsayable::Kind);
    }
    if !body.is_object() && !body.is_array() {
        return Err(Unsayable::Body);
    }
    let id = body["id"].as_str().map_or(0, |id| id.encode_utf16().count());
    if matches!(kind, "chat" | "unsend") && !(1..=MAX_ID).contains(&id) {
        return Err(Unsayable::Id);
    }
    if kind == "chat" && !body["text"].is_string() {
        return Err(Unsayable::Text);
    }
    let most = if kind == "speaking" { MAX_HINT } else { MAX_BODY };
    if body.to_string().len() > most { Err(Unsayable::TooLarge) } else { Ok(()) }
}

/// Speaking hints are all of one size, whatever they say.
fn write(kind: &str, body: &Value) -> String {
    #[derive(Serialize)]
    struct Message<'a> {
        kind: &'a str,
        body: &'a Value,
    }
    let json = serde_json::to_string(&Message { kind, body }).expect("a JSON value is JSON");
    if kind == "speaking" { format!("{json:SPEAKING$}") } else { json }
}

fn statement(call: &[u8; 16], kid: u64, counter: u64, plaintext: &[u8]) -> Vec<u8> {
    covered("message", call, &[&kid.to_be_bytes(), &counter.to_be_bytes(), plaintext])
}

/// Bytes of an Ed25519 signature.
const SIGNATURE: usize = 64;

/// Characters of a chat message's id.
const MAX_ID: usize = 64;

/// Bytes of a body: with signature, tag and two rounds of base64url's third it stays below a relay message's size.
const MAX_BODY: usize = 8_192;

/// Bytes of a speaking hint's body.
const MAX_HINT: usize = 32;

/// Characters of every speaking hint, body and kind.
const SPEAKING: usize = 64;
