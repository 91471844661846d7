//! Requests are built and answers read by another STUN implementation, so that both ends are not wrong together.

use std::net::SocketAddr;

use proptest::prelude::*;
use stun_types::attribute::{
    AttributeStaticType, AttributeType, ErrorCode, Fingerprint, RawAttribute, UnknownAttributes, Username,
    XorMappedAddress,
};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, IntegrityKey, Message, MessageIntegrityCredentials, MessageWrite, MessageWriteExt,
    MessageWriteVec, ShortTermCredentials,
};
use zeroize::Zeroizing;

use super::*;

const V4: &str = "192.0.2.7:5000";
const V6: &str = "[2001:db8::7]:5000";

#[test]
fn an_authentic_check_is_answered_with_the_address_it_came_from() {
    for remote in [V4, V6] {
        let mut ice = IceLite::new(&parameters("aaaaaaaa"));
        let request = check("aaaaaaaa:remote", "password-aaaaaaaa", &[Extra::Controlling]);
        let mut reply = Vec::new();
        let outcome = ice.handle_request(now(), path(remote), &request, &mut reply).unwrap();
        assert!(outcome.standing == Standing::Valid && ice.is_valid(&path(remote)) && ice.selected().is_none());

        let message = Message::from_bytes(&reply).unwrap();
        assert_eq!(message.transaction_id(), Message::from_bytes(&request).unwrap().transaction_id());
        message.validate_integrity(&credentials("password-aaaaaaaa")).unwrap();
        assert!(message.has_attribute(Fingerprint::TYPE));
        let seen = message.attribute::<XorMappedAddress>().unwrap().addr(message.transaction_id());
        assert_eq!(seen, remote.parse::<SocketAddr>().unwrap());
    }
}

#[test]
fn a_mapped_ipv4_address_is_told_as_ipv4() {
    let mut ice = IceLite::new(&parameters("aaaaaaaa"));
    let request = check("aaaaaaaa:remote", "password-aaaaaaaa", &[Extra::Controlling]);
    let mut reply = Vec::new();
    ice.handle_request(now(), path("[::ffff:192.0.2.7]:5000"), &request, &mut reply).unwrap();
    let message = Message::from_bytes(&reply).unwrap();
    let seen = message.attribute::<XorMappedAddress>().unwrap().addr(message.transaction_id());
    assert_eq!(seen, V4.parse::<SocketAddr>().unwrap());
}

#[test]
fn what_is_not_authentic_gets_no_reply_and_changes_nothing() {
    let mut ice = IceLite::new(&parameters("aaaaaaaa"));
    let cases = [
        (check("aaaaaaaa:remote", "wrong", &[]), StunError::Integrity),
        (check("aaaaaaaa:other", "password-aaaaaaaa", &[]), StunError::Username),
        (check("aaaaaaaa:", "password-aaaaaaaa", &[]), StunError::Username),
        (check("aaaaaaaa", "password-aaaaaaaa", &[]), StunError::Username),
        (check("aaaaaaa:remote", "password-aaaaaaaa", &[]), StunError::Username),
        (check("aaaaaaaa:remote2", "password-aaaaaaaa", &[]), StunError::Username),
        (without_integrity("aaaaaaaa:remote"), StunError::Integrity),
    ];
    for (request, error) in cases {
        let mut reply = Vec::new();
        assert!(ice.handle_request(now(), path(V4), &request, &mut reply) == Err(error));
        assert!(reply.is_empty() && reply.capacity() == 0);
    }
    assert!(ice.paths().is_empty() && ice.consent_deadline().is_none());
}

#[test]
fn no_bit_that_the_integrity_covers_can_be_flipped() {
    let request = check("aaaaaaaa:remote", "password-aaaaaaaa", &[Extra::Controlling, Extra::UseCandidate]);
    let fingerprint_at = request.len() - 8;
    for bit in 0..fingerprint_at * 8 {
        let mut ice = IceLite::new(&parameters("aaaaaaaa"));
        let mut forged = request.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let mut reply = Vec::new();
        assert!(ice.handle_request(now(), path(V4), &forged, &mut reply).is_err(), "bit {bit}");
        assert!(reply.is_empty() && ice.paths().is_empty());
    }
}

#[test]
fn attributes_behind_the_integrity_do_not_count() {
    let mut ice = IceLite::new(&parameters("aaaaaaaa"));
    let mut request = without_fingerprint("aaaaaaaa:remote", "password-aaaaaaaa");
    request.extend([0x00, 0x25, 0, 0]); // USE-CANDIDATE, appended by somebody on the way
    let length = (request.len() - 20) as u16;
    request[2..4].copy_from_slice(&length.to_be_bytes());
    let outcome = ice.handle_request(now(), path(V4), &request, &mut Vec::new()).unwrap();
    assert!(outcome.standing == Standing::Valid && ice.selected().is_none());
}

#[test]
fn an_unknown_attribute_that_must_be_understood_is_answered_with_420() {
    let mut ice = IceLite::new(&parameters("aaaaaaaa"));
    let request = check("aaaaaaaa:remote", "password-aaaaaaaa", &[Extra::Raw(0x7abc), Extra::UseCandidate]);
    let mut reply = Vec::new();
    let outcome = ice.handle_request(now(), path(V4), &request, &mut reply).unwrap();
    assert!(outcome.standing == Standing::Refused && ice.paths().is_empty());
    let message = Message::from_bytes(&reply).unwrap();
    message.validate_integrity(&credentials("password-aaaaaaaa")).unwrap();
    assert_eq!(message.attribute::<ErrorCode>().unwrap().code(), 420);
    let unknown = message.attribute::<UnknownAttributes>().unwrap();
    assert!(unknown.has_attribute(AttributeType::new(0x7abc)));
}

#[test]
fn an_unknown_optional_attribute_is_ignored() {
    let mut ice = IceLite::new(&parameters("aaaaaaaa"));
    let request = check("aaaaaaaa:remote", "password-aaaaaaaa", &[Extra::Raw(0xc001), Extra::UseCandidate]);
    let outcome = ice.handle_request(now(), path(V4), &request, &mut Vec::new()).unwrap();
    assert!(outcome.standing == Standing::Selected);
}

#[test]
fn a_peer_that_thinks_itself_controlled_is_told_to_switch() {
    let mut ice = IceLite::new(&parameters("aaaaaaaa"));
    let request = check("aaaaaaaa:remote", "password-aaaaaaaa", &[Extra::Controlled]);
    let mut reply = Vec::new();
    let outcome = ice.handle_request(now(), path(V4), &request, &mut reply).unwrap();
    assert!(outcome.standing == Standing::Refused && ice.paths().is_empty());
    assert_eq!(Message::from_bytes(&reply).unwrap().attribute::<ErrorCode>().unwrap().code(), 487);
}

#[test]
fn no_reply_is_longer_than_one_and_a_half_requests() {
    let extras: [&[Extra]; 4] = [
        &[],
        &[Extra::Controlled],
        &[Extra::Raw(0x7abc)],
        &[Extra::Raw(1), Extra::Raw(2), Extra::Raw(3), Extra::Raw(4), Extra::Raw(5)],
    ];
    for (remote, extras) in [V4, V6].into_iter().flat_map(|remote| extras.map(|extras| (remote, extras))) {
        let mut ice = IceLite::new(&parameters("aaaaaaaa"));
        let request = bare(Some("password-aaaaaaaa"), "aaaaaaaa:remote", extras);
        let mut reply = Vec::new();
        ice.handle_request(now(), path(remote), &request, &mut reply).unwrap();
        assert!(2 * reply.len() <= 3 * request.len(), "{} for {}", reply.len(), request.len());
    }
}

#[test]
fn thousands_of_paths_stay_capped_and_keep_the_selected_one() {
    let mut ice = IceLite::new(&parameters("aaaaaaaa"));
    let now = now();
    ice.handle_request(now, path(V4), &nominate("aaaaaaaa"), &mut Vec::new()).unwrap();
    let mut forgotten = 0;
    for port in 10_000..15_000u16 {
        let candidate = path(&format!("198.51.100.1:{port}"));
        let request = check("aaaaaaaa:remote", "password-aaaaaaaa", &[Extra::Controlling]);
        let outcome = ice.handle_request(now, candidate, &request, &mut Vec::new()).unwrap();
        forgotten += usize::from(outcome.forgotten.is_some());
        assert!(ice.paths().len() <= PATHS_MAX && ice.is_valid(&path(V4)));
    }
    assert_eq!(forgotten, 5_001 - PATHS_MAX);
    assert!(ice.selected() == Some(path(V4)));
}

#[test]
fn only_a_nominating_check_moves_the_selected_path() {
    let mut ice = IceLite::new(&parameters("aaaaaaaa"));
    let now = now();
    ice.handle_request(now, path(V4), &nominate("aaaaaaaa"), &mut Vec::new()).unwrap();
    let plain = check("aaaaaaaa:remote", "password-aaaaaaaa", &[Extra::Controlling]);
    ice.handle_request(now, path(V6), &plain, &mut Vec::new()).unwrap();
    assert!(ice.selected() == Some(path(V4)));
    let outcome = ice.handle_request(now, path(V6), &nominate("aaaaaaaa"), &mut Vec::new()).unwrap();
    assert!(outcome.standing == Standing::Selected && ice.selected() == Some(path(V6)));
    let again = ice.handle_request(now, path(V6), &nominate("aaaaaaaa"), &mut Vec::new()).unwrap();
    assert!(again.standing == Standing::Known);
}

#[test]
fn consent_is_renewed_by_checks_on_the_selected_path_alone() {
    let mut ice = IceLite::new(&parameters("aaaaaaaa"));
    let start = now();
    ice.handle_request(start, path(V4), &nominate("aaaaaaaa"), &mut Vec::new()).unwrap();
    let plain = check("aaaaaaaa:remote", "password-aaaaaaaa", &[Extra::Controlling]);
    let later = start + Duration::from_secs(5);
    ice.handle_request(later, path(V6), &plain, &mut Vec::new()).unwrap();
    assert!(ice.consent_deadline() == Some(start + CONSENT));
    let forged = check("aaaaaaaa:remote", "wrong", &[Extra::Controlling]);
    ice.handle_request(later, path(V4), &forged, &mut Vec::new()).err().unwrap();
    assert!(ice.consent_deadline() == Some(start + CONSENT));
    ice.handle_request(later, path(V4), &plain, &mut Vec::new()).unwrap();
    assert!(ice.consent_deadline() == Some(later + CONSENT));
}

#[test]
fn a_restart_keeps_the_old_path_until_the_new_credentials_nominate_one() {
    let mut ice = IceLite::new(&parameters("aaaaaaaa"));
    let now = now();
    ice.handle_request(now, path(V4), &nominate("aaaaaaaa"), &mut Vec::new()).unwrap();
    ice.update(&parameters("bbbbbbbb"));
    ice.update(&parameters("bbbbbbbb"));
    assert_eq!(ice.local_ufrags().collect::<Vec<_>>(), ["bbbbbbbb", "aaaaaaaa"]);

    // The old credentials still renew consent, but nominate nothing any more.
    let later = now + Duration::from_secs(5);
    let stale = ice.handle_request(later, path(V6), &nominate("aaaaaaaa"), &mut Vec::new()).unwrap();
    assert!(stale.standing == Standing::Valid && ice.selected() == Some(path(V4)));
    ice.handle_request(later, path(V4), &nominate("aaaaaaaa"), &mut Vec::new()).unwrap();
    assert!(ice.consent_deadline() == Some(later + CONSENT));

    let outcome = ice.handle_request(later, path(V6), &nominate("bbbbbbbb"), &mut Vec::new()).unwrap();
    assert!(outcome.standing == Standing::Selected && outcome.restarted && ice.selected() == Some(path(V6)));
    let old = ice.handle_request(later, path(V4), &nominate("aaaaaaaa"), &mut Vec::new());
    assert!(old == Err(StunError::Username));
}

#[test]
fn a_restart_over_the_same_path_is_complete_with_its_nomination() {
    let mut ice = IceLite::new(&parameters("aaaaaaaa"));
    let now = now();
    ice.handle_request(now, path(V4), &nominate("aaaaaaaa"), &mut Vec::new()).unwrap();
    ice.update(&parameters("bbbbbbbb"));
    ice.update(&parameters("cccccccc"));
    assert_eq!(ice.local_ufrags().collect::<Vec<_>>(), ["cccccccc", "aaaaaaaa"]);
    let outcome = ice.handle_request(now, path(V4), &nominate("cccccccc"), &mut Vec::new()).unwrap();
    assert!(outcome.restarted && ice.local_ufrags().count() == 1);
}

#[test]
fn the_ufrag_is_read_from_any_well_formed_request() {
    let request = check("aaaaaaaa:remote", "any", &[Extra::Controlling]);
    assert_eq!(ufrag_of(&request), Some(b"aaaaaaaa".as_slice()));
    assert_eq!(ufrag_of(&check("aaaaaaaa", "any", &[])), None);
    assert_eq!(ufrag_of(&request[..request.len() - 4]), None);
    assert_eq!(ufrag_of(&[]), None);
}

#[test]
fn the_crc_is_the_one_of_the_standard_check_string() {
    let request = check("aaaaaaaa:remote", "password-aaaaaaaa", &[Extra::Controlling]);
    let mut wrong = request.clone();
    *wrong.last_mut().unwrap() ^= 1;
    assert!(Request::parse(&request).is_ok());
    assert_eq!(Request::parse(&wrong).err(), Some(StunError::Fingerprint));
}

proptest! {
    #[test]
    fn no_bytes_panic_the_responder(mut bytes in proptest::collection::vec(any::<u8>(), 0..1500), stun: bool) {
        if stun && bytes.len() >= 20 {
            bytes.truncate(bytes.len() / 4 * 4);
            let length = (bytes.len() - 20) as u16;
            bytes[..2].copy_from_slice(&[0, 1]);
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..8].copy_from_slice(&0x2112_a442u32.to_be_bytes());
        }
        let mut reply = Vec::new();
        let mut ice = IceLite::new(&parameters("aaaaaaaa"));
        let _ = ufrag_of(&bytes);
        prop_assert!(ice.handle_request(now(), path(V4), &bytes, &mut reply).is_err());
        prop_assert!(reply.is_empty());
    }
}

enum Extra {
    Controlling,
    Controlled,
    UseCandidate,
    Raw(u16),
}

fn parameters(ufrag: &str) -> IceParameters {
    IceParameters {
        local_ufrag: ArrayString::from(ufrag).unwrap(),
        local_pwd: Zeroizing::new(format!("password-{ufrag}")),
        remote_ufrag: Some("remote".to_owned()),
    }
}

fn path(remote: &str) -> Path {
    Path { remote: remote.parse::<SocketAddr>().unwrap(), local: None }
}

fn credentials(password: &str) -> MessageIntegrityCredentials {
    ShortTermCredentials::new(password.to_owned()).into()
}

fn key(password: &str) -> IntegrityKey {
    credentials(password).make_key(IntegrityAlgorithm::Sha1)
}

fn nominate(ufrag: &str) -> Vec<u8> {
    let username = format!("{ufrag}:remote");
    check(&username, &format!("password-{ufrag}"), &[Extra::Controlling, Extra::UseCandidate])
}

/// A check as browsers send it.
fn check(username: &str, password: &str, extras: &[Extra]) -> Vec<u8> {
    let mut message = request(username, extras);
    message.add_attribute(&RawAttribute::new(AttributeType::new(0x0024), &[0x6e, 0x7f, 0x1e, 0xff])).unwrap();
    message.add_message_integrity_with_key(&key(password), IntegrityAlgorithm::Sha1).unwrap();
    message.add_fingerprint().unwrap();
    message.finish()
}

fn without_fingerprint(username: &str, password: &str) -> Vec<u8> {
    let mut message = request(username, &[Extra::Controlling]);
    message.add_message_integrity_with_key(&key(password), IntegrityAlgorithm::Sha1).unwrap();
    message.finish()
}

fn without_integrity(username: &str) -> Vec<u8> {
    let mut message = request(username, &[Extra::Controlling, Extra::UseCandidate]);
    message.add_fingerprint().unwrap();
    message.finish()
}

/// The shortest request that can be authentic.
fn bare(password: Option<&str>, username: &str, extras: &[Extra]) -> Vec<u8> {
    let mut message = request(username, extras);
    if let Some(password) = password {
        message.add_message_integrity_with_key(&key(password), IntegrityAlgorithm::Sha1).unwrap();
    }
    message.finish()
}

fn request(username: &str, extras: &[Extra]) -> MessageWriteVec {
    let mut message = Message::builder_request(BINDING, MessageWriteVec::new());
    message.add_attribute(&Username::new(username).unwrap()).unwrap();
    for extra in extras {
        let (kind, value): (u16, &[u8]) = match extra {
            Extra::Controlling => (0x802a, &[7; 8]),
            Extra::Controlled => (0x8029, &[7; 8]),
            Extra::UseCandidate => (0x0025, &[]),
            Extra::Raw(kind) => (*kind, &[]),
        };
        message.add_attribute(&RawAttribute::new(AttributeType::new(kind), value)).unwrap();
    }
    message
}

#[allow(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
fn now() -> Instant {
    Instant::now()
}
