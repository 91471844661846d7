//! A flood from unknown sources, at the rate of a fast line, beside a live call. `SOTTO_FLOOD_SECONDS` makes it longer.

use std::net::{Ipv6Addr, SocketAddr};

use sotto::session::IceParameters;
use zeroize::Zeroizing;

use crate::client::{Plan, check};
use crate::world::World;

#[test]
fn a_flood_from_unknown_sources_costs_no_memory_no_answer_and_no_packet_of_a_call() {
    let seconds = std::env::var("SOTTO_FLOOD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (mut calm, mut flooded) = (warm(), warm());
    let junk = junk(&flooded);
    let (before, sizes) = (flooded.relay.counters().drops.iter().sum::<u64>(), flooded.relay.sizes());
    let (allocated, mut sent) = (flooded.allocated, 0);
    for _ in 0..seconds * 1_000 {
        for _ in 0..A_MILLISECOND {
            flooded.inject(source(sent), &junk[sent as usize % junk.len()]);
            sent += 1;
        }
        flooded.run_ms(1);
    }
    calm.run_ms(seconds * 1_000);
    let dropped = flooded.relay.counters().drops.iter().sum::<u64>() - before;
    println!("{sent} datagrams in {seconds} s, {} allocations", flooded.allocated - allocated);
    assert_eq!(dropped, sent, "each is counted, and none is more than counted");
    assert_eq!(flooded.allocated, allocated, "allocations while handling datagrams");
    assert_eq!(flooded.relay.sizes()[..3], sizes[..3]);
    assert!(flooded.letters.is_empty(), "nobody is answered");
    let heard = |world: &World| world.clients.iter().map(|client| client.arrived.len()).collect::<Vec<_>>();
    assert_eq!(heard(&flooded), heard(&calm), "the call is as it is without a flood");
}

/// A call of four that has gone on for long enough to have all the memory that it needs.
fn warm() -> World {
    let mut world = World::call_of(70, 4, Plan::usual);
    world.run_ms(4_000);
    world
}

/// What strangers may send: of every protocol, of every size, and checks for the ufrag of somebody who is there.
fn junk(world: &World) -> Vec<Vec<u8>> {
    let known = world.clients[0].ice(0);
    let guessed = |ufrag: &str| IceParameters {
        local_ufrag: ufrag.try_into().expect("it is short enough"),
        local_pwd: Zeroizing::new("what a stranger might guess".to_owned()),
        remote_ufrag: known.remote_ufrag.clone(),
    };
    let filled = |start: &[u8], length: usize| {
        let mut bytes = vec![0x5a; length];
        bytes[..start.len()].copy_from_slice(start);
        bytes
    };
    vec![
        check(&guessed(&known.local_ufrag), true),
        check(&guessed("nobodys"), true),
        filled(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], 20),
        filled(&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200, 1], 213),
        filled(&[0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1], 1_200),
        filled(&[0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2], 100),
        filled(&[0x80, 200, 0, 6, 0, 0, 0, 1], 28),
        filled(&[64, 0], 1_472),
        Vec::new(),
    ]
}

/// Ever other sources, of both families.
fn source(number: u64) -> SocketAddr {
    let port = 1_024 + (number % 60_000) as u16;
    let [.., a, b] = (number / 60_000).to_be_bytes();
    if number.is_multiple_of(2) {
        SocketAddr::from(([203, 0, a, b], port))
    } else {
        SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, u16::from(a), u16::from(b)), port))
    }
}

/// Datagrams in a millisecond: 200,000 a second, which fill 100 Mbit/s with the shortest and 2 Gbit/s with the longest.
const A_MILLISECOND: u64 = 200;
