//! Who is there, who is gone, and whether all see the same.

use std::time::Duration;

use serde_json::json;

use super::world::{Told, World};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn three_members_see_one_another_agree_on_the_code_and_stay_silent_about_trouble() {
    let mut world = World::of(3);
    let codes = [0, 1, 2].map(|name| world.code(name));
    assert!(codes[0] == codes[1] && codes[1] == codes[2], "{codes:?}");
    assert!(codes[0].split(' ').all(|group| group.len() == 5 && group.bytes().all(|byte| byte.is_ascii_digit())));
    assert_eq!(codes[0].split(' ').count(), 6);
    assert!(world.all_see_all());
    world.pass(60 * SECOND);
    for name in 0..3 {
        assert_eq!(world.member(name).trouble(), NONE);
        assert_eq!(world.roster(name).len(), 2);
    }
}

#[test]
fn the_code_changes_with_the_roster() {
    let mut world = World::of(2);
    let two = world.code(0);
    world.join(2);
    assert!(world.code(0) != two && world.code(0) == world.code(2));
    world.disconnect(2);
    assert_eq!(world.code(0), two);
}

#[test]
fn alive_is_said_every_ten_seconds_and_soon_after_a_change() {
    let mut world = World::of(2);
    world.pass(30 * SECOND);
    world.log.clear();
    world.pass(60 * SECOND);
    let from = world.id(0);
    let said = world.log.iter().filter(|delivery| delivery.from == from).count();
    assert!((5..=6).contains(&said), "{said} in a minute");
    let (joined_at, before) = (world.now, world.log.len());
    world.join(2);
    let heard = world.log[before..].iter().find(|each| each.from == from && each.kind() == "message");
    assert!(heard.is_some_and(|each| each.at <= joined_at + 250 * MILLISECOND));
}

#[test]
fn whoever_falls_silent_for_three_intervals_has_left() {
    let mut world = World::of(3);
    world.pass(5 * SECOND);
    let silent = world.id(2);
    world.cut(2);
    world.pass(19 * SECOND);
    assert_eq!(world.roster(0).len(), 2, "it was heard within the ten seconds before");
    world.pass(13 * SECOND);
    for name in 0..2 {
        assert!(world.member(name).told.iter().any(|(_, told)| *told == Told::Left(silent)), "{name}");
        assert_eq!(world.peer(name).sending().map(|(generation, _)| generation), Some(1));
    }
    assert!(world.all_see_all());
}

#[test]
fn a_connection_that_never_proves_itself_is_shown_and_sent_nothing() {
    let mut world = World::of(2);
    let mut stranger = world.id(0);
    stranger.0.0[7] = 99;
    world.log.clear();
    world.announce(0, stranger);
    world.pass(7 * SECOND);
    assert_eq!(world.member(0).trouble(), ["silent"]);
    assert!(world.log.iter().all(|delivery| delivery.to != stranger));
}

#[test]
fn rosters_that_differ_for_five_seconds_are_shown_once() {
    let mut world = World::of(3);
    world.add(3);
    // The server keeps the newcomer from one of them.
    let (blind, before) = (world.id(1), [world.id(0), world.id(2)]);
    world.meddle = Box::new(move |delivery| {
        let from_newcomer = !before.contains(&delivery.from) && delivery.from != blind && delivery.to == blind;
        if from_newcomer { vec![] } else { vec![delivery] }
    });
    world.connect(3);
    world.pass(4 * SECOND);
    assert!(!world.member(0).trouble().iter().any(|why| why == "disagreement"));
    world.pass(30 * SECOND);
    for name in [0, 2] {
        let told = world.member(name).trouble().into_iter().filter(|why| *why == "disagreement").count();
        assert_eq!(told, 2, "{name}: of the one that does not see the newcomer, and of the newcomer");
    }
    assert!(world.member(1).trouble().iter().any(|why| why == "silent"));
}

#[test]
fn hints_leave_at_a_constant_rate_and_size_until_they_are_not_renewed() {
    let mut world = World::of(2);
    world.pass(30 * SECOND);
    world.log.clear();
    let began = world.now;
    for round in 0..8 {
        world.say(0, "speaking", if round % 2 == 0 { json!({ "on": true }) } else { json!({ "on": false, "n": 1 }) });
        world.pass(437 * MILLISECOND);
    }
    world.pass(10 * SECOND);
    let times: Vec<_> = world.member(1).messages("speaking").iter().map(|(at, _)| at.since(began)).collect();
    assert!(times.len() >= 17, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 250 * MILLISECOND), "{times:?}");
    assert!(times.last().is_some_and(|last| *last <= 437 * 7 * MILLISECOND + 1_500 * MILLISECOND), "{times:?}");
    let sizes = world.log.iter().filter(|each| each.at <= began + 5 * SECOND).map(|each| each.data.len());
    // But for the counter in the header, which grows by a byte, and for an `alive`.
    let hints = sizes.filter(|size| (228..=229).contains(size)).count();
    assert!(hints >= times.len(), "{hints} of {}", times.len());
}

#[test]
fn what_cannot_be_said_is_refused_with_the_reason() {
    let mut world = World::of(1);
    let now = world.now;
    let mut refused = |kind: &str, body| world.peer(0).say(now, kind, body).unwrap_err().to_string();
    assert!(refused("alive", json!({})).starts_with("the kind"));
    assert!(refused("state", json!(7)).starts_with("the body"));
    assert!(refused("chat", json!({ "text": "a" })).contains("`id`"));
    assert!(refused("unsend", json!({ "id": "x".repeat(65) })).contains("`id`"));
    assert!(refused("chat", json!({ "id": "1" })).contains("`text`"));
    assert!(refused("speaking", json!({ "level": "x".repeat(40) })).contains("too large"));
    assert!(refused("state", json!({ "x": "x".repeat(8_192) })).contains("too large"));
}

#[test]
fn a_reconnection_that_the_server_did_not_yet_tell_of_replaces_the_old_connection() {
    let mut world = World::of(2);
    world.pass(2 * SECOND);
    let old = world.id(0);
    world.cut(0);
    world.connect(0);
    world.pass(3 * SECOND);
    let new = world.id(0);
    assert!(world.roster(1) == [new]);
    let told = &world.member(1).told;
    let moved =
        told.iter().filter(|(_, told)| *told == Told::Left(old) || matches!(told, Told::Entered(id, _) if *id == new));
    assert_eq!(moved.count(), 2);
    assert!(world.all_see_all());
}

/// What nobody is shown when all is well.
const NONE: [&str; 0] = [];
