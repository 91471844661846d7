//! RTCP: what publishers and receivers are told.

use std::time::Duration;

use sotto::rtp::rtcp::feedback::write_picture_loss;
use sotto::session::Ssrc;

use crate::client::Plan;
use crate::world::{Network, World};

#[test]
fn publishers_get_reports_and_feedback_on_every_packet() {
    let mut world = World::call_of(20, 2, || Plan { pairs: 1, ..Plan::usual() });
    world.up.loss = 100;
    world.run_ms(5_000);
    let client = &world.clients[0];
    let blocks: Vec<_> = client.receiver_reports.iter().filter(|block| block.ssrc == client.tracks[1].ssrc).collect();
    assert!((4..=8).contains(&blocks.len()), "one each second: {}", blocks.len());
    let lost = f64::from(blocks.last().unwrap().fraction_lost) / 256.0;
    assert!((0.03..0.2).contains(&lost), "a tenth was lost: {lost}");
    assert!(blocks.last().unwrap().last_sr != 0);
    let reported: usize = client.feedbacks.iter().map(|(_, _, count)| count).sum();
    let arrived = world.relay.counters().received[2..5].iter().map(|traffic| traffic.packets).sum::<u64>();
    let both: usize = world.clients.iter().flat_map(|c| &c.feedbacks).map(|(_, _, count)| count).sum();
    assert!(reported > 500 && both as u64 + 60 > arrived, "{both} of {arrived} arrivals were reported");
    for two in client.feedbacks.windows(2) {
        assert!(two[1].0 - two[0].0 >= Duration::from_millis(30), "not more often than needed");
    }
}

#[test]
fn a_storm_of_key_frame_requests_asks_the_publisher_five_times_a_second() {
    let mut world = World::call_of(21, 4, Plan::usual);
    world.clients[3].tracks[1].plis.clear();
    let before = world.relay.counters().plis_received;
    for _ in 0..2_000 {
        for viewer in 0..3 {
            let slot =
                world.clients[viewer].slots.iter().position(|slot| slot.mid.as_str() == format!("v{}", 2 - viewer));
            let media = world.clients[viewer].slots[slot.unwrap()].ssrc;
            let mut compound = Vec::new();
            write_picture_loss(Ssrc(1), media, &mut compound);
            let packet = world.clients[viewer].protect_rtcp(&compound);
            let address = world.clients[viewer].address;
            world.inject(address, &packet);
        }
        world.run_ms(1);
    }
    assert_eq!(world.relay.counters().plis_received - before, 6_000);
    world.run_ms(100);
    let asked = world.clients[3].tracks[1].plis.len();
    assert!((8..=11).contains(&asked), "{asked} requests in two seconds");
}

#[test]
fn a_lost_request_is_repeated_until_the_key_frame_comes() {
    let mut world = World::call_of(22, 2, || Plan { pairs: 1, ..Plan::usual() });
    world.bind_pair(0, 0, None);
    world.run_ms(300);
    world.down.loss = 1_000;
    let at = world.now;
    world.bind_pair(0, 0, Some(1));
    world.run_ms(500);
    world.down.loss = 0;
    world.run_ms(400);
    let slot = world.clients[0].slot("v0");
    let first = slot.iter().find(|arrived| arrived.at > at).expect("the key frame was asked for again");
    assert!(first.key && (first.at - at) < Duration::from_millis(800));
}

#[test]
fn lips_match_whatever_the_publishers_clock_says() {
    let mut world = World::new(23);
    world.open(1);
    world.join(1, Plan::usual());
    world.join(1, Plan { clock: (-86_400.0 * 365.0, 80.0), ..Plan::usual() });
    world.bind_pair(0, 0, Some(1));
    world.run_ms(1_000);
    world.up.jitter = Duration::from_millis(30);
    world.run_ms(10_000);
    let client = &world.clients[0];
    // Where each medium's sender report puts its packets on the relay's clock, against when they were captured.
    let skew = |mid: &str, rate: f64| {
        let slot = client.slot(mid);
        let report =
            client.sender_reports.iter().rev().find(|(_, ssrc, _)| *ssrc == slot[0].slot).expect("reports came");
        let packet = slot.last().unwrap();
        let ahead = f64::from(packet.timestamp.wrapping_sub(report.2.rtp_timestamp) as i32) / rate;
        (report.2.ntp >> 16) as f64 / 65_536.0 + ahead - packet.captured as f64 / 1e6
    };
    let apart = (skew("a0", 48_000.0) - skew("v0", 90_000.0)).abs();
    assert!(apart < 0.005, "sound and picture are {apart} s apart");
    let first = client.sender_reports.first().expect("reports came");
    assert!(world.elapsed(first.0) < 1_500, "the first one soon after the publisher's");
}

#[test]
fn reports_of_receivers_measure_loss() {
    let mut world = World::call_of(24, 2, || Plan { pairs: 1, ..Plan::usual() });
    world.down = Network { loss: 50, ..Network::GOOD };
    world.run_ms(2_000);
    let repeated = world.relay.counters().retransmissions_sent;
    let nacked = world.relay.counters().nacks_received;
    assert!(repeated > 0 && repeated <= nacked, "{repeated} of {nacked}: none more than asked for");
}
