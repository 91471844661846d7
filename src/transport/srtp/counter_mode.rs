//! AES-128 in counter mode with HMAC-SHA1 cut to 80 bits (RFC 3711, sections 4.1.1 and 4.2.1), for SRTP and SRTCP.

use aws_lc_rs::cipher::EncryptingKey;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::derivation::{Label, apply_keystream, counter_cipher, derive};
use super::{MAX_SALT_LEN, MasterKey, Profile, RTCP_CLEAR_LEN, RTCP_ENCRYPTED, RTCP_INDEX_LEN, SrtpError};
use crate::session::Ssrc;

/// Session keys and salts of one direction.
pub(super) struct CounterMode {
    rtp: Half,
    rtcp: Half,
}

/// The keys for RTP, or those for RTCP.
struct Half {
    cipher: EncryptingKey,
    salt: [u8; MAX_SALT_LEN],
    authentication: hmac::Key,
}

impl CounterMode {
    pub(super) fn derive(master: &MasterKey) -> Self {
        Self {
            rtp: Half::derive(master, Label::RtpKey, Label::RtpSalt, Label::RtpAuthentication),
            rtcp: Half::derive(master, Label::RtcpKey, Label::RtcpSalt, Label::RtcpAuthentication),
        }
    }

    /// Encrypts what stands in `out` from `start`: a header of `header_len` bytes and the payload. Appends the tag.
    pub(super) fn seal_rtp_in_place(&self, ssrc: Ssrc, index: u64, start: usize, header_len: usize, out: &mut Vec<u8>) {
        self.rtp.apply_keystream(ssrc, index, &mut out[start + header_len..]);
        let tag = self.rtp.tag(&[&out[start..], &rollover(index)]);
        out.extend_from_slice(&tag.as_ref()[..TAG_LEN]);
    }

    /// Opens a packet in place and says how long it is without its tag.
    pub(super) fn open_rtp(
        &self,
        ssrc: Ssrc,
        index: u64,
        header_len: usize,
        packet: &mut [u8],
    ) -> Result<usize, SrtpError> {
        let (content, tag) = packet.split_at_mut(packet.len() - TAG_LEN);
        self.rtp.verify(&[content, &rollover(index)], tag)?;
        self.rtp.apply_keystream(ssrc, index, &mut content[header_len..]);
        Ok(content.len())
    }

    /// Appends the encrypted compound packet, its index and its tag.
    pub(super) fn seal_rtcp(&self, ssrc: Ssrc, index: u32, packet: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(packet);
        self.rtcp.apply_keystream(ssrc, index.into(), &mut out[start + RTCP_CLEAR_LEN..]);
        out.extend_from_slice(&(RTCP_ENCRYPTED | index).to_be_bytes());
        let tag = self.rtcp.tag(&[&out[start..]]);
        out.extend_from_slice(&tag.as_ref()[..TAG_LEN]);
    }

    /// Opens a compound packet in place and says how long it is without index and tag.
    pub(super) fn open_rtcp(&self, ssrc: Ssrc, index: u32, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let (content, tag) = packet.split_at_mut(packet.len() - TAG_LEN);
        self.rtcp.verify(&[content], tag)?;
        let end = content.len() - RTCP_INDEX_LEN;
        self.rtcp.apply_keystream(ssrc, index.into(), &mut content[RTCP_CLEAR_LEN..end]);
        Ok(end)
    }
}

impl Half {
    fn derive(master: &MasterKey, key_label: Label, salt_label: Label, authentication_label: Label) -> Self {
        let profile = Profile::Aes128CmSha1_80;
        let mut key = Zeroizing::new([0; 16]);
        let mut salt = [0; MAX_SALT_LEN];
        let mut authentication = Zeroizing::new([0; AUTHENTICATION_KEY_LEN]);
        derive(profile, master, key_label, &mut *key);
        derive(profile, master, salt_label, &mut salt);
        derive(profile, master, authentication_label, &mut *authentication);
        Self {
            cipher: counter_cipher(&*key),
            salt,
            authentication: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &*authentication),
        }
    }

    /// RFC 3711, section 4.1.1: the counter starts at salt * 2^16 XOR SSRC * 2^64 XOR index * 2^16.
    fn apply_keystream(&self, ssrc: Ssrc, index: u64, bytes: &mut [u8]) {
        let mut counter = (u128::from(ssrc.0) << 64 | u128::from(index) << 16).to_be_bytes();
        for (byte, salt) in counter.iter_mut().zip(&self.salt) {
            *byte ^= salt;
        }
        apply_keystream(&self.cipher, counter, bytes);
    }

    fn tag(&self, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.authentication);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }

    fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> Result<(), SrtpError> {
        let expected = self.tag(parts);
        verify_slices_are_equal(&expected.as_ref()[..TAG_LEN], tag).map_err(|_| SrtpError::Authentication)
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

// The keys themselves lie in aws-lc, which erases all memory that it frees.
impl ZeroizeOnDrop for Half {}

// Made of two halves.
impl ZeroizeOnDrop for CounterMode {}

/// The upper 32 bits of the index, which are authenticated but not sent (RFC 3711, section 4.2).
fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// 80 bits (RFC 3711, section 5.2).
pub(super) const TAG_LEN: usize = 10;

/// 160 bits (RFC 3711, section 5.2).
const AUTHENTICATION_KEY_LEN: usize = 20;
