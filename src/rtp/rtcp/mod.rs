//! RTCP (RFC 3550, section 6; RFC 4585): borrowed views of the packets in a compound, and writers of those that the
//! relay sends. Compounds of reduced size (RFC 5506) are taken too.

pub mod description;
pub mod feedback;
pub mod report;
pub mod transport_feedback;

use self::description::Goodbye;
use self::feedback::{FullIntraRequest, Nack, PictureLoss};
use self::report::{ReceiverReport, SenderReport};
use self::transport_feedback::TransportFeedback;
use crate::session::Ssrc;

/// The packets of a compound, in order. Ends after the first one whose length does not hold, since nothing behind it
/// can be found.
pub struct Compound<'a> {
    rest: &'a [u8],
}

/// One packet of a compound.
#[derive(Clone, Copy)]
pub enum Packet<'a> {
    /// SR.
    SenderReport(SenderReport<'a>),
    /// RR.
    ReceiverReport(ReceiverReport<'a>),
    /// BYE.
    Goodbye(Goodbye<'a>),
    /// Generic NACK.
    Nack(Nack<'a>),
    /// PLI.
    PictureLoss(PictureLoss),
    /// FIR.
    FullIntraRequest(FullIntraRequest<'a>),
    /// Transport-wide congestion control.
    TransportFeedback(TransportFeedback<'a>),
    /// Well-formed, and not for the relay: SDES, APP, XR, REMB and what is yet to be invented.
    Other,
}

/// Why bytes are not RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// The compound is longer than any that is sent in one datagram.
    #[error("the compound is too long")]
    TooLong,
    /// The packet, or a part of it, is longer than the bytes there are.
    #[error("the packet ends within a part of it")]
    Truncated,
    /// Not version 2.
    #[error("the packet is not RTCP version 2")]
    Version,
    /// The padding count is zero or longer than the packet.
    #[error("the padding does not fit the packet")]
    Padding,
    /// A status in transport-wide feedback that is reserved, or statuses beyond those announced.
    #[error("the transport feedback contradicts itself")]
    Feedback,
}

impl<'a> Compound<'a> {
    /// Views a decrypted compound packet.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtcpError> {
        if bytes.len() > MAX_COMPOUND_LEN {
            return Err(RtcpError::TooLong);
        }
        Ok(Self { rest: bytes })
    }

    /// Takes the next packet's bytes off the front.
    fn split(&mut self) -> Result<Frame<'a>, RtcpError> {
        let rest = std::mem::take(&mut self.rest);
        let &[first, kind, high, low] = rest.first_chunk::<HEADER_LEN>().ok_or(RtcpError::Truncated)?;
        if first >> 6 != 2 {
            return Err(RtcpError::Version);
        }
        let len = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
        let (packet, behind) = rest.split_at_checked(len).ok_or(RtcpError::Truncated)?;
        self.rest = behind;
        let mut body = &packet[HEADER_LEN..];
        if first & PADDING_BIT != 0 {
            let padding = usize::from(packet[len - 1]);
            let end = body.len().checked_sub(padding).ok_or(RtcpError::Padding)?;
            // Not held to a multiple of four: libwebrtc pads transport feedback by one to three bytes.
            if padding == 0 {
                return Err(RtcpError::Padding);
            }
            body = &body[..end];
        }
        Ok(Frame { kind, count: first & COUNT_MASK, body })
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(self.split().and_then(Frame::read))
    }
}

/// A packet whose length and padding hold, unread.
#[derive(Clone, Copy)]
struct Frame<'a> {
    kind: u8,
    /// Count of blocks or sources, or the feedback message type.
    count: u8,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    fn read(self) -> Result<Packet<'a>, RtcpError> {
        let Frame { kind, count, body } = self;
        Ok(match (kind, count) {
            (SENDER_REPORT, _) => Packet::SenderReport(SenderReport::parse(count, body)?),
            (RECEIVER_REPORT, _) => Packet::ReceiverReport(ReceiverReport::parse(count, body)?),
            (GOODBYE, _) => Packet::Goodbye(Goodbye::parse(count, body)?),
            (TRANSPORT_FEEDBACK, GENERIC_NACK) => Packet::Nack(Nack::parse(body)?),
            (TRANSPORT_FEEDBACK, TRANSPORT_WIDE) => Packet::TransportFeedback(TransportFeedback::parse(body)?),
            (PAYLOAD_FEEDBACK, PICTURE_LOSS) => Packet::PictureLoss(PictureLoss::parse(body)?),
            (PAYLOAD_FEEDBACK, FULL_INTRA) => Packet::FullIntraRequest(FullIntraRequest::parse(body)?),
            _ => Packet::Other,
        })
    }
}

/// Appends a packet: its header, and what `write` adds. The length is filled in, so that the body must come out as a
/// whole number of words.
fn write_packet(kind: u8, count: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[VERSION_2 | count, kind, 0, 0]);
    write(out);
    let len = out.len() - start;
    debug_assert!(len.is_multiple_of(4) && len <= 4 << 16, "an RTCP packet is a whole number of words");
    let words = (len / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

/// Appends an SSRC.
fn write_ssrc(ssrc: Ssrc, out: &mut Vec<u8>) {
    out.extend_from_slice(&ssrc.0.to_be_bytes());
}

/// The two SSRCs that begin each feedback message (RFC 4585, section 6.1), and what follows.
fn feedback_ssrcs(body: &[u8]) -> Result<(Ssrc, Ssrc, &[u8]), RtcpError> {
    let (sender, rest) = take_ssrc(body)?;
    let (media, rest) = take_ssrc(rest)?;
    Ok((sender, media, rest))
}

fn take_ssrc(bytes: &[u8]) -> Result<(Ssrc, &[u8]), RtcpError> {
    let (&ssrc, rest) = bytes.split_first_chunk().ok_or(RtcpError::Truncated)?;
    Ok((Ssrc(u32::from_be_bytes(ssrc)), rest))
}

/// Ethernet's payload: no browser sends longer ones, and it bounds the work that one datagram can ask for.
pub const MAX_COMPOUND_LEN: usize = 1_500;

/// Version, count, type and length.
const HEADER_LEN: usize = 4;

const VERSION_2: u8 = 0x80;
const PADDING_BIT: u8 = 0x20;
const COUNT_MASK: u8 = 0x1f;

// Packet types (RFC 3550, section 12.1; RFC 4585, section 6.1).
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

// Feedback message types (RFC 4585, sections 6.2 and 6.3; RFC 5104, section 4.3.1; the transport-wide-cc draft).
const GENERIC_NACK: u8 = 1;
const TRANSPORT_WIDE: u8 = 15;
const PICTURE_LOSS: u8 = 1;
const FULL_INTRA: u8 = 4;

#[cfg(test)]
mod tests;
