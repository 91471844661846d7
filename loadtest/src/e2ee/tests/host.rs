//! What the host says (rule 9): who may be in the call, checked by every member for itself.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Told, World};
use crate::e2ee::Link;
use crate::e2ee::bytes::to_base64url;
use crate::e2ee::envelope::write;
use crate::e2ee::host_state::{HostState, Said};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn whoever_the_host_removes_opens_nothing_more_and_is_never_keyed_again() {
    let mut world = World::of(3);
    let (before, removed, gone) = (world.code(0), world.identity(2), world.id(2));
    let state = state(&world, 1, true, &[world.identity(0), world.identity(1)], &[removed]);
    world.log.clear();
    for name in [0, 1] {
        host_says(&mut world, name, &state);
    }
    world.pass(2 * SECOND);
    let sealed = [0, 1].map(|name| (world.id(name), world.seal(name)));
    for (from, sealed) in sealed {
        assert!(world.render_from(from, 2, &sealed).is_err(), "the removed one holds no key of that time");
    }
    assert!(world.film(2, 0).is_err() && world.film(0, 1).is_ok() && world.film(1, 0).is_ok());
    assert!(world.code(0) != before && world.code(0) == world.code(1));
    world.connect(2);
    world.pass(7 * SECOND);
    let back = world.id(2);
    let keyed = |kind: &str, to| ["ready", "key", "tunnel"].contains(&kind) && (to == back || to == gone);
    assert!(world.log.iter().all(|each| !keyed(&each.kind(), each.to)));
    for name in [0, 1] {
        assert_eq!(world.roster(name).len(), 1);
        assert_eq!(world.member(name).trouble(), ["removed"], "{name}: the server lets in whom the host removed");
    }
}

#[test]
fn while_the_call_is_locked_only_who_is_admitted_is_keyed_and_then_at_once() {
    let mut world = World::of(2);
    let members = [world.identity(0), world.identity(1)];
    let locked = state(&world, 1, true, &members, &[]);
    all_hear(&mut world, &locked);
    world.log.clear();
    world.join(2);
    let stranger = world.id(2);
    assert!(world.roster(0).len() == 1 && world.roster(2).is_empty());
    assert!(world.log.iter().all(|each| each.to != stranger || !["ready", "key"].contains(&each.kind().as_str())));
    let admitted = state(&world, 2, true, &[members[0], members[1], world.identity(2)], &[]);
    all_hear(&mut world, &admitted);
    world.pass(2 * SECOND);
    assert!(world.all_see_all());
    assert!(world.code(0) == world.code(2) && world.code(1) == world.code(2));
    world.pass(30 * SECOND);
    for name in 0..3 {
        assert_eq!(world.member(name).trouble(), NONE, "{name}");
    }
}

#[test]
fn who_came_in_before_news_of_the_lock_is_taken_off_the_roster_until_it_is_admitted() {
    let mut world = World::of(2);
    world.pass(10 * SECOND);
    world.join(2);
    let [zero, one, two] = [0, 1, 2].map(|name| world.identity(name));
    let locked = state(&world, 1, true, &[zero, one], &[]);
    all_hear(&mut world, &locked);
    world.pass(2 * SECOND);
    assert!(world.roster(0) == [world.id(1)] && world.roster(1) == [world.id(0)]);
    let sealed = world.seal(0);
    assert!(world.render(0, 2, &sealed).is_err() && world.film(2, 0).is_err());
    let admitted = state(&world, 2, true, &[zero, one, two], &[]);
    all_hear(&mut world, &admitted);
    world.pass(3 * SECOND);
    assert!(world.all_see_all());
    assert!(world.code(0) == world.code(2));
}

#[test]
fn members_of_a_locked_call_who_reconnect_and_a_host_with_a_new_identity_get_in() {
    let mut world = World::of(3);
    world.pass(5 * SECOND);
    let mut members = [0, 1].map(|name| world.identity(name));
    members.sort_unstable();
    let locked = state(&world, 1, true, &members, &[]);
    all_hear(&mut world, &locked);
    world.connect(1);
    world.pass(3 * SECOND);
    assert!(world.all_see_all(), "one who is listed came back, one who is not stayed");
    world.add(3);
    world.connect(3);
    let said = Said { host: world.identity(3), counter: 2, locked: true, admitted: members.into(), removed: vec![] };
    let moved = sign(&world, said);
    all_hear(&mut world, &moved);
    world.pass(2 * SECOND);
    assert!(world.film(3, 0).is_ok() && world.film(0, 3).is_ok(), "the state itself names its host");
}

#[test]
fn newcomers_are_handed_the_host_state_by_those_who_are_there() {
    let mut world = World::of(2);
    let removed = [77; 32];
    let mut state = state(&world, 5, false, &[], &[removed]);
    all_hear(&mut world, &state);
    world.join(2);
    world.pass(30 * SECOND);
    for name in 0..3 {
        assert_eq!(world.member(name).trouble(), NONE, "{name} has the same counter in its digest");
    }
    state["counter"] = 4.into();
    let older = self::state(&world, 4, false, &[], &[world.identity(0)]);
    host_says(&mut world, 2, &older);
    assert_eq!(world.roster(2).len(), 2, "what it was handed is newer");
}

#[test]
fn a_state_that_the_server_keeps_from_somebody_is_a_disagreement() {
    let mut world = World::of(3);
    let state = state(&world, 1, false, &[], &[]);
    host_says(&mut world, 0, &state);
    host_says(&mut world, 1, &state);
    world.pass(4 * SECOND);
    assert_eq!(world.member(0).trouble(), NONE);
    world.pass(4 * SECOND);
    for name in [0, 1] {
        assert_eq!(world.member(name).trouble(), ["disagreement"], "{name}, of the one that was not told");
    }
    assert_eq!(world.member(2).trouble(), ["disagreement", "disagreement"]);
}

#[test]
fn the_higher_counter_wins_and_of_two_with_one_counter_the_same_one_everywhere() {
    let mut world = World::of(3);
    let [zero, one, two] = [0, 1, 2].map(|name| world.identity(name));
    let (fewer, more) = (state(&world, 3, false, &[], &[]), state(&world, 3, true, &[zero, one, two], &[]));
    for (name, states) in [(0, [&fewer, &more]), (1, [&more, &fewer]), (2, [&more, &more])] {
        states.into_iter().for_each(|state| host_says(&mut world, name, state));
    }
    let old = state(&world, 2, true, &[], &[two]);
    all_hear(&mut world, &old);
    world.join(3);
    for name in 0..3 {
        assert_eq!(world.roster(name).len(), 2, "{name} keeps the newcomer out and removes nobody");
    }
}

#[test]
fn what_the_host_did_not_sign_or_not_in_its_one_form_is_refused_and_shown() {
    let mut world = World::of(2);
    let (zero, one) = (world.identity(0), world.identity(1));
    let whole = state(&world, 1, false, &[[1; 32], [2; 32]], &[zero]);
    let changed = |field: &str, value: Value| {
        let mut state = whole.clone();
        state[field] = value;
        state
    };
    let signed = |admitted: &[[u8; 32]], counter| {
        let said = Said { host: zero, counter, locked: false, admitted: admitted.into(), removed: vec![zero] };
        serde_json::to_value(sign_with(&world.link, &world.link, said).written()).unwrap()
    };
    let other = Link::host([6; 32]);
    let said = Said { host: zero, counter: 1, locked: false, admitted: vec![], removed: vec![zero] };
    let mut many: Vec<_> = (0..129).map(|n| [n; 32]).collect();
    many.sort_unstable();
    let wrong = [
        changed("counter", 2.into()),
        changed("counter", 1.5.into()),
        changed("locked", true.into()),
        changed("locked", 0.into()),
        changed("host", to_base64url(&one).into()),
        changed("admitted", json!([])),
        changed("removed", json!([to_base64url(&one)])),
        changed("signature", to_base64url(&[0; 64]).into()),
        changed("key", to_base64url(&[1; 32]).into()),
        changed("removed", Value::Null),
        serde_json::to_value(sign_with(&other, &world.link, said.clone()).written()).unwrap(),
        serde_json::to_value(sign_with(&world.link, &other, said).written()).unwrap(),
        signed(&[[2; 32], [1; 32]], 1),
        signed(&[[1; 32], [1; 32]], 1),
        signed(&many, 1),
        signed(&[], 0),
        signed(&[], 1 << 53),
    ];
    for (n, state) in wrong.iter().enumerate() {
        host_says(&mut world, 1, state);
        assert_eq!(world.peer(1).refused()["host-state"], n as u64 + 1, "{n}");
    }
    assert_eq!(world.member(1).trouble(), ["host-state"]);
    assert_eq!(world.roster(1).len(), 1);
    host_says(&mut world, 1, &whole);
    assert!(world.roster(1).is_empty(), "the one that is whole counts");
}

#[test]
fn a_forged_state_inside_ready_is_refused_and_its_sender_is_known_all_the_same() {
    let mut world = World::of(1);
    let said = Said { host: [1; 32], counter: 9, locked: false, admitted: vec![], removed: vec![] };
    let other = Link::host([6; 32]);
    let forged = sign_with(&other, &world.link, said);
    world.add(1);
    world.peer(1).hand_on(forged);
    world.connect(1);
    world.pass(SECOND);
    assert_eq!(world.member(0).trouble(), ["host-state"]);
    assert_eq!(world.roster(0).len(), 1);
}

#[test]
fn a_mute_counts_from_the_host_alone() {
    let mut world = World::of(3);
    world.say(1, "mute", json!({}));
    let state = state(&world, 1, false, &[], &[]);
    all_hear(&mut world, &state);
    world.say(1, "mute", json!({}));
    assert_eq!(world.peer(2).refused()["host"], 2);
    assert!(world.member(2).messages("mute").is_empty());
    world.say(0, "mute", json!({}));
    assert_eq!((world.member(2).messages("mute").len(), world.member(1).messages("mute").len()), (1, 1));
}

#[test]
fn whoever_is_told_that_it_was_removed_says_and_opens_nothing_more() {
    let mut world = World::of(2);
    let state = state(&world, 1, true, &[], &[world.identity(1)]);
    let sealed = world.seal(0);
    world.log.clear();
    host_says(&mut world, 1, &state);
    assert!(world.member(1).told.iter().any(|(_, told)| *told == Told::Removed));
    assert!(world.render(0, 1, &sealed).is_err());
    world.pass(30 * SECOND);
    let id = world.id(1);
    assert!(world.log.iter().all(|each| each.from != id), "not even a goodbye");
}

#[test]
fn the_page_as_host_locks_admits_mutes_and_removes_and_the_peers_keep_to_it() {
    let mut world = World::new();
    world.join_host(0);
    world.join(1);
    world.join(2);
    world.pass(6 * SECOND);
    assert!(world.all_see_all());
    world.host(0, "lock", json!({ "on": true }));
    world.join(3);
    for name in [0, 1, 2] {
        assert_eq!(world.roster(name).len(), 2, "{name} keeps out whom the server let in");
    }
    let newcomer = world.id(3);
    world.host(0, "admit", json!({ "participant": newcomer }));
    world.pass(3 * SECOND);
    assert!(world.all_see_all());
    let codes = [0, 1, 2, 3].map(|name| world.code(name));
    assert!(codes.iter().all(|code| *code == codes[0]), "{codes:?}");
    world.host(0, "muteAll", json!({}));
    for name in 1..=3 {
        assert_eq!(world.member(name).messages("mute").len(), 1, "{name}");
    }
    let removed = world.id(1);
    world.host(0, "remove", json!({ "participant": removed }));
    world.pass(2 * SECOND);
    assert!(world.member(1).told.iter().any(|(_, told)| *told == Told::Removed));
    assert!(world.film(0, 2).is_ok() && world.film(2, 3).is_ok() && world.film(2, 1).is_err());
    world.pass(40 * SECOND);
    for name in [2, 3] {
        assert_eq!(world.roster(name).len(), 2, "{name}");
        assert!(
            !world.member(name).trouble().iter().any(|why| why == "disagreement"),
            "{name} counts as the page does"
        );
    }
    assert!(!world.member(0).trouble().iter().any(|why| why == "disagreement"));
}

/// A state of the world's host, who is member 0, signed.
fn state(world: &World, counter: u64, locked: bool, admitted: &[[u8; 32]], removed: &[[u8; 32]]) -> Value {
    let (mut admitted, mut removed) = (admitted.to_vec(), removed.to_vec());
    admitted.sort_unstable();
    removed.sort_unstable();
    sign(world, Said { host: world.identity(0), counter, locked, admitted, removed })
}

fn sign(world: &World, said: Said) -> Value {
    serde_json::to_value(sign_with(&world.link, &world.link, said).written()).expect("it is JSON")
}

/// Signed for the second link's call by the first link's host.
fn sign_with(host: &Link, call: &Link, said: Said) -> HostState {
    HostState::sign(call, &host.host_key().expect("the link is the host's"), said)
}

fn all_hear(world: &mut World, state: &Value) {
    for name in world.connected() {
        host_says(world, name, state);
    }
}

/// A member is handed a host state by somebody else.
fn host_says(world: &mut World, to: u8, state: &Value) {
    let from = world.connected().into_iter().find(|&name| name != to).expect("there are others");
    let (from, data) = (world.id(from), write("host-state", json!({ "state": state })));
    world.deliver(to, from, &data);
    world.quiet();
}

/// What nobody is shown when all is well.
const NONE: [&str; 0] = [];
