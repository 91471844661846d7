//! Who a source is, and that it is gone: SDES with a CNAME, BYE (RFC 3550, sections 6.5 and 6.6).

use super::{GOODBYE, RtcpError, SOURCE_DESCRIPTION, write_packet, write_ssrc};
use crate::session::Ssrc;

/// BYE: streams that have ended. A reason behind them is not read.
#[derive(Clone, Copy)]
pub struct Goodbye<'a> {
    ssrcs: &'a [[u8; 4]],
}

impl<'a> Goodbye<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<Self, RtcpError> {
        let (words, _) = body.as_chunks::<4>();
        Ok(Self { ssrcs: words.get(..count.into()).ok_or(RtcpError::Truncated)? })
    }

    /// The streams, 31 at most.
    pub fn ssrcs(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        self.ssrcs.iter().map(|&ssrc| Ssrc(u32::from_be_bytes(ssrc)))
    }
}

/// Appends an SDES that gives one source its CNAME: a random name per session (RFC 7022), of which bytes beyond 255
/// are cut.
pub fn write_cname(ssrc: Ssrc, cname: &str, out: &mut Vec<u8>) {
    let cname = &cname.as_bytes()[..cname.len().min(usize::from(u8::MAX))];
    write_packet(SOURCE_DESCRIPTION, 1, out, |out| {
        write_ssrc(ssrc, out);
        out.extend_from_slice(&[CNAME, cname.len() as u8]);
        out.extend_from_slice(cname);
        // At least one zero byte ends the chunk, then zeros up to the next word.
        let padding = 4 - (2 + cname.len()) % 4;
        out.extend_from_slice(&[0; 4][..padding]);
    });
}

/// Appends a BYE for up to 31 streams.
pub fn write_goodbye(ssrcs: &[Ssrc], out: &mut Vec<u8>) {
    let ssrcs = &ssrcs[..ssrcs.len().min(MAX_SOURCES)];
    write_packet(GOODBYE, ssrcs.len() as u8, out, |out| ssrcs.iter().for_each(|&ssrc| write_ssrc(ssrc, out)));
}

/// Item type (RFC 3550, section 6.5.1).
const CNAME: u8 = 1;

/// The count has five bits.
const MAX_SOURCES: usize = 31;
