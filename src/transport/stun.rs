//! Binding requests and their answers (RFC 8489), as far as an ICE-lite agent meets them: borrowed, without allocation.
//!
//! Our own and not a crate's: what strangers send must not lock, allocate or log before MESSAGE-INTEGRITY was checked,
//! and HMAC-SHA1 comes from the one crypto provider in the tree.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};

/// A well-formed Binding request whose integrity is not checked yet.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    bytes: &'a [u8],
    username: &'a [u8],
    /// Where MESSAGE-INTEGRITY begins.
    integrity_at: usize,
    /// USE-CANDIDATE (RFC 8445, section 7.1.2): the peer nominates this path.
    pub nominates: bool,
    /// ICE-CONTROLLED (RFC 8445, section 7.1.3): the peer believes that we are controlling.
    pub controlled: bool,
    /// Up to [`UNKNOWN_MAX`] attributes that must be understood and are not.
    unknown: [u16; UNKNOWN_MAX],
    unknown_len: usize,
}

/// Why a datagram is no request that may be answered. Carries nothing of the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StunError {
    /// No STUN Binding request, or one that is cut, too long or inconsistent.
    #[error("not a well-formed binding request")]
    Malformed,
    /// FINGERPRINT is there and wrong.
    #[error("wrong fingerprint")]
    Fingerprint,
    /// USERNAME is not `ours:theirs` of this participant.
    #[error("unknown user name")]
    Username,
    /// MESSAGE-INTEGRITY is missing or wrong.
    #[error("not authentic")]
    Integrity,
}

impl<'a> Request<'a> {
    /// Reads a Binding request. Costs one pass over at most [`REQUEST_MAX`] bytes and the CRC of FINGERPRINT.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StunError> {
        check_header(bytes)?;
        let mut request = Request {
            bytes,
            username: &[],
            integrity_at: 0,
            nominates: false,
            controlled: false,
            unknown: [0; UNKNOWN_MAX],
            unknown_len: 0,
        };
        let mut seen_username = false;
        let mut attributes = Attributes { bytes, at: HEADER_LEN };
        while let Some(attribute) = attributes.next()? {
            match attribute.kind {
                FINGERPRINT => {
                    check_fingerprint(bytes, &attribute)?;
                    break;
                }
                // Behind MESSAGE-INTEGRITY only FINGERPRINT counts (RFC 8489, section 14.5).
                _ if request.integrity_at != 0 => {}
                USERNAME if !seen_username => {
                    seen_username = true;
                    request.username = attribute.value;
                }
                MESSAGE_INTEGRITY if attribute.value.len() == TAG_LEN => request.integrity_at = attribute.at,
                MESSAGE_INTEGRITY => return Err(StunError::Malformed),
                USE_CANDIDATE => request.nominates = true,
                ICE_CONTROLLED => request.controlled = true,
                USERNAME | PRIORITY => {}
                kind if kind < OPTIONAL => request.note_unknown(kind),
                _ => {}
            }
        }
        match request.integrity_at {
            0 => Err(StunError::Integrity),
            _ => Ok(request),
        }
    }

    /// USERNAME as it stands, unauthenticated.
    pub fn username(&self) -> &'a [u8] {
        self.username
    }

    /// Checks MESSAGE-INTEGRITY under a short-term password, in constant time (RFC 8489, section 14.5).
    pub fn authenticate(&self, key: &hmac::Key) -> Result<(), StunError> {
        let expected = integrity(key, self.bytes, self.integrity_at);
        let value_at = self.integrity_at + ATTRIBUTE_LEN;
        let found = &self.bytes[value_at..value_at + TAG_LEN];
        constant_time::verify_slices_are_equal(expected.as_ref(), found).map_err(|_| StunError::Integrity)
    }

    /// The attributes that the request demands to be understood and that are not, as far as they are kept.
    pub fn unknown(&self) -> &[u16] {
        &self.unknown[..self.unknown_len]
    }

    /// Appends a success response that tells the peer the address it was seen at (RFC 8489, section 14.2).
    pub fn write_success(&self, seen: SocketAddr, key: &hmac::Key, out: &mut Vec<u8>) {
        self.write(BINDING_SUCCESS, key, out, |out| match seen.ip().to_canonical() {
            IpAddr::V4(ip) => {
                attribute_header(out, XOR_MAPPED_ADDRESS, 8);
                out.extend([0, 1]);
                out.extend((seen.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes());
                out.extend((u32::from(ip) ^ MAGIC_COOKIE).to_be_bytes());
            }
            IpAddr::V6(ip) => {
                attribute_header(out, XOR_MAPPED_ADDRESS, 20);
                out.extend([0, 2]);
                out.extend((seen.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes());
                out.extend(ip.octets().iter().zip(&self.bytes[4..HEADER_LEN]).map(|(ip, mask)| ip ^ mask));
            }
        });
    }

    /// Appends 487 Role Conflict (RFC 8445, section 7.3.1.1): the peer becomes controlling and asks again.
    pub fn write_role_conflict(&self, key: &hmac::Key, out: &mut Vec<u8>) {
        self.write(BINDING_ERROR, key, out, |out| error_code(out, 4, 87));
    }

    /// Appends 420 Unknown Attribute with what was unknown (RFC 8489, section 6.3.1).
    pub fn write_unknown_attribute(&self, key: &hmac::Key, out: &mut Vec<u8>) {
        self.write(BINDING_ERROR, key, out, |out| {
            error_code(out, 4, 20);
            attribute_header(out, UNKNOWN_ATTRIBUTES, 2 * self.unknown_len as u16);
            self.unknown().iter().for_each(|kind| out.extend(kind.to_be_bytes()));
            out.resize(out.len() + 2 * (self.unknown_len % 2), 0);
        });
    }

    fn note_unknown(&mut self, kind: u16) {
        if self.unknown_len < UNKNOWN_MAX {
            self.unknown[self.unknown_len] = kind;
            self.unknown_len += 1;
        }
    }

    /// Appends header, body, MESSAGE-INTEGRITY and FINGERPRINT.
    fn write(&self, kind: u16, key: &hmac::Key, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        out.extend(kind.to_be_bytes());
        out.extend([0, 0]);
        out.extend(&self.bytes[4..HEADER_LEN]);
        body(out);

        let integrity_at = out.len() - start;
        let tag = integrity(key, &out[start..], integrity_at);
        attribute_header(out, MESSAGE_INTEGRITY, TAG_LEN as u16);
        out.extend(tag.as_ref());

        let length = (out.len() - start - HEADER_LEN + ATTRIBUTE_LEN + 4) as u16;
        out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
        let fingerprint = crc32(&out[start..]) ^ FINGERPRINT_MASK;
        attribute_header(out, FINGERPRINT, 4);
        out.extend(fingerprint.to_be_bytes());
    }
}

/// The first attribute of a kind in something that looks like a Binding request, unauthenticated.
pub fn username_of(datagram: &[u8]) -> Option<&[u8]> {
    check_header(datagram).ok()?;
    let mut attributes = Attributes { bytes: datagram, at: HEADER_LEN };
    while let Some(attribute) = attributes.next().ok()? {
        if attribute.kind == USERNAME {
            return Some(attribute.value);
        }
    }
    None
}

struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
    /// Where its header begins.
    at: usize,
}

struct Attributes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Attributes<'a> {
    fn next(&mut self) -> Result<Option<Attribute<'a>>, StunError> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let (header, body) = rest.split_at_checked(ATTRIBUTE_LEN).ok_or(StunError::Malformed)?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let padded = length.next_multiple_of(4);
        if padded > body.len() {
            return Err(StunError::Malformed);
        }
        let at = self.at;
        self.at += ATTRIBUTE_LEN + padded;
        Ok(Some(Attribute { kind: u16::from_be_bytes([header[0], header[1]]), value: &body[..length], at }))
    }
}

fn check_header(bytes: &[u8]) -> Result<(), StunError> {
    if bytes.len() < HEADER_LEN || bytes.len() > REQUEST_MAX || !bytes.len().is_multiple_of(4) {
        return Err(StunError::Malformed);
    }
    let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    let well_formed = bytes[..2] == BINDING_REQUEST.to_be_bytes()
        && bytes[4..8] == MAGIC_COOKIE.to_be_bytes()
        && length == bytes.len() - HEADER_LEN;
    if well_formed { Ok(()) } else { Err(StunError::Malformed) }
}

/// FINGERPRINT must be the last attribute and cover all before it (RFC 8489, section 14.7).
fn check_fingerprint(bytes: &[u8], attribute: &Attribute<'_>) -> Result<(), StunError> {
    if attribute.value.len() != 4 || attribute.at + ATTRIBUTE_LEN + 4 != bytes.len() {
        return Err(StunError::Malformed);
    }
    let expected = crc32(&bytes[..attribute.at]) ^ FINGERPRINT_MASK;
    if attribute.value == expected.to_be_bytes() { Ok(()) } else { Err(StunError::Fingerprint) }
}

/// HMAC-SHA1 over what stands before MESSAGE-INTEGRITY, the header's length counting up to its end.
fn integrity(key: &hmac::Key, message: &[u8], integrity_at: usize) -> hmac::Tag {
    let length = (integrity_at - HEADER_LEN + ATTRIBUTE_LEN + TAG_LEN) as u16;
    let mut context = hmac::Context::with_key(key);
    context.update(&message[..2]);
    context.update(&length.to_be_bytes());
    context.update(&message[4..integrity_at]);
    context.sign()
}

fn attribute_header(out: &mut Vec<u8>, kind: u16, length: u16) {
    out.extend(kind.to_be_bytes());
    out.extend(length.to_be_bytes());
}

/// ERROR-CODE without a reason phrase: nobody reads it, and an answer should be small.
fn error_code(out: &mut Vec<u8>, class: u8, number: u8) {
    attribute_header(out, ERROR_CODE, 4);
    out.extend([0, 0, class, number]);
}

/// CRC-32 of ITU V.42, as FINGERPRINT wants it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| (crc >> 8) ^ CRC_TABLE[usize::from(crc as u8 ^ byte)])
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

/// Longest request looked at, in bytes: RFC 8489, section 6.1 keeps STUN below the IPv6 minimum MTU; browsers send 150.
pub const REQUEST_MAX: usize = 1280;
/// Unknown attributes named in one 420: enough to be understood, and the answer stays shorter than the question.
const UNKNOWN_MAX: usize = 4;
const HEADER_LEN: usize = 20;
const ATTRIBUTE_LEN: usize = 4;
/// HMAC-SHA1.
const TAG_LEN: usize = 20;
const MAGIC_COOKIE: u32 = 0x2112_a442;
const FINGERPRINT_MASK: u32 = 0x5354_554e;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
/// From here on an attribute may be ignored.
const OPTIONAL: u16 = 0x8000;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
