//! Who comes in, waits and is removed by the host's word.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use super::*;
use crate::host::{HostState, Ruling};
use crate::message::CallId;

/// The word of the one host in these tests. Identities are those of the participants with these numbers.
fn word(counter: u64, locked: bool, admitted: &[u64], removed: &[u64]) -> Ruling {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
    let list = |numbers: &[u64]| numbers.iter().map(|number| identity(*number)).collect();
    let (admitted, removed, signature) = (list(admitted), list(removed), Base64Url([0; 64]));
    let mut state = HostState { key: Base64Url(key), host: identity(1), counter, locked, admitted, removed, signature };
    let call = CallId(Base64Url([0; 16]));
    state.signature = Base64Url(pair.sign(&state.covered(&call)).as_ref().try_into().unwrap());
    let hash = Base64Url(digest(&SHA256, &key).as_ref()[..16].try_into().unwrap());
    state.check(&call, &hash).unwrap()
}

impl World {
    fn rule(&mut self, ruling: Ruling) -> Result<Ruled, RoomError> {
        let mut effects = Vec::new();
        let ruled = self.room.rule(ruling, &mut effects);
        assert!(ruled == Ok(Ruled::Changed) || effects.is_empty(), "what changes nothing has an effect");
        self.apply(effects);
        ruled
    }

    fn knock(&mut self, key: ParticipantKey, data: &str) {
        let mut effects = Vec::new();
        self.room.knock(key, data.into(), &mut effects);
        self.apply(effects);
    }

    /// What this one heard since it was asked last, but for who came and went.
    fn heard_of(&mut self, key: ParticipantKey) -> Vec<String> {
        let heard = self.heard.remove(&key).unwrap_or_default();
        let word = |message: &ServerMessage| match message {
            ServerMessage::Waiting { .. } => Some("waiting".to_owned()),
            ServerMessage::Knock { data, .. } => Some(format!("knock {data}")),
            ServerMessage::KnockEnd { .. } => Some("knock-end".to_owned()),
            _ => None,
        };
        heard.iter().filter_map(word).collect()
    }

    fn is_in(&self, key: ParticipantKey) -> bool {
        self.room.members.contains_key(&key) && self.ids.contains_key(&key)
    }
}

/// A host and one other in a call that the host has locked.
fn locked() -> (World, ParticipantKey, ParticipantKey) {
    let (mut world, ana, ben) = two();
    assert_eq!(world.rule(word(1, true, &[1, 2], &[])), Ok(Ruled::Changed));
    (world, ana, ben)
}

#[test]
fn who_comes_to_a_locked_call_waits_until_the_host_admits_it() {
    let (mut world, ana, ben) = locked();
    let cai = world.join(3).unwrap();
    assert!(!world.is_in(cai) && world.room.waits(cai));
    assert_eq!(world.heard_of(cai), ["waiting"]);
    assert_eq!(world.room.size().participants, 2);
    world.rule(word(2, true, &[1, 2, 3], &[])).unwrap();
    assert!(world.is_in(cai) && !world.room.waits(cai));
    world.check();
    assert!(world.is_in(ana) && world.is_in(ben));
}

#[test]
fn unlocking_lets_in_all_who_wait_but_the_removed() {
    let (mut world, ..) = locked();
    let waiting = [3, 4, 5].map(|number| world.join(number).unwrap());
    world.rule(word(2, false, &[], &[4])).unwrap();
    assert_eq!(waiting.map(|key| world.is_in(key)), [true, false, true]);
    assert!(world.ended == [(waiting[1], ErrorCode::Removed)]);
    world.check();
}

#[test]
fn a_knock_reaches_the_members_and_those_who_join_later_until_it_is_answered() {
    let (mut world, ana, ben) = locked();
    let (cai, dee) = (world.join(3).unwrap(), world.join(4).unwrap());
    world.knock(cai, "first");
    world.knock(cai, "second");
    assert_eq!(world.heard_of(ana), ["knock first", "knock second"]);
    assert_eq!(world.heard_of(dee), ["waiting"], "who waits hears no other");
    world.rule(word(2, true, &[1, 2, 4], &[])).unwrap();
    assert_eq!(world.heard_of(dee), ["knock second"]);
    assert!(world.heard_of(ana).is_empty(), "who never knocked needs no end of it");
    world.rule(word(3, true, &[1, 2, 4], &[3])).unwrap();
    assert_eq!([ana, ben, dee].map(|key| world.heard_of(key).pop()), [(); 3].map(|()| Some("knock-end".to_owned())));
    assert!(world.ended == [(cai, ErrorCode::Removed)]);
}

#[test]
fn who_waits_and_goes_takes_its_knock_along() {
    let (mut world, ana, _) = locked();
    let cai = world.join(3).unwrap();
    world.knock(cai, "x");
    world.leave(cai);
    assert_eq!(world.heard_of(ana), ["knock x", "knock-end"]);
    assert_eq!(world.room.size().waiting, 0);
}

#[test]
fn a_knock_from_inside_is_heard_by_nobody() {
    let (mut world, ana, ben) = locked();
    world.knock(ben, "x");
    assert!(world.heard_of(ana).is_empty());
}

#[test]
fn who_is_removed_leaves_at_once_and_does_not_come_back() {
    let (mut world, ana, ben) = two();
    world.publish(ben, Stream::Camera).unwrap();
    world.subscribe(ana, ben, Stream::Camera, 360).unwrap();
    world.acknowledge_all();
    world.rule(word(1, true, &[1], &[2])).unwrap();
    assert!(world.ended == [(ben, ErrorCode::Removed)] && !world.is_in(ben));
    assert!(world.forwarded.is_empty() && world.shown.is_empty(), "what it sent is forwarded no more");
    world.check();
    assert_eq!(
        world.run(|room, effects| {
            let id = ParticipantId(Base64Url([9; 8]));
            room.join(ParticipantKey(9), id, identity(2), effects).map(drop)
        }),
        Err(RoomError::Removed)
    );
    world.rule(word(2, false, &[], &[2])).unwrap();
    assert_eq!(world.room.closed_to(&identity(2)).err(), Some(RoomError::Removed), "unlocking forgives nobody");
}

#[test]
fn who_came_in_while_the_lock_was_under_way_comes_again_and_waits() {
    let (mut world, _, ben) = two();
    world.rule(word(1, true, &[1], &[])).unwrap();
    assert!(world.ended == [(ben, ErrorCode::Ended)]);
    let again = world.join(2).unwrap();
    assert!(world.room.waits(again));
}

#[test]
fn a_member_who_reconnects_to_a_locked_call_gets_back_in() {
    let (mut world, _, ben) = locked();
    world.leave(ben);
    let again = world.join(2).unwrap();
    assert!(world.is_in(again));
}

#[test]
fn an_older_state_is_refused_and_the_one_in_force_changes_nothing() {
    let (mut world, ana, _) = locked();
    let old = word(1, true, &[1, 2], &[]);
    world.rule(word(3, true, &[1], &[2])).unwrap();
    assert_eq!(world.rule(old), Err(RoomError::Host));
    assert_eq!(world.rule(word(2, false, &[], &[])), Err(RoomError::Host));
    assert_eq!(world.rule(word(3, true, &[1], &[2])), Ok(Ruled::Known));
    assert!(world.is_in(ana) && world.room.closed_to(&identity(2)).is_err());
}

#[test]
fn of_two_states_with_one_counter_the_same_wins_in_either_order() {
    let one = word(2, true, &[1, 2, 3], &[]);
    let other = word(2, true, &[1, 2, 4], &[]);
    for states in [[&one, &other], [&other, &one]] {
        let (mut world, ..) = locked();
        let (cai, dee) = (world.join(3).unwrap(), world.join(4).unwrap());
        for state in states {
            let _ = world.rule(state.clone());
        }
        assert!(world.is_in(dee));
        assert!(!world.is_in(cai), "let in by the first, it was not by the one that counts");
    }
}

#[test]
fn a_host_who_comes_back_as_another_waits_and_lets_itself_in() {
    let (mut world, ..) = locked();
    let again = world.join(5).unwrap();
    let told = world.heard[&again].iter().find_map(|message| match message {
        ServerMessage::Waiting { state, .. } => Some(state.counter),
        _ => None,
    });
    assert_eq!(told, Some(1), "it needs the counter to go on from");
    world.rule(word(2, true, &[1, 2, 5], &[])).unwrap();
    assert!(world.is_in(again));
}

#[test]
fn no_more_wait_than_may_and_they_take_no_seat_from_members() {
    let (mut world, _, ben) = locked();
    for number in 3..6 {
        world.join(number).unwrap();
    }
    assert_eq!(world.join(6), Err(RoomError::Full));
    world.leave(ben);
    assert!(world.join(2).is_ok_and(|key| world.is_in(key)), "a member still gets in");
    let again = world.join(3).unwrap();
    assert!(world.room.waits(again), "one's own reconnection takes one's own place");
    assert_eq!(world.room.size().waiting, 3);
}

#[test]
fn a_full_call_does_not_hold_more_than_it_may_when_all_are_let_in() {
    let mut world = World::new(Caps { participants: 3, ..CAPS });
    world.join(1).unwrap();
    world.rule(word(1, true, &[1], &[])).unwrap();
    let waiting = [2, 3, 4].map(|number| world.join(number).unwrap());
    world.rule(word(2, false, &[], &[])).unwrap();
    assert_eq!(waiting.map(|key| world.is_in(key)), [true, true, false]);
    assert!(world.ended == [(waiting[2], ErrorCode::Full)]);
}

#[test]
fn with_the_last_participant_the_state_is_forgotten_and_who_waits_is_told() {
    let (mut world, ana, ben) = locked();
    let cai = world.join(3).unwrap();
    world.leave(ana);
    assert!(world.ended.is_empty());
    world.leave(ben);
    assert!(world.ended == [(cai, ErrorCode::Ended)]);
    assert_eq!(world.room.size(), RoomSize::default());
    let dee = world.join(4).unwrap();
    assert!(world.is_in(dee), "what begins now is another call");
    assert_eq!(world.rule(word(1, false, &[], &[])), Ok(Ruled::Changed));
}

#[test]
fn a_host_who_removes_everyone_ends_the_call_for_all() {
    let (mut world, ana, ben) = locked();
    let cai = world.join(3).unwrap();
    world.rule(word(2, true, &[], &[1, 2])).unwrap();
    assert!(world.ended == [(ana, ErrorCode::Removed), (ben, ErrorCode::Removed), (cai, ErrorCode::Ended)]);
}

#[test]
fn one_who_waits_neither_hears_the_call_nor_is_heard_in_it() {
    let (mut world, ana, ben) = locked();
    let cai = world.join(3).unwrap();
    world.heard.clear();
    let mut effects = Vec::new();
    world.room.relay(cai, None, "x".into(), &mut effects);
    world.room.relay(ana, Some(ParticipantId(Base64Url(3_u64.to_be_bytes()))), "x".into(), &mut effects);
    assert!(effects.is_empty());
    world.publish(ana, Stream::Camera).unwrap();
    world.publish(cai, Stream::Camera).unwrap();
    assert!(world.subscribe(ben, ana, Stream::Camera, 1).is_ok());
    assert!(!world.heard.contains_key(&cai));
    world.check();
}
