//! SFrame (RFC 9605) with the suite AES_128_GCM_SHA256_128: header, key derivation, protection and replay window.
//! On the path of every frame, hence without a crate that copies: a frame is written once, into the caller's buffer.

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};

use super::derive::{aes128, hkdf};
use super::frame::{MOST, Metadata};

/// A key for one KID (section 4.4.2).
pub struct SframeKey {
    key: LessSafeKey,
    salt: [u8; NONCE],
}

impl SframeKey {
    /// From the base key of the KID's generation and step.
    pub fn derive(base: &[u8], kid: u64) -> Self {
        let kid = kid.to_be_bytes();
        let key = hkdf::<16>(base, &[], &[KEY_LABEL, &kid, &SUITE]);
        let salt = hkdf::<NONCE>(base, &[], &[SALT_LABEL, &kid, &SUITE]);
        Self { key: aes128(&key), salt: *salt }
    }

    /// Appends header, ciphertext and tag of one frame to `out`, which begins with its clear bytes.
    pub fn seal(&self, header: Header, metadata: &Metadata, plaintext: &[u8], out: &mut Vec<u8>) {
        let (mut header_room, mut room) = ([0; Header::LONGEST], [0; MOST]);
        let encoded = header.encode(&mut header_room);
        let additional = metadata.with(encoded, out, &mut room);
        out.extend_from_slice(encoded);
        let start = out.len();
        out.extend_from_slice(plaintext);
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(header.counter), Aad::from(additional), &mut out[start..])
            .expect("a frame is far below 64 GiB");
        out.extend_from_slice(tag.as_ref());
    }

    /// Appends the plaintext of a frame to `out`, which holds its clear bytes. `encoded` is the header as it came.
    /// False where it does not authenticate; `out` is then of no meaning.
    pub fn open(&self, encoded: &[u8], counter: u64, metadata: &Metadata, sealed: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(length) = sealed.len().checked_sub(TAG) else { return false };
        let (ciphertext, tag) = sealed.split_at(length);
        let mut room = [0; MOST];
        let additional = metadata.with(encoded, out, &mut room);
        let start = out.len();
        out.resize(start + length, 0);
        let nonce = self.nonce(counter);
        self.key.open_separate_gather(nonce, Aad::from(additional), ciphertext, tag, &mut out[start..]).is_ok()
    }

    /// Section 4.4.3.
    fn nonce(&self, counter: u64) -> Nonce {
        let mut nonce = self.salt;
        for (byte, counter) in nonce[NONCE - 8..].iter_mut().zip(counter.to_be_bytes()) {
            *byte ^= counter;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The header of a frame (section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Names the key.
    pub kid: u64,
    /// Counts the frames under it.
    pub counter: u64,
}

impl Header {
    /// Bytes of the longest header.
    pub const LONGEST: usize = 17;

    /// Writes it in its shortest form.
    pub fn encode(self, room: &mut [u8; Self::LONGEST]) -> &[u8] {
        let (kid, counter) = (self.kid.to_be_bytes(), self.counter.to_be_bytes());
        let (kid_length, counter_length) = (extra_bytes(self.kid), extra_bytes(self.counter));
        let high = if kid_length == 0 { self.kid as u8 } else { 8 | (kid_length - 1) as u8 };
        let low = if counter_length == 0 { self.counter as u8 } else { 8 | (counter_length - 1) as u8 };
        room[0] = high << 4 | low;
        room[1..1 + kid_length].copy_from_slice(&kid[8 - kid_length..]);
        let length = 1 + kid_length + counter_length;
        room[1 + kid_length..length].copy_from_slice(&counter[8 - counter_length..]);
        &room[..length]
    }

    /// The header that `bytes` begin with, and its length; `None` where it is cut short or not in its shortest form.
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first, rest) = bytes.split_first()?;
        let (kid, rest) = value(first >> 4, rest)?;
        let (counter, rest) = value(first & 0x0f, rest)?;
        Some((Self { kid, counter }, bytes.len() - rest.len()))
    }
}

/// Which counters of one KID were seen (section 9.3): the highest, and those of the 1,024 before it.
#[derive(Default)]
pub struct ReplayWindow {
    highest: Option<u64>,
    /// One bit for each counter, at its remainder by the window's length.
    seen: [u64; WINDOW as usize / 64],
}

impl ReplayWindow {
    /// Whether a counter could still be new. Says nothing about its frame, so it changes nothing.
    pub fn is_fresh(&self, counter: u64) -> bool {
        let Some(highest) = self.highest else { return true };
        if counter > highest {
            return true;
        }
        let (word, bit) = place(counter);
        highest - counter < WINDOW && self.seen[word] & bit == 0
    }

    /// Records the counter of a frame that authenticated; false where another frame with it came first.
    pub fn accept(&mut self, counter: u64) -> bool {
        if !self.is_fresh(counter) {
            return false;
        }
        let first = self.highest.map_or(0, |highest| highest.saturating_add(1));
        if counter >= first {
            if counter - first >= WINDOW {
                self.seen = Default::default();
            } else {
                for passed in first..counter {
                    let (word, bit) = place(passed);
                    self.seen[word] &= !bit;
                }
            }
            self.highest = Some(counter);
        }
        let (word, bit) = place(counter);
        self.seen[word] |= bit;
        true
    }
}

fn place(counter: u64) -> (usize, u64) {
    let at = counter % WINDOW;
    (at as usize / 64, 1 << (at % 64))
}

/// How many bytes a value takes behind the header's first.
fn extra_bytes(value: u64) -> usize {
    if value < INLINE { 0 } else { 8 - value.leading_zeros() as usize / 8 }
}

/// A value from four bits of the header's first byte, and what follows that.
fn value(bits: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    if bits & 8 == 0 {
        return Some((bits.into(), rest));
    }
    let length = usize::from(bits & 7) + 1;
    let (bytes, rest) = rest.split_at_checked(length)?;
    let value = bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
    (extra_bytes(value) == length).then_some((value, rest))
}

/// Values below this stand in the header's first byte.
const INLINE: u64 = 8;

/// Bytes of the suite's nonce.
const NONCE: usize = 12;

/// Bytes of the suite's tag.
const TAG: usize = 16;

/// Counters that the replay window spans: 1,024 frames are 10 s of three 30 Hz layers.
const WINDOW: u64 = 1024;

/// AES_128_GCM_SHA256_128 (section 8.1).
const SUITE: [u8; 2] = [0, 4];

const KEY_LABEL: &[u8] = b"SFrame 1.0 Secret key ";
const SALT_LABEL: &[u8] = b"SFrame 1.0 Secret salt ";

#[cfg(test)]
mod tests;
