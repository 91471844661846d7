use std::collections::HashMap as Map;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

mod door;
mod tunnel;

const CAPS: Caps = Caps { participants: 5, publications: 12, pairs: 4, waiting: 3, tunnel: true };

/// A room with what its clients and the media plane believe, rebuilt from effects alone.
struct World {
    room: Room,
    ids: Map<ParticipantKey, ParticipantId>,
    /// What each client was last told of its slots.
    shown: Map<(ParticipantKey, String), (u32, ParticipantId, Stream)>,
    /// Everything that was ever assigned and not yet acknowledged, stale or not.
    to_acknowledge: Vec<(ParticipantKey, String, u32)>,
    /// What the media plane forwards.
    forwarded: Map<(ParticipantKey, String), PublishedMid>,
    pairs: Map<ParticipantKey, u32>,
    /// Who has a leg of a tunnel to whom.
    legs: Map<ParticipantKey, ParticipantKey>,
    detached: Vec<ParticipantKey>,
    ended: Vec<(ParticipantKey, ErrorCode)>,
    /// Everything that each was told, those outside too.
    heard: Map<ParticipantKey, Vec<ServerMessage>>,
    /// What each client knows to be published.
    roster: Map<ParticipantKey, Vec<(ParticipantId, Stream)>>,
}

impl World {
    fn new(caps: Caps) -> Self {
        Self {
            room: Room::new(caps),
            ids: Map::new(),
            shown: Map::new(),
            to_acknowledge: Vec::new(),
            forwarded: Map::new(),
            pairs: Map::new(),
            legs: Map::new(),
            detached: Vec::new(),
            ended: Vec::new(),
            heard: Map::new(),
            roster: Map::new(),
        }
    }

    fn join(&mut self, number: u64) -> Result<ParticipantKey, RoomError> {
        let key = ParticipantKey(number);
        let id = ParticipantId(Base64Url(number.to_be_bytes()));
        let mut effects = Vec::new();
        self.room.join(key, id, identity(number), &mut effects)?;
        self.apply(effects);
        Ok(key)
    }

    fn leave(&mut self, key: ParticipantKey) {
        let mut effects = Vec::new();
        self.room.leave(key, &mut effects);
        self.forget(key);
        self.apply(effects);
    }

    fn forget(&mut self, key: ParticipantKey) {
        self.ids.remove(&key);
        self.roster.remove(&key);
        self.legs.remove(&key);
        self.shown.retain(|(receiver, _), _| *receiver != key);
        self.forwarded.retain(|(receiver, _), _| *receiver != key);
    }

    /// Four sending m-lines, one for each stream, then so many pairs.
    fn negotiate(&mut self, key: ParticipantKey, pairs: u32) {
        let line = |mid: String, kind, direction| Line { mid, kind, direction };
        let mut lines: Vec<Line> =
            Stream::ALL.iter().map(|stream| line(mid_of(*stream), stream.kind(), Direction::Sends)).collect();
        for pair in 0..pairs {
            lines.push(line(format!("a{pair}"), Kind::Audio, Direction::Receives));
            lines.push(line(format!("v{pair}"), Kind::Video, Direction::Receives));
        }
        self.negotiate_lines(key, &lines);
    }

    fn negotiate_lines(&mut self, key: ParticipantKey, lines: &[Line]) {
        let mut effects = Vec::new();
        self.room.negotiated(key, lines, &mut effects);
        self.apply(effects);
    }

    fn run(
        &mut self,
        operation: impl FnOnce(&mut Room, &mut Vec<Effect>) -> Result<(), RoomError>,
    ) -> Result<(), RoomError> {
        let mut effects = Vec::new();
        let done = operation(&mut self.room, &mut effects);
        assert!(done.is_ok() || effects.is_empty(), "what was refused has an effect");
        self.apply(effects);
        done
    }

    fn publish(&mut self, key: ParticipantKey, stream: Stream) -> Result<(), RoomError> {
        self.run(|room, effects| room.publish(key, stream, mid_of(stream), effects))
    }

    fn subscribe(
        &mut self,
        key: ParticipantKey,
        to: ParticipantKey,
        stream: Stream,
        height: u32,
    ) -> Result<(), RoomError> {
        let to = self.ids[&to];
        self.run(|room, effects| room.subscribe(key, to, stream, height, effects))
    }

    fn unsubscribe(&mut self, key: ParticipantKey, to: ParticipantKey, stream: Stream) {
        let to = self.ids[&to];
        self.run(|room, effects| {
            room.unsubscribe(key, to, stream, effects);
            Ok(())
        })
        .unwrap();
    }

    fn acknowledge(&mut self, index: usize) {
        let (key, slot, epoch) = self.to_acknowledge.swap_remove(index);
        let _ = self.run(|room, effects| room.assigned(key, &slot, epoch, effects));
    }

    fn acknowledge_all(&mut self) {
        while !self.to_acknowledge.is_empty() {
            self.acknowledge(0);
        }
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(to, message) => self.hear(to, &message),
                Effect::Tell(except, message) => {
                    let others: Vec<_> = self.ids.keys().copied().filter(|key| *key != except).collect();
                    others.into_iter().for_each(|to| self.hear(to, &message));
                }
                Effect::Enter { key, participant, participants, pairs } => {
                    let streams =
                        |entry: &RosterEntry| entry.streams.iter().map(|stream| (entry.id, *stream)).collect();
                    let published: Vec<Vec<_>> = participants.iter().map(streams).collect();
                    self.ids.insert(key, participant);
                    self.pairs.insert(key, pairs);
                    self.roster.insert(key, published.concat());
                }
                Effect::End(key, code) => {
                    self.forget(key);
                    self.ended.push((key, code));
                }
                Effect::Detach(key) => self.detached.push(key),
                Effect::Tunnel { participant, other, peer } => {
                    assert!(self.ids[&other] == peer);
                    self.legs.insert(participant, other);
                }
                Effect::EndTunnel(key) => drop(self.legs.remove(&key)),
                Effect::Bind { receiver, slot, source } => {
                    match source {
                        Some(source) => self.forwarded.insert((receiver, slot), source),
                        None => self.forwarded.remove(&(receiver, slot)),
                    };
                }
            }
        }
    }

    fn hear(&mut self, to: ParticipantKey, message: &ServerMessage) {
        self.heard.entry(to).or_default().push(message.clone());
        match message {
            ServerMessage::Assign { slot, epoch, participant, stream } => {
                let before = self.shown.insert((to, slot.clone()), (*epoch, *participant, *stream));
                assert!(before.is_none(), "a slot was assigned before it was released");
                self.to_acknowledge.push((to, slot.clone(), *epoch));
            }
            ServerMessage::Release { slot, epoch } => {
                let (shown, ..) = self.shown.remove(&(to, slot.clone())).expect("only what was assigned is released");
                assert_eq!(shown, *epoch);
            }
            ServerMessage::Slots { pairs } => {
                let before = self.pairs.insert(to, *pairs).unwrap_or(0);
                assert!(*pairs > before && *pairs as usize <= self.room.caps.pairs);
            }
            ServerMessage::Published { participant, stream } => {
                self.roster.get_mut(&to).unwrap().push((*participant, *stream));
            }
            ServerMessage::Unpublished { participant, stream } => {
                self.roster.get_mut(&to).unwrap().retain(|known| known != &(*participant, *stream));
            }
            ServerMessage::Left { id } => self.roster.get_mut(&to).unwrap().retain(|(known, _)| known != id),
            _ => {}
        }
    }

    fn check(&self) {
        let mut every: Vec<_> = Vec::new();
        for (key, member) in &self.room.members {
            every.extend(member.published.keys().map(|stream| (member.id, *stream)));
            self.check_receiver(*key, member);
        }
        for (key, known) in &self.roster {
            let mut expected: Vec<_> = every.iter().filter(|(id, _)| *id != self.ids[key]).copied().collect();
            let mut known = known.clone();
            let order = |(id, stream): &(ParticipantId, Stream)| (id.0, *stream);
            expected.sort_by_key(order);
            known.sort_by_key(order);
            assert!(known == expected, "a client's roster is not the room's");
        }
        assert!(every.len() <= self.room.caps.publications);
        assert!(self.room.members.len() <= self.room.caps.participants);
        assert_eq!(self.room.keys.len(), self.room.members.len());
    }

    fn check_receiver(&self, key: ParticipantKey, member: &Member) {
        let held = member.slots.held();
        for (mid, pair, epoch, publication, bound) in &held {
            assert!(member.subscriptions.contains_key(publication), "a slot carries what nobody asked for");
            let source = self.room.source(*publication).expect("a slot carries a publication that exists");
            let id = self.ids[&publication.participant];
            assert!(self.shown[&(key, mid.clone())] == (*epoch, id, publication.stream));
            let forwarded = self.forwarded.get(&(key, mid.clone()));
            assert!(forwarded == bound.then_some(&source), "the media plane forwards something else");
            for (_, other_pair, _, other, _) in &held {
                assert_eq!(pair == other_pair, publication.group() == other.group(), "a pair has two owners");
                assert!(publication != other || pair == other_pair);
            }
        }
        let mine = |(receiver, _): &&(ParticipantKey, String)| *receiver == key;
        assert_eq!(self.shown.keys().filter(mine).count(), held.len());
        let bound = held.iter().filter(|(.., bound)| *bound).count();
        assert_eq!(self.forwarded.keys().filter(mine).count(), bound, "something is forwarded that is not held");
        for publication in member.subscriptions.keys().filter(|publication| !member.slots.holds(**publication)) {
            assert!(!member.slots.has_place_for(*publication), "a subscription waits though a slot is free");
            let asked_for_all = member.pairs == self.room.caps.pairs;
            assert!(asked_for_all || member.slots.pairs() < member.pairs, "it waits, and nothing is under way");
        }
    }
}

fn identity(number: u64) -> Base64Url<32> {
    Base64Url([number as u8; 32])
}

fn mid_of(stream: Stream) -> String {
    format!("s{}", stream as usize)
}

fn two() -> (World, ParticipantKey, ParticipantKey) {
    let mut world = World::new(CAPS);
    let (ana, ben) = (world.join(1).unwrap(), world.join(2).unwrap());
    world.negotiate(ana, 2);
    world.negotiate(ben, 2);
    (world, ana, ben)
}

#[test]
#[allow(clippy::print_stdout)] // the last seed printed is the one that failed
fn any_sequence_of_operations_keeps_room_clients_and_media_plane_in_agreement() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new(CAPS);
        let mut next = 1;
        for _ in 0..200 {
            step(&mut world, &mut random, &mut next);
            world.check();
        }
        for key in world.ids.keys().copied().collect::<Vec<_>>() {
            world.leave(key);
            world.check();
        }
        assert_eq!(world.room.size(), RoomSize::default());
        assert!(world.room.keys.is_empty() && world.shown.is_empty() && world.forwarded.is_empty());
    }
}

fn step(world: &mut World, random: &mut StdRng, next: &mut u64) {
    let mut present: Vec<_> = world.ids.keys().copied().collect();
    present.sort();
    let stream = Stream::ALL[random.random_range(0..4)];
    let pick = |random: &mut StdRng| present[random.random_range(0..present.len())];
    if present.len() < 2 || random.random_range(0..25) == 0 {
        *next += 1;
        let full = present.len() == world.room.caps.participants;
        assert_eq!(world.join(*next).is_err(), full);
        return;
    }
    let (one, other) = (pick(random), pick(random));
    match random.random_range(0..24) {
        0 => world.leave(one),
        1..4 => {
            let pairs = world.pairs[&one];
            world.negotiate(one, pairs);
        }
        4 => {
            let pairs = random.random_range(0..6);
            world.negotiate(one, pairs); // fewer, or more than asked for
            if pairs < world.pairs[&one] {
                let pairs = world.pairs[&one];
                world.negotiate(one, pairs);
            }
        }
        5..8 => drop(world.publish(one, stream)),
        8 => drop(world.run(|room, effects| room.unpublish(one, stream, effects))),
        9..14 => drop(world.subscribe(one, other, stream, random.random_range(0..1080))),
        14 => world.unsubscribe(one, other, stream),
        15 => world.detach(one),
        _ if world.to_acknowledge.is_empty() => {}
        _ => {
            let index = random.random_range(0..world.to_acknowledge.len());
            world.acknowledge(index);
        }
    }
}

#[test]
fn a_publication_is_forwarded_only_once_the_receiver_acknowledged_it() {
    let (mut world, ana, ben) = two();
    world.publish(ana, Stream::Camera).unwrap();
    world.subscribe(ben, ana, Stream::Camera, 360).unwrap();
    assert_eq!(world.to_acknowledge.len(), 1);
    assert!(world.forwarded.is_empty());
    world.acknowledge_all();
    let source = &world.forwarded[&(ben, "v0".to_owned())];
    assert!(source.participant == ana && source.mid == mid_of(Stream::Camera));
}

#[test]
fn an_acknowledgement_of_an_old_epoch_changes_nothing() {
    let (mut world, ana, ben) = two();
    world.publish(ana, Stream::Camera).unwrap();
    world.subscribe(ben, ana, Stream::Camera, 360).unwrap();
    let (_, slot, epoch) = world.to_acknowledge.remove(0);
    world.unsubscribe(ben, ana, Stream::Camera);
    world.run(|room, effects| room.assigned(ben, &slot, epoch, effects)).unwrap();
    assert!(world.forwarded.is_empty());
}

#[test]
fn an_unknown_slot_stream_or_participant_is_told() {
    let (mut world, ana, ben) = two();
    assert_eq!(world.run(|room, effects| room.assigned(ana, "nowhere", 1, effects)), Err(RoomError::Unknown));
    assert_eq!(world.subscribe(ana, ben, Stream::Camera, 360), Err(RoomError::Unknown));
    world.publish(ana, Stream::Camera).unwrap();
    assert_eq!(world.subscribe(ana, ana, Stream::Camera, 360), Err(RoomError::Unknown), "oneself");
    let stranger = ParticipantId(Base64Url([9; 8]));
    let asked = world.run(|room, effects| room.subscribe(ana, stranger, Stream::Camera, 360, effects));
    assert_eq!(asked, Err(RoomError::Unknown));
    let wrong_kind = world.run(|room, effects| room.publish(ana, Stream::Microphone, mid_of(Stream::Screen), effects));
    assert_eq!(wrong_kind, Err(RoomError::Unknown));
}

#[test]
fn one_m_line_carries_one_stream() {
    let (mut world, ana, _) = two();
    world.publish(ana, Stream::Camera).unwrap();
    let taken = world.run(|room, effects| room.publish(ana, Stream::Screen, mid_of(Stream::Camera), effects));
    assert_eq!(taken, Err(RoomError::Conflict));
}

#[test]
fn publishing_and_subscribing_twice_is_as_once() {
    let (mut world, ana, ben) = two();
    for _ in 0..2 {
        world.publish(ana, Stream::Camera).unwrap();
        world.subscribe(ben, ana, Stream::Camera, 360).unwrap();
    }
    assert_eq!(world.to_acknowledge.len(), 1);
    world.check();
}

#[test]
fn a_stream_that_moves_to_another_m_line_is_forwarded_from_there() {
    let (mut world, ana, ben) = two();
    world.publish(ana, Stream::Camera).unwrap();
    world.subscribe(ben, ana, Stream::Camera, 360).unwrap();
    world.acknowledge_all();
    world.run(|room, effects| room.publish(ana, Stream::Camera, mid_of(Stream::Screen), effects)).unwrap();
    assert!(world.forwarded[&(ben, "v0".to_owned())].mid == mid_of(Stream::Screen));
    world.check();
}

#[test]
fn voice_and_picture_share_a_pair_and_so_do_a_screen_and_its_sound() {
    let (mut world, ana, ben) = two();
    for stream in Stream::ALL {
        world.publish(ana, stream).unwrap();
        world.subscribe(ben, ana, stream, 360).unwrap();
    }
    let shown: Map<Stream, &str> =
        world.shown.iter().map(|((_, slot), (_, _, stream))| (*stream, slot.as_str())).collect();
    assert_eq!(shown[&Stream::Microphone][1..], shown[&Stream::Camera][1..]);
    assert_eq!(shown[&Stream::Screen][1..], shown[&Stream::ScreenAudio][1..]);
    assert_ne!(shown[&Stream::Screen][1..], shown[&Stream::Camera][1..]);
}

#[test]
fn a_pair_that_was_just_released_is_the_last_to_be_used_again() {
    let (mut world, ana, ben) = two();
    world.publish(ana, Stream::Camera).unwrap();
    world.publish(ana, Stream::Screen).unwrap();
    world.subscribe(ben, ana, Stream::Camera, 360).unwrap();
    assert!(world.shown.contains_key(&(ben, "v0".to_owned())));
    world.unsubscribe(ben, ana, Stream::Camera);
    world.subscribe(ben, ana, Stream::Screen, 360).unwrap();
    assert!(world.shown.contains_key(&(ben, "v1".to_owned())));
}

#[test]
fn a_subscription_without_a_slot_asks_for_pairs_and_is_served_when_they_come() {
    let mut world = World::new(CAPS);
    let keys: Vec<_> = (1..=4).map(|number| world.join(number).unwrap()).collect();
    for key in &keys {
        world.negotiate(*key, 2);
        world.publish(*key, Stream::Camera).unwrap();
    }
    for other in &keys[1..] {
        world.subscribe(keys[0], *other, Stream::Camera, 360).unwrap();
    }
    assert_eq!((world.shown.len(), world.pairs[&keys[0]]), (2, 4));
    world.negotiate(keys[0], 4);
    assert_eq!(world.shown.len(), 3);
}

#[test]
fn a_freed_slot_goes_to_the_largest_tile_that_waits() {
    let caps = Caps { pairs: 1, ..CAPS };
    let mut world = World::new(caps);
    let keys: Vec<_> = (1..=4).map(|number| world.join(number).unwrap()).collect();
    for (key, height) in keys.iter().zip([0, 100, 200, 900]) {
        world.negotiate(*key, 1);
        if height > 0 {
            world.publish(*key, Stream::Camera).unwrap();
            world.subscribe(keys[0], *key, Stream::Camera, height).unwrap();
        }
    }
    world.leave(keys[1]);
    let (_, owner, _) = world.shown[&(keys[0], "v0".to_owned())];
    assert!(owner == world.ids[&keys[3]]);
}

#[test]
fn a_stream_ends_with_the_m_line_that_carried_it() {
    let (mut world, ana, ben) = two();
    world.publish(ana, Stream::Camera).unwrap();
    world.subscribe(ben, ana, Stream::Camera, 360).unwrap();
    world.acknowledge_all();
    world.negotiate_lines(ana, &[]);
    assert!(world.forwarded.is_empty() && world.shown.is_empty());
    world.check();
}

#[test]
fn a_slot_that_vanished_leaves_its_subscription_waiting() {
    let (mut world, ana, ben) = two();
    world.publish(ana, Stream::Camera).unwrap();
    world.subscribe(ben, ana, Stream::Camera, 360).unwrap();
    world.acknowledge_all();
    world.negotiate(ben, 0);
    assert!(world.shown.is_empty());
    world.negotiate(ben, 1);
    let (epoch, ..) = world.shown[&(ben, "v0".to_owned())];
    assert_eq!(epoch, 2, "an epoch never comes back, even if the MID does");
}

#[test]
fn a_newcomer_is_asked_for_as_many_pairs_as_the_call_needs() {
    let mut world = World::new(Caps { participants: 9, publications: 99, pairs: 24, ..CAPS });
    for number in 1..=5 {
        let key = world.join(number).unwrap();
        world.negotiate(key, 2);
        world.publish(key, Stream::Camera).unwrap();
        world.publish(key, Stream::Microphone).unwrap();
    }
    let newcomer = world.join(6).unwrap();
    assert_eq!(world.pairs[&newcomer], 6);
}

#[test]
fn publications_are_capped_for_the_whole_call() {
    let mut world = World::new(Caps { publications: 1, ..CAPS });
    let ana = world.join(1).unwrap();
    world.negotiate(ana, 2);
    world.publish(ana, Stream::Camera).unwrap();
    assert_eq!(world.publish(ana, Stream::Screen), Err(RoomError::Limit));
    world.publish(ana, Stream::Camera).unwrap();
}

#[test]
fn a_relayed_message_reaches_one_or_all_others_and_never_its_sender() {
    let (mut world, ana, ben) = two();
    let cai = world.join(3).unwrap();
    let ids = world.ids.clone();
    let heard = |to: Option<ParticipantKey>| {
        let mut effects = Vec::new();
        world.room.relay(ana, to.map(|key| ids[&key]), "x".into(), &mut effects);
        effects
    };
    assert!(matches!(heard(None)[..], [Effect::Tell(except, _)] if except == ana));
    assert!(matches!(heard(Some(cai))[..], [Effect::Send(to, _)] if to == cai));
    assert!(heard(Some(ana)).is_empty());
    world.leave(ben);
    let mut effects = Vec::new();
    world.room.relay(ana, Some(ids[&ben]), "x".into(), &mut effects);
    assert!(effects.is_empty());
}
