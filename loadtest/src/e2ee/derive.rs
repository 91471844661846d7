//! Key derivation (HKDF-SHA256, RFC 5869), Ed25519 keys from a seed (RFC 8032) and AES-GCM keys.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

/// A secret that is wiped when it is dropped.
pub type Secret<const N: usize> = Zeroizing<[u8; N]>;

/// The salt of every derivation that has no other.
pub const SALT: &[u8] = b"sotto/1";

/// HKDF-SHA256 of `secret`.
pub fn hkdf<const N: usize>(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> Secret<N> {
    let mut out = Zeroizing::new([0; N]);
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, Length(N))
        .and_then(|output| output.fill(out.as_mut_slice()))
        .expect("HKDF-SHA256 gives up to 8,160 bytes");
    out
}

/// SHA-256.
pub fn sha256(message: &[u8]) -> [u8; 32] {
    digest(&SHA256, message).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The Ed25519 key pair of a seed.
pub fn ed25519(seed: &Secret<32>) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).expect("every 32 bytes are a seed")
}

/// The public half of a key pair.
pub fn public_half(pair: &Ed25519KeyPair) -> [u8; 32] {
    pair.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes")
}

/// Signs with Ed25519.
pub fn sign(pair: &Ed25519KeyPair, message: &[u8]) -> [u8; 64] {
    pair.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
}

/// An AES-128-GCM key.
pub fn aes128(key: &Secret<16>) -> LessSafeKey {
    aes(&AES_128_GCM, key.as_slice())
}

/// An AES-256-GCM key.
pub fn aes256(key: &Secret<32>) -> LessSafeKey {
    aes(&AES_256_GCM, key.as_slice())
}

/// Seals a short text: ciphertext and tag.
pub fn seal(key: &LessSafeKey, nonce: [u8; 12], additional: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = plaintext.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(additional), &mut sealed)
        .expect("AES-GCM takes 64 GiB at once");
    sealed
}

/// Opens what [`seal`] made; `None` where it does not authenticate.
pub fn open(key: &LessSafeKey, nonce: [u8; 12], additional: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut opened = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let length = key.open_in_place(nonce, Aad::from(additional), opened.as_mut_slice()).ok()?.len();
    opened.truncate(length);
    Some(opened)
}

fn aes(algorithm: &'static Algorithm, key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, key).expect("the key has the algorithm's length"))
}

/// How many bytes HKDF is asked for.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
