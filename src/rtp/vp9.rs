//! The VP9 payload descriptor (RFC 9628, section 4.2). The frame behind it is encrypted as a whole; everything that
//! forwarding needs stands here.

use super::{PictureId, Prefix, TruncatedDescriptor};

/// What a packet's payload says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Bytes before the VP9 data.
    pub len: usize,
    /// B: the packet begins a layer frame.
    pub begins_frame: bool,
    /// E: the packet ends a layer frame.
    pub ends_frame: bool,
    /// The packet begins the lowest spatial layer of a picture that refers to no other.
    pub key_frame: bool,
    /// P: the frame refers to other pictures.
    pub inter_predicted: bool,
    /// Z: no higher spatial layer refers to this one.
    pub not_spatial_reference: bool,
    /// The picture identifier.
    pub picture_id: Option<PictureId>,
    /// The layers, where the descriptor names them.
    pub layers: Option<Layers>,
    /// TL0PICIDX, which flexible mode lacks.
    pub tl0_index: Option<u8>,
    /// A scalability structure is present: the packet says how many layers there are.
    pub has_structure: bool,
}

/// Layer indices of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// TID: the temporal layer.
    pub temporal: u8,
    /// U: from here on a receiver may step up to this temporal layer.
    pub switching_up: bool,
    /// SID: the spatial layer.
    pub spatial: u8,
    /// D: depends on the next lower spatial layer of the same picture.
    pub inter_layer: bool,
}

impl Descriptor {
    /// Reads the descriptor of an RTP payload (padding removed). A payload without VP9 data is an error too.
    pub fn parse(payload: &[u8]) -> Result<Self, TruncatedDescriptor> {
        Self::read(payload).ok_or(TruncatedDescriptor)
    }

    /// The leading bytes of `payload` with another picture identifier (in the width it had) and TL0PICIDX. They
    /// replace as many bytes; the rest of the descriptor follows in `payload`. Fields that are absent stay so.
    pub fn patch(&self, payload: &[u8], picture_id: u16, tl0_index: u8) -> Prefix {
        let picture_len = self.picture_id.map_or(0, PictureId::len);
        let tl0_at = 1 + picture_len + usize::from(self.layers.is_some());
        let end = if self.tl0_index.is_some() { tl0_at + 1 } else { 1 + picture_len };
        let mut prefix = Prefix::try_from(&payload[..end]).expect("TL0PICIDX is at the latest the fifth byte");
        if let Some(standing) = self.picture_id {
            standing.patch(&mut prefix[1..], picture_id);
        }
        if self.tl0_index.is_some() {
            prefix[tl0_at] = tl0_index;
        }
        prefix
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let (&first, mut rest) = payload.split_first()?;
        let mut picture_id = None;
        if first & PICTURE_ID != 0 {
            let found = PictureId::parse(rest)?;
            rest = &rest[found.len()..];
            picture_id = Some(found);
        }
        let flexible = first & FLEXIBLE != 0;
        let inter_predicted = first & INTER_PREDICTED != 0;
        let mut layers = None;
        let mut tl0_index = None;
        if first & LAYER_INDICES != 0 {
            layers = Some(Layers::from_byte(take(&mut rest)?));
            if !flexible {
                tl0_index = Some(take(&mut rest)?);
            }
        }
        if flexible && inter_predicted {
            skip_references(&mut rest)?;
        }
        let has_structure = first & STRUCTURE != 0;
        if has_structure {
            skip_structure(&mut rest)?;
        }
        let begins_frame = first & BEGINS != 0;
        let lowest = layers.is_none_or(|layers| layers.spatial == 0);
        (!rest.is_empty()).then_some(Self {
            len: payload.len() - rest.len(),
            begins_frame,
            ends_frame: first & ENDS != 0,
            key_frame: begins_frame && !inter_predicted && lowest,
            inter_predicted,
            not_spatial_reference: first & NOT_REFERENCE != 0,
            picture_id,
            layers,
            tl0_index,
            has_structure,
        })
    }
}

impl Layers {
    fn from_byte(byte: u8) -> Self {
        Self { temporal: byte >> 5, switching_up: byte & 0x10 != 0, spatial: byte >> 1 & 7, inter_layer: byte & 1 != 0 }
    }
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, behind) = rest.split_first()?;
    *rest = behind;
    Some(byte)
}

fn skip(rest: &mut &[u8], count: usize) -> Option<()> {
    *rest = rest.get(count..)?;
    Some(())
}

/// P_DIFF bytes of flexible mode, of which each but the last says that another follows. A fourth is an error.
fn skip_references(rest: &mut &[u8]) -> Option<()> {
    for _ in 0..MAX_REFERENCES {
        if take(rest)? & 1 == 0 {
            return Some(());
        }
    }
    None
}

/// The scalability structure (RFC 9628, section 4.2.1): resolutions of the spatial layers, then the pictures of one
/// group with their references.
fn skip_structure(rest: &mut &[u8]) -> Option<()> {
    let head = take(rest)?;
    if head & 0x10 != 0 {
        skip(rest, 4 * (usize::from(head >> 5) + 1))?;
    }
    if head & 0x08 != 0 {
        let pictures = take(rest)?;
        for _ in 0..pictures {
            let references = take(rest)? >> 2 & 3;
            skip(rest, references.into())?;
        }
    }
    Some(())
}

// RFC 9628, figure 2: I P L F B E V Z.
const PICTURE_ID: u8 = 0x80;
const INTER_PREDICTED: u8 = 0x40;
const LAYER_INDICES: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGINS: u8 = 0x08;
const ENDS: u8 = 0x04;
const STRUCTURE: u8 = 0x02;
const NOT_REFERENCE: u8 = 0x01;

/// RFC 9628, section 4.2: "up to 3 reference indices".
const MAX_REFERENCES: usize = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// I L B V; picture 0x1234, TID 1 with U, SID 0, TL0PICIDX 9; a structure of two layers with resolutions and a
    /// group of two pictures with one and two references; then two bytes of data.
    const STRUCTURED: [u8; 22] = [
        0xaa, 0x92, 0x34, 0x30, 9, // up to TL0PICIDX
        0x38, 1, 64, 0, 180, 2, 128, 1, 104, // N_S 1, Y, G; two resolutions
        2, 0x04, 1, 0x28, 1, 2, // N_G 2
        0xde, 0xad,
    ];

    #[test]
    fn every_field_is_read() {
        let expected = Descriptor {
            len: 20,
            begins_frame: true,
            ends_frame: false,
            key_frame: true,
            inter_predicted: false,
            not_spatial_reference: false,
            picture_id: Some(PictureId { value: 0x1234, wide: true }),
            layers: Some(Layers { temporal: 1, switching_up: true, spatial: 0, inter_layer: false }),
            tl0_index: Some(9),
            has_structure: true,
        };
        assert_eq!(Descriptor::parse(&STRUCTURED), Ok(expected));
    }

    #[test]
    fn every_truncated_descriptor_is_refused() {
        for len in 0..=20 {
            assert_eq!(Descriptor::parse(&STRUCTURED[..len]), Err(TruncatedDescriptor), "{len} bytes");
        }
    }

    #[test]
    fn a_higher_spatial_layer_is_no_key_frame() {
        let upper = [0x28, 0x03, 9, 0xde];
        let descriptor = Descriptor::parse(&upper).unwrap();
        assert_eq!(descriptor.layers.unwrap().spatial, 1);
        assert!(descriptor.begins_frame && !descriptor.key_frame);
    }

    #[test]
    fn flexible_mode_has_references_and_no_tl0_index() {
        let flexible = [0xf8, 0x05, 0x20, 0x03, 0x04, 0xde];
        let descriptor = Descriptor::parse(&flexible).unwrap();
        assert_eq!((descriptor.len, descriptor.tl0_index), (5, None));
        assert_eq!(Descriptor::parse(&[0xf8, 0x05, 0x20, 3, 3, 3, 3, 2, 0xde]), Err(TruncatedDescriptor));
    }

    #[test]
    fn a_patch_changes_picture_id_and_tl0_index_alone() {
        let descriptor = Descriptor::parse(&STRUCTURED).unwrap();
        assert_eq!(descriptor.patch(&STRUCTURED, 0x7fff, 1)[..], [0xaa, 0xff, 0xff, 0x30, 1]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_a_patch_reads_back(
            payload in prop::collection::vec(any::<u8>(), 0..40), picture: u16, tl0: u8,
        ) {
            let Ok(before) = Descriptor::parse(&payload) else { return Ok(()) };
            let prefix = before.patch(&payload, picture, tl0);
            let patched = [&prefix, &payload[prefix.len()..]].concat();
            let after = Descriptor::parse(&patched).unwrap();
            let mask = |wide| if wide { 0x7fff } else { 0x7f };
            let picture_id = before.picture_id.map(|id| PictureId { value: picture & mask(id.wide), ..id });
            prop_assert_eq!(after, Descriptor { picture_id, tl0_index: before.tl0_index.map(|_| tl0), ..before });
        }
    }
}
