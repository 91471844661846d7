//! The VP8 payload descriptor (RFC 7741, section 4.2) and the first byte of the payload header behind it, which stay
//! readable under end-to-end encryption.

use super::{PictureId, Prefix, TruncatedDescriptor};

/// What a packet's payload says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Bytes before the VP8 data.
    pub len: usize,
    /// S and PID 0: the packet begins a frame.
    pub begins_frame: bool,
    /// The packet begins a key frame.
    pub key_frame: bool,
    /// N: no later frame refers to this one.
    pub discardable: bool,
    /// The picture identifier.
    pub picture_id: Option<PictureId>,
    /// TL0PICIDX: a running count of frames of the lowest temporal layer.
    pub tl0_index: Option<u8>,
    /// TID: the temporal layer.
    pub temporal_layer: Option<u8>,
    /// Y: the frame depends on the lowest temporal layer alone, so that a receiver may step up here.
    pub layer_sync: bool,
    /// KEYIDX: the key frame's number.
    pub key_index: Option<u8>,
}

impl Descriptor {
    /// Reads the descriptor of an RTP payload (padding removed). A payload without VP8 data is an error too.
    pub fn parse(payload: &[u8]) -> Result<Self, TruncatedDescriptor> {
        Self::read(payload).ok_or(TruncatedDescriptor)
    }

    /// The descriptor as it stands in `payload`, with another picture identifier (in the width it had) and TL0PICIDX.
    /// It is as long as the descriptor; fields that are absent stay so.
    pub fn patch(&self, payload: &[u8], picture_id: u16, tl0_index: u8) -> Prefix {
        let mut prefix = Prefix::try_from(&payload[..self.len]).expect("a VP8 descriptor has at most six bytes");
        let Some(standing) = self.picture_id else {
            if self.tl0_index.is_some() {
                prefix[2] = tl0_index;
            }
            return prefix;
        };
        standing.patch(&mut prefix[2..], picture_id);
        if self.tl0_index.is_some() {
            prefix[2 + standing.len()] = tl0_index;
        }
        prefix
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let &first = payload.first()?;
        let begins_frame = first & START != 0 && first & PARTITION == 0;
        let extended = if first & EXTENDED != 0 { *payload.get(1)? } else { 0 };
        let mut len = if first & EXTENDED != 0 { 2 } else { 1 };
        let mut picture_id = None;
        if extended & PICTURE_ID != 0 {
            let found = PictureId::parse(payload.get(len..)?)?;
            len += found.len();
            picture_id = Some(found);
        }
        let mut tl0_index = None;
        if extended & TL0_INDEX != 0 {
            tl0_index = Some(*payload.get(len)?);
            len += 1;
        }
        let mut layers = 0;
        if extended & (TEMPORAL | KEY_INDEX) != 0 {
            layers = *payload.get(len)?;
            len += 1;
        }
        let &frame_tag = payload.get(len)?;
        Some(Self {
            len,
            begins_frame,
            key_frame: begins_frame && frame_tag & INTER_FRAME == 0,
            discardable: first & NON_REFERENCE != 0,
            picture_id,
            tl0_index,
            temporal_layer: (extended & TEMPORAL != 0).then_some(layers >> 6),
            layer_sync: extended & TEMPORAL != 0 && layers & LAYER_SYNC != 0,
            key_index: (extended & KEY_INDEX != 0).then_some(layers & 0x1f),
        })
    }
}

// RFC 7741, figure 2: first byte X R N S R PID, extension byte I L T K, and Y in the layer byte.
const EXTENDED: u8 = 0x80;
const NON_REFERENCE: u8 = 0x20;
const START: u8 = 0x10;
const PARTITION: u8 = 0x07;
const PICTURE_ID: u8 = 0x80;
const TL0_INDEX: u8 = 0x40;
const TEMPORAL: u8 = 0x20;
const KEY_INDEX: u8 = 0x10;
const LAYER_SYNC: u8 = 0x20;

/// P of the payload header: zero in a key frame (RFC 7741, section 4.3).
const INTER_FRAME: u8 = 0x01;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// X S, I L T K; picture 0x1234, TL0PICIDX 9, TID 2 with Y, KEYIDX 3; then the tag of a key frame.
    const FULL: [u8; 7] = [0x90, 0xf0, 0x92, 0x34, 9, 0xa3, 0x50];

    #[test]
    fn every_field_is_read() {
        let expected = Descriptor {
            len: 6,
            begins_frame: true,
            key_frame: true,
            discardable: false,
            picture_id: Some(PictureId { value: 0x1234, wide: true }),
            tl0_index: Some(9),
            temporal_layer: Some(2),
            layer_sync: true,
            key_index: Some(3),
        };
        assert_eq!(Descriptor::parse(&FULL), Ok(expected));
    }

    #[test]
    fn every_truncated_descriptor_is_refused() {
        for len in 0..FULL.len() {
            assert_eq!(Descriptor::parse(&FULL[..len]), Err(TruncatedDescriptor), "{len} bytes");
        }
    }

    #[test]
    fn only_the_first_packet_of_a_key_frame_is_one() {
        assert!(Descriptor::parse(&[0x10, 0x00]).unwrap().key_frame);
        assert!(!Descriptor::parse(&[0x10, 0x01]).unwrap().key_frame);
        assert!(!Descriptor::parse(&[0x00, 0x00]).unwrap().key_frame, "a later packet of the frame");
        assert!(!Descriptor::parse(&[0x11, 0x00]).unwrap().key_frame, "the start of a later partition");
    }

    #[test]
    fn a_patch_changes_picture_id_and_tl0_index_alone() {
        let descriptor = Descriptor::parse(&FULL).unwrap();
        assert_eq!(descriptor.patch(&FULL, 0x8001, 200)[..], [0x90, 0xf0, 0x80, 0x01, 200, 0xa3]);
        let narrow = [0x90, 0x80, 0x05, 0x01];
        let descriptor = Descriptor::parse(&narrow).unwrap();
        assert_eq!(descriptor.patch(&narrow, 0x81, 200)[..], [0x90, 0x80, 0x01]);
        let no_picture = [0x80, 0x40, 7, 0x01];
        let descriptor = Descriptor::parse(&no_picture).unwrap();
        assert_eq!(descriptor.patch(&no_picture, 3, 8)[..], [0x80, 0x40, 8]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_a_patch_reads_back(
            payload in prop::collection::vec(any::<u8>(), 0..20), picture: u16, tl0: u8,
        ) {
            let Ok(before) = Descriptor::parse(&payload) else { return Ok(()) };
            let prefix = before.patch(&payload, picture, tl0);
            prop_assert_eq!(prefix.len(), before.len);
            let patched = [&prefix, &payload[before.len..]].concat();
            let after = Descriptor::parse(&patched).unwrap();
            let mask = |wide| if wide { 0x7fff } else { 0x7f };
            let picture_id = before.picture_id.map(|id| PictureId { value: picture & mask(id.wide), ..id });
            prop_assert_eq!(after, Descriptor { picture_id, tl0_index: before.tl0_index.map(|_| tl0), ..before });
        }
    }
}
