//! AES-GCM for SRTP and SRTCP (RFC 7714): the header is authenticated, the payload sealed, the tag 16 bytes.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::derivation::{Label, derive};
use super::{MAX_KEY_LEN, MasterKey, Profile, RTCP_CLEAR_LEN, RTCP_ENCRYPTED, RTCP_INDEX_LEN, SrtpError};
use crate::session::Ssrc;

/// Session keys and salts of one direction.
pub(super) struct Gcm {
    rtp: LessSafeKey,
    rtp_salt: [u8; NONCE_LEN],
    rtcp: LessSafeKey,
    rtcp_salt: [u8; NONCE_LEN],
}

impl Gcm {
    pub(super) fn derive(profile: Profile, master: &MasterKey) -> Self {
        let mut key = Zeroizing::new([0; MAX_KEY_LEN]);
        let key = &mut key[..profile.key_len()];
        let (mut rtp_salt, mut rtcp_salt) = ([0; NONCE_LEN], [0; NONCE_LEN]);
        derive(profile, master, Label::RtpSalt, &mut rtp_salt);
        derive(profile, master, Label::RtcpSalt, &mut rtcp_salt);
        derive(profile, master, Label::RtpKey, key);
        let rtp = aead(key);
        derive(profile, master, Label::RtcpKey, key);
        let rtcp = aead(key);
        Self { rtp, rtp_salt, rtcp, rtcp_salt }
    }

    /// Appends the sealed packet to `out`: the payload is read where it stands, and its ciphertext written once.
    pub(super) fn seal_rtp(&self, ssrc: Ssrc, index: u64, header: &[u8], payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(header);
        let start = out.len();
        out.resize(start + payload.len() + TAG_LEN, 0);
        let (ciphertext, tag) = out[start..].split_at_mut(payload.len());
        self.rtp
            .seal_out_of_place_scatter(self.rtp_nonce(ssrc, index), Aad::from(header), payload, ciphertext, &[], tag)
            .expect("a datagram is far shorter than AES-GCM's limit");
    }

    /// Seals what stands in `out` from `start`: a header of `header_len` bytes and the payload. Appends the tag.
    pub(super) fn seal_rtp_in_place(&self, ssrc: Ssrc, index: u64, start: usize, header_len: usize, out: &mut Vec<u8>) {
        let (header, payload) = out[start..].split_at_mut(header_len);
        let tag = self
            .rtp
            .seal_in_place_separate_tag(self.rtp_nonce(ssrc, index), Aad::from(&*header), payload)
            .expect("a datagram is far shorter than AES-GCM's limit");
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens a packet in place and says how long it is without its tag.
    pub(super) fn open_rtp(
        &self,
        ssrc: Ssrc,
        index: u64,
        header_len: usize,
        packet: &mut [u8],
    ) -> Result<usize, SrtpError> {
        let (header, sealed) = packet.split_at_mut(header_len);
        let payload = self
            .rtp
            .open_in_place(self.rtp_nonce(ssrc, index), Aad::from(&*header), sealed)
            .map_err(|_| SrtpError::Authentication)?;
        Ok(header_len + payload.len())
    }

    /// Appends the sealed compound packet, its tag and its index.
    pub(super) fn seal_rtcp(&self, ssrc: Ssrc, index: u32, packet: &[u8], out: &mut Vec<u8>) {
        let trailer = (RTCP_ENCRYPTED | index).to_be_bytes();
        let start = out.len() + RTCP_CLEAR_LEN;
        out.extend_from_slice(packet);
        let tag = self
            .rtcp
            .seal_in_place_separate_tag(
                self.rtcp_nonce(ssrc, index),
                rtcp_aad(&packet[..RTCP_CLEAR_LEN], trailer),
                &mut out[start..],
            )
            .expect("a datagram is far shorter than AES-GCM's limit");
        out.extend_from_slice(tag.as_ref());
        out.extend_from_slice(&trailer);
    }

    /// Opens a compound packet in place and says how long it is without tag and index.
    pub(super) fn open_rtcp(&self, ssrc: Ssrc, index: u32, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let trailer = (RTCP_ENCRYPTED | index).to_be_bytes();
        let end = packet.len() - RTCP_INDEX_LEN;
        let (clear, sealed) = packet[..end].split_at_mut(RTCP_CLEAR_LEN);
        let opened = self
            .rtcp
            .open_in_place(self.rtcp_nonce(ssrc, index), rtcp_aad(clear, trailer), sealed)
            .map_err(|_| SrtpError::Authentication)?;
        Ok(RTCP_CLEAR_LEN + opened.len())
    }

    /// RFC 7714, section 8.1: two zero bytes, SSRC, rollover counter, sequence number.
    fn rtp_nonce(&self, ssrc: Ssrc, index: u64) -> Nonce {
        nonce(&self.rtp_salt, ssrc, index)
    }

    /// RFC 7714, section 9.1: two zero bytes, SSRC, two zero bytes, 31-bit index.
    fn rtcp_nonce(&self, ssrc: Ssrc, index: u32) -> Nonce {
        nonce(&self.rtcp_salt, ssrc, index.into())
    }
}

impl Drop for Gcm {
    fn drop(&mut self) {
        self.rtp_salt.zeroize();
        self.rtcp_salt.zeroize();
    }
}

// The keys themselves lie in aws-lc, which erases all memory that it frees.
impl ZeroizeOnDrop for Gcm {}

fn aead(key: &[u8]) -> LessSafeKey {
    let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
    LessSafeKey::new(UnboundKey::new(algorithm, key).expect("the key is as long as the cipher wants"))
}

/// The low 48 bits of `index` behind the SSRC, all under the salt.
fn nonce(salt: &[u8; NONCE_LEN], ssrc: Ssrc, index: u64) -> Nonce {
    let mut nonce = *salt;
    let counter = (u128::from(ssrc.0) << 48 | u128::from(index)).to_be_bytes();
    for (byte, counter) in nonce.iter_mut().zip(&counter[16 - NONCE_LEN..]) {
        *byte ^= counter;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714, section 9.2: header and sender SSRC, then E flag and index.
fn rtcp_aad(clear: &[u8], trailer: [u8; RTCP_INDEX_LEN]) -> Aad<[u8; RTCP_CLEAR_LEN + RTCP_INDEX_LEN]> {
    let mut aad = [0; RTCP_CLEAR_LEN + RTCP_INDEX_LEN];
    aad[..RTCP_CLEAR_LEN].copy_from_slice(clear);
    aad[RTCP_CLEAR_LEN..].copy_from_slice(&trailer);
    Aad::from(aad)
}

/// RFC 7714, section 13.2.
pub(super) const TAG_LEN: usize = 16;

/// RFC 7714, section 8.1.
const NONCE_LEN: usize = 12;

#[cfg(test)]
impl Gcm {
    /// Session keys as the RFC's examples give them.
    pub(super) fn from_session_key(key: &[u8], salt: [u8; NONCE_LEN]) -> Self {
        Self { rtp: aead(key), rtp_salt: salt, rtcp: aead(key), rtcp_salt: salt }
    }
}
