//! Paths: consent, restarts, changes of address.

use std::net::SocketAddr;
use std::time::Duration;

use sotto::relay::command::{CallKey, Command, Disconnect, Event, ParticipantKey};
use sotto::relay::counters::Drop;

use crate::client::{Client, Plan};
use crate::world::{Network, World};

#[test]
fn a_dead_client_is_sent_nothing_after_its_consent_expired() {
    let mut world = World::call_of(40, 2, Plan::usual);
    world.clients[0].alive = false;
    let died = world.now;
    world.run_ms(20_000);
    let told = world
        .events
        .iter()
        .find(|(_, event)| matches!(event, Event::Disconnected { reason: Disconnect::ConsentExpired, .. }));
    let at = &told.expect("the control plane is told").0.clone();
    assert!((*at - died).as_secs() <= 15);
    let before = world.relay.counters().sent.map(|traffic| traffic.packets);
    world.clients[1].alive = true;
    world.run_ms(2_000);
    let after = world.relay.counters().sent.map(|traffic| traffic.packets);
    assert_eq!((before[2], before[3]), (after[2], after[3]), "no more media");
    assert!(world.clients[1].last_received.unwrap() > *at, "the other one goes on");
}

#[test]
fn a_check_revives_a_transport_whose_consent_had_expired() {
    let mut world = World::call_of(41, 2, Plan::usual);
    world.clients[0].alive = false;
    world.run_ms(20_000);
    world.clients[0].alive = true;
    let back = world.now;
    world.run_ms(4_000);
    let slot = world.clients[0].slot("v0");
    assert!(slot.iter().any(|arrived| arrived.at > back), "media is back after the next check");
}

#[test]
fn a_new_address_counts_from_its_check_on_and_not_before() {
    let mut world = World::call_of(42, 2, Plan::usual);
    world.run_ms(200);
    let unknown = world.relay.counters().drops[Drop::UnknownSource as usize];
    world.clients[1].address = SocketAddr::from(([10, 9, 9, 9], 9));
    world.run_ms(200);
    assert!(world.relay.counters().drops[Drop::UnknownSource as usize] > unknown, "media alone moves nothing");
    let check = world.clients[1].check();
    world.clients[1].send_later(check);
    let moved = world.now;
    world.run_ms(1_000);
    assert!(world.clients[1].last_received.unwrap() > moved);
    assert!(world.clients[0].slot("v0").iter().any(|arrived| arrived.at > moved + Duration::from_millis(100)));
}

#[test]
fn a_rebinding_of_the_nat_moves_only_with_a_nomination() {
    let mut world = World::call_of(45, 2, || Plan { pairs: 1, ..Plan::usual() });
    let (old, new) = (world.clients[1].address, SocketAddr::from(([198, 51, 100, 7], 7)));
    let reaches = |world: &World, address| world.media_to.get(&address).copied().unwrap_or(0);
    let mut forged = world.clients[1].check();
    let end = forged.len() - 12;
    forged[end] ^= 1;
    let refused = world.relay.counters().drops[Drop::Stun as usize];
    world.inject(new, &forged);
    world.inject(new, &[&[0x80, 96][..], &[7; 300]].concat());
    world.inject(new, &world.clients[1].check_of(0, false));
    world.run_ms(200);
    assert_eq!(world.relay.counters().drops[Drop::Stun as usize], refused + 1);
    assert_eq!(world.relay.counters().drops[Drop::UnknownSource as usize], 1, "media without a check");
    assert_eq!(reaches(&world, new), 0, "a check that nominates nothing moves nothing");

    let (before, plis) = (reaches(&world, old), world.clients[0].tracks[1].plis.len());
    world.clients[1].address = new;
    world.inject(new, &world.clients[1].check());
    world.run_ms(1_000);
    assert_eq!(reaches(&world, old), before);
    assert!(reaches(&world, new) > 120);
    assert_eq!(world.clients[0].tracks[1].plis.len(), plis, "the same keys, the same numbers: nothing begins anew");
    World::assert_sound(&world.clients[1].slot("v0"));
    let slot = world.clients[0].slot("v0");
    assert!(slot.windows(2).all(|two| two[1].index == two[0].index + 1), "what it sends goes on too");
}

#[test]
fn an_ice_restart_keeps_the_old_path_until_the_new_one_is_nominated() {
    let mut world = World::call_of(46, 2, || Plan { pairs: 1, ..Plan::usual() });
    let (old, new) = (world.clients[1].address, SocketAddr::from(([198, 51, 100, 8], 8)));
    let reaches = |world: &World, address| world.media_to.get(&address).copied().unwrap_or(0);
    let answers = |world: &World| world.relay.counters().sent[0].packets;
    world.clients[1].check_at += Duration::from_secs(60);
    world.clients[1].generation = 1;
    world.renegotiate(1);
    world.inject(new, &world.clients[1].check_of(1, false));
    let before = reaches(&world, old);
    world.run_ms(500);
    assert!(reaches(&world, old) > before + 60 && reaches(&world, new) == 0, "media keeps the old path");
    let answered = answers(&world);
    world.inject(old, &world.clients[1].check_of(0, true));
    assert_eq!(answers(&world), answered + 1, "which its credentials keep alive");

    world.clients[1].address = new;
    world.inject(new, &world.clients[1].check_of(1, true));
    let (before, answered) = (reaches(&world, old), answers(&world));
    let refused = world.relay.counters().drops[Drop::Stun as usize];
    world.inject(old, &world.clients[1].check_of(0, true));
    world.run_ms(500);
    assert_eq!(reaches(&world, old), before, "nothing takes the old path after the nomination");
    assert!(reaches(&world, new) > 60);
    assert_eq!(answers(&world), answered, "the old credentials are void");
    assert_eq!(world.relay.counters().drops[Drop::Stun as usize], refused + 1);
    assert_eq!(world.relay.sizes()[2], 2, "one ufrag for each participant");
    assert_eq!(world.relay.counters().handshakes_completed, 2, "the keys stay");
    for client in 0..2 {
        let slot = world.clients[client].slot("v0");
        World::assert_sound(&slot);
        assert!(slot.iter().any(|arrived| (world.now - arrived.at).as_millis() < 100), "media flows on");
    }
}

#[test]
fn a_wrong_fingerprint_gets_no_keys_and_is_told_once() {
    let mut world = World::new(43);
    world.open(1);
    world.join(1, Plan::usual());
    world.join(1, Plan::usual());
    world.bind_pair(0, 0, Some(1));
    let mut session = world.clients[1].session();
    session.fingerprint[0] ^= 1;
    let (call, participant) = (CallKey(1), ParticipantKey(1));
    world.command(Command::Negotiated { call, participant, session: Box::new(session) });
    let media = |world: &World| world.relay.counters().received[2..].iter().map(|traffic| traffic.packets).sum::<u64>();
    world.clients[0].tracks.clear();
    world.run_ms(20_000);
    let told = |(_, event): &(_, Event)| matches!(event, Event::Disconnected { reason: Disconnect::Fingerprint, .. });
    assert_eq!(world.events.iter().filter(|event| told(event)).count(), 1, "eight checks later, still once");
    let (address, before) = (world.clients[1].address, media(&world));
    world.inject(address, &[&[0x80, 96][..], &[7; 300]].concat());
    assert_eq!(media(&world), before);
    assert!(world.relay.counters().drops[Drop::Early as usize] > 0);
    assert!(world.clients[0].arrived.is_empty() && !world.clients[1].is_connected());

    world.clients[1] = Client::new(1, 1, address, Plan::usual(), world.now, 5);
    world.renegotiate(1);
    world.run_ms(1_000);
    assert!(world.clients[1].is_connected(), "another negotiation is another chance");
    assert!(world.clients[0].slot("v0").len() > 30);
}

#[test]
fn forged_handshakes_do_not_end_an_association() {
    let mut world = World::new(47);
    world.open(1);
    world.recording = Some(Vec::new());
    for _ in 0..2 {
        world.join(1, Plan { pairs: 1, ..Plan::usual() });
    }
    world.bind_pair(0, 0, Some(1));
    world.run_ms(1_000);
    let address = world.clients[1].address;
    for (_, bytes) in world.recording.take().unwrap().into_iter().filter(|(client, _)| *client == 1) {
        if !(20..64).contains(&bytes[0]) {
            continue;
        }
        for place in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[place] ^= 0x5a;
            world.inject(address, &forged);
        }
        world.inject(address, &bytes);
    }
    let before = world.clients[0].slot("v0").len();
    world.run_ms(1_000);
    assert!(!world.events.iter().any(|(_, event)| matches!(event, Event::Disconnected { .. })));
    assert!(world.clients[0].slot("v0").len() > before + 80);
}

#[test]
fn an_address_that_is_somebodys_is_not_given_to_another() {
    let mut world = World::call_of(44, 3, Plan::usual);
    let stolen = world.clients[1].address;
    let check = world.clients[2].check();
    world.inject(stolen, &check);
    let before = world.clients[0].slot("v0").len();
    world.run_ms(1_000);
    assert!(world.clients[0].slot("v0").len() > before + 50, "the owner of the address goes on");
}

#[test]
fn hops_of_different_profiles_meet_in_one_call() {
    let mut world = World::new(48);
    world.open(1);
    for aes_cm in [true, false, false] {
        world.join(1, Plan { aes_cm, ..Plan::usual() });
    }
    for receiver in 0..3 {
        for pair in 0..2 {
            world.bind_pair(receiver, pair, Some((receiver + 1 + pair) % 3));
        }
    }
    world.run_ms(1_000);
    assert!(world.clients.iter().all(|client| client.is_connected() && client.refused == 0));
    (world.up, world.down) = (Network::BAD, Network::BAD);
    world.run_ms(3_000);
    (world.up, world.down) = (Network::GOOD, Network::GOOD);
    world.run_ms(1_000);
    assert_eq!(world.relay.counters().drops[Drop::Authentication as usize], 0);
    for receiver in 0..3 {
        for pair in 0..2 {
            let slot = world.clients[receiver].slot(&format!("v{pair}"));
            World::assert_sound(&slot);
            assert!(slot.len() > 350 && slot.iter().any(|arrived| arrived.repaired), "{}", slot.len());
        }
    }
}
