//! Feedback on single streams: generic NACK and PLI (RFC 4585, sections 6.2.1 and 6.3.1), FIR (RFC 5104, section
//! 4.3.1).

use super::{
    FULL_INTRA, GENERIC_NACK, PAYLOAD_FEEDBACK, PICTURE_LOSS, RtcpError, TRANSPORT_FEEDBACK, feedback_ssrcs,
    write_packet, write_ssrc,
};
use crate::session::Ssrc;

/// NACK: packets that a receiver misses.
#[derive(Clone, Copy)]
pub struct Nack<'a> {
    /// Who asks.
    pub sender: Ssrc,
    /// The stream that has gaps.
    pub media: Ssrc,
    items: &'a [[u8; 4]],
}

/// PLI: a receiver needs a key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureLoss {
    /// Who asks.
    pub sender: Ssrc,
    /// For which stream.
    pub media: Ssrc,
}

/// FIR: a receiver needs a key frame, asked for by number.
#[derive(Clone, Copy)]
pub struct FullIntraRequest<'a> {
    /// Who asks.
    pub sender: Ssrc,
    entries: &'a [[u8; 8]],
}

impl<'a> Nack<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, RtcpError> {
        let (sender, media, rest) = feedback_ssrcs(body)?;
        let (items, []) = rest.as_chunks::<4>() else { return Err(RtcpError::Truncated) };
        Ok(Self { sender, media, items })
    }

    /// The missing sequence numbers, in the order of the items: at most 17 for each four bytes.
    pub fn sequences(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.items.iter().flat_map(|&[a, b, c, d]| {
            let first = u16::from_be_bytes([a, b]);
            let following = u32::from(u16::from_be_bytes([c, d])) << 1 | 1;
            (0..=BITMASK_LEN).filter(move |bit| following >> bit & 1 != 0).map(move |bit| first.wrapping_add(bit))
        })
    }
}

impl PictureLoss {
    pub(super) fn parse(body: &[u8]) -> Result<Self, RtcpError> {
        let (sender, media, _) = feedback_ssrcs(body)?;
        Ok(Self { sender, media })
    }
}

impl<'a> FullIntraRequest<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, RtcpError> {
        let (sender, _, rest) = feedback_ssrcs(body)?;
        let (entries, []) = rest.as_chunks::<8>() else { return Err(RtcpError::Truncated) };
        Ok(Self { sender, entries })
    }

    /// The streams, and the number of each request: a repeated number is the same request again.
    pub fn entries(&self) -> impl Iterator<Item = (Ssrc, u8)> + use<'a> {
        self.entries.iter().map(|&[a, b, c, d, number, ..]| (Ssrc(u32::from_be_bytes([a, b, c, d])), number))
    }
}

/// Appends a NACK for `lost`, sequence numbers in their (wrapping) order. Nothing is written for none; numbers beyond
/// those that fit a packet are left for the next time.
pub fn write_nack(sender: Ssrc, media: Ssrc, lost: &[u16], out: &mut Vec<u8>) {
    if lost.is_empty() {
        return;
    }
    write_packet(TRANSPORT_FEEDBACK, GENERIC_NACK, out, |out| {
        write_ssrc(sender, out);
        write_ssrc(media, out);
        let mut rest = lost;
        for _ in 0..MAX_ITEMS {
            let Some((&first, behind)) = rest.split_first() else { break };
            rest = behind;
            let mut following = 0u16;
            while let Some((&next, behind)) = rest.split_first() {
                let distance = next.wrapping_sub(first);
                if distance > BITMASK_LEN {
                    break;
                }
                // A repeated number has distance 0 and adds nothing.
                following |= ((1u32 << distance) >> 1) as u16;
                rest = behind;
            }
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(&following.to_be_bytes());
        }
    });
}

/// Appends a PLI.
pub fn write_picture_loss(sender: Ssrc, media: Ssrc, out: &mut Vec<u8>) {
    write_packet(PAYLOAD_FEEDBACK, PICTURE_LOSS, out, |out| {
        write_ssrc(sender, out);
        write_ssrc(media, out);
    });
}

/// Appends a FIR for one stream. `number` counts the requests, and stays while one is repeated.
pub fn write_full_intra_request(sender: Ssrc, media: Ssrc, number: u8, out: &mut Vec<u8>) {
    write_packet(PAYLOAD_FEEDBACK, FULL_INTRA, out, |out| {
        write_ssrc(sender, out);
        write_ssrc(Ssrc(0), out); // "SHALL be set to 0": the entries name the streams
        write_ssrc(media, out);
        out.extend_from_slice(&[number, 0, 0, 0]);
    });
}

/// BLP has a bit for each of the 16 numbers behind the first.
const BITMASK_LEN: u16 = 16;

/// 256 items are 1,036 bytes, within every MTU, and reach over at least 256 losses: by then a key frame is cheaper.
const MAX_ITEMS: usize = 256;
