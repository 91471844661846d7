//! What all members of a call should see alike, and how often each says so.

use std::time::Duration;

use super::bytes::covered;
use super::derive::sha256;

/// What an `alive` tells: the digest of everyone's identity, one's own included, and of the host state's counter, which
/// is 0 without a state.
pub fn roster_digest(call: &[u8; 16], mut identities: Vec<[u8; 32]>, counter: u64) -> [u8; 32] {
    identities.sort_unstable();
    let counter = counter.to_be_bytes();
    let mut fields: Vec<&[u8]> = identities.iter().map(|identity| identity.as_slice()).collect();
    fields.push(&counter);
    sha256(&covered("alive", call, &fields))
}

/// Between two `alive`, with that many members, ourselves included.
pub fn alive_interval(members: usize) -> Duration {
    if members > LARGE_CALL { Duration::from_millis(200) * members as u32 } else { Duration::from_secs(10) }
}

/// Within which changes of the roster are one change of keys.
pub fn change_window(members: usize) -> Duration {
    Duration::from_secs(if members > LARGE_CALL { 5 } else { 1 })
}

/// From a change of the roster, for more to follow, until the others are told.
pub fn soon(members: usize) -> Duration {
    Duration::from_millis(if members > LARGE_CALL { 1_000 } else { 250 })
}

/// Members above which everyone telling everyone is spread out.
const LARGE_CALL: usize = 50;
