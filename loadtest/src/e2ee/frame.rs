//! What one encoded frame looks like on the way: which bytes stay clear, what is authenticated with them, and the
//! stream numbers of a participant.

use sotto_signaling::message::Stream;

use crate::engine::Codec;

/// The stream of a participant's sealed messages.
pub const MESSAGES: u8 = 255;

/// Stream numbers, the last byte of a KID.
pub fn stream_number(stream: Stream) -> u8 {
    match stream {
        Stream::Microphone => 0,
        Stream::Camera => 1,
        Stream::Screen => 2,
        Stream::ScreenAudio => 3,
    }
}

/// How many bytes of a frame stay clear; `None` where it is too short to be one. A packetiser looks into VP8 to tell
/// key frames from delta frames; VP9 and Opus are carried whole. The same for a frame in the clear and a protected one.
pub fn clear_bytes(codec: Codec, frame: &[u8]) -> Option<usize> {
    let first = *frame.first()?;
    let clear = match codec {
        Codec::Vp8 if first & 1 == 1 => VP8_DELTA,
        Codec::Vp8 => VP8_KEY,
        Codec::Vp9 | Codec::Opus => 0,
    };
    (clear <= frame.len()).then_some(clear)
}

/// What is authenticated with the frames of one sender beside the SFrame header.
#[derive(Clone)]
pub struct Metadata([u8; PREFIX]);

impl Metadata {
    /// Of the sender with that identity.
    pub fn new(call: &[u8; 16], identity: &[u8; 32]) -> Self {
        let joined = super::bytes::join(&[b"sotto/1", call, identity]);
        Self(joined.try_into().expect("the fields are of fixed lengths"))
    }

    /// Everything that is authenticated: the header, these bytes, and the clear ones behind their length.
    pub fn with<'a>(&self, header: &[u8], clear: &[u8], room: &'a mut [u8; MOST]) -> &'a [u8] {
        let clear_length = (clear.len() as u16).to_be_bytes();
        let mut length = 0;
        for part in [header, &self.0, &clear_length, clear] {
            room[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        &room[..length]
    }
}

/// Frame header of a VP8 key frame: tag, start code and dimensions (RFC 6386, section 9.1).
const VP8_KEY: usize = 10;

/// Frame tag of a VP8 delta frame.
const VP8_DELTA: usize = 3;

/// Label, call id and identity, each behind two bytes of length.
const PREFIX: usize = 2 + 7 + 2 + 16 + 2 + 32;

/// The longest header, the prefix, and the most clear bytes behind their length.
pub const MOST: usize = 17 + PREFIX + 2 + VP8_KEY;
