//! What connections of either engine do on the relay's real binary: every packet, its layer, its repair and the time it
//! took are what they should be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use sotto_loadtest::clock::Moment;
use sotto_loadtest::engine::full::inbox::Packet as Received;
use sotto_loadtest::engine::full::slots::{OPUS, VP8};
use sotto_loadtest::engine::{Codec, Command, Event, Sending};
use sotto_loadtest::relay_process::{RelayProcess, SpawnOptions};
use sotto_signaling::message::Stream;

use crate::detour::{Detour, Way};
use crate::peer::{Link, Peer, packet};

/// A frame of the picture every 33 ms.
const FRAMES: u64 = 120;
/// Frames until the relay surely forwards: it begins with a key frame after everything is agreed. Of these every 15th is
/// one; later ones would end the relay's search for what is missing before them.
const HEAD: u64 = 31;
/// Where another beginning begins.
const AGAIN: u64 = 1_500;
const PACKETS_PER_FRAME: u64 = 3;
/// 1 byte of flags, 1 of extension flags, 2 of picture id (RFC 7741).
const DESCRIPTOR: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_and_three_layers_arrive_whole_in_their_slots() {
    let (_relay, mut sender, mut receiver, slots) = call(3, None).await;
    send(&mut sender, 3, FRAMES).await;
    while receiver.gather(Duration::from_secs(1)).await {}
    check(&receiver, &slots, Stream::Microphone);
    check(&receiver, &slots, Stream::Camera);
    assert!(receiver.packets.iter().all(|packet| !packet.repaired), "nothing was lost, so nothing was repaired");
    let layers: Vec<u8> = pictures(&receiver, &slots).map(|packet| packet.payload[DESCRIPTOR + 1]).collect();
    assert!(layers.contains(&2), "the tall picture reaches one who shows it tall");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_packets_that_were_lost_on_the_way_here_come_as_repaired() {
    let (_relay, mut sender, mut receiver, slots, detour) = detoured(Way::ToPeer).await;
    send(&mut sender, 1, HEAD).await; // the first packet of a stream is missed by nobody
    detour.lose_one_in(9);
    send_from(&mut sender, 1, HEAD, FRAMES).await;
    detour.lose_one_in(0);
    send_from(&mut sender, 1, HEAD + FRAMES, HEAD).await; // shows the last losses
    while receiver.gather(Duration::from_secs(1)).await {}
    let (lost_sound, lost_picture) = (lost(&detour, OPUS), lost(&detour, VP8));
    assert!(lost_sound.len() > 5 && lost_picture.len() > 20, "{} and {}", lost_sound.len(), lost_picture.len());
    for packet in &receiver.packets {
        let lost = if packet.codec == Codec::Opus { &lost_sound } else { &lost_picture };
        assert_eq!(packet.repaired, lost.contains(&packet.sequence), "{:?} {}", packet.codec, packet.sequence);
    }
    for sequence in lost_picture {
        let came = receiver.packets.iter().any(|packet| packet.codec == Codec::Vp8 && packet.sequence == sequence);
        assert!(came, "{sequence} was asked for again until it came");
    }
    check(&receiver, &slots, Stream::Camera);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_are_lost_on_the_way_to_the_relay_are_sent_again_in_every_layer() {
    let relay = relay().await;
    let link = Link::random();
    let mut sender = Peer::join(&relay, &link).await;
    let port = sender.relay_media_port(&relay).await;
    let detour = Detour::new(port, Way::ToRelay);
    sender.detour(detour.port);
    sender.publish(streams(3)).await;
    let mut receiver = Peer::join(&relay, &link).await;
    let slots = receiver.subscribe(2, 2_000).await;
    send(&mut sender, 3, HEAD).await;
    detour.lose_one_in(9);
    send_from(&mut sender, 3, HEAD, FRAMES).await;
    detour.lose_one_in(0);
    send_from(&mut sender, 3, HEAD + FRAMES, HEAD).await;
    while receiver.gather(Duration::from_secs(1)).await {}
    let counts = [OPUS, VP8].map(|payload_type| lost(&detour, payload_type).len());
    assert!(counts[0] > 5 && counts[1] > 50, "{counts:?}");
    // Asked for before it came the long way, a packet may come twice.
    receiver.packets = once(std::mem::take(&mut receiver.packets));
    check(&receiver, &slots, Stream::Microphone);
    check(&receiver, &slots, Stream::Camera);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_a_key_frame_reaches_the_sender_of_the_layer_that_is_watched() {
    let (_relay, mut sender, mut receiver, slots) = call(3, None).await;
    send(&mut sender, 3, 30).await;
    receiver.gather(Duration::from_secs(1)).await;
    sender.gather(Duration::from_millis(100)).await;
    sender.events.clear();
    let camera = slots.iter().find(|(stream, _)| *stream == Stream::Camera).unwrap().1;
    // The relay holds requests back that follow each other too fast.
    let wanted = |event: &Event| match event {
        Event::KeyFrameWanted { stream, layer } => Some((*stream, *layer)),
        _ => None,
    };
    for frame in 30..90 {
        receiver.connection.handle(Command::RequestKeyFrame { slot: camera }).await.unwrap();
        send_frame(&mut sender, 3, frame).await;
        tokio::time::sleep(Duration::from_millis(33)).await;
        sender.gather(Duration::ZERO).await;
        if sender.events.iter().any(|event| wanted(event).is_some()) {
            break;
        }
    }
    let (stream, layer) = sender.event(wanted).await;
    assert_eq!(stream, Stream::Camera);
    assert!(layer.is_some(), "it says which of the three");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_broke_is_told_and_made_again() {
    let (_relay, mut sender, mut receiver, slots, detour) = detoured(Way::ToPeer).await;
    send(&mut sender, 1, 15).await;
    receiver.gather(Duration::from_secs(1)).await;
    detour.interrupt(true);
    let reason = receiver.event(|event| if let Event::Lost { reason } = event { Some(reason.clone()) } else { None });
    assert!(!reason.await.is_empty());
    detour.interrupt(false);
    receiver.events.clear();
    receiver.negotiate(true).await;
    receiver.event(|event| matches!(event, Event::IceConnected { .. }).then_some(())).await;
    receiver.packets.clear();
    send_from(&mut sender, 1, AGAIN, 30).await;
    while receiver.gather(Duration::from_secs(1)).await {}
    assert!(pictures(&receiver, &slots).count() > 30, "media flows again");
}

async fn relay() -> RelayProcess {
    RelayProcess::spawn(&SpawnOptions { workers: Some(1), ..Default::default() }).await.unwrap()
}

/// One who sends sound and a picture of so many layers, and one who receives both.
async fn call(layers: usize, detour: Option<u16>) -> (RelayProcess, Peer, Peer, Vec<(Stream, usize)>) {
    let relay = relay().await;
    let link = Link::random();
    let mut sender = Peer::join(&relay, &link).await;
    sender.publish(streams(layers)).await;
    let mut receiver = Peer::join(&relay, &link).await;
    if let Some(port) = detour {
        receiver.detour(port);
    }
    let slots = receiver.subscribe(2, 2_000).await;
    (relay, sender, receiver, slots)
}

async fn detoured(way: Way) -> (RelayProcess, Peer, Peer, Vec<(Stream, usize)>, Detour) {
    let relay = relay().await;
    let link = Link::random();
    let mut sender = Peer::join(&relay, &link).await;
    let detour = Detour::new(sender.relay_media_port(&relay).await, way);
    sender.publish(streams(1)).await;
    let mut receiver = Peer::join(&relay, &link).await;
    receiver.detour(detour.port);
    let slots = receiver.subscribe(2, 2_000).await;
    (relay, sender, receiver, slots, detour)
}

fn streams(layers: usize) -> Vec<Sending> {
    let voice = Sending { stream: Stream::Microphone, codec: Codec::Opus, layers: 1 };
    vec![voice, Sending { stream: Stream::Camera, codec: Codec::Vp8, layers }]
}

async fn send(peer: &mut Peer, layers: u64, frames: u64) {
    send_from(peer, layers, 0, frames).await;
}

async fn send_from(peer: &mut Peer, layers: u64, first: u64, frames: u64) {
    let mut ticks = tokio::time::interval(Duration::from_millis(33));
    for frame in first..first + frames {
        ticks.tick().await;
        send_frame(peer, layers, frame).await;
    }
}

async fn send_frame(peer: &mut Peer, layers: u64, frame: u64) {
    let sound = contents(frame, 0, 160);
    peer.send(Stream::Microphone, 0, packet((frame as u16).wrapping_add(65_480), (frame * 1_584) as u32, false, sound))
        .await;
    for layer in 0..layers {
        for part in 0..PACKETS_PER_FRAME {
            let count = frame * PACKETS_PER_FRAME + part;
            let picture_id = (frame as u16 & 0x7fff) | 0x8000;
            let mut payload = vec![if part == 0 { 0x90 } else { 0x80 }, 0x80];
            payload.extend_from_slice(&picture_id.to_be_bytes());
            payload.push(u8::from(frame % AGAIN > HEAD || !frame.is_multiple_of(15))); // VP8's first bit: 0 is a key frame
            payload.push(layer as u8);
            payload.extend_from_slice(&contents(count, layer, 900));
            let marker = part == PACKETS_PER_FRAME - 1;
            let packet = packet((count as u16).wrapping_add(65_400), (frame * 2_970) as u32, marker, payload);
            peer.send(Stream::Camera, layer as usize, packet).await;
        }
    }
}

/// When it was sent, its number, and bytes that follow from the number.
fn contents(count: u64, layer: u64, length: usize) -> Vec<u8> {
    let mut state = (count * 4 + layer).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let noise = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    let stamp = Moment::now().0.to_be_bytes().into_iter().chain(count.to_be_bytes());
    stamp.chain(noise).take(length).collect()
}

fn pictures<'a>(peer: &'a Peer, slots: &'a [(Stream, usize)]) -> impl Iterator<Item = &'a Received> {
    of(peer, slots, Stream::Camera)
}

fn of<'a>(peer: &'a Peer, slots: &'a [(Stream, usize)], wanted: Stream) -> impl Iterator<Item = &'a Received> {
    let slot = slots.iter().find(|(stream, _)| *stream == wanted).unwrap().1;
    peer.packets.iter().filter(move |packet| packet.slot == slot)
}

/// Sequence numbers of the lost packets with this payload type.
fn lost(detour: &Detour, payload_type: u8) -> Vec<u16> {
    detour.lost().into_iter().filter(|name| name.0 == payload_type).map(|name| name.1).collect()
}

fn once(packets: VecDeque<Received>) -> VecDeque<Received> {
    let mut seen = BTreeSet::new();
    packets.into_iter().filter(|packet| seen.insert((packet.slot, packet.sequence))).collect()
}

/// A stream came without a gap, each packet as it was sent, in a plausible time.
fn check(receiver: &Peer, slots: &[(Stream, usize)], stream: Stream) {
    let mut seen = BTreeMap::new();
    for packet in of(receiver, slots, stream) {
        let codec = if stream == Stream::Microphone { Codec::Opus } else { Codec::Vp8 };
        assert_eq!(packet.codec, codec);
        let (skip, layer) = match codec {
            Codec::Opus => (0, 0),
            _ => (DESCRIPTOR + 2, u64::from(packet.payload[DESCRIPTOR + 1])),
        };
        let bytes = &packet.payload[skip..];
        let sent = Moment(u64::from_be_bytes(bytes[..8].try_into().unwrap()));
        let count = u64::from_be_bytes(bytes[8..16].try_into().unwrap());
        assert_eq!(bytes[8..], contents(count, layer, bytes.len())[8..], "bit for bit");
        assert!(packet.at > sent && packet.at.since(sent) < Duration::from_secs(3), "it takes some time");
        let place = packet.sequence.wrapping_sub(first_of(receiver, slots, stream));
        assert!(seen.insert(place, packet.marker).is_none(), "each once");
    }
    assert!(seen.len() > 100, "{stream:?}: {} packets", seen.len());
    assert_eq!(usize::from(*seen.keys().last().unwrap()), seen.len() - 1, "{stream:?}: none is missing");
}

/// The first sequence number: the one without a predecessor.
fn first_of(receiver: &Peer, slots: &[(Stream, usize)], stream: Stream) -> u16 {
    let all: BTreeSet<u16> = of(receiver, slots, stream).map(|packet| packet.sequence).collect();
    let first = all.iter().find(|sequence| (1..5).all(|back| !all.contains(&sequence.wrapping_sub(back))));
    *first.unwrap()
}
