//! RTP headers (RFC 3550, section 5.1) and their extensions of the one-byte form (RFC 8285, section 4.2).

/// What the path of a packet needs of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last of a frame.
    pub marker: bool,
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// In ticks of the codec's clock.
    pub timestamp: u32,
    /// Source.
    pub ssrc: u32,
    /// Bytes in front of the payload: fixed part, contributing sources, extensions.
    pub length: usize,
    /// Whether the payload ends with padding.
    pub padded: bool,
}

impl Header {
    /// Reads the header of a packet; `None` where it is none.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let fixed: &[u8; FIXED] = packet.first_chunk()?;
        if fixed[0] >> 6 != VERSION {
            return None;
        }
        let mut length = FIXED + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & EXTENDED != 0 {
            let words = packet.get(length + 2..length + 4)?;
            length += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        if packet.len() < length {
            return None;
        }
        Some(Self {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            length,
            padded: fixed[0] & 0x20 != 0,
        })
    }

    /// Appends the header with these extensions, in the one-byte form; the length is what is written, not what
    /// [`Self::length`] says, and is returned.
    pub fn write(&self, extensions: &[(u8, &[u8])], out: &mut Vec<u8>) -> usize {
        let start = out.len();
        let first = VERSION << 6 | if extensions.is_empty() { 0 } else { EXTENDED };
        out.extend_from_slice(&[first, u8::from(self.marker) << 7 | self.payload_type]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        if !extensions.is_empty() {
            let bytes: usize = extensions.iter().map(|(_, value)| 1 + value.len()).sum();
            let words = bytes.div_ceil(4);
            out.extend_from_slice(&ONE_BYTE.to_be_bytes());
            out.extend_from_slice(&(words as u16).to_be_bytes());
            for (id, value) in extensions {
                out.push(id << 4 | (value.len() - 1) as u8);
                out.extend_from_slice(value);
            }
            out.resize(start + FIXED + 4 + 4 * words, 0);
        }
        out.len() - start
    }
}

/// The extension with this id in a packet whose header was read.
pub fn extension(packet: &[u8], id: u8) -> Option<&[u8]> {
    if packet[0] & EXTENDED == 0 {
        return None;
    }
    let start = FIXED + 4 * usize::from(packet[0] & 0x0f);
    if packet.get(start..start + 2)? != ONE_BYTE.to_be_bytes() {
        return None;
    }
    let words = usize::from(u16::from_be_bytes([packet[start + 2], packet[start + 3]]));
    let mut rest = packet.get(start + 4..start + 4 + 4 * words)?;
    while let Some((&head, tail)) = rest.split_first() {
        if head == 0 {
            rest = tail;
            continue;
        }
        let (value, after) = tail.split_at_checked(usize::from(head & 0x0f) + 1)?;
        if head >> 4 == id {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// The payload without its padding (RFC 3550, section 5.1); `None` where the padding's length is nonsense.
pub fn unpad(payload: &[u8]) -> Option<&[u8]> {
    let padding = usize::from(*payload.last()?);
    let length = payload.len().checked_sub(padding).filter(|_| padding > 0)?;
    Some(&payload[..length])
}

const VERSION: u8 = 2;
const EXTENDED: u8 = 0x10;
const FIXED: usize = 12;
/// RFC 8285, section 4.2.
const ONE_BYTE: u16 = 0xBEDE;

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        marker: true,
        payload_type: 96,
        sequence: 65_535,
        timestamp: 0xdead_beef,
        ssrc: 7,
        length: 24,
        padded: false,
    };

    #[test]
    fn what_is_written_is_read() {
        let mut packet = Vec::new();
        assert_eq!(HEADER.write(&[(4, b"1"), (10, b"q"), (3, &[1, 2])], &mut packet), 24);
        assert_eq!(Header::parse(&packet), Some(HEADER));
        assert_eq!(extension(&packet, 3), Some([1_u8, 2].as_slice()));
        assert_eq!(extension(&packet, 10), Some(b"q".as_slice()));
        assert_eq!(extension(&packet, 5), None);
    }

    #[test]
    fn a_cut_packet_is_never_read_beyond_its_end() {
        let mut packet = Vec::new();
        HEADER.write(&[(4, b"1")], &mut packet);
        for length in 0..packet.len() {
            assert_eq!(Header::parse(&packet[..length]), None);
        }
        packet[16] = 0x4f; // an extension longer than the block
        assert_eq!(extension(&packet, 4), None);
    }

    #[test]
    fn padding_goes_and_nonsense_is_refused() {
        assert_eq!(unpad(&[9, 0, 2]), Some([9].as_slice()));
        assert_eq!(unpad(&[9, 4]), None);
        assert_eq!(unpad(&[0]), None);
        assert_eq!(unpad(&[]), None);
    }
}
