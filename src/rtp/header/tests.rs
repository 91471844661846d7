use proptest::prelude::*;

use super::*;

/// V 2, P, X, one CSRC; marker, payload type 96; one-byte extensions 1 (one byte) and 3 (two bytes), padded; a payload
/// of three bytes and padding of two.
const FULL: [u8; 33] = [
    0xb1, 0xe0, 0x12, 0x34, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, // header and CSRC
    0xbe, 0xde, 0, 2, 0x10, 0xaa, 0x31, 0xbb, 0xcc, 0, 0, 0, // extensions
    7, 8, 9, 0, 2, // payload and padding
];

#[test]
fn every_field_is_read() {
    let packet = Packet::parse(&FULL).unwrap();
    assert!(packet.marker());
    assert_eq!(packet.payload_type(), 96);
    assert_eq!(packet.sequence(), 0x1234);
    assert_eq!(packet.timestamp(), 0x0102_0304);
    assert_eq!(packet.ssrc(), Ssrc(0x0506_0708));
    assert_eq!(packet.header_len(), 28);
    assert_eq!(packet.payload(), [7, 8, 9]);
    assert_eq!(packet.padding_len(), 2);
    assert_eq!(packet.extension(1), Some(&[0xaa][..]));
    assert_eq!(packet.extension(3), Some(&[0xbb, 0xcc][..]));
    assert_eq!(packet.extension(2), None);
}

#[test]
fn every_truncated_header_is_refused() {
    for len in 0..28 {
        assert_eq!(Packet::parse(&FULL[..len]).err(), Some(RtpError::Truncated), "{len} bytes");
    }
}

#[test]
fn padding_longer_than_the_payload_or_empty_is_refused() {
    for padding in [0, 6, 255] {
        let mut bytes = FULL;
        bytes[32] = padding;
        assert_eq!(Packet::parse(&bytes).err(), Some(RtpError::Padding), "{padding}");
    }
    let mut bytes = FULL;
    bytes[32] = 5;
    assert!(Packet::parse(&bytes).unwrap().payload().is_empty());
    assert_eq!(Packet::parse(&FULL[..28]).err(), Some(RtpError::Padding), "no payload that could end in a count");
}

#[test]
fn an_extension_beyond_its_block_is_refused() {
    let mut bytes = FULL;
    bytes[22] = 0x3f;
    assert_eq!(Packet::parse(&bytes).err(), Some(RtpError::Extension));
}

#[test]
fn another_version_is_refused() {
    let mut bytes = FULL;
    bytes[0] = 0x71;
    assert_eq!(Packet::parse(&bytes).err(), Some(RtpError::Version));
}

#[test]
fn the_one_byte_form_is_written_where_it_fits_and_else_the_two_byte_form() {
    let header = Header { marker: false, payload_type: 111, sequence: 1, timestamp: 2, ssrc: Ssrc(3) };
    let mut out = [0xff; MAX_HEADER_LEN];
    for (extensions, profile) in [
        (vec![(1, &b"0"[..]), (14, b"0123456789abcdef")], 0xbede),
        (vec![(1, &b"0"[..]), (15, b"1")], 0x1000),
        (vec![(1, &b""[..])], 0x1000),
        (vec![(1, &[7; 17][..])], 0x1000),
    ] {
        let len = header.write(extensions.iter().copied(), &mut out).unwrap();
        assert_eq!(u16::from_be_bytes([out[12], out[13]]), profile);
        let packet = Packet::parse(&out[..len]).unwrap();
        assert_eq!(packet.extensions().collect::<Vec<_>>(), extensions);
        assert_eq!(packet.header_len(), len);
    }
}

#[test]
fn a_header_without_room_is_an_error() {
    let header = Header { marker: false, payload_type: 111, sequence: 1, timestamp: 2, ssrc: Ssrc(3) };
    let extensions = [(1, &b"abc"[..])];
    for room in 0..20 {
        assert_eq!(header.write(extensions, &mut vec![0; room]), Err(NoRoom), "{room} bytes");
    }
    assert_eq!(header.write(extensions, &mut [0; 20]), Ok(20));
    assert_eq!(header.write([(0, &b"a"[..])], &mut [0; 99]), Err(NoRoom));
    assert_eq!(header.write([(1, &[0; 256][..])], &mut [0; 999]), Err(NoRoom));
}

fn elements() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let one_byte = prop::collection::vec((1..=14u8, prop::collection::vec(any::<u8>(), 1..=16)), 0..5);
    let any_form = prop::collection::vec((1..=255u8, prop::collection::vec(any::<u8>(), 0..40)), 0..5);
    prop_oneof![one_byte, any_form]
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        marker: bool, payload_type in 0..128u8, sequence: u16, timestamp: u32, ssrc: u32, elements in elements(),
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let header = Header { marker, payload_type, sequence, timestamp, ssrc: Ssrc(ssrc) };
        let mut out = vec![0xff; 1_000];
        let len = header.write(elements.iter().map(|(id, content)| (*id, &content[..])), &mut out).unwrap();
        out.truncate(len);
        out.extend_from_slice(&payload);
        let packet = Packet::parse(&out).unwrap();
        let read = Header {
            marker: packet.marker(),
            payload_type: packet.payload_type(),
            sequence: packet.sequence(),
            timestamp: packet.timestamp(),
            ssrc: packet.ssrc(),
        };
        prop_assert_eq!(read, header);
        prop_assert_eq!(packet.payload(), &payload[..]);
        prop_assert_eq!(packet.extensions().map(|(id, content)| (id, content.to_vec())).collect::<Vec<_>>(), elements);
    }

    #[test]
    fn no_bytes_panic(first in 0x80..=0xbfu8, mut bytes in prop::collection::vec(any::<u8>(), 0..80), any_first: u8) {
        for first in [first, any_first] {
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            // A short block, so that elements are reached.
            for block in [None, Some((0xbede_u16, 3_u8)), Some((0x1000, 3))] {
                if let (Some((profile, words)), true) = (block, bytes.len() > 16) {
                    bytes[0] &= 0xf0;
                    bytes[12..14].copy_from_slice(&profile.to_be_bytes());
                    bytes[14..16].copy_from_slice(&[0, words]);
                }
                if let Ok(packet) = Packet::parse(&bytes) {
                    prop_assert_eq!(packet.header_len() + packet.payload().len() + packet.padding_len(), bytes.len());
                    packet.extensions().for_each(drop);
                }
            }
        }
    }
}
