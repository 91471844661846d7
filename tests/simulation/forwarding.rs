//! Who is forwarded to whom, and that numbers never break.

use std::collections::HashSet;
use std::time::Duration;

use sotto::relay::counters::{Drop, Protocol};

use crate::client::Plan;
use crate::track::Arrived;
use crate::world::{Network, World};

#[test]
fn every_packet_reaches_every_receiver_once() {
    let mut world = World::call_of(1, 4, Plan::usual);
    world.run_ms(3_000);
    for receiver in 0..4 {
        for pair in 0..3 {
            let publisher = (receiver + 1 + pair) % 4;
            let sent: Vec<u64> = world.clients[publisher].tracks.iter().map(|track| track.next - track.first).collect();
            for (mid, sent) in [(format!("a{pair}"), sent[0]), (format!("v{pair}"), sent[1])] {
                let slot = world.clients[receiver].slot(&mid);
                World::assert_sound(&slot);
                assert!(slot.windows(2).all(|two| two[1].index == two[0].index + 1), "in order, without a gap");
                assert!(slot.iter().all(|arrived| arrived.mid == mid));
                assert!(slot.len() as u64 > sent - 60, "{} of {sent} packets, the rest is under way", slot.len());
            }
        }
        assert_eq!((world.clients[receiver].refused, world.clients[receiver].strays), (0, 0));
    }
    assert_eq!(world.relay.counters().drops.iter().sum::<u64>(), 0);
}

#[test]
fn loss_reordering_and_duplicates_are_repaired_on_both_ways() {
    let mut world = World::call_of(2, 3, || Plan { pairs: 2, ..Plan::usual() });
    (world.up, world.down) = (Network::BAD, Network::BAD);
    world.run_ms(8_000);
    (world.up, world.down) = (Network::GOOD, Network::GOOD);
    let end = world.now;
    world.run_ms(1_000);
    for receiver in 0..3 {
        let client = &world.clients[receiver];
        assert!(client.asked > 50 && client.nacked > 50, "both ways lost and asked");
        for pair in 0..2 {
            let slot = client.slot(&format!("v{pair}"));
            World::assert_sound(&slot);
            // What was sent in the bad seconds; their last repairs come in the good one.
            let last = slot.iter().filter(|arrived| arrived.at < end).map(|arrived| arrived.index).max().unwrap();
            let before: Vec<&Arrived> = slot.iter().copied().filter(|arrived| arrived.index <= last).collect();
            let indices: HashSet<u64> = before.iter().map(|arrived| arrived.index).collect();
            let span = indices.iter().max().unwrap() - indices.iter().min().unwrap() + 1;
            let missing = span - indices.len() as u64;
            assert!(missing * 500 <= span, "{missing} of {span} packets are missing after repair");
            assert!(before.iter().any(|arrived| arrived.repaired));
        }
        World::assert_sound(&client.slot("a0"));
    }
    let counters = world.relay.counters();
    assert!(counters.retransmissions_received > 100 && counters.retransmissions_sent > 100);
    assert!(counters.nacks_sent > 100 && counters.nacks_received > 100);
}

/// Percent of a slot's packets that never came, of those sent until `end`, and how many did not come at first.
fn missing(slot: &[&Arrived], end: std::time::Instant) -> f64 {
    let indices: HashSet<u64> = slot.iter().map(|arrived| arrived.index).collect();
    let first = *indices.iter().min().unwrap();
    let last = slot.iter().filter(|arrived| arrived.at < end).map(|arrived| arrived.index).max().unwrap();
    let came = indices.iter().filter(|&&index| index <= last).count();
    100.0 * (1.0 - came as f64 / (last - first + 1) as f64)
}

#[test]
fn a_receiver_that_asks_for_what_it_has_keeps_its_repairs() {
    let mut world = World::call_of(9, 2, || Plan { pairs: 1, insists: true, ..Plan::usual() });
    let before = world.relay.counters().sent;
    world.down.loss = 100;
    world.run_ms(20_000);
    world.down = Network::GOOD;
    let end = world.now;
    world.run_ms(1_000);
    for client in &world.clients {
        let missing = missing(&client.slot("v0"), end);
        assert!(missing < 0.2, "{missing} % are missing after repair");
    }
    let counters = world.relay.counters();
    assert_eq!(counters.drops[Drop::Budget as usize], 0, "the budget is for what helps");
    let [video, again] = [Protocol::Video, Protocol::Rtx]
        .map(|protocol| counters.sent[protocol as usize].packets - before[protocol as usize].packets);
    let share = again as f64 / video as f64;
    assert!((0.1..=0.33).contains(&share), "a tenth is lost, and repeated three times at most: {share}");
}

#[test]
fn lost_sound_is_repaired_on_both_ways_by_the_same_datagram_where_both_sides_agreed_on_it() {
    let mut world = World::call_of(10, 2, || Plan { pairs: 1, voice_nacks: true, ..Plan::usual() });
    world.listening = Some(Vec::new());
    (world.up.loss, world.down.loss) = (50, 50);
    world.run_ms(20_000);
    (world.up, world.down) = (Network::GOOD, Network::GOOD);
    let end = world.now;
    world.run_ms(1_000);
    for client in &world.clients {
        let slot = client.slot("a0");
        World::assert_sound(&slot);
        let missing = missing(&slot, end);
        assert!(missing < 0.2, "{missing} % are missing after repair");
        // A request may cross with what the relay itself had to ask for, at most one for each of those.
        assert!(client.refused < 60, "{} came twice, and SRTP refused them", client.refused);
    }
    // Under AES-GCM two packets of one number with different contents would give away the key that authenticates.
    let mut repeated = 0;
    for client in 0..2 {
        let slot = world.clients[client].slots[0].ssrc.0.to_be_bytes();
        let mut seen = std::collections::HashMap::new();
        for (_, datagram) in world.listening.iter().flatten().filter(|(to, sent)| *to == client && sent[8..12] == slot)
        {
            let first = seen.entry([datagram[2], datagram[3]]).or_insert(datagram);
            assert_eq!(*first, datagram, "one number, one datagram");
            repeated += usize::from(!std::ptr::eq(*first, datagram));
        }
    }
    assert!(repeated > 50, "{repeated} of 2,000, of which 5 % were lost");
}

#[test]
fn sound_is_never_sent_twice_unless_that_was_agreed_nor_under_another_sender() {
    let mut world = World::call_of(11, 3, || Plan { pairs: 1, ..Plan::usual() });
    world.listening = Some(Vec::new());
    world.down.loss = 100;
    world.run_ms(3_000);
    assert!(world.relay.counters().nacks_received > 0, "they ask all the same");
    let is_sound = |sent: &[u8]| sent[1] & 0x7f == 109;
    let numbers: Vec<_> = world.listening.iter().flatten().filter(|(_, sent)| is_sound(sent)).collect();
    let distinct: HashSet<_> = numbers.iter().map(|(to, sent)| (to, &sent[2..4])).collect();
    assert_eq!(numbers.len(), distinct.len());

    let mut world = World::call_of(12, 3, || Plan { pairs: 1, voice_nacks: true, ..Plan::usual() });
    world.down.loss = 200;
    world.run_ms(1_000);
    let (old, bound) = (world.clients[1].tracks[0].ssrc.0, world.now);
    world.bind_pair(0, 0, Some(2));
    world.down.loss = 0;
    world.run_ms(1_000);
    let late = bound + Network::GOOD.delay;
    let slot = world.clients[0].slot("a0");
    assert!(slot.iter().all(|arrived| arrived.source != old || arrived.at <= late), "nothing of the one before");
    assert!(slot.iter().any(|arrived| arrived.source != old));
}

#[test]
fn a_slot_that_changes_its_sender_shows_the_new_one_from_a_key_frame_and_never_the_old_one_again() {
    let mut world = World::call_of(3, 3, Plan::usual);
    world.run_ms(1_000);
    let (old, new) = (world.clients[1].tracks[1].ssrc.0, world.clients[2].tracks[1].ssrc.0);
    let bound = world.now;
    world.bind_pair(0, 0, Some(2));
    world.run_ms(1_000);
    let slot = world.clients[0].slot("v0");
    World::assert_sound(&slot);
    // What was on its way when the slot was bound still arrives, 20 ms later at most.
    let late = bound + Network::GOOD.delay;
    assert!(slot.iter().all(|arrived| arrived.source != old || arrived.at <= late));
    let first = slot.iter().find(|arrived| arrived.source == new).expect("the new sender is shown");
    assert!(first.key);
    assert!((first.at - bound).as_millis() < 200, "{:?}", first.at - bound);
    let last = slot.iter().rev().find(|arrived| arrived.source == old).unwrap();
    assert_eq!(first.index, last.index + 1);
    World::assert_sound(&world.clients[0].slot("a0"));

    let unbound = world.now;
    world.bind_pair(0, 0, None);
    world.run_ms(500);
    assert!(world.clients[0].slot("v0").iter().all(|arrived| arrived.at <= unbound + Network::GOOD.delay));
}

#[test]
fn the_best_arriving_layer_is_forwarded_and_switches_only_at_key_frames() {
    let mut world = World::call_of(4, 2, || Plan { pairs: 1, ..Plan::simulcast() });
    world.run_ms(1_000);
    let layer = |world: &World, place: usize| world.clients[1].tracks[place].ssrc.0;
    let shown = |world: &World| world.clients[0].slot("v0").last().unwrap().source;
    assert_eq!(shown(&world), layer(&world, 3));
    world.clients[1].tracks[3].active = false;
    let stopped = world.now;
    world.run_ms(1_000);
    assert_eq!(shown(&world), layer(&world, 2), "a layer that stops is left");
    let slot = world.clients[0].slot("v0");
    let next = slot.iter().find(|arrived| arrived.source == layer(&world, 2) && arrived.at > stopped).unwrap();
    let freeze = (next.at - stopped).as_millis();
    // Six frames, then 80 ms for the key frame to be asked for and to come.
    assert!((200..350).contains(&freeze), "after {freeze} ms");
    world.clients[1].tracks[3].active = true;
    world.clients[1].tracks[3].wants_key = false;
    world.run_ms(1_000);
    assert_eq!(shown(&world), layer(&world, 3), "a better one that comes back is taken");
    let slot = world.clients[0].slot("v0");
    World::assert_sound(&slot);
    assert!(slot.windows(2).all(|two| two[1].index == two[0].index + 1));
    for two in slot.windows(2).filter(|two| two[0].source != two[1].source) {
        assert!(two[1].key);
    }
}

#[test]
fn a_layer_of_fewer_frames_a_second_is_not_left_between_them() {
    let mut world = World::call_of(8, 2, || Plan { pairs: 1, ..Plan::simulcast() });
    world.clients[1].tracks[3].interval = Duration::from_millis(250);
    world.run_ms(2_000);
    let (settled, plis) = (world.now, world.relay.counters().plis_sent);
    world.run_ms(5_000);
    let top = world.clients[1].tracks[3].ssrc.0;
    let slot = world.clients[0].slot("v0");
    assert!(slot.iter().filter(|arrived| arrived.at > settled).all(|arrived| arrived.source == top));
    assert_eq!(world.relay.counters().plis_sent, plis);
}

#[test]
fn a_publisher_that_changes_its_ssrc_goes_on_in_the_same_slot() {
    let mut world = World::call_of(5, 2, || Plan { pairs: 1, ..Plan::usual() });
    world.run_ms(500);
    let old = world.clients[1].tracks[1].ssrc;
    let now = world.now;
    let mut track = crate::track::Outgoing::new("cam", sotto::session::Kind::Video, None, 0x1234_5670, now, 99);
    track.rid = None;
    world.clients[1].tracks[1] = track;
    world.run_ms(1_000);
    let slot = world.clients[0].slot("v0");
    World::assert_sound(&slot);
    let change = slot.iter().position(|arrived| arrived.source == 0x1234_5670).expect("the new stream is shown");
    assert!(slot[change].key);
    assert!(slot[change..].iter().all(|arrived| arrived.source != old.0), "its predecessor is void");
}

#[test]
fn each_receiver_gets_its_own_payload_types() {
    let mut world = World::new(6);
    world.open(1);
    world.join(1, Plan { video: 96, ..Plan::usual() });
    world.join(1, Plan { video: 100, ..Plan::usual() });
    world.bind_pair(0, 0, Some(1));
    world.bind_pair(1, 0, Some(0));
    world.run_ms(2_000);
    // The client itself refuses another payload type than its own.
    assert!(world.clients[0].slot("v0").len() > 50 && world.clients[1].slot("v0").len() > 50);
}

#[test]
fn a_binding_that_comes_before_its_publication_is_kept() {
    let mut world = World::new(7);
    world.open(1);
    world.join(1, Plan::usual());
    world.bind_pair(0, 0, Some(1));
    world.run_ms(1_000);
    world.join(1, Plan::usual());
    world.run_ms(1_500);
    assert!(world.clients[0].slot("v0").len() > 30);
    assert_eq!(world.relay.counters().subscriptions, 2);
}
