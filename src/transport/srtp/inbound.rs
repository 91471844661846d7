//! Opens what a participant sends (RFC 3711, section 3.3). Nothing is remembered of a packet before its tag was right.

use super::replay::Windows;
use super::{
    Cipher, MAX_RTCP_INDEX, MAX_RTP_INDEX, MasterKey, Profile, RTCP_CLEAR_LEN, RTCP_ENCRYPTED, RTCP_INDEX_LEN,
    SrtpError, counter_mode, gcm,
};
use crate::rtp::header::{header_len, sequence_of, ssrc_of};
use crate::rtp::sequence::nearest_sequence;
use crate::session::Ssrc;

/// The receiving half of a hop.
pub struct Inbound {
    cipher: Cipher,
    rtp: Windows<RTP_WINDOW_WORDS>,
    rtcp: Windows<RTCP_WINDOW_WORDS>,
}

/// An RTP packet that was authentic, new and decrypted in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprotected {
    /// Bytes of the packet without its tag.
    pub len: usize,
    /// The rollover counter above the 16 bits of the sequence number.
    pub index: u64,
}

impl Inbound {
    /// Derives the session keys.
    pub fn new(profile: Profile, master: &MasterKey) -> Self {
        Self { cipher: Cipher::new(profile, master), rtp: Windows::new(MAX_SSRCS), rtcp: Windows::new(MAX_SSRCS) }
    }

    /// Opens an SRTP packet in place.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<Unprotected, SrtpError> {
        let header_len = header_len(packet).map_err(|_| SrtpError::Malformed)?;
        if packet.len() < header_len + self.cipher.tag_len() {
            return Err(SrtpError::Malformed);
        }
        let (ssrc, sequence) = (ssrc_of(packet), sequence_of(packet));
        let place = self.rtp.place(ssrc).ok_or(SrtpError::TooManySsrcs)?;
        let index = match self.rtp.highest(place) {
            Some(highest) => nearest_sequence(highest, sequence),
            None => sequence.into(),
        };
        if index > MAX_RTP_INDEX {
            return Err(SrtpError::KeyExhausted);
        }
        if !self.rtp.is_fresh(place, index) {
            return Err(SrtpError::Replay);
        }
        let len = match &self.cipher {
            Cipher::Gcm(gcm) => gcm.open_rtp(ssrc, index, header_len, packet)?,
            Cipher::CounterMode(counter_mode) => counter_mode.open_rtp(ssrc, index, header_len, packet)?,
        };
        self.rtp.admit(place, ssrc, index);
        Ok(Unprotected { len, index })
    }

    /// Opens an SRTCP packet in place and says how long it is without tag and index. A packet that was not encrypted
    /// is refused: no profile of the relay allows it.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let tag_len = self.cipher.tag_len();
        if packet.len() < RTCP_CLEAR_LEN + RTCP_INDEX_LEN + tag_len || packet[0] >> 6 != 2 {
            return Err(SrtpError::Malformed);
        }
        let trailer_end = match self.cipher {
            Cipher::Gcm(_) => packet.len(),
            Cipher::CounterMode(_) => packet.len() - tag_len,
        };
        let trailer = word(packet, trailer_end - RTCP_INDEX_LEN);
        if trailer & RTCP_ENCRYPTED == 0 {
            return Err(SrtpError::Authentication);
        }
        let (ssrc, index) = (Ssrc(word(packet, 4)), trailer & MAX_RTCP_INDEX);
        let place = self.rtcp.place(ssrc).ok_or(SrtpError::TooManySsrcs)?;
        if !self.rtcp.is_fresh(place, index.into()) {
            return Err(SrtpError::Replay);
        }
        let len = match &self.cipher {
            Cipher::Gcm(gcm) => gcm.open_rtcp(ssrc, index, packet)?,
            Cipher::CounterMode(counter_mode) => counter_mode.open_rtcp(ssrc, index, packet)?,
        };
        self.rtcp.admit(place, ssrc, index.into());
        Ok(len)
    }
}

impl Cipher {
    fn tag_len(&self) -> usize {
        match self {
            Cipher::Gcm(_) => gcm::TAG_LEN,
            Cipher::CounterMode(_) => counter_mode::TAG_LEN,
        }
    }
}

fn word(bytes: &[u8], start: usize) -> u32 {
    u32::from_be_bytes([bytes[start], bytes[start + 1], bytes[start + 2], bytes[start + 3]])
}

/// A camera in three layers and a screen, each with retransmissions, and two sounds make 11. The rest is for senders
/// that renegotiate often with new SSRCs; a participant's windows never take more than 40 KiB.
const MAX_SSRCS: usize = 128;

/// 1,984 packets: 2 s of a 10 Mbit/s stream, more than any retransmission on the original SSRC lags behind.
const RTP_WINDOW_WORDS: usize = 32;

/// 192 packets (RFC 3711, section 3.3.2 asks for 64): browsers send some 20 RTCP packets a second.
const RTCP_WINDOW_WORDS: usize = 4;
