//! Sender and receiver reports (RFC 3550, section 6.4).

use super::{RECEIVER_REPORT, RtcpError, SENDER_REPORT, take_ssrc, write_packet, write_ssrc};
use crate::session::Ssrc;

/// SR: a sender's two clocks and counts, and what it receives.
#[derive(Clone, Copy)]
pub struct SenderReport<'a> {
    /// Who reports, and the stream that the clocks are of.
    pub sender: Ssrc,
    /// The clocks and counts.
    pub info: SenderInfo,
    /// What the sender itself receives.
    pub blocks: ReportBlocks<'a>,
}

/// A sender's clocks at one instant, and its totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall clock: seconds since 1900 above 32 bits of fraction.
    pub ntp: u64,
    /// The same instant in units of the stream's RTP clock.
    pub rtp_timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub octets: u32,
}

/// RR: what a participant receives.
#[derive(Clone, Copy)]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub sender: Ssrc,
    /// On which streams.
    pub blocks: ReportBlocks<'a>,
}

/// Reception of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: Ssrc,
    /// Share lost since the last report, in units of 1/256.
    pub fraction_lost: u8,
    /// Packets lost in all; duplicates make it negative. 24 bits on the wire, clamped when written.
    pub lost: i32,
    /// Highest sequence number received, wraps above 16 bits.
    pub highest_sequence: u32,
    /// Interarrival jitter in units of the stream's RTP clock.
    pub jitter: u32,
    /// Middle 32 bits of the last SR's NTP time; 0 where none came.
    pub last_sr: u32,
    /// Since then, in units of 1/65,536 s.
    pub delay_since_last_sr: u32,
}

/// Report blocks as they stand in a packet.
#[derive(Clone, Copy)]
pub struct ReportBlocks<'a> {
    bytes: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<Self, RtcpError> {
        let (sender, rest) = take_ssrc(body)?;
        let (info, rest) = rest.split_first_chunk::<SENDER_INFO_LEN>().ok_or(RtcpError::Truncated)?;
        let [w0, w1, w2, w3, w4] = words(info);
        let info = SenderInfo { ntp: u64::from(w0) << 32 | u64::from(w1), rtp_timestamp: w2, packets: w3, octets: w4 };
        Ok(Self { sender, info, blocks: ReportBlocks::parse(count, rest)? })
    }
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<Self, RtcpError> {
        let (sender, rest) = take_ssrc(body)?;
        Ok(Self { sender, blocks: ReportBlocks::parse(count, rest)? })
    }
}

impl<'a> ReportBlocks<'a> {
    /// Takes `count` blocks; profile-specific extensions behind them are ignored (RFC 3550, section 6.4.3).
    fn parse(count: u8, bytes: &'a [u8]) -> Result<Self, RtcpError> {
        let bytes = bytes.get(..BLOCK_LEN * usize::from(count)).ok_or(RtcpError::Truncated)?;
        Ok(Self { bytes })
    }
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.bytes.split_first_chunk::<BLOCK_LEN>()?;
        self.bytes = rest;
        let [ssrc, loss, highest_sequence, jitter, last_sr, delay_since_last_sr] = words(block);
        Some(ReportBlock {
            ssrc: Ssrc(ssrc),
            fraction_lost: (loss >> 24) as u8,
            lost: ((loss << 8) as i32) >> 8,
            highest_sequence,
            jitter,
            last_sr,
            delay_since_last_sr,
        })
    }
}

impl ReportBlock {
    fn write(&self, out: &mut Vec<u8>) {
        let lost = self.lost.clamp(-(1 << 23), (1 << 23) - 1) as u32 & 0xff_ffff;
        write_ssrc(self.ssrc, out);
        for word in [
            u32::from(self.fraction_lost) << 24 | lost,
            self.highest_sequence,
            self.jitter,
            self.last_sr,
            self.delay_since_last_sr,
        ] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
}

/// Appends a sender report; blocks beyond the 31 that fit follow in receiver reports.
pub fn write_sender_report(sender: Ssrc, info: &SenderInfo, blocks: &[ReportBlock], out: &mut Vec<u8>) {
    let (fitting, rest) = blocks.split_at(blocks.len().min(MAX_BLOCKS));
    write_packet(SENDER_REPORT, fitting.len() as u8, out, |out| {
        write_ssrc(sender, out);
        out.extend_from_slice(&info.ntp.to_be_bytes());
        for word in [info.rtp_timestamp, info.packets, info.octets] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        fitting.iter().for_each(|block| block.write(out));
    });
    if !rest.is_empty() {
        write_receiver_report(sender, rest, out);
    }
}

/// Appends a receiver report, or several where there are more than 31 blocks. Without blocks it is an empty one, which
/// begins a compound that reports nothing.
pub fn write_receiver_report(sender: Ssrc, blocks: &[ReportBlock], out: &mut Vec<u8>) {
    let mut rest = blocks;
    loop {
        let (fitting, behind) = rest.split_at(rest.len().min(MAX_BLOCKS));
        write_packet(RECEIVER_REPORT, fitting.len() as u8, out, |out| {
            write_ssrc(sender, out);
            fitting.iter().for_each(|block| block.write(out));
        });
        rest = behind;
        if rest.is_empty() {
            return;
        }
    }
}

/// `LEN` bytes as `N` words; the caller's types make `LEN` four times `N`.
fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let (words, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|index| u32::from_be_bytes(words[index]))
}

/// The count has five bits.
const MAX_BLOCKS: usize = 31;

/// NTP time, RTP time, packets, octets.
const SENDER_INFO_LEN: usize = 20;

/// RFC 3550, section 6.4.1.
const BLOCK_LEN: usize = 24;
