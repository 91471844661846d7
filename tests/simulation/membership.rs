//! Coming and going leaves nothing behind.

use sotto::relay::command::{CallKey, Command, Event};

use crate::client::Plan;
use crate::world::World;

#[test]
fn twenty_joins_and_leaves_leave_everything_where_it_began() {
    let mut world = World::call_of(30, 2, Plan::usual);
    world.run_ms(500);
    let gauges = |world: &World| {
        let counters = world.relay.counters();
        [counters.calls, counters.participants, counters.publications, counters.subscriptions]
    };
    let (before, sizes) = (gauges(&world), world.relay.sizes());
    for _ in 0..20 {
        let joined = world.now;
        let newcomer = world.join(1, Plan::usual());
        world.bind_pair(newcomer, 0, Some(0));
        world.bind_pair(0, 1, Some(newcomer));
        world.run_ms(700);
        let seen = world.clients[0].slot("v1").iter().filter(|arrived| arrived.at >= joined).count();
        assert!(seen > 10, "{seen} packets of the newcomer");
        assert_eq!(gauges(&world)[1], 3);
        world.leave(newcomer);
        world.run_ms(100);
    }
    world.run_ms(16_000);
    assert_eq!(gauges(&world), before);
    let after = world.relay.sizes();
    assert_eq!(after[..3], sizes[..3], "calls, paths and ufrags");
    assert!(after[3] <= sizes[3] + 4, "deadlines: {} after {}", after[3], sizes[3]);
}

#[test]
fn an_empty_relay_sleeps() {
    let mut world = World::call_of(31, 3, Plan::usual);
    world.command(Command::Close { call: CallKey(1) });
    for client in &mut world.clients {
        client.alive = false;
    }
    world.run_ms(20_000);
    assert_eq!(world.relay.sizes(), [0; 4]);
    assert_eq!(world.relay.next_timeout(), None);
    let counters = world.relay.counters();
    assert_eq!([counters.calls, counters.participants, counters.publications, counters.subscriptions], [0; 4]);
}

#[test]
fn two_calls_share_nothing() {
    let mut world = World::new(32);
    for call in 1..=2 {
        world.open(call);
        world.join(call, Plan::usual());
        world.join(call, Plan::usual());
    }
    // Participant 0 is in call 1; a slot of it cannot be pointed into call 2.
    world.bind_pair(0, 0, Some(2));
    world.bind_pair(2, 0, Some(3));
    world.run_ms(2_000);
    assert!(world.clients[0].arrived.is_empty());
    assert!(world.clients[2].slot("v0").len() > 50);
}

#[test]
fn what_is_gone_may_be_named() {
    let mut world = World::call_of(33, 2, Plan::usual);
    world.leave(1);
    world.bind_pair(0, 0, Some(1));
    world.bind(0, "nowhere", Some((1, "cam")));
    world.command(Command::Close { call: CallKey(9) });
    world.leave(1);
    world.run_ms(100);
    assert!(!world.events.iter().any(|(_, event)| matches!(event, Event::Failed { .. })));
}

#[cfg(feature = "probe")]
#[test]
fn a_panic_in_one_call_costs_the_others_nothing() {
    let mut world = World::new(34);
    for call in 1..=2u64 {
        world.open(call);
        for _ in 0..2 {
            world.join(call, Plan { pairs: 1, ..Plan::usual() });
        }
        let first = (call as usize - 1) * 2;
        world.bind_pair(first, 0, Some(first + 1));
    }
    world.run_ms(1_000);
    world.relay.doom(CallKey(1));
    world.run_ms(2_000);
    let failed = |(_, event): &(_, Event)| matches!(event, Event::Failed { call } if *call == CallKey(1));
    assert_eq!(world.events.iter().filter(|event| failed(event)).count(), 1);
    let slot = world.clients[2].slot("v0");
    World::assert_sound(&slot);
    let sent = world.clients[3].tracks[1].next - world.clients[3].tracks[1].first;
    assert!(slot.windows(2).all(|two| two[1].index == two[0].index + 1) && slot.len() as u64 + 30 > sent);
    let counters = world.relay.counters();
    assert_eq!([counters.panics, counters.calls, counters.participants, counters.subscriptions], [1, 1, 2, 2]);
    assert_eq!(world.relay.sizes()[0..3], [1, 2, 2]);
}
