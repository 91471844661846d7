//! What strangers and hostile peers can make the transport allocate: nothing, and little.
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::alloc::System;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use arrayvec::ArrayString;
use sotto::relay::outbox::Path;
use sotto::session::IceParameters;
use sotto::transport::dtls::{Certificate, Handshake, Progress};
use sotto::transport::ice::{IceLite, StunError, ufrag_of};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use stun_types::attribute::Username;
use stun_types::message::{
    BINDING, IntegrityAlgorithm, Message, MessageIntegrityCredentials, MessageWrite, MessageWriteExt, MessageWriteVec,
    ShortTermCredentials,
};
use zeroize::Zeroizing;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_hundred_thousand_unauthenticated_checks_allocate_nothing() {
    let _alone = alone();
    let mut ice = IceLite::new(&IceParameters {
        local_ufrag: ArrayString::from("aaaaaaaa").unwrap(),
        local_pwd: Zeroizing::new("the password of the relay".to_owned()),
        remote_ufrag: Some("remote".to_owned()),
    });
    let forged =
        [check("aaaaaaaa:remote", "guessed"), check("aaaaaaaa:guessed", "guessed"), vec![0; 60], vec![1; 1400]];
    let path = Path { remote: "192.0.2.1:5000".parse().unwrap(), local: None };
    let mut reply = Vec::new();
    let now = now();
    // The first use of a digest sets up tables of the crypto library.
    assert!(forged.iter().all(|bytes| ice.handle_request(now, path, bytes, &mut reply).is_err()));

    let region = Region::new(ALLOCATOR);
    for round in 0..100_000 {
        let bytes = &forged[round % forged.len()];
        std::hint::black_box(ufrag_of(bytes));
        let outcome = ice.handle_request(now, path, bytes, &mut reply);
        assert!(outcome.is_err_and(|error| error != StunError::Fingerprint));
    }
    // The test's own runner may allocate a little meanwhile.
    assert!(region.change().allocations < 100, "{:?}", region.change());
    assert!(reply.is_empty() && ice.paths().is_empty());
}

#[test]
fn a_hundred_thousand_fragments_hold_at_most_64_kib_of_a_peer() {
    let _alone = alone();
    let certificate = Certificate::generate().unwrap();
    let region = Region::new(ALLOCATOR);
    let mut peer = Handshake::new(&certificate, now(), [0; 32]);
    let mut most = 0;
    for round in 0..100_000u32 {
        // Whole messages, empty fragments, overlapping ones, records of other kinds, several to a datagram.
        let mut datagram = Vec::new();
        for part in 0..round % 12 {
            let length = [0, 1, 40, 300, 4_000][(round.wrapping_mul(7) + part) as usize % 5];
            let size = (round.wrapping_mul(13) + part * 31) % (length + 1);
            let offset = (round.wrapping_mul(17)) % (length - size + 1);
            record(&mut datagram, 1 + (round % 20) as u8, (round % 9) as u16, length, offset, size.min(100));
        }
        datagram.truncate(2000);
        let failed = peer.handle_datagram(now(), &datagram).is_err();
        let failed = failed || !matches!(peer.poll(|_| ()), Ok(Progress::Pending));
        let change = region.change();
        most = most.max(change.bytes_allocated.saturating_sub(change.bytes_deallocated));
        assert!(most <= 64 * 1024, "{most} bytes after {round}");
        if failed {
            // A broken handshake is over for that peer; the flood goes on against the next.
            peer = Handshake::new(&certificate, now(), [0; 32]);
        }
    }
    assert!(most > 10_000, "the flood arrived");
}

fn record(out: &mut Vec<u8>, kind: u8, sequence: u16, length: u32, offset: u32, size: u32) {
    let number = |value: u32| value.to_be_bytes()[1..].to_vec();
    let content = [22, 22, 22, 20, 21][usize::from(kind) % 5];
    out.extend([content, 254, 253, 0, 0, 0, 0, 0, kind, sequence as u8, offset as u8]);
    out.extend((12 + size as u16).to_be_bytes());
    out.push(kind);
    out.extend(number(length));
    out.extend(sequence.to_be_bytes());
    out.extend(number(offset));
    out.extend(number(size));
    out.resize(out.len() + size as usize, 0x5a);
}

fn check(username: &str, password: &str) -> Vec<u8> {
    let mut message = Message::builder_request(BINDING, MessageWriteVec::new());
    message.add_attribute(&Username::new(username).unwrap()).unwrap();
    let credentials: MessageIntegrityCredentials = ShortTermCredentials::new(password.to_owned()).into();
    let key = credentials.make_key(IntegrityAlgorithm::Sha1);
    message.add_message_integrity_with_key(&key, IntegrityAlgorithm::Sha1).unwrap();
    message.add_fingerprint().unwrap();
    message.finish()
}

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[allow(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
fn now() -> Instant {
    Instant::now()
}
