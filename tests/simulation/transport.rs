//! Paths: consent, restarts, changes of address.

use std::net::SocketAddr;

use sotto::relay::command::{CallKey, Command, Disconnect, Event, ParticipantKey};
use sotto::relay::counters::Drop;

use crate::client::Plan;
use crate::world::World;

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
    assert!(
        world.clients[0].slot("v0").iter().any(|arrived| arrived.at > moved + std::time::Duration::from_millis(100))
    );
}

#[test]
fn a_wrong_fingerprint_gets_no_keys() {
    let mut world = World::new(43);
    world.open(1);
    let index = world.join(1, Plan::usual());
    let mut session = world.clients[index].session();
    session.fingerprint[0] ^= 1;
    let (call, participant) = (CallKey(1), ParticipantKey(index as u64));
    world.command(Command::Negotiated { call, participant, session: Box::new(session) });
    world.run_ms(1_000);
    let told = |(_, event): &(_, Event)| matches!(event, Event::Disconnected { reason: Disconnect::Fingerprint, .. });
    assert!(world.events.iter().any(told));
    assert_eq!(world.relay.counters().received[2..].iter().map(|traffic| traffic.packets).sum::<u64>(), 0);
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
