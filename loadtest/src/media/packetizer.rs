//! Frames into RTP packets, by the `rtp` crate, whose descriptors are then brought to what browsers send.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use rand_chacha::rand_core::Rng;
use rtp::codecs::vp8::Vp8Payloader;
use rtp::codecs::vp9::Vp9Payloader;
use rtp::packetizer::Payloader;

use crate::engine::{Codec, Packet};

/// Bytes of a payload at most: with RTP, SRTP and extensions it stays below the 1,200 that browsers keep to.
pub const PAYLOAD: usize = 1_150;

/// Cuts the frames of one encoding.
pub struct Packetizer {
    payloader: Cutter,
    sequence: u16,
}

enum Cutter {
    Whole,
    Vp8(Vp8Payloader),
    Vp9(Vp9Payloader),
}

impl Packetizer {
    /// Begins with a random sequence number, and a random picture identifier where the codec has one.
    pub fn new(codec: Codec, rng: &mut impl Rng) -> Self {
        let picture = (rng.next_u32() & PICTURES) as u16;
        let payloader = match codec {
            Codec::Opus => Cutter::Whole,
            Codec::Vp8 => Cutter::Vp8(vp8_from(picture)),
            Codec::Vp9 => Cutter::Vp9(vp9_from(picture)),
        };
        Self { payloader, sequence: rng.next_u32() as u16 }
    }

    /// Cuts a protected frame.
    pub fn packetize(&mut self, frame: &Bytes, key: bool, timestamp: u32, emit: &mut dyn FnMut(Packet)) {
        let payloads = match &mut self.payloader {
            Cutter::Whole => Ok(vec![frame.clone()]),
            Cutter::Vp8(payloader) => payloader.payload(PAYLOAD - 1, frame), // `widen` may add a byte
            Cutter::Vp9(payloader) => payloader.payload(PAYLOAD, frame),
        };
        let payloads = payloads.expect("these payloaders cut any bytes");
        let last = payloads.len().saturating_sub(1);
        for (n, payload) in payloads.into_iter().enumerate() {
            let payload = match self.payloader {
                Cutter::Whole => payload,
                Cutter::Vp8(_) => widen(payload),
                Cutter::Vp9(_) => refer(payload, key),
            };
            emit(Packet { marker: n == last, sequence: self.sequence, timestamp, payload });
            self.sequence = self.sequence.wrapping_add(1);
        }
    }
}

/// A payloader that continues at `picture`: it cannot be told where to begin, so it cuts as many frames of one byte.
fn vp8_from(picture: u16) -> Vp8Payloader {
    let mut payloader = Vp8Payloader::default();
    payloader.enable_picture_id = true;
    let byte = Bytes::from_static(&[0]);
    for _ in 0..picture {
        payloader.payload(PAYLOAD, &byte).expect("a frame of one byte is cut");
    }
    payloader
}

fn vp9_from(picture: u16) -> Vp9Payloader {
    let mut payloader = Vp9Payloader::default();
    payloader.initial_picture_id_fn = Some(Arc::new(move || picture));
    payloader
}

/// The crate writes small VP8 picture identifiers in 7 bits; browsers keep to 15, and so must who receives both sorts in
/// one slot.
fn widen(payload: Bytes) -> Bytes {
    let &[first, present, picture, ..] = &payload[..] else { return payload };
    if picture & WIDE != 0 {
        return payload;
    }
    let mut wide = BytesMut::with_capacity(payload.len() + 1);
    wide.put_slice(&[first, present, WIDE, picture]);
    wide.put_slice(&payload[3..]);
    wide.freeze()
}

/// The crate marks every VP9 frame as flexible and as referring to none, which is a key frame to whoever forwards it. Not
/// flexible, a frame says by P alone that it refers to others (RFC 9628, section 4.2).
fn refer(payload: Bytes, key: bool) -> Bytes {
    let mut bytes = payload.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    if let Some(first) = bytes.first_mut() {
        *first = *first & !FLEXIBLE | if key { 0 } else { INTER_PREDICTED };
    }
    bytes.freeze()
}

/// M of a picture identifier.
const WIDE: u8 = 0x80;
const INTER_PREDICTED: u8 = 0x40;
const FLEXIBLE: u8 = 0x10;
/// Where picture identifiers begin at most: it takes some tens of microseconds to get there, and hours to leave 15 bits.
const PICTURES: u32 = 0x03ff;
