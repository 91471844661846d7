//! Peers made of the `webrtc` crate, which shares no code with the relay, meet on the real binary over loopback.
#![allow(clippy::unwrap_used)] // a test that cannot go on says where

#[path = "interop/impair.rs"]
mod impair;
#[path = "interop/media.rs"]
mod media;
#[path = "interop/peer.rs"]
mod peer;
#[path = "interop/relay.rs"]
mod relay;

use impair::{Impair, Way};
use media::Heard;
use peer::{Link, Peer};
use relay::Relay;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_packet_of_a_published_voice_and_picture_arrives_once_and_in_order() {
    let call = published(None).await;
    check_voice(&call.voice, "voice");
    check_picture(&call.picture, "picture");
    let order: Vec<u64> = call.picture.iter().map(|packet| packet.count).collect();
    assert!(order.is_sorted(), "without loss nothing is reordered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_lost_on_the_way_to_the_relay_are_asked_for_again() {
    let call = published(Some(Way::ToRelay)).await;
    assert!(call.lost > 45, "only {} packets were lost", call.lost);
    check_picture(&once(call.picture), "picture");
    check_voice(&once(call.voice), "voice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_lost_on_the_way_to_a_receiver_are_sent_again() {
    let call = published(Some(Way::ToPeer)).await;
    assert!(call.lost > 45, "only {} packets were lost", call.lost);
    check_picture(&once(call.picture), "picture");
    check_voice(&once(call.voice), "voice");
}

struct Outcome {
    voice: Vec<Heard>,
    picture: Vec<Heard>,
    lost: usize,
}

/// One peer publishes for three seconds, another subscribes; `loss` drops every eleventh packet one way, up to the last
/// frame.
async fn published(loss: Option<Way>) -> Outcome {
    let relay = Relay::start().await;
    let sending = Impair::new(&relay, (loss == Some(Way::ToRelay)).then_some(Way::ToRelay));
    let receiving = Impair::new(&relay, (loss == Some(Way::ToPeer)).then_some(Way::ToPeer));
    let link = Link::random();
    let mut publisher = Peer::join(&relay, &link, sending.port).await;
    let tracks = publisher.publish().await;
    let mut subscriber = Peer::join(&relay, &link, receiving.port).await;
    subscriber.subscribe().await;
    let mend = || [&sending, &receiving].into_iter().for_each(Impair::mend);
    let sent = media::send(tracks, mend).await;
    let (voice, picture) = subscriber.received(&sent).await;
    publisher.leave().await;
    subscriber.leave().await;
    Outcome { voice, picture, lost: sending.lost() + receiving.lost() }
}

/// A receiver that asks for a packet before it came the long way, or asks twice, is answered each time.
fn once(mut heard: Vec<Heard>) -> Vec<Heard> {
    heard.sort_by_key(|packet| packet.count);
    heard.dedup_by_key(|packet| packet.count);
    heard
}

/// From the first packet that arrived on, each arrived once, with numbers and times that go on without a gap.
fn check_voice(heard: &[Heard], what: &str) {
    check(heard, what);
    for pair in heard.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert_eq!(after.timestamp.wrapping_sub(before.timestamp), media::VOICE_STEP, "{what} at {}", after.count);
    }
}

fn check_picture(heard: &[Heard], what: &str) {
    let mut ordered = heard.to_vec();
    ordered.sort_by_key(|packet| packet.count);
    check(&ordered, what);
    assert!(ordered[0].key_frame, "a receiver's first packet begins a key frame");
    for pair in ordered.windows(2).filter(|pair| pair[0].frame != pair[1].frame) {
        assert_eq!(pair[1].picture_id, (pair[0].picture_id + 1) & 0x7fff, "{what}: picture ids go on");
    }
}

fn check(heard: &[Heard], what: &str) {
    assert!(heard.len() > 100, "{what}: only {} packets arrived", heard.len());
    for pair in heard.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert_eq!(after.count, before.count + 1, "{what}: each packet once, none missing");
        assert_eq!(after.sequence, before.sequence.wrapping_add(1), "{what}: sequence numbers go on");
        assert!(after.intact, "{what}: the payload is the sender's");
    }
}
