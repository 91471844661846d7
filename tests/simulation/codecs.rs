//! What browsers put into their packets: VP8 and VP9 in their several forms, and packets of nothing but padding.

use crate::client::Plan;
use crate::track::Form;
use crate::world::{Network, World};

/// Two publishers in turn, in one slot: pictures and numbers go on over the change, from a key frame.
fn survives_a_change_of_sender(seed: u64, form: Form) {
    let mut world = World::new(seed);
    world.open(1);
    for _ in 0..3 {
        world.join(1, Plan { form, ..Plan::usual() });
    }
    world.bind_pair(0, 0, Some(1));
    world.run_ms(1_500);
    let change = world.now;
    world.bind_pair(0, 0, Some(2));
    world.run_ms(1_500);
    let slot = world.clients[0].slot("v0");
    World::assert_sound(&slot);
    assert!(slot.windows(2).all(|two| two[1].index == two[0].index + 1), "in order, without a gap");
    let old = world.clients[1].tracks[1].ssrc.0;
    let first = slot.iter().position(|arrived| arrived.source != old).expect("the new sender is shown");
    assert!(slot[0].key && slot[first].key);
    assert!((slot[first].at - change).as_millis() < 200);
    assert!(first > 50 && slot.len() - first > 100);
    if let (Some(before), Some(after)) = (slot[first - 1].picture, slot[first].picture) {
        assert_eq!(after, (before + 1) & 0x7fff, "the next picture");
        let advance = slot[first].tl0.unwrap_or(1).wrapping_sub(slot[first - 1].tl0.unwrap_or(0));
        assert_eq!(advance, 1);
    }
    assert_eq!(world.relay.counters().drops.iter().sum::<u64>(), 0);
}

#[test]
fn vp8_goes_on_over_a_change_of_sender() {
    survives_a_change_of_sender(70, Form::Vp8);
}

#[test]
fn vp8_without_a_picture_identifier_goes_on_over_a_change_of_sender() {
    survives_a_change_of_sender(71, Form::Vp8Bare);
}

#[test]
fn vp9_goes_on_over_a_change_of_sender() {
    survives_a_change_of_sender(72, Form::Vp9);
}

#[test]
fn vp9_in_flexible_mode_goes_on_over_a_change_of_sender() {
    survives_a_change_of_sender(73, Form::Vp9Flexible);
}

#[test]
fn vp9_is_repaired_on_both_ways() {
    let mut world = World::call_of(74, 2, || Plan { pairs: 1, form: Form::Vp9, ..Plan::usual() });
    (world.up, world.down) = (Network::BAD, Network::BAD);
    world.run_ms(4_000);
    (world.up, world.down) = (Network::GOOD, Network::GOOD);
    world.run_ms(1_000);
    let slot = world.clients[0].slot("v0");
    World::assert_sound(&slot);
    let span = slot.iter().map(|arrived| arrived.index).max().unwrap() - slot[0].index + 1;
    assert!(slot.iter().filter(|arrived| arrived.repaired).count() > 20);
    assert!((span - slot.len() as u64) * 200 <= span, "{} of {span} packets", slot.len());
}

#[test]
fn padding_keeps_the_numbers_and_begins_nothing() {
    let mut world = World::call_of(75, 2, || Plan { pairs: 1, ..Plan::usual() });
    let plis = world.clients[1].tracks[1].plis.len();
    let before = world.clients[1].feedbacks.iter().map(|(_, _, count)| count).sum::<usize>();
    let packets = world.clients[1].tracks.iter().map(|track| track.next).sum::<u64>();
    for _ in 0..60 {
        world.run_ms(50);
        for repair in [false, true] {
            let (now, mut send) = (world.now, Vec::new());
            let (mut hop, track, _) = world.clients[1].hop(1);
            track.padding(repair, now, &mut hop, &mut send);
            world.clients[1].send_later(send.remove(0));
        }
    }
    world.run_ms(200);
    let slot = world.clients[0].slot("v0");
    World::assert_sound(&slot);
    assert!(slot.windows(2).any(|two| two[1].index == two[0].index + 2), "padding has a number of its own");
    assert_eq!((world.clients[0].nacked, world.clients[1].asked), (0, 0), "nobody misses anything");
    assert_eq!(world.clients[1].tracks[1].plis.len(), plis);
    assert_eq!(world.relay.counters().drops.iter().sum::<u64>(), 0);
    let sent = world.clients[1].tracks.iter().map(|track| track.next).sum::<u64>() - packets + 60;
    let reported = world.clients[1].feedbacks.iter().map(|(_, _, count)| count).sum::<usize>() - before;
    assert!(reported as u64 + 40 > sent, "a probe's arrival is reported: {reported} of {sent}");
}
