//! What a server, a stranger or a past member may try.

use std::time::Duration;

use serde_json::{Value, json};
use sotto_signaling::message::ParticipantId;

use super::world::{Delivery, World};
use crate::clock::Moment;
use crate::e2ee::Link;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_hello_that_was_changed_in_any_field_is_refused_and_shown() {
    for field in ["identity", "key", "seq", "participant", "name", "signature", "mac"] {
        let mut world = World::of(1);
        world.add(1);
        world.meddle = Box::new(move |mut delivery: Delivery| {
            let mut message: Value = serde_json::from_str(&delivery.data).unwrap();
            if message["type"] == "hello" && delivery.from.0.0[0] == 1 {
                message[field] = match &message[field] {
                    Value::String(text) => {
                        text.replacen(|_| true, if text.starts_with('A') { "B" } else { "A" }, 1).into()
                    }
                    number => (number.as_u64().unwrap() + 1).into(),
                };
                delivery.data = message.to_string();
            }
            vec![delivery]
        });
        world.connect(1);
        world.pass(2 * SECOND);
        assert_eq!(world.member(0).trouble(), ["hello"], "{field}");
        assert!(world.roster(0).is_empty() && world.roster(1).is_empty());
        assert!(world.log.iter().all(|delivery| delivery.kind() != "key"));
    }
}

#[test]
fn a_holder_of_another_link_is_sent_no_key() {
    let mut world = World::of(2);
    world.link = Link::host([6; 32]).into();
    world.join(2);
    let stranger = world.id(2);
    assert!(world.member(0).trouble().iter().any(|why| why == "hello"));
    assert!(world.log.iter().all(|each| each.kind() != "key" || (each.from != stranger && each.to != stranger)));
    assert_eq!(world.film(2, 0), Err("unknown"));
    assert_eq!(world.roster(0).len(), 1);
}

#[test]
fn a_hello_over_another_connection_or_of_the_past_is_refused_and_shown() {
    let mut world = World::of(3);
    let hello = world.log.iter().find(|each| each.kind() == "hello" && each.from.0.0[0] == 2).cloned().unwrap();
    let other = world.id(1);
    world.deliver(0, other, &hello.data);
    assert_eq!(trouble(&mut world, 0), ["elsewhere"]);
    world.connect(2);
    world.pass(2 * SECOND);
    world.announce(0, hello.from);
    world.deliver(0, hello.from, &hello.data);
    assert_eq!(trouble(&mut world, 0), ["elsewhere", "replay"]);
    assert_eq!(world.roster(0).len(), 2);
}

#[test]
fn our_own_hello_played_back_is_not_somebody_else() {
    let mut world = World::of(2);
    let ours = world.log.iter().find(|each| each.kind() == "hello" && each.from.0.0[0] == 0).cloned().unwrap();
    let other = world.id(1);
    world.deliver(0, other, &ours.data);
    assert_eq!(trouble(&mut world, 0), ["identity"]);
}

#[test]
fn whoever_said_goodbye_does_not_come_back() {
    let mut world = World::of(3);
    let bye_said = world.log.len();
    world.bye(2);
    assert!(world.log[bye_said..].iter().any(|each| each.kind() == "bye"));
    let hello = world.log.iter().find(|each| each.kind() == "hello" && each.from.0.0[0] == 2).cloned().unwrap();
    world.announce(0, hello.from);
    world.deliver(0, hello.from, &hello.data);
    assert_eq!(trouble(&mut world, 0), ["replay"]);
    assert_eq!(world.roster(0).len(), 1);
}

#[test]
fn a_goodbye_in_somebody_elses_name_is_refused_and_shown() {
    let mut world = World::of(3);
    world.bye(2);
    let bye = world.log.iter().find(|each| each.kind() == "bye").cloned().unwrap();
    let other = world.id(1);
    world.deliver(0, other, &bye.data);
    assert_eq!(trouble(&mut world, 0), ["bye"]);
    assert_eq!(world.roster(0).len(), 1);
}

#[test]
fn a_pairwise_message_that_comes_twice_or_after_a_gap_is_refused_and_shown() {
    let mut world = World::of(2);
    let key = world.log.iter().find(|each| each.kind() == "key" && each.to.0.0[0] == 0).cloned().unwrap();
    world.deliver(0, key.from, &key.data);
    assert_eq!(trouble(&mut world, 0), ["pair"]);
    let (before, from) = (world.peer(0).sending(), world.id(1));
    let gap = key.data.replace("\"counter\":1", "\"counter\":9");
    assert!(gap != key.data);
    world.deliver(0, from, &gap);
    assert_eq!((world.peer(0).sending(), world.peer(0).refused()["pair"]), (before, 2));
    assert!(world.all_see_all());
}

#[test]
fn one_member_cannot_speak_in_anothers_name() {
    let mut world = World::of(3);
    world.say(1, "chat", json!({ "id": "1", "text": "it is me" }));
    let spoken = world.log.last().cloned().unwrap();
    let other = world.id(2);
    world.deliver(0, other, &spoken.data);
    assert_eq!(world.member(0).messages("chat").len(), 1);
    assert!(world.peer(0).refused().keys().any(|why| ["forged", "no-key", "replay"].contains(why)));
}

#[test]
fn strangers_and_nonsense_are_counted_and_change_nothing() {
    let mut world = World::of(2);
    let (now, from): (Moment, ParticipantId) = (world.now, world.id(1));
    let next = world.peer(0).next_timeout();
    let large = format!(r#"{{"v":1,"type":"hello","x":"{}"}}"#, "x".repeat(16_384));
    for wrong in ["", "{}", "[]", "7", r#"{"v":2,"type":"hello"}"#, r#"{"v":1,"type":7}"#, "{\"v\":1", &large] {
        world.peer(0).receive(now, from, wrong);
    }
    assert_eq!(world.peer(0).refused()["malformed"], 8);
    let mut stranger = from;
    stranger.0.0[7] = 1;
    world.peer(0).receive(now, stranger, r#"{"v":1,"type":"hello"}"#);
    world.peer(0).receive(now, from, r#"{"v":1,"type":"howdy"}"#);
    world.peer(0).receive(now, from, r#"{"v":1,"type":"key","counter":1.5,"box":"AAAA"}"#);
    world.peer(0).receive(now, from, r#"{"v":1,"type":"message","box":"****"}"#);
    let refused = world.peer(0).refused();
    assert_eq!((refused["stranger"], refused["type"], refused["unpaired"]), (1, 1, 2));
    assert_eq!(world.peer(0).next_timeout(), next);
    assert!(world.all_see_all());
}

#[test]
fn after_a_goodbye_nothing_is_said_sealed_or_due() {
    let mut world = World::of(2);
    world.bye(1);
    let (now, mut out) = (world.now, Vec::new());
    let frame = super::world::FRAME;
    let peer = world.peer(1);
    assert!(peer.next_timeout().is_none() && peer.poll().is_none() && peer.sending().is_none());
    let (stream, codec) = (sotto_signaling::message::Stream::Camera, crate::engine::Codec::Vp8);
    assert!(!peer.protect(stream, codec, &frame, &mut out));
    assert!(peer.say(now, "chat", json!({ "id": "1", "text": "still here" })).is_ok());
    assert!(peer.poll().is_none());
}

fn trouble(world: &mut World, name: u8) -> Vec<String> {
    world.quiet();
    world.member(name).trouble()
}
