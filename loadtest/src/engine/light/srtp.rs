//! SRTP and SRTCP with AES-GCM (RFC 3711 with RFC 7714), keys expanded once per association.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

/// A protection profile that DTLS agreed on (RFC 5764, section 4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// AEAD_AES_128_GCM.
    Aes128Gcm,
    /// AEAD_AES_256_GCM.
    Aes256Gcm,
}

/// Both directions of an association.
pub struct Keys {
    /// For what comes.
    pub open: Direction,
    /// For what goes.
    pub seal: Direction,
}

/// The keys of one direction.
pub struct Direction {
    rtp: Key,
    rtcp: Key,
    /// Of the next SRTCP packet that is sent (RFC 3711, section 3.4), 31 bits.
    rtcp_index: u32,
    /// SRTCP packets that came.
    rtcp_window: Window,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Not even a tag long.
    #[error("the packet is too short")]
    Short,
    /// It came before, or is too old to tell.
    #[error("the packet came before")]
    Replayed,
    /// Its tag is not that of its contents.
    #[error("the packet does not authenticate")]
    Forged,
}

/// Which of the latest packets of a stream came (RFC 3711, section 3.3.2), by extended sequence number.
#[derive(Clone)]
pub struct Window {
    highest: u64,
    bits: [u64; WINDOW_WORDS],
}

struct Key {
    key: LessSafeKey,
    salt: [u8; NONCE_LEN],
}

impl Profile {
    fn key_len(self) -> usize {
        match self {
            Profile::Aes128Gcm => 16,
            Profile::Aes256Gcm => 32,
        }
    }

    /// Bytes of keying material that an association needs: key and salt of both directions (RFC 5764, section 4.2).
    pub fn material_len(self) -> usize {
        2 * (self.key_len() + NONCE_LEN)
    }
}

impl Keys {
    /// The keys of a DTLS client, from what its association exported, [`Profile::material_len`] bytes of it.
    pub fn of_client(profile: Profile, material: &[u8]) -> Self {
        let (keys, salts) = material.split_at(2 * profile.key_len());
        let (client, server) = keys.split_at(profile.key_len());
        let (client_salt, server_salt) = salts.split_at(NONCE_LEN);
        let direction = |key, salt| Direction::derive(profile, key, salt);
        Self { open: direction(server, server_salt), seal: direction(client, client_salt) }
    }
}

impl Direction {
    fn derive(profile: Profile, master: &[u8], salt: &[u8]) -> Self {
        let rtp = Key::derive(profile, master, salt, RTP_LABELS);
        let rtcp = Key::derive(profile, master, salt, RTCP_LABELS);
        Self { rtp, rtcp, rtcp_index: 0, rtcp_window: Window::new(0) }
    }

    /// Takes the protection off an RTP packet in place; `header` bytes of it are in the clear, `index` is its extended
    /// sequence number. Returns the length without the tag.
    ///
    /// # Errors
    /// [`SrtpError::Short`] and [`SrtpError::Forged`]. Replays are the caller's business, who has the stream's window.
    pub fn open_rtp(&self, packet: &mut [u8], header: usize, ssrc: u32, index: u64) -> Result<usize, SrtpError> {
        let (clear, sealed) = packet.split_at_mut_checked(header).ok_or(SrtpError::Short)?;
        let plain = self.rtp.open(rtp_nonce(ssrc, index), clear, sealed)?;
        Ok(header + plain)
    }

    /// Protects the RTP packet that begins at `start` of `buffer` and ends with it, its first `header` bytes in the
    /// clear.
    pub fn seal_rtp(&self, buffer: &mut Vec<u8>, start: usize, header: usize, ssrc: u32, index: u64) {
        let (clear, plain) = buffer[start..].split_at_mut(header);
        let tag = self.rtp.seal(rtp_nonce(ssrc, index), clear, plain);
        buffer.extend_from_slice(&tag);
    }

    /// Takes the protection off an RTCP packet in place and returns its length (RFC 7714, section 9).
    ///
    /// # Errors
    /// [`SrtpError`].
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let body = packet.len().checked_sub(INDEX_LEN).filter(|&body| body >= RTCP_HEADER + TAG_LEN);
        let body = body.ok_or(SrtpError::Short)?;
        let (packet, trailer) = packet.split_at_mut(body);
        let word = u32::from_be_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]);
        let index = u64::from(word & !ENCRYPTED);
        if word & ENCRYPTED == 0 {
            return Err(SrtpError::Forged); // authenticated only: not negotiated
        }
        if !self.rtcp_window.is_new(index) {
            return Err(SrtpError::Replayed);
        }
        let (clear, sealed) = packet.split_at_mut(RTCP_HEADER);
        let ssrc = u32::from_be_bytes([clear[4], clear[5], clear[6], clear[7]]);
        let plain = self.rtcp.open(rtcp_nonce(ssrc, index as u32), &rtcp_aad(clear, word), sealed)?;
        self.rtcp_window.note(index);
        Ok(RTCP_HEADER + plain)
    }

    /// Protects the RTCP packet that begins at `start` of `buffer` and ends with it.
    pub fn seal_rtcp(&mut self, buffer: &mut Vec<u8>, start: usize) {
        let index = self.rtcp_index;
        self.rtcp_index = (index + 1) & !ENCRYPTED;
        let (clear, plain) = buffer[start..].split_at_mut(RTCP_HEADER);
        let ssrc = u32::from_be_bytes([clear[4], clear[5], clear[6], clear[7]]);
        let word = index | ENCRYPTED;
        let tag = self.rtcp.seal(rtcp_nonce(ssrc, index), &rtcp_aad(clear, word), plain);
        buffer.extend_from_slice(&tag);
        buffer.extend_from_slice(&word.to_be_bytes());
    }
}

impl Window {
    /// Nothing came yet; sequence numbers begin about `index`.
    pub fn new(index: u64) -> Self {
        Self { highest: index, bits: [0; WINDOW_WORDS] }
    }

    /// The extended sequence number that ends in `sequence` and is nearest to the highest one (RFC 3711, appendix A).
    pub fn extend(&self, sequence: u16) -> u64 {
        let step = sequence.wrapping_sub(self.highest as u16) as i16;
        self.highest.saturating_add_signed(i64::from(step))
    }

    /// Whether a packet did not come before.
    pub fn is_new(&self, index: u64) -> bool {
        index > self.highest || (self.highest - index < WINDOW as u64 && self.bits[word(index)] & bit(index) == 0)
    }

    /// Notes that a packet came.
    pub fn note(&mut self, index: u64) {
        if index > self.highest {
            let steps = index - self.highest;
            if steps >= WINDOW as u64 {
                self.bits = [0; WINDOW_WORDS];
            } else {
                (self.highest + 1..=index).for_each(|passed| self.bits[word(passed)] &= !bit(passed));
            }
            self.highest = index;
        }
        self.bits[word(index)] |= bit(index);
    }

    /// The highest extended sequence number that came.
    pub fn highest(&self) -> u64 {
        self.highest
    }
}

impl Key {
    fn derive(profile: Profile, master: &[u8], master_salt: &[u8], labels: (u8, u8)) -> Self {
        let mut secret = Zeroizing::new(vec![0; profile.key_len()]);
        expand(profile, master, master_salt, labels.0, &mut secret);
        let mut salt = [0; NONCE_LEN];
        expand(profile, master, master_salt, labels.1, &mut salt);
        let algorithm = match profile {
            Profile::Aes128Gcm => &aead::AES_128_GCM,
            Profile::Aes256Gcm => &aead::AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, &secret).expect("the key has the algorithm's length");
        Self { key: LessSafeKey::new(key), salt }
    }

    fn nonce(&self, mut nonce: [u8; NONCE_LEN]) -> Nonce {
        nonce.iter_mut().zip(&self.salt).for_each(|(byte, salt)| *byte ^= salt);
        Nonce::assume_unique_for_key(nonce)
    }

    fn open(&self, nonce: [u8; NONCE_LEN], aad: &[u8], sealed: &mut [u8]) -> Result<usize, SrtpError> {
        if sealed.len() < TAG_LEN {
            return Err(SrtpError::Short);
        }
        let opened = self.key.open_in_place(self.nonce(nonce), Aad::from(aad), sealed);
        opened.map(|plain| plain.len()).map_err(|_| SrtpError::Forged)
    }

    fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], plain: &mut [u8]) -> [u8; TAG_LEN] {
        let sealed = self.key.seal_in_place_separate_tag(self.nonce(nonce), Aad::from(aad), plain);
        let tag = sealed.expect("a packet is far below the cipher's limit");
        tag.as_ref().try_into().expect("GCM's tags have 16 bytes")
    }
}

/// The key derivation of RFC 3711, section 4.3, rate 0, with the 96-bit salt of RFC 7714.
fn expand(profile: Profile, master: &[u8], salt: &[u8], label: u8, out: &mut [u8]) {
    let mut counter = [0; 16];
    counter[..NONCE_LEN].copy_from_slice(salt);
    counter[LABEL_AT] ^= label;
    let algorithm = match profile {
        Profile::Aes128Gcm => &cipher::AES_128,
        Profile::Aes256Gcm => &cipher::AES_256,
    };
    let key = UnboundCipherKey::new(algorithm, master).expect("the master key has the profile's length");
    let key = EncryptingKey::ctr(key).expect("counter mode takes every AES key");
    out.fill(0);
    let context = EncryptionContext::Iv128(FixedLength::from(counter));
    key.less_safe_encrypt(out, context).expect("counter mode takes every length");
}

/// RFC 7714, section 8.1.
fn rtp_nonce(ssrc: u32, index: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    nonce
}

/// RFC 7714, section 9.1.
fn rtcp_nonce(ssrc: u32, index: u32) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[8..].copy_from_slice(&index.to_be_bytes());
    nonce
}

/// RFC 7714, section 9.2.
fn rtcp_aad(header: &[u8], word: u32) -> [u8; RTCP_HEADER + INDEX_LEN] {
    let mut aad = [0; RTCP_HEADER + INDEX_LEN];
    aad[..RTCP_HEADER].copy_from_slice(header);
    aad[RTCP_HEADER..].copy_from_slice(&word.to_be_bytes());
    aad
}

fn word(index: u64) -> usize {
    (index as usize % WINDOW) / 64
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

/// Bytes behind the payload of a protected packet.
pub const TAG_LEN: usize = 16;
/// Labels of encryption key and salt (RFC 3711, section 4.3.2).
const RTP_LABELS: (u8, u8) = (0, 2);
const RTCP_LABELS: (u8, u8) = (3, 5);
/// Where the label meets the salt: seven bytes from the left of 14.
const LABEL_AT: usize = 7;
/// What SRTCP leaves in the clear.
const RTCP_HEADER: usize = 8;
/// E bit and index behind every SRTCP packet.
const INDEX_LEN: usize = 4;
/// The E bit.
const ENCRYPTED: u32 = 1 << 31;
/// Two seconds of a fast stream: what comes later than that was given up long before.
const WINDOW: usize = 1024;
const WINDOW_WORDS: usize = WINDOW / 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn pair(profile: Profile) -> (Keys, Keys) {
        let material: Vec<u8> = (0..profile.material_len()).map(|i| i as u8).collect();
        let (keys, salts) = material.split_at(2 * profile.key_len());
        let (a, b) = keys.split_at(profile.key_len());
        let (c, d) = salts.split_at(NONCE_LEN);
        (Keys::of_client(profile, &material), Keys::of_client(profile, &[b, a, d, c].concat()))
    }

    #[test]
    fn a_packet_is_protected_as_rfc_7714_shows() {
        let key = UnboundKey::new(&aead::AES_128_GCM, &hex("000102030405060708090a0b0c0d0e0f")).unwrap();
        let salt = hex("517569642070726f2071756f").try_into().unwrap();
        let key = Key { key: LessSafeKey::new(key), salt };
        let header = hex("8040f17b8041f8d35501a0b2");
        let mut payload = b"Gallia est omnis divisa in partes tres".to_vec();
        let tag = key.seal(rtp_nonce(0x5501_a0b2, 0xf17b), &header, &mut payload);
        let sealed = "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833";
        assert_eq!(payload, hex(sealed));
        assert_eq!(tag.to_vec(), hex("899d7f27beb16a9152cf765ee4390cce"));
    }

    #[test]
    fn session_keys_are_those_of_rfc_3711() {
        // Appendix B.3, whose salt has two bytes more: their place in the counter is the label's neighbourhood only.
        let master = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let mut counter = [0; 16];
        counter[..14].copy_from_slice(&salt);
        let key = EncryptingKey::ctr(UnboundCipherKey::new(&cipher::AES_128, &master).unwrap()).unwrap();
        let mut out = vec![0; 16];
        key.less_safe_encrypt(&mut out, EncryptionContext::Iv128(FixedLength::from(counter))).unwrap();
        assert_eq!(out, hex("C61E7A93744F39EE10734AFE3FF7A087"));
        counter[LABEL_AT] ^= 2;
        let mut salt = vec![0; 14];
        key.less_safe_encrypt(&mut salt, EncryptionContext::Iv128(FixedLength::from(counter))).unwrap();
        assert_eq!(salt, hex("30CBBC08863D8C85D49DB34A9AE1"));
    }

    #[test]
    fn what_one_side_seals_the_other_opens_and_nobody_else() {
        for profile in [Profile::Aes128Gcm, Profile::Aes256Gcm] {
            let (mut ours, mut theirs) = pair(profile);
            let mut packet = [vec![0x80, 96, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7], vec![5; 500]].concat();
            let plain = packet.clone();
            ours.seal.seal_rtp(&mut packet, 0, 12, 7, 65_537);
            assert_eq!(packet.len(), plain.len() + 16);
            assert_eq!(theirs.open.open_rtp(&mut packet.clone(), 12, 7, 1), Err(SrtpError::Forged));
            let length = theirs.open.open_rtp(&mut packet, 12, 7, 65_537).unwrap();
            assert_eq!(packet[..length], plain);

            let mut report = hex("80c90001 00000007 01020304");
            let plain = report.clone();
            ours.seal.seal_rtcp(&mut report, 0);
            let mut forged = report.clone();
            forged[9] ^= 1;
            assert_eq!(theirs.open.open_rtcp(&mut forged), Err(SrtpError::Forged));
            let mut again = report.clone();
            let length = theirs.open.open_rtcp(&mut report).unwrap();
            assert_eq!(report[..length], plain);
            assert_eq!(theirs.open.open_rtcp(&mut again), Err(SrtpError::Replayed));
        }
    }

    #[test]
    fn each_packet_is_new_once_however_late_it_comes() {
        let mut window = Window::new(65_530);
        for sequence in [65_530_u16, 65_534, 3, 65_531, 1000] {
            let index = window.extend(sequence);
            assert!(window.is_new(index), "{sequence} came for the first time");
            window.note(index);
            assert!(!window.is_new(index), "{sequence} came twice");
        }
        assert_eq!(window.highest(), 65_536 + 1000);
        assert!(window.is_new(window.extend(2)), "in the window, and did not come");
        assert!(!window.is_new(window.highest() - WINDOW as u64), "too old to tell");
    }
}
