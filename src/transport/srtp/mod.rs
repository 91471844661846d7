//! SRTP and SRTCP of one hop (RFC 3711) with AES-GCM (RFC 7714), and AES-CM with HMAC-SHA1 for peers without it.
//! Here: profiles and master keys as DTLS exports them (RFC 5764); [`Inbound`] opens, [`Outbound`] closes.

mod counter_mode;
mod derivation;
mod gcm;
mod inbound;
mod outbound;
mod replay;

use zeroize::{ZeroizeOnDrop, Zeroizing};

use self::counter_mode::CounterMode;
use self::gcm::Gcm;
pub use self::inbound::{Inbound, Unprotected};
pub use self::outbound::Outbound;

/// The protection profiles that the relay speaks (RFC 5764, section 4.1.2; RFC 7714, section 14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// AEAD_AES_128_GCM: preferred, four times faster than the next but one.
    Aes128Gcm,
    /// AEAD_AES_256_GCM.
    Aes256Gcm,
    /// AES128_CM_HMAC_SHA1_80: for peers without GCM.
    Aes128CmSha1_80,
}

/// A master key with its salt, one per direction. It is erased when dropped, and neither printed nor compared.
#[derive(Clone)]
pub struct MasterKey {
    /// The first [`Profile::key_len`] bytes count.
    key: Zeroizing<[u8; MAX_KEY_LEN]>,
    /// Padded on the right with zeros to 112 bits, as the derivation wants it (RFC 7714, section 11).
    salt: Zeroizing<[u8; MAX_SALT_LEN]>,
}

/// What a finished DTLS handshake yields.
#[derive(Clone)]
pub struct SrtpKeys {
    /// The profile that the handshake settled on.
    pub profile: Profile,
    /// What the participant protects with.
    pub inbound: MasterKey,
    /// What the relay protects with.
    pub outbound: MasterKey,
}

/// Why a packet was not protected or opened. Nothing changed then, but the packet's bytes may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Too short, or no RTP or RTCP at all.
    #[error("the bytes are no SRTP packet")]
    Malformed,
    /// The tag is wrong, or an SRTCP packet claims to be in the clear.
    #[error("the packet does not authenticate")]
    Authentication,
    /// Seen before, or older than the replay window.
    #[error("the packet was seen before, or is too old to tell")]
    Replay,
    /// One SSRC more than a participant may have.
    #[error("the participant uses too many SSRCs")]
    TooManySsrcs,
    /// The key protected as many packets as it may (RFC 3711, section 9.2).
    #[error("the key has reached the end of its life")]
    KeyExhausted,
    /// Keying material is not as long as the profile wants.
    #[error("the keying material has the wrong length")]
    KeyLength,
}

impl Profile {
    /// Bytes of a master key.
    pub const fn key_len(self) -> usize {
        match self {
            Profile::Aes128Gcm | Profile::Aes128CmSha1_80 => 16,
            Profile::Aes256Gcm => 32,
        }
    }

    /// Bytes of a master salt.
    pub const fn salt_len(self) -> usize {
        match self {
            Profile::Aes128Gcm | Profile::Aes256Gcm => 12,
            Profile::Aes128CmSha1_80 => 14,
        }
    }

    /// Bytes to ask of the DTLS exporter: two keys and two salts.
    pub const fn material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }

    /// Bytes by which protection lengthens an RTP packet.
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Profile::Aes128Gcm | Profile::Aes256Gcm => gcm::TAG_LEN,
            Profile::Aes128CmSha1_80 => counter_mode::TAG_LEN,
        }
    }
}

// Both halves erase themselves.
impl ZeroizeOnDrop for MasterKey {}

// Made of master keys, and of a profile that is no secret.
impl ZeroizeOnDrop for SrtpKeys {}

impl MasterKey {
    /// A master key of the lengths that the profile wants.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, SrtpError> {
        if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
            return Err(SrtpError::KeyLength);
        }
        let mut master = Self { key: Zeroizing::default(), salt: Zeroizing::default() };
        master.key[..key.len()].copy_from_slice(key);
        master.salt[..salt.len()].copy_from_slice(salt);
        Ok(master)
    }
}

impl SrtpKeys {
    /// Divides what the DTLS exporter gave (RFC 5764, section 4.2): client key, server key, client salt, server salt.
    /// `is_client` says which end of the handshake the relay was.
    pub fn from_exporter(profile: Profile, material: &[u8], is_client: bool) -> Result<Self, SrtpError> {
        if material.len() != profile.material_len() {
            return Err(SrtpError::KeyLength);
        }
        let (keys, salts) = material.split_at(2 * profile.key_len());
        let (client_key, server_key) = keys.split_at(profile.key_len());
        let (client_salt, server_salt) = salts.split_at(profile.salt_len());
        let client = MasterKey::new(profile, client_key, client_salt)?;
        let server = MasterKey::new(profile, server_key, server_salt)?;
        let (outbound, inbound) = if is_client { (client, server) } else { (server, client) };
        Ok(Self { profile, inbound, outbound })
    }
}

/// The session keys of one direction, ready for use.
enum Cipher {
    Gcm(Box<Gcm>),
    CounterMode(Box<CounterMode>),
}

// Whichever it is.
impl ZeroizeOnDrop for Cipher
where
    Gcm: ZeroizeOnDrop,
    CounterMode: ZeroizeOnDrop,
{
}

impl Cipher {
    fn new(profile: Profile, master: &MasterKey) -> Self {
        match profile {
            Profile::Aes128Gcm | Profile::Aes256Gcm => Cipher::Gcm(Box::new(Gcm::derive(profile, master))),
            Profile::Aes128CmSha1_80 => Cipher::CounterMode(Box::new(CounterMode::derive(master))),
        }
    }
}

/// 2^48 SRTP packets per key: the index has no more bits (RFC 3711, section 9.2).
const MAX_RTP_INDEX: u64 = (1 << 48) - 1;

/// 2^31 SRTCP packets per key: the index has no more bits (RFC 3711, section 9.2).
const MAX_RTCP_INDEX: u32 = (1 << 31) - 1;

/// AES-256.
const MAX_KEY_LEN: usize = 32;

/// 112 bits (RFC 3711, section 8.2).
const MAX_SALT_LEN: usize = 14;

/// The part of an RTCP packet that stays in the clear: header and sender SSRC (RFC 3711, section 3.4).
const RTCP_CLEAR_LEN: usize = 8;

/// E flag and index behind an SRTCP packet.
const RTCP_INDEX_LEN: usize = 4;

/// E: the SRTCP packet is encrypted.
const RTCP_ENCRYPTED: u32 = 1 << 31;

#[cfg(test)]
mod interop;
#[cfg(test)]
mod tests;
