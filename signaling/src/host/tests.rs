use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use super::*;

/// The hosts of two calls.
fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn hash(pair: &Ed25519KeyPair) -> Base64Url<16> {
    Base64Url(digest(&SHA256, pair.public_key().as_ref()).as_ref()[..16].try_into().unwrap())
}

const CALL: CallId = CallId(Base64Url([7; 16]));

fn identity(number: u8) -> Base64Url<32> {
    Base64Url([number; 32])
}

fn signed(pair: &Ed25519KeyPair, change: impl FnOnce(&mut HostState)) -> HostState {
    let mut state = HostState {
        key: Base64Url(pair.public_key().as_ref().try_into().unwrap()),
        host: identity(1),
        counter: 5,
        locked: true,
        admitted: vec![identity(2), identity(3)],
        removed: vec![identity(4)],
        signature: Base64Url([0; 64]),
    };
    change(&mut state);
    state.signature = Base64Url(pair.sign(&state.covered(&CALL)).as_ref().try_into().unwrap());
    state
}

fn checked(state: HostState) -> Option<Ruling> {
    state.check(&CALL, &hash(&pair(1))).ok()
}

fn ruling(change: impl FnOnce(&mut HostState)) -> Ruling {
    checked(signed(&pair(1), change)).expect("the host signed it")
}

#[test]
fn what_the_host_signed_is_taken() {
    let ruling = ruling(|_| {});
    assert!(ruling.state().locked && ruling.state().counter == 5);
}

#[test]
fn whatever_is_changed_in_a_state_it_is_not_the_hosts() {
    let changes: [fn(&mut HostState); 8] = [
        |state| state.key.0[0] ^= 1,
        |state| state.host = identity(9),
        |state| state.counter += 1,
        |state| state.locked = false,
        |state| state.admitted.truncate(1),
        |state| state.removed.clear(),
        |state| state.admitted[1] = identity(8),
        |state| state.signature.0[63] ^= 1,
    ];
    for change in changes {
        let mut state = signed(&pair(1), |_| {});
        change(&mut state);
        assert!(checked(state).is_none());
    }
    // A boundary between the lists that moves covers other bytes: each is a field.
    let mut moved = signed(&pair(1), |_| {});
    let first = moved.admitted.remove(1);
    moved.removed.insert(0, first);
    assert!(checked(moved).is_none());
}

#[test]
fn the_word_of_another_calls_host_counts_for_nothing() {
    assert!(checked(signed(&pair(2), |_| {})).is_none(), "a key that is not this call's");
    let state = signed(&pair(1), |_| {});
    assert!(state.clone().check(&CallId(Base64Url([8; 16])), &hash(&pair(1))).is_err(), "signed for another call");
    assert!(state.check(&CALL, &hash(&pair(2))).is_err(), "another host's call");
}

#[test]
fn lists_ascend_without_repetition_and_hold_at_most_128() {
    let list = |length: u8| (0..length).map(identity).collect::<Vec<_>>();
    assert!(checked(signed(&pair(1), |state| (state.admitted, state.removed) = (list(128), list(128)))).is_some());
    let changes: [fn(&mut HostState); 5] = [
        |state| state.admitted = (0..129).map(identity).collect(),
        |state| state.removed = (0..129).map(identity).collect(),
        |state| state.admitted = vec![identity(3), identity(2)],
        |state| state.removed = vec![identity(3), identity(2)],
        |state| state.removed = vec![identity(3), identity(3)],
    ];
    for change in changes {
        assert!(checked(signed(&pair(1), change)).is_none());
    }
}

#[test]
fn a_counter_is_one_that_every_client_can_write() {
    for (counter, taken) in [(0, false), (1, true), (MOST_COUNTED, true), (MOST_COUNTED + 1, false), (u64::MAX, false)]
    {
        assert_eq!(checked(signed(&pair(1), |state| state.counter = counter)).is_some(), taken, "{counter}");
    }
}

#[test]
fn the_higher_counter_wins_and_of_equals_the_greater_bytes_whoever_compares() {
    let old = ruling(|state| (state.counter, state.locked) = (4, true));
    let (open, locked) = (ruling(|state| state.locked = false), ruling(|_| {}));
    assert!(open > old && locked > old && locked > open);
    let other_device = ruling(|state| state.host = identity(2));
    assert!(other_device > locked, "the host's identity is covered before the rest");
    assert!(locked == ruling(|_| {}));
}

#[test]
fn while_it_is_locked_the_admitted_and_the_host_come_in_and_who_is_removed_never_does() {
    let locked = ruling(|state| state.admitted.push(identity(4)));
    let may = |ruling: &Ruling| [1, 2, 3, 4, 5].map(|number| ruling.admits(&identity(number)));
    assert_eq!(may(&locked), [true, true, true, false, false]);
    let open = ruling(|state| state.locked = false);
    assert_eq!(may(&open), [true, true, true, false, true]);
    let against_itself = ruling(|state| state.removed = vec![identity(1)]);
    assert!(!against_itself.admits(&identity(1)));
}

#[test]
fn what_is_signed_is_the_documented_bytes() {
    let state = signed(&pair(1), |state| (state.admitted, state.removed) = (vec![identity(2)], vec![]));
    let mut expected = [&[0, 18][..], b"sotto/1 host-state", &[0, 1, 0, 0, 16], &[7; 16], &[0, 32], &[1; 32]].concat();
    expected.extend([0, 8, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 1, 0, 32]);
    expected.extend([2; 32]);
    expected.extend([0, 0]);
    assert_eq!(state.covered(&CALL), expected);
}

/// Of the vectors on which page and load tester agree.
#[derive(Deserialize)]
struct Agreement {
    link: Link,
    host_states: Vec<HostState>,
    latest: usize,
}

#[derive(Deserialize)]
struct Link {
    call: String,
    host: String,
}

fn unhex(text: &str) -> Base64Url<16> {
    Base64Url(std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()))
}

#[test]
fn the_server_takes_what_page_and_load_tester_sign_and_puts_the_same_into_force() {
    for text in [
        include_str!("../../../tests/e2ee/vectors/agreement-page.json"),
        include_str!("../../../tests/e2ee/vectors/agreement-loadtest.json"),
    ] {
        let Agreement { link, host_states, latest } = serde_json::from_str(text).unwrap();
        let (call, host) = (CallId(unhex(&link.call)), unhex(&link.host));
        let rulings: Vec<Ruling> = host_states.into_iter().map(|state| state.check(&call, &host).unwrap()).collect();
        assert!(rulings.len() > 3 && rulings.iter().max() == Some(&rulings[latest]));
    }
}
