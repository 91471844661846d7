//! The page and peers in one call: they meet, exchange keys, frames and messages, and shut out whoever left.

use std::time::Duration;

use serde_json::json;

use super::world::{Told, World};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_page_and_two_peers_see_one_another_and_agree_on_the_code() {
    for page_at in 0..3 {
        let mut world = call_with_page(page_at);
        assert!(world.all_see_all(), "the page joined as number {page_at}");
        world.pass(45 * SECOND);
        assert!(world.all_see_all());
        let codes = [0, 1, 2].map(|name| world.code(name));
        assert!(codes[0] == codes[1] && codes[1] == codes[2], "{codes:?}");
        for name in 0..3 {
            assert_eq!(world.roster(name).len(), 2);
            assert_eq!(world.member(name).trouble(), NONE, "{name}");
        }
    }
}

#[test]
fn what_is_said_reaches_the_page_and_comes_from_it() {
    let mut world = call_with_page(1);
    for from in 0..3 {
        world.say(from, "chat", json!({ "id": from.to_string(), "text": "gr\u{fc}\u{df}e \u{1f44b}" }));
        world.say(from, "state", json!({ "hand": true }));
        world.say(from, "speaking", json!({ "on": true }));
    }
    world.pass(SECOND);
    for name in 0..3 {
        let member = world.member(name);
        let chat: Vec<_> = member.messages("chat").into_iter().map(|(_, body)| body["text"].clone()).collect();
        assert_eq!(chat, ["gr\u{fc}\u{df}e \u{1f44b}", "gr\u{fc}\u{df}e \u{1f44b}"]);
        assert_eq!(member.messages("state").len(), 2);
        assert!((2..=10).contains(&member.messages("speaking").len()));
    }
    world.join(3);
    assert!(world.member(3).messages("state").len() >= 3, "newcomers are told how it stands");
}

#[test]
fn what_a_member_who_left_holds_opens_nothing_more() {
    for leaver in 0..3 {
        let mut world = call_with_page(1);
        let left_id = world.id(leaver);
        let stayed: Vec<u8> = (0..3).filter(|&name| name != leaver).collect();
        let before: Vec<_> = stayed.iter().map(|&name| (world.id(name), world.seal(name))).collect();
        world.disconnect(leaver);
        world.pass(3 * SECOND);
        let after: Vec<_> = stayed.iter().map(|&name| (world.id(name), world.seal(name))).collect();
        for (from, sealed) in before {
            assert_eq!(world.render_from(from, leaver, &sealed), Ok(()), "it held the keys of its time");
        }
        for (from, sealed) in after {
            assert!(world.render_from(from, leaver, &sealed).is_err(), "{leaver} left");
        }
        assert!(world.all_see_all());
        for &name in &stayed {
            assert_eq!(world.member(name).switches().len(), 1, "{name} makes a key frame under the new generation");
            assert!(!world.roster(name).contains(&left_id));
        }
        assert_eq!(world.code(stayed[0]), world.code(stayed[1]));
    }
}

#[test]
fn whoever_says_goodbye_is_gone_for_both() {
    for leaver in [0, 1] {
        let mut world = call_with_page(1);
        world.bye(leaver);
        assert!(world.log.iter().any(|delivery| delivery.kind() == "bye"));
        world.pass(3 * SECOND);
        assert!(world.all_see_all());
        let (first, second) = if leaver == 0 { (1, 2) } else { (0, 2) };
        assert_eq!(world.code(first), world.code(second));
        assert_eq!((world.roster(first).len(), world.roster(second).len()), (1, 1));
    }
}

#[test]
fn the_page_and_peers_that_reconnect_are_known_again() {
    let mut world = call_with_page(2);
    for name in [0, 2, 1, 2] {
        world.connect(name);
        world.pass(4 * SECOND);
        assert!(world.all_see_all(), "{name} came back");
        let codes = [0, 1, 2].map(|name| world.code(name));
        assert!(codes[0] == codes[1] && codes[1] == codes[2], "{codes:?}");
    }
    for name in 0..3 {
        assert_eq!(world.member(name).trouble(), NONE, "{name}");
    }
}

#[test]
fn a_call_that_grows_through_more_steps_than_a_generation_has_stays_readable_to_both() {
    let mut world = call_with_page(1);
    for name in 3..14 {
        world.join(name);
        assert!(world.film(1, name).is_ok() && world.film(name, 1).is_ok(), "{name}");
        assert!(world.film(0, 1).is_ok() && world.film(1, 0).is_ok(), "{name}");
    }
    world.pass(3 * SECOND);
    assert!(world.all_see_all());
    assert!(world.peer(0).sending().is_some_and(|(generation, _)| generation == 1));
    assert!(!world.member(1).switches().is_empty());
}

#[test]
fn frames_and_messages_that_come_twice_or_changed_are_refused_by_both() {
    let mut world = call_with_page(1);
    for (from, to) in [(0, 1), (1, 0)] {
        let mut sealed = world.seal(from);
        assert_eq!(world.render(from, to, &sealed), Ok(()));
        assert!(world.render(from, to, &sealed).is_err());
        sealed = world.seal(from);
        let last = sealed.len() - 1;
        for at in [1, 10, 12, last] {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert!(world.render(from, to, &forged).is_err(), "byte {at}");
        }
        assert_eq!(world.render(from, to, &sealed), Ok(()), "what was forged used nothing up");
        world.say(from, "chat", json!({ "id": "1", "text": "once" }));
        let (from, spoken) = (world.id(from), world.log.last().expect("it was said").data.clone());
        world.deliver(to, from, &spoken);
        world.quiet();
        assert_eq!(world.member(to).messages("chat").len(), 1);
    }
}

#[test]
fn a_peer_is_called_by_the_page_as_it_calls_itself() {
    let mut world = call_with_page(1);
    let told = &world.member(1).told;
    let names = told.iter().rev().find_map(|(_, told)| match told {
        Told::Roster(all) => Some(all.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(names, Some(vec!["Peer 0".to_owned(), "Peer 2".to_owned()]));
    assert!(world.member(0).told.iter().any(|(_, told)| matches!(told, Told::Entered(_, name) if name == "Page 1")));
}

/// Three members of which one is the page.
fn call_with_page(page_at: u8) -> World {
    let mut world = World::new();
    for name in 0..3 {
        if name == page_at { world.join_page(name) } else { world.join(name) }
    }
    world
}

/// What nobody is shown when all is well.
const NONE: [&str; 0] = [];
