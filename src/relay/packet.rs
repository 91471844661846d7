//! One packet of a publication, read once: what forwarding and rewriting need of it, its payload apart.

use std::time::Instant;

use crate::rtp::header::Packet;
use crate::rtp::{PictureId, Prefix, TruncatedDescriptor, vp8, vp9};
use crate::session::{CodecName, ExtensionIds};

use super::clock::Ntp;

/// A packet without its payload.
#[derive(Clone, Copy)]
pub struct Head {
    /// Its number in the publisher's stream, extended.
    pub index: u64,
    /// The publisher's timestamp.
    pub timestamp: u32,
    /// The marker bit.
    pub marker: bool,
    /// The codec and what its descriptor says.
    pub media: Media,
    /// What the publisher says of the picture or sound, to be passed on.
    pub carried: Carried,
    /// When it was captured, on the relay's clock; known once the publisher's reports are.
    pub captured: Option<Ntp>,
    /// When it arrived.
    pub arrived: Instant,
}

/// A codec's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// Opus has none.
    Opus,
    /// RFC 7741.
    Vp8(vp8::Descriptor),
    /// RFC 9628.
    Vp9(vp9::Descriptor),
    /// No payload but padding, in a stream of this codec: a probe of the path's bandwidth.
    Empty(CodecName),
}

/// Header extensions that pass from publisher to receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// `urn:3gpp:video-orientation`
    pub video_orientation: Option<u8>,
    /// `playout-delay`
    pub playout_delay: Option<[u8; 3]>,
    /// Whether `abs-capture-time` is present; its value is written anew on the relay's clock.
    pub capture_time: bool,
}

impl Media {
    /// Reads the descriptor of `payload`.
    pub fn parse(codec: CodecName, payload: &[u8]) -> Result<Self, TruncatedDescriptor> {
        if payload.is_empty() {
            return Ok(Media::Empty(codec));
        }
        Ok(match codec {
            CodecName::Opus => Media::Opus,
            CodecName::Vp8 => Media::Vp8(vp8::Descriptor::parse(payload)?),
            CodecName::Vp9 => Media::Vp9(vp9::Descriptor::parse(payload)?),
        })
    }

    /// Which codec.
    pub fn codec(&self) -> CodecName {
        match self {
            Media::Opus => CodecName::Opus,
            Media::Vp8(_) => CodecName::Vp8,
            Media::Vp9(_) => CodecName::Vp9,
            Media::Empty(codec) => *codec,
        }
    }

    /// Whether a receiver can begin here: the first packet of a key frame, or any packet of sound.
    pub fn begins(&self) -> bool {
        match self {
            Media::Opus => true,
            Media::Vp8(descriptor) => descriptor.key_frame,
            Media::Vp9(descriptor) => descriptor.key_frame,
            Media::Empty(codec) => *codec == CodecName::Opus,
        }
    }

    /// The picture identifier.
    pub fn picture_id(&self) -> Option<PictureId> {
        match self {
            Media::Vp8(descriptor) => descriptor.picture_id,
            Media::Vp9(descriptor) => descriptor.picture_id,
            _ => None,
        }
    }

    /// TL0PICIDX.
    pub fn tl0_index(&self) -> Option<u8> {
        match self {
            Media::Vp8(descriptor) => descriptor.tl0_index,
            Media::Vp9(descriptor) => descriptor.tl0_index,
            _ => None,
        }
    }

    /// Bytes of the descriptor.
    #[cfg(feature = "probe")]
    pub fn descriptor_len(&self) -> usize {
        match self {
            Media::Vp8(descriptor) => descriptor.len,
            Media::Vp9(descriptor) => descriptor.len,
            _ => 0,
        }
    }

    /// Writes another picture identifier and TL0PICIDX into the payload, which may hold those of another receiver.
    pub fn patch(&self, payload: &mut [u8], picture_id: u16, tl0_index: u8) {
        let prefix: Prefix = match self {
            Media::Vp8(descriptor) => descriptor.patch(payload, picture_id, tl0_index),
            Media::Vp9(descriptor) => descriptor.patch(payload, picture_id, tl0_index),
            _ => return,
        };
        payload[..prefix.len()].copy_from_slice(&prefix);
    }
}

impl Carried {
    /// Picks them out of a packet by the publisher's numbering.
    pub fn read(packet: &Packet<'_>, ids: &ExtensionIds) -> Self {
        let mut carried = Self::default();
        for (id, content) in packet.extensions() {
            if ids.video_orientation == Some(id) {
                carried.video_orientation = content.first().copied();
            } else if ids.playout_delay == Some(id) {
                carried.playout_delay = content.first_chunk().copied();
            } else if ids.abs_capture_time == Some(id) {
                carried.capture_time = true;
            }
        }
        carried
    }
}

#[cfg(test)]
impl Head {
    /// A packet of sound.
    pub fn test(index: u64) -> Self {
        let (timestamp, carried) = (index as u32 * 960, Carried::default());
        let (marker, media, captured, arrived) = (false, Media::Opus, None, Instant::now());
        Self { index, timestamp, marker, media, carried, captured, arrived }
    }
}
