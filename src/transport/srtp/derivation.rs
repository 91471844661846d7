//! Session keys from a master key: the AES-CM key derivation (RFC 3711, section 4.3) without rekeying, with the
//! 256-bit cipher for 256-bit keys (RFC 7714, section 11).

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::{MAX_SALT_LEN, MasterKey, Profile};

/// What a session key is for; the values are RFC 3711's labels.
#[derive(Clone, Copy)]
pub(super) enum Label {
    RtpKey = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Fills `session` with the key that `label` names.
pub(super) fn derive(profile: Profile, master: &MasterKey, label: Label, session: &mut [u8]) {
    let mut counter = [0; 16];
    counter[..MAX_SALT_LEN].copy_from_slice(&*master.salt);
    // The label stands above 48 bits of packet index divided by a key derivation rate of zero.
    counter[LABEL_AT] ^= label as u8;
    session.fill(0);
    let cipher = counter_cipher(&master.key[..profile.key_len()]);
    apply_keystream(&cipher, counter, session);
}

/// AES in counter mode under a 128-bit or 256-bit key.
pub(super) fn counter_cipher(key: &[u8]) -> EncryptingKey {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let key = UnboundCipherKey::new(algorithm, key).expect("the key is as long as the cipher wants");
    EncryptingKey::ctr(key).expect("AES has a counter mode")
}

/// Adds the keystream that begins at `counter`, bit by bit.
pub(super) fn apply_keystream(cipher: &EncryptingKey, counter: [u8; 16], bytes: &mut [u8]) {
    cipher
        .less_safe_encrypt(bytes, EncryptionContext::Iv128(FixedLength::from(counter)))
        .expect("counter mode takes any length and a 16-byte counter");
}

/// From the right of 112 bits: 48 bits of index, then the label.
const LABEL_AT: usize = MAX_SALT_LEN - 7;
