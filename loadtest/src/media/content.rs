//! What a frame carries before its stamp, as a recipe: the sender writes it, the receiver makes the same and compares.

use crate::engine::Codec;

use super::stamp::{self, Stamp};
use super::voice::{Recipe, Voice};
use super::{block, clip};

/// From what a frame is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An Opus packet of a voice.
    Voice {
        /// Which voice.
        recipe: Recipe,
        /// Its place in the loop.
        frame: u16,
    },
    /// The first bytes of a VP8 or VP9 frame, then random ones.
    Model {
        /// Lines, for the header of a key frame.
        height: u16,
        /// Where the random bytes begin in the [`block`].
        offset: u32,
    },
    /// A frame of the clip, then random bytes behind its end where the bitrate asks for more.
    Clip {
        /// Its place in the clip.
        frame: u16,
        /// Where the random bytes begin in the [`block`].
        offset: u32,
    },
}

/// Everything of a frame but its stamp.
struct Parts {
    header: [u8; HEADER],
    header_length: usize,
    body: &'static [u8],
    filling: &'static [u8],
}

impl Content {
    /// Its kind (four bits) and the rest of it.
    pub fn pack(self) -> (u8, u64) {
        match self {
            Content::Voice { recipe, frame } => (VOICE, recipe.pack() << 16 | u64::from(frame)),
            Content::Model { height, offset } => (MODEL, u64::from(height) << 32 | u64::from(offset)),
            Content::Clip { frame, offset } => (CLIP, u64::from(frame) << 32 | u64::from(offset)),
        }
    }

    /// Reverses [`Content::pack`]; `None` where that cannot have made it.
    pub fn unpack(kind: u8, rest: u64) -> Option<Self> {
        let number = u16::try_from(rest >> 32).ok();
        match kind {
            VOICE => Some(Content::Voice { recipe: Recipe::unpack(rest >> 16)?, frame: rest as u16 }),
            MODEL => Some(Content::Model { height: number?, offset: rest as u32 }),
            CLIP => Some(Content::Clip { frame: number?, offset: rest as u32 }),
            _ => None,
        }
    }

    /// The least bytes of a frame with this content, stamp included.
    pub fn least(&self, key: bool) -> usize {
        let own = match self {
            Content::Voice { recipe, frame } => {
                Voice::of(*recipe).and_then(|voice| voice.packet(*frame)).map_or(0, <[u8]>::len)
            }
            Content::Model { .. } if key => HEADER,
            Content::Model { .. } => DELTA_HEADER,
            Content::Clip { frame, .. } => clip::frame(*frame).map_or(0, |frame| frame.bytes.len()),
        };
        own + stamp::LENGTH
    }

    fn parts(&self, codec: Codec, key: bool, length: usize) -> Option<Parts> {
        let filling = |own: usize, offset| block::slice(offset, length.checked_sub(own + stamp::LENGTH)?);
        let (header, header_length) = ([0; HEADER], 0);
        match *self {
            Content::Voice { recipe, frame } => {
                let body = Voice::of(recipe)?.packet(frame)?;
                Some(Parts { header, header_length, body, filling: &[] })
            }
            Content::Model { height, offset } => {
                let (header, header_length) = picture_header(codec, key, height, length);
                Some(Parts { header, header_length, body: &[], filling: filling(header_length, offset)? })
            }
            Content::Clip { frame, offset } => {
                let body = clip::frame(frame)?.bytes;
                Some(Parts { header, header_length, body, filling: filling(body.len(), offset)? })
            }
        }
    }
}

/// Replaces `frame` by the whole frame that the stamp describes. `false`, and an empty frame, where there is none such.
pub fn write(stamp: &Stamp, codec: Codec, frame: &mut Vec<u8>) -> bool {
    frame.clear();
    let Some(parts) = stamp.content.parts(codec, stamp.key, stamp.length as usize) else { return false };
    frame.extend_from_slice(&parts.header[..parts.header_length]);
    frame.extend_from_slice(parts.body);
    frame.extend_from_slice(parts.filling);
    stamp.write(frame);
    debug_assert_eq!(frame.len(), stamp.length as usize, "a stamp's length is that of its content and itself");
    true
}

/// Whether the bytes before the stamp of `frame` are those that it was made of, each one.
pub fn is_intact(stamp: &Stamp, codec: Codec, frame: &[u8]) -> bool {
    let Some(parts) = stamp.content.parts(codec, stamp.key, frame.len()) else { return false };
    let Some(bytes) = frame.len().checked_sub(stamp::LENGTH).map(|end| &frame[..end]) else { return false };
    let Some((header, rest)) = bytes.split_at_checked(parts.header_length) else { return false };
    let Some((body, filling)) = rest.split_at_checked(parts.body.len()) else { return false };
    header == &parts.header[..parts.header_length] && body == parts.body && filling == parts.filling
}

/// What a frame of a picture begins with. VP8: the frame tag and, in a key frame, start code and size (RFC 6386, section
/// 9.1), which stay clear. VP9: the first bytes of the uncompressed header.
fn picture_header(codec: Codec, key: bool, height: u16, length: usize) -> ([u8; HEADER], usize) {
    let mut header = [0; HEADER];
    if codec == Codec::Vp9 {
        header[..4].copy_from_slice(&[if key { 0x82 } else { 0x86 }, 0x49, 0x83, 0x42]);
        return (header, if key { 4 } else { 1 });
    }
    let first_partition = (length / 3).min(0x7_ffff) as u32;
    let tag = first_partition << 5 | 1 << 4 | u32::from(!key);
    header[..3].copy_from_slice(&tag.to_le_bytes()[..3]);
    header[3..6].copy_from_slice(&[0x9d, 0x01, 0x2a]);
    let width = (u32::from(height) * 16 / 9) as u16 & 0x3ffe;
    header[6..8].copy_from_slice(&width.to_le_bytes());
    header[8..].copy_from_slice(&(height & 0x3fff).to_le_bytes());
    (header, if key { HEADER } else { DELTA_HEADER })
}

const VOICE: u8 = 0;
const MODEL: u8 = 1;
const CLIP: u8 = 2;
/// RFC 6386, section 9.1: a frame tag of three bytes, and seven more in a key frame.
const HEADER: usize = 10;
const DELTA_HEADER: usize = 3;
