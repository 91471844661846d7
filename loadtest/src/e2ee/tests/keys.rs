//! Sender keys: who is sent which, and when they change.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::world::{Delivery, World};

const SECOND: Duration = Duration::from_secs(1);
/// What nobody is shown when all is well.
const NONE: [&str; 0] = [];
const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn a_newcomer_cannot_read_what_came_before() {
    let mut world = World::of(2);
    let before = world.seal(0);
    world.join(2);
    assert_eq!(world.render(0, 2, &before), Err("no-key"));
    assert_eq!(world.render(0, 1, &before), Ok(()));
    assert!(world.all_see_all());
    assert_eq!(world.peer(0).sending(), Some((0, 1)), "one step further in the same generation");
}

#[test]
fn entering_costs_one_key_message_for_each_pair() {
    let mut world = World::of(5);
    world.log.clear();
    world.join(5);
    let keys: Vec<_> = world.log.iter().filter(|delivery| delivery.kind() == "key").collect();
    let (to, from) = (world.id(5), world.id(5));
    assert_eq!(keys.len(), 10);
    assert!(keys.iter().all(|delivery| delivery.to == to || delivery.from == from));
    assert_eq!(keys.iter().filter(|delivery| delivery.from == from).count(), 5);
}

#[test]
fn changes_within_a_second_are_one_change() {
    let mut world = World::of(3);
    world.pass(5 * SECOND);
    let before = world.peer(0).sending();
    for name in 3..8 {
        world.add(name);
        world.connect(name);
        world.pass(150 * MILLISECOND);
    }
    world.pass(2 * SECOND);
    assert!(world.all_see_all());
    let ((_, before), (generation, step)) = (before.unwrap(), world.peer(0).sending().unwrap());
    assert_eq!(generation, 0);
    assert_eq!(step - before, 2, "the first comer at once, the others together");
}

#[test]
fn a_fresh_generation_is_used_once_all_who_stayed_have_it() {
    let mut world = World::of(4);
    world.pass(5 * SECOND);
    world.disconnect(3);
    assert_eq!(world.peer(0).sending().map(|(generation, _)| generation), Some(1), "everyone acknowledged at once");
    assert_eq!(world.member(0).switches(), [world.now]);
    assert!(world.all_see_all());
}

#[test]
fn a_fresh_generation_is_used_two_seconds_after_a_departure_at_the_latest() {
    let mut world = World::of(4);
    world.pass(5 * SECOND);
    world.slow = vec![(world.id(2), world.id(0))];
    let left_at = world.now;
    world.disconnect(3);
    world.pass(1_999 * MILLISECOND);
    assert_eq!(world.member(0).switches(), []);
    assert_eq!(world.film(0, 1), Ok(()));
    world.pass(10 * MILLISECOND);
    assert_eq!(world.member(0).switches(), [left_at + 2 * SECOND]);
    assert_eq!((world.film(0, 1), world.film(0, 2)), (Ok(()), Ok(())));
}

#[test]
fn a_generation_that_somebody_took_along_is_never_used() {
    let mut world = World::of(5);
    world.pass(5 * SECOND);
    // Nobody acknowledges: the first departure's generation is pending when the second comes.
    world.slow = (1..5).map(|name| (world.id(name), world.id(0))).collect();
    let (gone, departed_at) = (world.id(3), world.now);
    world.disconnect(4);
    world.pass(500 * MILLISECOND);
    world.disconnect(3);
    world.pass(5 * SECOND);
    let (generation, _) = world.peer(0).sending().unwrap();
    assert_eq!(generation, 2);
    assert!(world.member(0).switches() == [departed_at + 2 * SECOND], "the first who left is not kept waiting for");
    let pending = world.log.iter().any(|each| each.kind() == "key" && each.to == gone && each.at == departed_at);
    assert!(pending, "it was sent what was pending");
    let sealed = world.seal(0);
    let from = world.id(0);
    for leaver in [3, 4] {
        assert_eq!(world.render_from(from, leaver, &sealed), Err("no-key"));
    }
    world.hurry();
    assert!(world.all_see_all());
}

#[test]
fn a_newcomer_while_a_generation_is_pending_is_sent_that_one_alone() {
    let mut world = World::of(3);
    world.pass(5 * SECOND);
    world.slow = vec![(world.id(1), world.id(0))];
    world.disconnect(2);
    world.log.clear();
    world.add(3);
    world.connect(3);
    let (from, to) = (world.id(0), world.id(3));
    let sealed = world.seal(0);
    assert_eq!(world.render(0, 3, &sealed), Err("no-key"));
    world.pass(3 * SECOND);
    let keys = world.log.iter().filter(|each| each.kind() == "key" && each.from == from && each.to == to).count();
    assert_eq!((keys, world.peer(0).sending()), (1, Some((1, 0))));
    world.hurry();
    assert!(world.all_see_all());
}

#[test]
fn the_old_generation_is_erased_two_seconds_after_the_new_one_is_seen_and_not_before() {
    let mut world = World::of(3);
    world.pass(5 * SECOND);
    let [early, late, lost] = [world.seal(0), world.seal(0), world.seal(0)];
    world.disconnect(2);
    world.pass(SECOND);
    // An `alive` under the new generation was the first authenticated frame.
    assert_eq!(world.render(0, 1, &early), Ok(()));
    world.pass(900 * MILLISECOND);
    assert_eq!(world.render(0, 1, &late), Ok(()));
    world.pass(200 * MILLISECOND);
    assert_eq!(world.render(0, 1, &lost), Err("no-key"));
    assert_eq!(world.film(0, 1), Ok(()));
}

#[test]
fn a_forged_key_id_moves_nothing_on() {
    let mut world = World::of(2);
    world.pass(5 * SECOND);
    let mut forged = world.seal(0);
    forged[10] = 0x98; // a KID of two bytes and a counter of one,
    forged.splice(11..11, [8, 1, 200]); // generation 0, step 8, stream 1
    assert_eq!(world.render(0, 1, &forged), Err("forged"));
    world.pass(5 * SECOND);
    assert_eq!(world.film(0, 1), Ok(()));
}

#[test]
fn steps_below_one_that_was_shown_are_erased() {
    let mut world = World::of(2);
    world.pass(5 * SECOND);
    let [early, late] = [world.seal(0), world.seal(0)];
    world.join(2);
    assert_eq!(world.render(0, 1, &early), Ok(()), "1.5 s after");
    world.pass(SECOND);
    assert_eq!(world.render(0, 1, &late), Err("no-key"));
}

#[test]
fn a_reconnection_starts_a_generation_and_a_counter() {
    let mut world = World::of(3);
    world.pass(5 * SECOND);
    let before = world.peer(0).sending().unwrap();
    world.connect(0);
    world.pass(3 * SECOND);
    assert!(world.peer(0).sending().unwrap().0 > before.0);
    assert!(world.all_see_all());
    assert_eq!(world.member(1).trouble(), NONE);
}

#[test]
fn a_stream_is_not_taken_for_another() {
    use crate::engine::Codec;
    use sotto_signaling::message::Stream;
    let mut world = World::of(2);
    let (now, from, mut sealed, mut out) = (world.now, world.id(0), Vec::new(), Vec::new());
    assert!(world.peer(0).protect(Stream::Microphone, Codec::Opus, b"voice", &mut sealed));
    let opened = world.peer(1).open(from, Stream::ScreenAudio, Codec::Opus, &sealed, &mut out, now);
    assert_eq!(opened.map_err(|why| why.name()), Err("stream"));
    let opened = world.peer(1).open(from, Stream::Microphone, Codec::Opus, &sealed, &mut out, now).unwrap();
    assert_eq!((out.as_slice(), opened.counter), (b"voice".as_slice(), 0));
    for (codec, short) in [(Codec::Vp8, &[0x50, 1][..]), (Codec::Opus, &[])] {
        assert!(!world.peer(0).protect(Stream::Camera, codec, short, &mut sealed), "{codec:?}");
    }
}

#[test]
fn a_key_that_was_lost_is_not_acknowledged_and_the_frames_say_so() {
    let mut world = World::of(2);
    let deaf = 2;
    world.add(deaf);
    world.meddle =
        Box::new(
            move |delivery: Delivery| {
                if delivery.kind() == "key" && delivery.to.0.0[0] == deaf { vec![] } else { vec![delivery] }
            },
        );
    world.connect(deaf);
    world.pass(4 * SECOND);
    for _ in 0..12 {
        assert_eq!(world.film(0, deaf), Err("no-key"));
        world.pass(100 * MILLISECOND);
    }
    let told = world.member(deaf).trouble();
    assert_eq!(told.iter().filter(|why| *why == "no-key").count(), 1, "told once, after a second of nothing else");
    assert!(told.iter().any(|why| why == "pair"), "the gap in what the other said is shown too");
    assert_eq!(world.film(deaf, 0), Ok(()));
}

/// What may happen in a call.
#[derive(Clone, Debug)]
enum Step {
    Join,
    Leave(u8),
    Bye(u8),
    Reconnect(u8),
    Say(u8),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Join),
        2 => any::<u8>().prop_map(Step::Leave),
        1 => any::<u8>().prop_map(Step::Bye),
        2 => any::<u8>().prop_map(Step::Reconnect),
        1 => any::<u8>().prop_map(Step::Say),
        6 => (0_u16..3_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever order they come and go in, those who stay end up reading one another, and those who left nothing.
    #[test]
    fn those_who_stay_read_one_another_and_those_who_left_read_nothing(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::of(2);
        let (mut next, mut left) = (2_u8, Vec::new());
        for step in steps {
            let connected = world.connected();
            let pick = |at: u8| connected.get(usize::from(at) % connected.len().max(1)).copied();
            match step {
                Step::Join if connected.len() < 6 => {
                    world.add(next);
                    world.connect(next);
                    next += 1;
                }
                Step::Leave(at) => left.extend(pick(at).inspect(|&name| world.disconnect(name))),
                Step::Bye(at) => left.extend(pick(at).inspect(|&name| world.bye(name))),
                Step::Reconnect(at) => pick(at).into_iter().for_each(|name| world.connect(name)),
                Step::Say(at) => pick(at).into_iter().for_each(|name| {
                    world.say(name, "chat", json!({ "id": "1", "text": "hello" }));
                }),
                Step::Wait(time) => world.pass(MILLISECOND * u32::from(time)),
                Step::Join => {}
            }
        }
        world.pass(6 * SECOND);
        prop_assert!(world.all_see_all());
        for name in world.connected() {
            prop_assert_eq!(world.roster(name).len() + 1, world.connected().len());
            prop_assert_eq!(world.member(name).trouble(), NONE);
            let (from, sealed) = (world.id(name), world.seal(name));
            for &leaver in &left {
                prop_assert!(world.render_from(from, leaver, &sealed).is_err());
            }
        }
    }
}
