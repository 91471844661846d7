//! Legs of tunnels, and leaving the forwarded connection.

use super::*;

impl World {
    fn tunnel(&mut self, key: ParticipantKey, peer: ParticipantId) -> Result<(), RoomError> {
        self.run(|room, effects| room.tunnel(key, peer, effects))
    }

    fn end_tunnel(&mut self, key: ParticipantKey) {
        let mut effects = Vec::new();
        self.room.end_tunnel(key, &mut effects);
        self.apply(effects);
    }

    pub(super) fn detach(&mut self, key: ParticipantKey) {
        let mut effects = Vec::new();
        self.room.detach(key, &mut effects);
        self.apply(effects);
    }
}

#[test]
fn the_two_of_a_call_get_their_legs_to_each_other_and_again_for_a_restart() {
    let (mut world, ana, ben) = two();
    let (to_ben, to_ana) = (world.ids[&ben], world.ids[&ana]);
    world.tunnel(ana, to_ben).unwrap();
    world.tunnel(ben, to_ana).unwrap();
    world.tunnel(ana, to_ben).unwrap();
    assert!(world.legs == Map::from([(ana, ben), (ben, ana)]));
    world.end_tunnel(ana);
    world.end_tunnel(ana);
    assert!(world.legs == Map::from([(ben, ana)]));
}

#[test]
fn there_is_no_tunnel_to_oneself_to_a_stranger_by_one_or_by_three() {
    let (mut world, ana, ben) = two();
    let (ana_id, ben_id) = (world.ids[&ana], world.ids[&ben]);
    let stranger = ParticipantId(Base64Url([9; 8]));
    assert_eq!(world.tunnel(ana, ana_id), Err(RoomError::Tunnel));
    assert_eq!(world.tunnel(ana, stranger), Err(RoomError::Tunnel));
    let cai = world.join(3).unwrap();
    assert_eq!(world.tunnel(ana, ben_id), Err(RoomError::Tunnel));
    world.leave(cai);
    world.leave(ben);
    assert_eq!(world.tunnel(ana, ben_id), Err(RoomError::Tunnel), "it has left");
    assert!(world.legs.is_empty());
}

#[test]
fn there_is_no_tunnel_where_the_operator_turned_it_off() {
    let mut world = World::new(Caps { tunnel: false, ..CAPS });
    let (ana, ben) = (world.join(1).unwrap(), world.join(2).unwrap());
    let ben_id = world.ids[&ben];
    assert_eq!(world.tunnel(ana, ben_id), Err(RoomError::Tunnel));
}

#[test]
fn a_third_does_not_end_the_tunnel_until_its_time_is_over() {
    let (mut world, ana, ben) = two();
    let ben_id = world.ids[&ben];
    world.tunnel(ana, ben_id).unwrap();
    assert!(!world.room.is_mixed());
    let cai = world.join(3).unwrap();
    assert!(world.room.is_mixed() && world.legs.len() == 1);
    world.leave(cai);
    assert!(!world.room.is_mixed() && world.legs.len() == 1);
    world.join(4).unwrap();
    let mut effects = Vec::new();
    world.room.end_tunnels(&mut effects);
    world.apply(effects);
    assert!(!world.room.is_mixed() && world.legs.is_empty());
}

#[test]
fn both_legs_end_when_either_of_the_two_leaves() {
    let (mut world, ana, ben) = two();
    let (to_ben, to_ana) = (world.ids[&ben], world.ids[&ana]);
    world.tunnel(ana, to_ben).unwrap();
    world.tunnel(ben, to_ana).unwrap();
    world.leave(ben);
    assert!(world.legs.is_empty() && world.room.legs.is_empty());
}

#[test]
fn who_detaches_stays_and_all_that_it_sent_and_received_is_over() {
    let (mut world, ana, ben) = two();
    for (one, other) in [(ana, ben), (ben, ana)] {
        for stream in [Stream::Camera, Stream::Microphone] {
            world.publish(one, stream).unwrap();
            world.subscribe(other, one, stream, 360).unwrap();
        }
    }
    world.acknowledge_all();
    assert_eq!(world.forwarded.len(), 4);
    world.detach(ana);
    assert_eq!(world.detached, [ana]);
    assert!(world.forwarded.is_empty() && world.shown.is_empty());
    assert!(world.roster[&ben].is_empty(), "ben is told that nothing is published");
    assert_eq!(world.room.size(), RoomSize { participants: 2, publications: 2, ..RoomSize::default() });
    world.check();
    world.detach(ana);
    assert_eq!(world.room.size().participants, 2, "twice is as once");
    world.check();
}

#[test]
fn after_a_detachment_everything_is_negotiated_anew_and_no_epoch_comes_back() {
    let (mut world, ana, ben) = two();
    world.publish(ben, Stream::Camera).unwrap();
    world.subscribe(ana, ben, Stream::Camera, 360).unwrap();
    world.acknowledge_all();
    let (before, ..) = world.shown[&(ana, "v0".to_owned())];
    world.detach(ana);
    assert_eq!(world.publish(ana, Stream::Camera), Err(RoomError::Unknown), "its m-lines are gone");
    assert_eq!(world.run(|room, effects| room.assigned(ana, "v0", before, effects)), Err(RoomError::Unknown));
    world.subscribe(ana, ben, Stream::Camera, 360).unwrap();
    assert!(world.shown.is_empty(), "there is no slot until the next offer");
    world.negotiate(ana, 2);
    let (after, ..) = world.shown[&(ana, "v0".to_owned())];
    assert!(after > before);
    world.publish(ana, Stream::Camera).unwrap();
    world.check();
}
