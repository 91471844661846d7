//! Attackers on the path and beside it, and participants that do not keep to the rules.

use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sotto::relay::counters::Drop;
use sotto::rtp::header::{Header, MAX_HEADER_LEN};
use sotto::rtp::rtcp::feedback::write_picture_loss;
use sotto::session::Ssrc;

use crate::client::Plan;
use crate::world::World;

const STRANGER: ([u8; 4], u16) = ([203, 0, 113, 9], 4444);

fn drops(world: &World) -> u64 {
    world.relay.counters().drops.iter().sum()
}

#[test]
fn datagrams_of_every_length_are_dropped_and_counted() {
    let mut world = World::call_of(50, 4, Plan::usual);
    let mut random = StdRng::seed_from_u64(50);
    let known = world.clients[0].address;
    let (before, sizes) = (drops(&world), world.relay.sizes());
    let mut count = 0;
    for length in 0..=2_000 {
        for first in [0u8, 1, 20, 22, 63, 64, 127, 128, 144, 191, 255] {
            for from in [known, SocketAddr::from(STRANGER)] {
                let mut bytes = vec![0; length];
                random.fill_bytes(&mut bytes);
                if let Some(byte) = bytes.first_mut() {
                    *byte = first;
                }
                world.inject(from, &bytes);
                count += 1;
            }
        }
    }
    // DTLS from a participant's own address is the handshake's to judge.
    let judged = world.relay.counters().received[1].packets;
    assert!(drops(&world) - before + judged >= count, "every one is counted");
    assert_eq!(world.relay.sizes()[..3], sizes[..3]);
    let heard: Vec<usize> = (1..4).map(|client| world.clients[client].arrived.len()).collect();
    world.run_ms(1_000);
    for client in 1..4 {
        assert!(world.clients[client].arrived.len() > heard[client - 1] + 150, "the call goes on");
    }
}

#[test]
fn strangers_get_no_answer() {
    let mut world = World::call_of(51, 2, Plan::usual);
    let mut check = world.clients[0].check();
    let end = check.len() - 12;
    check[end] ^= 1;
    let sent = world.relay.counters().sent;
    for port in 0..10_000 {
        world.inject(SocketAddr::from((STRANGER.0, port)), &check);
    }
    assert_eq!(world.relay.counters().sent[0], sent[0], "no reply to a check that is not authentic");
    assert_eq!(world.relay.counters().drops[Drop::Stun as usize], 10_000);
    let (true_check, from) = (world.clients[0].check(), world.clients[0].address);
    let before = world.relay.counters().sent[0].bytes;
    world.inject(from, &true_check);
    let reply = world.relay.counters().sent[0].bytes - before;
    assert!(reply > 0 && reply * 2 <= true_check.len() as u64 * 3, "{reply} bytes for {}", true_check.len());
}

#[test]
fn hellos_from_a_wrong_source_do_not_disturb_handshakes() {
    let mut world = World::new(52);
    world.open(1);
    for _ in 0..10 {
        world.join(1, Plan { pairs: 1, ..Plan::usual() });
    }
    world.recording = Some(Vec::new());
    for _ in 0..100 {
        world.run_ms(5);
        let hellos: Vec<_> =
            world.recording.as_ref().unwrap().iter().filter(|(_, bytes)| bytes[0] == 22).cloned().collect();
        for (_, hello) in hellos.iter().take(10) {
            world.inject(SocketAddr::from(STRANGER), hello);
        }
    }
    assert!(world.relay.counters().drops[Drop::UnknownSource as usize] >= 500);
    world.run_ms(500);
    assert!(world.clients.iter().all(|client| client.is_connected()));
    assert_eq!(world.relay.counters().handshakes_completed, 10);
}

#[test]
fn forged_and_replayed_packets_change_nothing() {
    let mut world = World::call_of(53, 2, || Plan { pairs: 1, ..Plan::usual() });
    world.recording = Some(Vec::new());
    let mut random = StdRng::seed_from_u64(53);
    let mut attacks = 0u64;
    for _ in 0..60 {
        world.run_ms(50);
        for (client, bytes) in world.recording.replace(Vec::new()).unwrap() {
            let address = world.clients[client].address;
            if bytes[0] < 128 {
                continue;
            }
            for _ in 0..5 {
                world.inject(address, &bytes);
            }
            let mut forged = bytes.clone();
            let place = random.next_u32() as usize % forged.len();
            forged[place] ^= 1 << (random.next_u32() % 8);
            world.inject(address, &forged);
            attacks += 6;
        }
        for client in 0..2 {
            let forged = forged_stream(random.next_u32());
            let address = world.clients[client].address;
            world.inject(address, &forged);
            attacks += 1;
        }
    }
    world.run_ms(100);
    let refused = [Drop::Replay, Drop::Authentication, Drop::Malformed, Drop::Unrecognised, Drop::UnknownSource];
    let refused: u64 = refused.iter().map(|&reason| world.relay.counters().drops[reason as usize]).sum();
    assert!(refused + 200 > attacks && refused > 3_000, "{refused} of {attacks} attacks were refused");
    for client in 0..2 {
        for mid in ["a0", "v0"] {
            let slot = world.clients[client].slot(mid);
            World::assert_sound(&slot);
            assert!(slot.windows(2).all(|two| two[1].index == two[0].index + 1), "every packet, once, in order");
        }
        let sent = world.clients[1 - client].tracks[1].next - world.clients[1 - client].tracks[1].first;
        assert!(world.clients[client].slot("v0").len() as u64 + 20 > sent);
    }
}

/// An RTP packet without a key, with a live m-line's MID and an SSRC of its own.
fn forged_stream(ssrc: u32) -> Vec<u8> {
    let header = Header { marker: true, payload_type: 96, sequence: 1, timestamp: 1, ssrc: Ssrc(ssrc) };
    let mut bytes = [0; MAX_HEADER_LEN];
    let length = header.write([(1, &b"cam"[..])], &mut bytes).unwrap();
    [&bytes[..length], &[7; 300]].concat()
}

#[test]
fn a_replayed_key_frame_request_has_no_effect() {
    let mut world = World::call_of(54, 2, || Plan { pairs: 1, ..Plan::usual() });
    world.run_ms(1_000);
    let media = world.clients[0].slots[1].ssrc;
    let mut compound = Vec::new();
    write_picture_loss(Ssrc(1), media, &mut compound);
    let (packet, address) = (world.clients[0].protect_rtcp(&compound), world.clients[0].address);
    world.inject(address, &packet);
    world.run_ms(1_000);
    let asked = world.clients[1].tracks[1].plis.len();
    for _ in 0..1_000 {
        world.inject(address, &packet);
        world.run_ms(3);
    }
    assert_eq!(world.clients[1].tracks[1].plis.len(), asked);
    assert!(world.relay.counters().drops[Drop::Replay as usize] >= 1_000);
}

#[test]
fn two_peers_with_one_ssrc_do_not_meet() {
    let mut world = World::new(55);
    world.open(1);
    world.join(1, Plan::usual());
    for _ in 0..2 {
        world.join(1, Plan { ssrc: Some(0x1111_0000), ..Plan::usual() });
    }
    world.bind_pair(0, 0, Some(1));
    world.bind_pair(0, 1, Some(2));
    world.run_ms(3_000);
    for pair in 0..2 {
        let slot = world.clients[0].slot(&format!("v{pair}"));
        World::assert_sound(&slot);
        assert!(slot.len() > 150 && slot.windows(2).all(|two| two[1].index == two[0].index + 1));
    }
}

#[test]
fn thousands_of_ssrcs_of_one_peer_stay_bounded_and_hurt_nobody_else() {
    let mut world = World::call_of(56, 3, Plan::usual);
    world.run_ms(300);
    let address = world.clients[2].address;
    let publications = world.relay.counters().publications;
    for ssrc in 0..2_000u32 {
        let mut send = Vec::new();
        let (mut hop, track, _) = world.clients[2].hop(1);
        let kept = std::mem::replace(&mut track.ssrc, Ssrc(ssrc * 7 + 1));
        track.frame(world.start, world.now, &mut hop, &mut send);
        track.ssrc = kept;
        for packet in send {
            world.inject(address, &packet);
        }
    }
    assert!(world.relay.counters().drops[Drop::UnknownSsrc as usize] > 1_000, "SSRCs are capped");
    assert_eq!(world.relay.counters().publications, publications);
    let before = world.clients[0].slot("v0").len();
    world.run_ms(1_000);
    assert!(world.clients[0].slot("v0").len() > before + 80, "another publisher's stream goes on");
}
