//! The RTP header (RFC 3550, section 5.1) with its extension block (RFC 8285): a borrowed view of a received packet,
//! and the writer of a fresh header for a receiver.

use super::extension::{Extensions, HIGHEST_ID, ONE_BYTE_PROFILE, TWO_BYTE_PROFILE};
use crate::session::Ssrc;

/// A received RTP packet, checked as a whole: header, extension block and padding fit the bytes.
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    header_len: usize,
    /// Where the extension block's content starts; the header's end where there is none.
    extensions_start: usize,
    payload_end: usize,
}

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Shorter than its header says.
    #[error("the packet ends within its header")]
    Truncated,
    /// Not version 2.
    #[error("the packet is not RTP version 2")]
    Version,
    /// An extension element reaches beyond the extension block.
    #[error("a header extension reaches beyond its block")]
    Extension,
    /// The padding count is zero or reaches into the header.
    #[error("the padding is longer than the payload, or empty")]
    Padding,
}

impl<'a> Packet<'a> {
    /// Views `bytes`, a decrypted RTP packet.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let header_len = header_len(bytes)?;
        let extensions_start = extension_block(bytes).map_or(header_len, |start| start + EXTENSION_PREAMBLE);
        let mut packet = Self { bytes, header_len, extensions_start, payload_end: bytes.len() };
        packet.extensions().check().map_err(|_| RtpError::Extension)?;
        if bytes[0] & PADDING_BIT != 0 {
            let padding = usize::from(bytes[bytes.len() - 1]);
            if padding == 0 || padding > bytes.len() - header_len {
                return Err(RtpError::Padding);
            }
            packet.payload_end -= padding;
        }
        Ok(packet)
    }

    /// The marker bit: the last packet of a picture, for video.
    pub fn marker(&self) -> bool {
        self.bytes[1] & MARKER_BIT != 0
    }

    /// The payload type, 0 to 127.
    pub fn payload_type(&self) -> u8 {
        self.bytes[1] & !MARKER_BIT
    }

    /// The sequence number.
    pub fn sequence(&self) -> u16 {
        sequence_of(self.bytes)
    }

    /// The timestamp in units of the codec's clock.
    pub fn timestamp(&self) -> u32 {
        u32_at(self.bytes, 4)
    }

    /// The synchronisation source.
    pub fn ssrc(&self) -> Ssrc {
        ssrc_of(self.bytes)
    }

    /// Bytes before the payload.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// The payload without its padding.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header_len..self.payload_end]
    }

    /// Bytes of padding behind the payload, its count included.
    pub fn padding_len(&self) -> usize {
        self.bytes.len() - self.payload_end
    }

    /// The whole packet.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The header extensions in their order.
    pub fn extensions(&self) -> Extensions<'a> {
        let block = &self.bytes[self.extensions_start..self.header_len];
        let profile = match extension_block(self.bytes) {
            Some(start) => u16::from_be_bytes([self.bytes[start], self.bytes[start + 1]]),
            None => 0,
        };
        Extensions::new(profile, block)
    }

    /// The content of the first extension with this id.
    pub fn extension(&self, id: u8) -> Option<&'a [u8]> {
        self.extensions().find(|&(found, _)| found == id).map(|(_, content)| content)
    }
}

/// The fields of a header that is to be written, without CSRCs and padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The marker bit.
    pub marker: bool,
    /// The payload type, 0 to 127.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp in units of the codec's clock.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: Ssrc,
}

/// A header that does not fit where it should be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header is longer than the room for it")]
pub struct NoRoom;

impl Header {
    /// Writes the header with `extensions` (id and content, ids 1 to 14 where the peer is a browser) to the front of
    /// `out` and says how many bytes it takes.
    ///
    /// The one-byte form is used where every element fits it, else the two-byte form. Content longer than 255 bytes,
    /// and id 0, fit neither and are an error.
    pub fn write<'e, I>(&self, extensions: I, out: &mut [u8]) -> Result<usize, NoRoom>
    where
        I: IntoIterator<Item = (u8, &'e [u8])> + Clone,
    {
        let fixed = out.get_mut(..FIXED_LEN).ok_or(NoRoom)?;
        fixed[0] = VERSION_2;
        fixed[1] = u8::from(self.marker) << 7 | self.payload_type & !MARKER_BIT;
        fixed[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ssrc.0.to_be_bytes());
        let mut any = false;
        let mut one_byte = true;
        for (id, content) in extensions.clone() {
            any = true;
            one_byte &= id <= HIGHEST_ID && (1..=16).contains(&content.len());
        }
        if !any {
            return Ok(FIXED_LEN);
        }
        out[0] |= EXTENSION_BIT;
        let end = write_elements(extensions, one_byte, out)?;
        let words = (end - FIXED_LEN - EXTENSION_PREAMBLE) / 4;
        let profile = if one_byte { ONE_BYTE_PROFILE } else { TWO_BYTE_PROFILE };
        out[12..14].copy_from_slice(&profile.to_be_bytes());
        out[14..16].copy_from_slice(&(words as u16).to_be_bytes());
        Ok(end)
    }
}

/// Length of the header with CSRCs and extension block, of a packet that may still be encrypted.
pub fn header_len(bytes: &[u8]) -> Result<usize, RtpError> {
    if bytes.len() < FIXED_LEN {
        return Err(RtpError::Truncated);
    }
    if bytes[0] >> 6 != 2 {
        return Err(RtpError::Version);
    }
    let mut len = FIXED_LEN + 4 * usize::from(bytes[0] & CSRC_COUNT);
    if bytes[0] & EXTENSION_BIT != 0 {
        let length = bytes.get(len + 2..len + 4).ok_or(RtpError::Truncated)?;
        len += EXTENSION_PREAMBLE + 4 * usize::from(u16::from_be_bytes([length[0], length[1]]));
    }
    if bytes.len() < len { Err(RtpError::Truncated) } else { Ok(len) }
}

/// The sequence number of a packet whose header fits.
pub(crate) fn sequence_of(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[2], bytes[3]])
}

/// The SSRC of a packet whose header fits.
pub(crate) fn ssrc_of(bytes: &[u8]) -> Ssrc {
    Ssrc(u32_at(bytes, 8))
}

/// Where the extension block's four-byte preamble starts, in a packet whose header fits.
fn extension_block(bytes: &[u8]) -> Option<usize> {
    (bytes[0] & EXTENSION_BIT != 0).then(|| FIXED_LEN + 4 * usize::from(bytes[0] & CSRC_COUNT))
}

fn u32_at(bytes: &[u8], start: usize) -> u32 {
    u32::from_be_bytes([bytes[start], bytes[start + 1], bytes[start + 2], bytes[start + 3]])
}

/// Writes the elements behind the preamble's place, padded to a word, and says where they end.
fn write_elements<'e>(
    extensions: impl IntoIterator<Item = (u8, &'e [u8])>,
    one_byte: bool,
    out: &mut [u8],
) -> Result<usize, NoRoom> {
    let mut at = FIXED_LEN + EXTENSION_PREAMBLE;
    for (id, content) in extensions {
        let length = u8::try_from(content.len()).map_err(|_| NoRoom)?;
        if id == 0 {
            return Err(NoRoom);
        }
        let preamble = if one_byte { &[id << 4 | (length - 1)][..] } else { &[id, length] };
        let start = at + preamble.len();
        out.get_mut(at..start).ok_or(NoRoom)?.copy_from_slice(preamble);
        at = start + content.len();
        out.get_mut(start..at).ok_or(NoRoom)?.copy_from_slice(content);
    }
    let end = at.next_multiple_of(4);
    out.get_mut(at..end).ok_or(NoRoom)?.fill(0);
    Ok(end)
}

/// Room for every header that the relay writes: 16 bytes, and the longest extensions seen (a 92-byte dependency
/// descriptor, 33 bytes of layers allocation, two 16-byte identifiers and the small ones) with two bytes each.
pub const MAX_HEADER_LEN: usize = 256;

/// The header without CSRCs and extension block.
pub const FIXED_LEN: usize = 12;

/// Profile and length before the extension elements.
const EXTENSION_PREAMBLE: usize = 4;

const VERSION_2: u8 = 0x80;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const CSRC_COUNT: u8 = 0x0f;
const MARKER_BIT: u8 = 0x80;

#[cfg(test)]
mod tests;
