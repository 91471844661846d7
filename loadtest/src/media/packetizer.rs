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

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;
    use rtp::codecs::vp8::Vp8Packet;
    use rtp::codecs::vp9::Vp9Packet;
    use rtp::packetizer::Depacketizer;

    use super::*;
    use crate::media::descriptor::Descriptor;

    fn packets(packetizer: &mut Packetizer, frame: &[u8], key: bool) -> Vec<Packet> {
        let mut packets = Vec::new();
        packetizer.packetize(&Bytes::copy_from_slice(frame), key, 5, &mut |packet| packets.push(packet));
        packets
    }

    /// Bytes like a sealed frame's, with VP8's first bit.
    fn frame(length: usize, key: bool) -> Vec<u8> {
        let mut rng = ChaCha8Rng::seed_from_u64(length as u64);
        let mut bytes = vec![0; length];
        rng.fill_bytes(&mut bytes);
        bytes[0] = bytes[0] & 0xfe | u8::from(!key);
        bytes
    }

    #[test]
    fn packets_are_numbered_on_and_the_last_of_a_frame_is_marked() {
        for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9] {
            let mut packetizer = Packetizer::new(codec, &mut ChaCha8Rng::seed_from_u64(1));
            let lengths = if codec == Codec::Opus { [1, 90, 1_000] } else { [1, 1_146, 40_000] };
            let mut next = None;
            for n in 0..300 {
                let frame = frame(lengths[n % 3], n == 0);
                let packets = packets(&mut packetizer, &frame, n == 0);
                let mut whole = Vec::new();
                for (n, packet) in packets.iter().enumerate() {
                    assert_eq!(packet.sequence, next.unwrap_or(packet.sequence), "without a gap");
                    next = Some(packet.sequence.wrapping_add(1));
                    assert_eq!((packet.marker, packet.timestamp), (n == packets.len() - 1, 5));
                    assert!(packet.payload.len() <= PAYLOAD);
                    let descriptor = Descriptor::parse(codec, &packet.payload).unwrap();
                    assert_eq!(descriptor.begins, n == 0 || codec == Codec::Opus);
                    whole.extend_from_slice(&packet.payload[descriptor.length..]);
                }
                assert_eq!(whole, frame);
            }
        }
    }

    #[test]
    fn picture_identifiers_have_15_bits_and_go_up_by_one_also_where_they_wrap() {
        for codec in [Codec::Vp8, Codec::Vp9] {
            let mut packetizer = Packetizer::new(codec, &mut ChaCha8Rng::seed_from_u64(2));
            let mut last: Option<u16> = None;
            for _ in 0..0x8100 {
                let packet = packets(&mut packetizer, &[1], false).remove(0);
                let at = if codec == Codec::Vp8 { 2 } else { 1 };
                let picture = u16::from_be_bytes([packet.payload[at], packet.payload[at + 1]]);
                assert_ne!(picture & 0x8000, 0, "M");
                assert!(last.is_none_or(|last| picture & 0x7fff == (last + 1) & 0x7fff), "{last:?} and {picture:x}");
                last = Some(picture & 0x7fff);
            }
        }
    }

    #[test]
    fn key_frames_are_told_apart_by_us_and_by_a_reader_that_is_not_ours() {
        for key in [true, false] {
            let bytes = frame(3_000, key);
            let mut vp8 = Packetizer::new(Codec::Vp8, &mut ChaCha8Rng::seed_from_u64(3));
            let packets8 = packets(&mut vp8, &bytes, key);
            let mut reader = Vp8Packet::default();
            let payload = reader.depacketize(&packets8[0].payload).unwrap();
            assert_eq!((reader.s, reader.pid, reader.i, payload[0] & 1 == 0), (1, 0, 1, key));
            assert_eq!(Descriptor::parse(Codec::Vp8, &packets8[0].payload).unwrap().key, key);
            let mut vp9 = Packetizer::new(Codec::Vp9, &mut ChaCha8Rng::seed_from_u64(3));
            let packets9 = packets(&mut vp9, &bytes, key);
            for (n, packet) in packets9.iter().enumerate() {
                let mut reader = Vp9Packet::default();
                reader.depacketize(&packet.payload).unwrap();
                assert_eq!((reader.i, reader.p, reader.f, reader.l, reader.v), (true, !key, false, false, false));
                assert_eq!((reader.b, reader.e), (n == 0, n == packets9.len() - 1));
            }
            assert_eq!(Descriptor::parse(Codec::Vp9, &packets9[0].payload).unwrap().key, key);
            assert!(!Descriptor::parse(Codec::Vp9, &packets9[1].payload).unwrap().key, "it begins none");
        }
    }

    #[test]
    fn a_seed_repeats_the_numbers_and_another_has_others() {
        let first = |seed| {
            packets(&mut Packetizer::new(Codec::Vp8, &mut ChaCha8Rng::seed_from_u64(seed)), &[1], false)[0].sequence
        };
        assert_eq!(first(4), first(4));
        let numbers: std::collections::HashSet<_> = (0..100).map(first).collect();
        assert!(numbers.len() > 90);
    }
}
