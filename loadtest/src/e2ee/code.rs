//! The verification code: thirty digits that all members of one roster see alike (PBKDF2, RFC 8018).

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2::{PBKDF2_HMAC_SHA512, derive};

use super::bytes::join;

/// Six groups of five digits. `identities` are everyone's, one's own included. Takes tens of milliseconds.
pub fn verification_code(call: &[u8; 16], mut identities: Vec<[u8; 32]>) -> String {
    identities.sort_unstable();
    let password = identities.concat();
    let mut bytes = [0; GROUPS * GROUP_BYTES];
    derive(PBKDF2_HMAC_SHA512, ROUNDS, &join(&[b"sotto/1 code", call]), &password, &mut bytes);
    let groups = bytes.chunks_exact(GROUP_BYTES).map(|group| {
        let value = group.iter().fold(0, |value: u64, &byte| value << 8 | u64::from(byte));
        format!("{:05}", value % 100_000)
    });
    groups.collect::<Vec<_>>().join(" ")
}

/// Makes a search for identities that show another roster's digits 100,000 times dearer.
const ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).expect("it is not zero");

const GROUPS: usize = 6;

/// 40 bits a group, so that the remainder by 100,000 is even to one part in ten million.
const GROUP_BYTES: usize = 5;
