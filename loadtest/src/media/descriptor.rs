//! What a receiver reads of payload descriptors: VP8 (RFC 7741, section 4.2) and VP9 (RFC 9628, section 4.2).

use crate::engine::Codec;

/// What a packet's payload says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Bytes before the frame's.
    pub length: usize,
    /// The packet begins a frame.
    pub begins: bool,
    /// The packet begins a key frame.
    pub key: bool,
}

impl Descriptor {
    /// Reads the descriptor of a payload; `None` where it is cut off, or nothing follows it.
    pub fn parse(codec: Codec, payload: &[u8]) -> Option<Self> {
        let descriptor = match codec {
            Codec::Opus => Self { length: 0, begins: true, key: false },
            Codec::Vp8 => vp8(payload)?,
            Codec::Vp9 => vp9(payload)?,
        };
        (descriptor.length < payload.len()).then_some(descriptor)
    }
}

/// First byte X R N S R PID; then, with X, a byte I L T K and what its bits announce.
fn vp8(payload: &[u8]) -> Option<Descriptor> {
    let &first = payload.first()?;
    let mut length = 1;
    if first & 0x80 != 0 {
        let &present = payload.get(1)?;
        length = 2;
        if present & 0x80 != 0 {
            length += picture_id(payload.get(length)?);
        }
        length += usize::from(present & 0x40 != 0) + usize::from(present & 0x30 != 0);
    }
    let begins = first & 0x17 == 0x10;
    Some(Descriptor { length, begins, key: begins && payload.get(length)? & 1 == 0 })
}

/// First byte I P L F B E V Z.
fn vp9(payload: &[u8]) -> Option<Descriptor> {
    let &first = payload.first()?;
    let (inter, flexible) = (first & 0x40 != 0, first & 0x10 != 0);
    let mut length = 1;
    if first & 0x80 != 0 {
        length += picture_id(payload.get(length)?);
    }
    let mut lowest = true;
    if first & 0x20 != 0 {
        lowest = payload.get(length)? >> 1 & 7 == 0;
        length += if flexible { 1 } else { 2 };
    }
    if inter && flexible {
        let references = payload.get(length..)?.iter().take(3).position(|reference| reference & 1 == 0)?;
        length += references + 1;
    }
    if first & 0x02 != 0 {
        length += structure(payload.get(length..)?)?;
    }
    let begins = first & 0x08 != 0 && lowest;
    Some(Descriptor { length, begins, key: begins && !inter })
}

/// Bytes of a picture identifier: M makes it two.
fn picture_id(first: &u8) -> usize {
    1 + usize::from(first & 0x80 != 0)
}

/// Bytes of a scalability structure: N_S Y G, the sizes of the layers, and the pictures of a group.
fn structure(bytes: &[u8]) -> Option<usize> {
    let &first = bytes.first()?;
    let mut length = 1;
    if first & 0x10 != 0 {
        length += 4 * (usize::from(first >> 5) + 1);
    }
    if first & 0x08 != 0 {
        let &pictures = bytes.get(length)?;
        length += 1;
        for _ in 0..pictures {
            length += 1 + usize::from(bytes.get(length)? >> 2 & 3);
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(codec: Codec, payload: &[u8]) -> Option<(usize, bool, bool)> {
        Descriptor::parse(codec, payload).map(|found| (found.length, found.begins, found.key))
    }

    #[test]
    fn descriptors_of_browsers_are_read() {
        // X S, I L T K, 15 bits of picture, TL0PICIDX, TID and KEYIDX; the tag of a key frame.
        assert_eq!(parsed(Codec::Vp8, &[0x90, 0xf0, 0x92, 0x34, 9, 0xa3, 0x50]), Some((6, true, true)));
        assert_eq!(parsed(Codec::Vp8, &[0x90, 0xe0, 0x12, 9, 0x20, 0x51]), Some((5, true, false)));
        assert_eq!(parsed(Codec::Vp8, &[0x80, 0x80, 0x92, 0x34, 0x50]), Some((4, false, false)));
        assert_eq!(parsed(Codec::Vp8, &[0x11, 0x50]), Some((1, false, false)), "the start of a later partition");
        // I L B V: picture, TID with TL0PICIDX, a structure of one layer with its size and one picture of one reference.
        let vp9 = [0xaa, 0x92, 0x34, 0x00, 9, 0x18, 1, 64, 0, 180, 1, 0x04, 1, 0xde];
        assert_eq!(parsed(Codec::Vp9, &vp9), Some((13, true, true)));
        assert_eq!(parsed(Codec::Vp9, &[0xf8, 0x05, 0x20, 0x03, 0x04, 0xde]), Some((5, true, false)), "flexible");
        assert_eq!(parsed(Codec::Vp9, &[0x28, 0x03, 9, 0xde]), Some((3, false, false)), "a higher spatial layer");
        assert_eq!(parsed(Codec::Opus, &[0x78]), Some((0, true, false)));
    }

    #[test]
    fn what_is_cut_off_is_no_descriptor() {
        let vp8 = [0x90, 0xf0, 0x92, 0x34, 9, 0xa3];
        let vp9 = [0xaa, 0x92, 0x34, 0x00, 9, 0x18, 1, 64, 0, 180, 1, 0x04, 1];
        assert!((0..=vp8.len()).all(|length| parsed(Codec::Vp8, &vp8[..length]).is_none()));
        assert!((0..=vp9.len()).all(|length| parsed(Codec::Vp9, &vp9[..length]).is_none()));
        assert_eq!(parsed(Codec::Vp9, &[0xf8, 5, 3, 3, 3, 3, 2, 0xde]), None, "more references than there can be");
        assert_eq!(parsed(Codec::Opus, &[]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_a_frame_follows(payload in prop::collection::vec(any::<u8>(), 0..40)) {
            for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9] {
                if let Some(found) = Descriptor::parse(codec, &payload) {
                    prop_assert!(found.length < payload.len());
                    prop_assert!(found.begins || !found.key);
                }
            }
        }
    }
}
