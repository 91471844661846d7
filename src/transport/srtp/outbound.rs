//! Protects what a participant is sent (RFC 3711, section 3.3), straight into the arena that the packet leaves from.

use super::{Cipher, MAX_RTCP_INDEX, MAX_RTP_INDEX, MasterKey, Profile, RTCP_CLEAR_LEN, SrtpError};
use crate::rtp::header::{FIXED_LEN, sequence_of, ssrc_of};
use crate::session::Ssrc;

/// The sending half of a hop.
pub struct Outbound {
    cipher: Cipher,
    /// One counter for all SSRCs, so that no pair of SSRC and index comes twice.
    next_rtcp_index: u32,
}

impl Outbound {
    /// Derives the session keys.
    pub fn new(profile: Profile, master: &MasterKey) -> Self {
        Self { cipher: Cipher::new(profile, master), next_rtcp_index: 0 }
    }

    /// Appends the protected packet to `out`. The payload, which many receivers share, is read where it stands.
    ///
    /// `index` is the rollover counter above the header's sequence number. It is the caller's part never to use one
    /// index twice for an SSRC: under GCM that would reveal both packets and allow forgeries (RFC 7714, section 15).
    pub fn protect_rtp(
        &mut self,
        index: u64,
        header: &[u8],
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SrtpError> {
        if let Cipher::Gcm(gcm) = &self.cipher {
            check(index, header)?;
            gcm.seal_rtp(ssrc_of(header), index, header, payload, out);
            return Ok(());
        }
        self.protect_rtp_parts(index, header, &[], payload, out)
    }

    /// Appends the protected packet whose payload is `prefix` and then `rest`: a payload descriptor with fields
    /// replaced, or the original sequence number before a retransmission (RFC 4588, section 4).
    pub fn protect_rtp_parts(
        &mut self,
        index: u64,
        header: &[u8],
        prefix: &[u8],
        rest: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SrtpError> {
        check(index, header)?;
        let start = out.len();
        out.extend_from_slice(header);
        out.extend_from_slice(prefix);
        out.extend_from_slice(rest);
        let ssrc = ssrc_of(header);
        match &self.cipher {
            Cipher::Gcm(gcm) => gcm.seal_rtp_in_place(ssrc, index, start, header.len(), out),
            Cipher::CounterMode(cipher) => cipher.seal_rtp_in_place(ssrc, index, start, header.len(), out),
        }
        Ok(())
    }

    /// Appends a protected compound packet to `out` under the next index.
    pub fn protect_rtcp(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), SrtpError> {
        let Some(&[_, _, _, _, a, b, c, d]) = packet.first_chunk::<RTCP_CLEAR_LEN>() else {
            return Err(SrtpError::Malformed);
        };
        let (ssrc, index) = (Ssrc(u32::from_be_bytes([a, b, c, d])), self.next_rtcp_index);
        if index > MAX_RTCP_INDEX {
            return Err(SrtpError::KeyExhausted);
        }
        self.next_rtcp_index += 1;
        match &self.cipher {
            Cipher::Gcm(gcm) => gcm.seal_rtcp(ssrc, index, packet, out),
            Cipher::CounterMode(cipher) => cipher.seal_rtcp(ssrc, index, packet, out),
        }
        Ok(())
    }
}

/// Whether the index belongs to this header and to the key's life.
fn check(index: u64, header: &[u8]) -> Result<(), SrtpError> {
    if index > MAX_RTP_INDEX {
        return Err(SrtpError::KeyExhausted);
    }
    if header.len() < FIXED_LEN || sequence_of(header) != index as u16 {
        return Err(SrtpError::Malformed);
    }
    Ok(())
}

#[cfg(test)]
impl Outbound {
    /// As if this many SRTCP packets had been sent.
    pub(super) fn set_rtcp_index(&mut self, index: u32) {
        self.next_rtcp_index = index;
    }
}
