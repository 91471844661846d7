//! The blind tunnel: what passes, what does not, and what it leaves behind.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use arrayvec::ArrayString;
use sotto::relay::Datagram;
use sotto::relay::command::{CallKey, Command, LegKey};
use sotto::relay::counters::{Drop, Protocol};
use sotto::relay::outbox::Path;
use sotto::session::IceParameters;
use sotto::transport::srtp::{Inbound, Outbound};
use sotto::udp::egress::{Egress, Wire};
use zeroize::Zeroizing;

use crate::client::{Plan, check};
use crate::handshake::Handshake;
use crate::world::World;

/// A browser's end of a tunnel: its address, and the credentials of the relay's end.
#[derive(Clone, Copy)]
struct Browser {
    call: u64,
    key: u64,
    address: SocketAddr,
    generation: u32,
}

impl Browser {
    fn new(call: u64, key: u64) -> Self {
        let address = SocketAddr::from(([198, 51, 100, call as u8], 7_000 + key as u16));
        Browser { call, key, address, generation: 0 }
    }

    fn ice(&self) -> IceParameters {
        IceParameters {
            local_ufrag: ArrayString::from(&format!("{}t{}{:05}", self.call, self.generation, self.key)).unwrap(),
            local_pwd: Zeroizing::new(format!("password-{}-{}-{}", self.generation, self.call, self.key)),
            remote_ufrag: None,
        }
    }

    /// Signaling asks for its leg to another one.
    fn connect(&self, other: &Browser, world: &mut World) {
        let (participant, other) = (LegKey(self.key), LegKey(other.key));
        world.command(Command::Tunnel { call: CallKey(self.call), participant, other, ice: self.ice() });
    }

    fn check(&self, world: &mut World) {
        world.inject(self.address, &check(&self.ice(), true));
    }

    fn send(&self, bytes: &[u8], world: &mut World) {
        world.inject(self.address, bytes);
    }

    /// What has come to its address since, answers to checks apart.
    fn receive(&self, world: &mut World) -> Vec<Vec<u8>> {
        let is_ours = |(to, bytes): &mut (SocketAddr, Vec<u8>)| *to == self.address && bytes[0] > 3;
        world.letters.extract_if(.., is_ours).map(|(_, bytes)| bytes).collect()
    }
}

/// Two browsers of a call whose tunnel is up.
fn tunnel(call: u64, world: &mut World) -> [Browser; 2] {
    let pair = [Browser::new(call, 0), Browser::new(call, 1)];
    pair[0].connect(&pair[1], world);
    pair[1].connect(&pair[0], world);
    pair.iter().for_each(|browser| browser.check(world));
    pair
}

fn world_with_a_tunnel(seed: u64) -> (World, [Browser; 2]) {
    let mut world = World::new(seed);
    world.open(1);
    let pair = tunnel(1, &mut world);
    (world, pair)
}

fn dropped(world: &World, reason: Drop) -> u64 {
    world.relay.counters().drops[reason as usize]
}

/// An SRTP packet by its looks.
fn media(length: usize, number: u8) -> Vec<u8> {
    let mut bytes = vec![number; length];
    bytes[..2].copy_from_slice(&[0x90, 96]);
    bytes
}

#[test]
fn whatever_is_no_stun_passes_both_ways_as_it_came() {
    let (mut world, [ana, ben]) = world_with_a_tunnel(80);
    let mut sent = Vec::new();
    for first in 4..=255u8 {
        for length in [1, 2, 13, 200, 1_150, 1_500] {
            let mut bytes: Vec<u8> = (0..length).map(|place| (place as u8).wrapping_mul(first) ^ 0x5a).collect();
            bytes[0] = first;
            sent.push(bytes);
        }
    }
    for (from, to) in [(ana, ben), (ben, ana)] {
        for bytes in &sent {
            from.send(bytes, &mut world);
            world.run_ms(1);
        }
        assert!(to.receive(&mut world) == sent, "byte for byte, in order");
        assert!(from.receive(&mut world).is_empty());
    }
    let (counters, passed) = (world.relay.counters(), 2 * sent.len() as u64);
    let bytes = 2 * sent.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
    for direction in [&counters.received, &counters.sent] {
        let tunnel = direction[Protocol::Tunnel as usize];
        assert_eq!((tunnel.packets, tunnel.bytes), (passed, bytes));
        let others = [Protocol::Dtls, Protocol::Audio, Protocol::Video, Protocol::Rtx, Protocol::Rtcp];
        assert!(others.iter().all(|&other| direction[other as usize].packets == 0), "counted as nothing else");
    }
    assert_eq!((counters.drops.iter().sum::<u64>(), counters.handshakes_completed), (0, 0));
}

#[test]
fn dtls_and_srtp_are_between_the_browsers() {
    let (mut world, browsers) = world_with_a_tunnel(79);
    let mut ends = [Handshake::new(false, world.now), Handshake::passive(world.now)];
    let mut keys = [None, None];
    for _ in 0..200 {
        for side in 0..2 {
            let mut send = Vec::new();
            for bytes in browsers[side].receive(&mut world) {
                ends[side].receive(world.now, &bytes);
            }
            keys[side] = ends[side].poll(world.now, &mut send).or(keys[side].take());
            send.iter().for_each(|bytes| browsers[side].send(bytes, &mut world));
        }
        world.run_ms(10);
    }
    let [ana, ben] = keys.map(|keys| keys.expect("the handshake is done"));
    let mut packet = Vec::new();
    let header = [0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7];
    Outbound::new(ana.profile, &ana.outbound).protect_rtp(1, &header, b"seen by one", &mut packet).unwrap();
    browsers[0].send(&packet, &mut world);
    let mut arrived = browsers[1].receive(&mut world).pop().unwrap();
    let opened = Inbound::new(ben.profile, &ben.inbound).unprotect_rtp(&mut arrived).unwrap();
    assert_eq!(&arrived[12..opened.len], b"seen by one");
    let counters = world.relay.counters();
    assert_eq!((counters.handshakes_completed, counters.participants), (0, 0));
    assert_eq!(counters.received[Protocol::Dtls as usize].packets, 0, "the relay has no part in it");
}

#[test]
fn nothing_passes_before_both_ends_have_nominated_a_path() {
    let mut world = World::new(81);
    world.open(1);
    let [ana, ben] = [Browser::new(1, 0), Browser::new(1, 1)];
    ana.connect(&ben, &mut world);
    ana.send(&media(900, 1), &mut world);
    assert_eq!(dropped(&world, Drop::UnknownSource), 1, "without a check it is a stranger");
    ana.check(&mut world);
    ana.send(&media(900, 2), &mut world);
    assert_eq!((dropped(&world, Drop::Early), world.relay.counters().tunnels), (1, 0), "there is no other leg");
    ben.connect(&ana, &mut world);
    ana.send(&media(900, 3), &mut world);
    world.inject(ben.address, &check(&ben.ice(), false));
    ana.send(&media(900, 4), &mut world);
    assert_eq!((dropped(&world, Drop::Early), world.relay.counters().tunnels), (3, 1), "nothing is nominated");
    assert!(ben.receive(&mut world).is_empty());
    ben.check(&mut world);
    ana.send(&media(900, 5), &mut world);
    assert_eq!(ben.receive(&mut world), [media(900, 5)]);
}

#[test]
fn strangers_change_nothing_and_get_nothing() {
    let (mut world, [ana, ben]) = world_with_a_tunnel(82);
    let sizes = world.relay.sizes();
    let mut forged = check(&ana.ice(), true);
    let end = forged.len() - 12;
    forged[end] ^= 1;
    world.letters.clear();
    for port in 0..2_000 {
        let stranger = SocketAddr::from(([203, 0, 113, 9], port));
        for bytes in [&media(900, 1), &vec![22; 90], &vec![70; 90], &forged] {
            world.inject(stranger, bytes);
        }
    }
    assert!(world.letters.is_empty(), "no answer, nothing passed on");
    assert_eq!(dropped(&world, Drop::UnknownSource), 4_000);
    assert_eq!((dropped(&world, Drop::Unrecognised), dropped(&world, Drop::Stun)), (2_000, 2_000));
    assert_eq!(world.relay.sizes(), sizes);
    // A third address that knows everything but the password is one of them, even under the other leg's ufrag.
    let mut guess = ben.ice();
    guess.local_pwd = ana.ice().local_pwd;
    world.inject(SocketAddr::from(([203, 0, 113, 9], 1)), &check(&guess, true));
    assert!(world.letters.is_empty());
    ana.send(&media(900, 7), &mut world);
    assert_eq!(ben.receive(&mut world), [media(900, 7)]);
}

#[test]
fn neither_another_tunnel_nor_a_session_of_the_same_call_can_reach_in() {
    let mut world = World::call_of(83, 2, || Plan { pairs: 1, ..Plan::usual() });
    let [ana, ben] = tunnel(1, &mut world);
    world.open(2);
    let [eve, dan] = tunnel(2, &mut world);
    world.letters.clear();
    eve.send(&media(900, 1), &mut world);
    assert_eq!(dan.receive(&mut world), [media(900, 1)], "its own other end alone");
    let session = world.clients[0].address;
    let refused = world.relay.counters().drops.iter().sum::<u64>();
    world.inject(session, &media(900, 2));
    assert_eq!(world.relay.counters().drops.iter().sum::<u64>(), refused + 1, "taken for the session's own");
    // Checks that are authentic for one's own leg do not take over the address of another.
    world.inject(ben.address, &check(&eve.ice(), true));
    dan.send(&media(900, 3), &mut world);
    assert!(ben.receive(&mut world).is_empty() && ana.receive(&mut world).is_empty());
    ana.send(&media(900, 4), &mut world);
    assert_eq!(ben.receive(&mut world), [media(900, 4)]);
}

#[test]
fn an_ice_restart_moves_the_tunnel_when_its_path_is_nominated() {
    let (mut world, [ana, mut ben]) = world_with_a_tunnel(84);
    let old = ben;
    ben.generation = 1;
    ben.address = SocketAddr::from(([198, 51, 100, 99], 99));
    ben.connect(&ana, &mut world);
    assert_eq!(world.relay.counters().tunnels, 1, "it is the same tunnel");
    ana.send(&media(900, 1), &mut world);
    assert_eq!(old.receive(&mut world), [media(900, 1)], "the old path serves until then");
    world.inject(ben.address, &check(&ben.ice(), false));
    ana.send(&media(900, 2), &mut world);
    assert_eq!(old.receive(&mut world), [media(900, 2)]);
    ben.check(&mut world);
    ana.send(&media(900, 3), &mut world);
    ben.send(&media(900, 4), &mut world);
    assert_eq!((ben.receive(&mut world), old.receive(&mut world)), (vec![media(900, 3)], vec![]));
    assert_eq!(ana.receive(&mut world), [media(900, 4)]);
    let refused = dropped(&world, Drop::Stun);
    old.check(&mut world);
    assert_eq!(dropped(&world, Drop::Stun), refused + 1, "the credentials before it are void");
    assert_eq!(world.relay.sizes()[2], 2, "one ufrag for each leg");
}

#[test]
fn another_address_counts_from_its_check_on_and_not_before() {
    let (mut world, [ana, ben]) = world_with_a_tunnel(85);
    let moved = Browser { address: SocketAddr::from(([198, 51, 100, 77], 77)), ..ben };
    moved.send(&media(900, 1), &mut world);
    ana.send(&media(900, 2), &mut world);
    assert!(ana.receive(&mut world).is_empty() && moved.receive(&mut world).is_empty());
    assert_eq!(ben.receive(&mut world), [media(900, 2)]);
    moved.check(&mut world);
    moved.send(&media(900, 3), &mut world);
    ana.send(&media(900, 4), &mut world);
    assert_eq!(ana.receive(&mut world), [media(900, 3)]);
    assert_eq!((moved.receive(&mut world), ben.receive(&mut world)), (vec![media(900, 4)], vec![]));
}

#[test]
fn who_no_longer_consents_is_sent_nothing() {
    let (mut world, [ana, ben]) = world_with_a_tunnel(86);
    for _ in 0..14 {
        world.run_ms(1_000);
        ana.check(&mut world);
        ana.send(&media(900, 1), &mut world);
    }
    assert_eq!(ben.receive(&mut world).len(), 14);
    world.run_ms(1_000);
    ana.check(&mut world);
    ana.send(&media(900, 2), &mut world);
    assert!(ben.receive(&mut world).is_empty());
    assert_eq!((dropped(&world, Drop::Early), world.relay.sizes()[1]), (1, 1), "its address is a stranger's");
    ben.send(&media(900, 3), &mut world);
    assert!(ana.receive(&mut world).is_empty());
    ben.check(&mut world);
    ana.send(&media(900, 4), &mut world);
    ben.send(&media(900, 5), &mut world);
    assert_eq!((ben.receive(&mut world), ana.receive(&mut world)), (vec![media(900, 4)], vec![media(900, 5)]));
}

#[test]
fn what_is_too_long_is_dropped() {
    let (mut world, [ana, ben]) = world_with_a_tunnel(87);
    for length in [1_500, 1_501, 9_000, 65_507] {
        ana.send(&media(length, 1), &mut world);
    }
    assert_eq!(ben.receive(&mut world), [media(1_500, 1)]);
    assert_eq!(dropped(&world, Drop::Oversize), 3);
}

#[test]
fn one_leg_sends_twenty_megabits_and_the_other_is_not_held_back() {
    for length in [1_150, 1] {
        let (mut world, [ana, ben]) = world_with_a_tunnel(88);
        let (mut passed, mut back) = (0, 0);
        for step in 0..2_000 {
            for _ in 0..60 {
                ana.send(&vec![22; length], &mut world);
            }
            ben.send(&media(1_150, 1), &mut world);
            world.run_ms(1);
            if step % 1_000 == 999 {
                ana.check(&mut world);
                ben.check(&mut world);
            }
            passed += ben.receive(&mut world).len();
            back += ana.receive(&mut world).len();
        }
        let allowed = (500_000 + 2 * 2_500_000) / (length + 100);
        assert!((allowed - 60..=allowed + 1).contains(&passed), "{passed} of {allowed} with {length} bytes");
        assert_eq!(dropped(&world, Drop::Rate) as usize, 120_000 - passed);
        assert_eq!(back, 2_000);
    }
}

#[test]
fn leaving_the_session_keeps_the_leg_and_ending_it_leaves_nothing() {
    let mut world = World::call_of(89, 2, || Plan { pairs: 1, ..Plan::usual() });
    let before = world.relay.sizes();
    let [ana, ben] = tunnel(1, &mut world);
    world.leave(0);
    world.leave(1);
    ana.send(&media(900, 1), &mut world);
    assert_eq!(ben.receive(&mut world), [media(900, 1)]);
    assert_eq!(world.relay.sizes()[..3], [1, 2, 2]);
    let end = |key, world: &mut World| {
        world.command(Command::EndTunnel { call: CallKey(1), participant: LegKey(key) });
    };
    end(0, &mut world);
    ben.send(&media(900, 2), &mut world);
    assert_eq!(dropped(&world, Drop::Early), 1);
    ana.send(&media(900, 3), &mut world);
    assert!(ben.receive(&mut world).is_empty() && ana.receive(&mut world).is_empty());
    assert_eq!((world.relay.counters().tunnels, world.relay.sizes()[..3].to_vec()), (0, vec![1, 1, 1]));
    end(0, &mut world);
    end(7, &mut world);
    end(1, &mut world);
    assert_eq!(world.relay.sizes()[..3], [1, 0, 0]);
    // It can be had again, and ends with the call.
    for round in 0..20 {
        let pair = tunnel(1, &mut world);
        pair[0].send(&media(900, round), &mut world);
        assert_eq!(pair[1].receive(&mut world), [media(900, round)]);
        end(1, &mut world);
    }
    tunnel(1, &mut world);
    assert_eq!((before[..3].to_vec(), world.relay.sizes()[..3].to_vec()), (vec![1, 2, 2], vec![1, 2, 2]));
    world.command(Command::Close { call: CallKey(1) });
    world.run_ms(16_000);
    assert_eq!(world.relay.sizes(), [0; 4]);
    assert_eq!((world.relay.counters().tunnels, world.relay.next_timeout()), (0, None));
    assert_eq!(world.out.opened(), 0, "runs of the outbox");
}

#[test]
fn a_leg_to_somebody_else_ends_the_tunnel_that_was() {
    let (mut world, [ana, ben]) = world_with_a_tunnel(90);
    let cem = Browser::new(1, 2);
    cem.connect(&ana, &mut world);
    cem.check(&mut world);
    assert_eq!((world.relay.counters().tunnels, world.relay.sizes()[..3].to_vec()), (0, vec![1, 1, 1]));
    for from in [ana, ben, cem] {
        from.send(&media(900, 1), &mut world);
    }
    assert!([ana, ben, cem].iter().all(|browser| browser.receive(&mut world).is_empty()));
    ana.connect(&cem, &mut world);
    ana.check(&mut world);
    ana.send(&media(900, 2), &mut world);
    assert_eq!((cem.receive(&mut world), ben.receive(&mut world)), (vec![media(900, 2)], vec![]));
    ana.connect(&ana, &mut world);
    assert_eq!(world.relay.counters().tunnels, 1, "a leg to oneself is none");
}

#[test]
fn a_call_of_three_goes_on_beside_a_tunnel_that_is_left_over() {
    // The legs have the numbers that the sessions have too: they name other things.
    let mut world = World::call_of(91, 3, Plan::usual);
    let [ana, ben] = tunnel(1, &mut world);
    let mut passed = 0;
    for round in 0..200 {
        ana.send(&media(1_100, round as u8), &mut world);
        ben.send(&media(100, round as u8), &mut world);
        world.run_ms(10);
        passed += ana.receive(&mut world).len() + ben.receive(&mut world).len();
    }
    assert_eq!(passed, 400);
    world.command(Command::EndTunnel { call: CallKey(1), participant: LegKey(0) });
    world.command(Command::EndTunnel { call: CallKey(1), participant: LegKey(1) });
    world.run_ms(1_000);
    for receiver in 0..3 {
        for pair in 0..2 {
            for mid in [format!("a{pair}"), format!("v{pair}")] {
                let slot = world.clients[receiver].slot(&mid);
                World::assert_sound(&slot);
                assert!(slot.windows(2).all(|two| two[1].index == two[0].index + 1), "in order, without a gap");
                assert!(slot.len() > 100 && (world.now - slot.last().unwrap().at).as_millis() < 100);
            }
        }
        assert_eq!((world.clients[receiver].refused, world.clients[receiver].strays), (0, 0));
    }
    assert_eq!(world.relay.counters().drops.iter().sum::<u64>(), 0);
    assert_eq!(world.relay.sizes()[..3], [1, 3, 3]);
}

#[test]
fn two_move_from_forwarding_to_the_tunnel_and_back_and_lose_nothing() {
    let mut world = World::call_of(92, 2, || Plan { pairs: 1, ..Plan::usual() });
    for _ in 0..3 {
        let pair = tunnel(1, &mut world);
        let (seen, began) = (world.clients[0].slot("v0").len(), world.now);
        for number in 0..20 {
            pair[0].send(&media(900, number), &mut world);
            world.run_ms(10);
        }
        assert_eq!(pair[1].receive(&mut world).len(), 20);
        assert!(world.clients[0].slot("v0").len() > seen + 12, "both at once");
        // Both have made the switch: the sessions end, the tunnel stays.
        world.leave(0);
        world.leave(1);
        assert_eq!((world.relay.counters().participants, world.relay.counters().tunnels), (0, 1));
        assert_eq!(world.relay.sizes()[..3], [1, 2, 2], "the two addresses of the legs and no other");
        pair[1].send(&media(900, 77), &mut world);
        assert_eq!(pair[0].receive(&mut world), [media(900, 77)]);
        // Back again, from new connections.
        for index in 0..2 {
            world.return_anew(index);
        }
        world.bind_pair(0, 0, Some(1));
        world.bind_pair(1, 0, Some(0));
        world.run_ms(1_000);
        assert!(world.clients[0].slot("v0").iter().any(|arrived| arrived.at > began + Duration::from_millis(400)));
        pair[0].send(&media(900, 78), &mut world);
        assert_eq!(pair[1].receive(&mut world), [media(900, 78)], "still there until it is ended");
        for key in 0..2 {
            world.command(Command::EndTunnel { call: CallKey(1), participant: LegKey(key) });
        }
    }
    assert_eq!(world.relay.sizes()[..3], [1, 2, 2]);
    assert_eq!(world.relay.counters().drops.iter().sum::<u64>(), dropped(&world, Drop::UnknownSource));
}

#[cfg(feature = "probe")]
#[test]
fn a_panic_in_one_call_leaves_the_tunnel_of_another_whole() {
    let (mut world, [ana, ben]) = world_with_a_tunnel(93);
    world.open(2);
    let [eve, dan] = tunnel(2, &mut world);
    world.relay.doom(CallKey(2));
    eve.send(&media(900, 1), &mut world);
    assert!(dan.receive(&mut world).is_empty());
    assert_eq!((world.relay.counters().panics, world.relay.counters().tunnels), (1, 1));
    assert_eq!(world.relay.sizes()[..3], [1, 2, 2]);
    assert_eq!(world.out.opened(), 2);
    eve.send(&media(900, 1), &mut world);
    assert_eq!(dropped(&world, Drop::UnknownSource), 1);
    ana.send(&media(900, 2), &mut world);
    ben.send(&media(900, 3), &mut world);
    assert_eq!((ben.receive(&mut world), ana.receive(&mut world)), (vec![media(900, 2)], vec![media(900, 3)]));
}

#[test]
fn passing_on_allocates_nothing_once_it_is_warm() {
    let (mut world, [ana, ben]) = world_with_a_tunnel(94);
    let round = |world: &mut World| {
        for number in 0..50 {
            ana.send(&media(1_150, number), world);
            ben.send(&media(1_150, number), world);
        }
        world.run_ms(100);
        ana.check(world);
        ben.check(world);
    };
    round(&mut world);
    let before = world.allocated;
    (0..50).for_each(|_| round(&mut world));
    assert_eq!(world.allocated, before);
    assert_eq!(world.relay.counters().sent[Protocol::Tunnel as usize].packets, 51 * 100);
}

/// Sends nothing, and writes down what it was asked to send.
#[derive(Default)]
struct Notes(RefCell<Vec<(SocketAddr, usize, Option<u16>)>>);

impl Wire for Notes {
    fn segments(&self) -> bool {
        true
    }

    fn send(&self, path: &Path, bytes: &[u8], segment: Option<u16>) -> io::Result<()> {
        self.0.borrow_mut().push((path.remote, bytes.len(), segment));
        Ok(())
    }
}

#[test]
fn what_one_drain_brings_for_one_destination_leaves_in_one_send() {
    let (mut world, [ana, ben]) = world_with_a_tunnel(95);
    world.open(2);
    let [eve, dan] = tunnel(2, &mut world);
    // A frame of each, one datagram at a time and mixed with the others', as they come from a network.
    for part in 0..6 {
        for from in [ana, ben, eve] {
            let mut bytes = media(if part == 5 { 700 } else { 1_150 }, part);
            let path = Path { remote: from.address, local: None };
            let datagram = Datagram { path, arrived: world.now, bytes: &mut bytes };
            world.relay.handle_datagram(world.now, datagram, &mut world.out);
        }
    }
    let mut egress = Egress::new(Notes::default());
    egress.flush(world.now, &world.out);
    world.out.clear();
    let whole = |to: Browser| (to.address, 5 * 1_150 + 700, Some(1_150));
    assert_eq!(egress.wire().0.take(), [whole(ben), whole(ana), whole(dan)]);
}
