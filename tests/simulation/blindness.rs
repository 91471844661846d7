//! The relay decides by headers alone: a recorded call is carried twice, the second time with every byte randomised that
//! end-to-end encryption hides, and each decision is the same.

use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
#[cfg(feature = "probe")]
use sotto::relay::command::CallKey;
use sotto::relay::counters::{Counters, Protocol, Traffic};
use sotto::rtp::header::Packet;
use sotto::rtp::rtcp::feedback::write_picture_loss;
use sotto::rtp::{vp8, vp9};
use sotto::session::{CodecName, Ssrc};

use crate::client::Plan;
use crate::track::Form;
use crate::world::{Diary, Network, World};

/// What came to the relay, opened.
#[derive(Clone)]
struct Entry {
    at: Duration,
    client: usize,
    what: Opened,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Opened {
    /// STUN, as it is.
    Check(Vec<u8>),
    Rtcp(Vec<u8>),
    Media {
        index: u64,
        header: Vec<u8>,
        payload: Vec<u8>,
    },
}

/// Something that the relay sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decision {
    at: Duration,
    to: usize,
    what: Sent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sent {
    /// An answer to a check, as it is.
    Answer(Vec<u8>),
    /// Reports, feedback, NACKs and PLIs, opened.
    Rtcp(Vec<u8>),
    /// A packet of a publisher's stream: everything before what encryption hides, the length, and which packet it is.
    Media { clear: Vec<u8>, length: usize, source: (u32, u64) },
}

/// One run through the core.
struct Run {
    decisions: Vec<Decision>,
    counters: Counters,
}

const SECONDS: u64 = 9;

/// Three in a call who send three layers each, connected, nothing sent yet.
fn call(seed: u64, form: Form) -> World {
    let mut world = World::new(seed);
    world.open(1);
    for _ in 0..3 {
        let client = world.join(1, Plan { form, pairs: 2, ..Plan::simulcast() });
        world.clients[client].tracks.iter_mut().for_each(|track| track.active = false);
    }
    for receiver in 0..3 {
        for pair in 0..2 {
            world.bind_pair(receiver, pair, Some((receiver + 1 + pair) % 3));
        }
    }
    world.run_ms(1_000);
    assert!(world.clients.iter().all(|client| client.is_connected()));
    world
}

/// What happens in the call: loss on both ways, layers that stop and come back, a picture that its viewer lost, slots
/// that change what they carry. In a replay the clients are silent and only the commands count.
fn play(world: &mut World) {
    world.diary = Some(Diary::default());
    let lossy = Network { loss: 60, jitter: Duration::from_millis(8), ..Network::GOOD };
    (world.up, world.down) = (lossy, lossy);
    for client in &mut world.clients {
        client.tracks.iter_mut().for_each(|track| track.active = true);
    }
    world.run_ms(2_500);
    world.clients[1].tracks[3].active = false;
    world.run_ms(1_000);
    let media = world.clients[0].slots[1].ssrc;
    let mut compound = Vec::new();
    write_picture_loss(Ssrc(1), media, &mut compound);
    let lost = world.clients[0].protect_rtcp(&compound);
    world.clients[0].send_later(lost);
    world.run_ms(1_000);
    world.clients[1].tracks[3].active = true;
    world.bind_pair(2, 0, Some(1));
    world.bind_pair(2, 1, Some(0));
    world.run_ms(2_000);
    world.clients[2].tracks[2].active = false;
    world.clients[2].tracks[3].active = false;
    world.run_ms(SECONDS * 1_000 - 6_500);
}

/// Plays the call and keeps what reached the relay.
fn record(seed: u64, form: Form) -> (Vec<Entry>, Run) {
    let mut world = call(seed, form);
    play(&mut world);
    let mut entries = Vec::new();
    for (at, client, mut bytes) in std::mem::take(&mut world.diary.as_mut().unwrap().came) {
        let tap = &mut world.clients[client].wiretap.as_mut().unwrap().up;
        let what = match bytes[0] {
            0..=3 => Opened::Check(bytes),
            128.. if (192..224).contains(&bytes[1]) => {
                let length = tap.unprotect_rtcp(&mut bytes).unwrap();
                Opened::Rtcp(bytes[..length].to_vec())
            }
            128.. => {
                let opened = tap.unprotect_rtp(&mut bytes).unwrap();
                let packet = Packet::parse(&bytes[..opened.len]).unwrap();
                let (header, payload) = bytes[..opened.len].split_at(packet.header_len());
                Opened::Media { index: opened.index, header: header.to_vec(), payload: payload.to_vec() }
            }
            _ => panic!("the handshakes are over"),
        };
        entries.push(Entry { at: at - world.start, client, what });
    }
    let run = read(&mut world, &entries, form);
    (entries, run)
}

/// Carries a recording through a core of the same seed, under other keys.
fn replay(seed: u64, form: Form, entries: &[Entry], prepare: impl FnOnce(&mut World)) -> Run {
    let mut world = call(seed, form);
    prepare(&mut world);
    world.clients.iter_mut().for_each(|client| client.alive = false);
    for Entry { at, client, what } in entries {
        let from = &mut world.clients[*client];
        let bytes = match what {
            Opened::Check(bytes) => bytes.clone(),
            Opened::Rtcp(packet) => from.protect_rtcp(packet),
            Opened::Media { index, header, payload } => from.protect_rtp(*index, header, payload),
        };
        world.land(world.start + *at, *client, bytes);
    }
    play(&mut world);
    read(&mut world, entries, form)
}

/// Opens what the relay sent, and finds for every packet of media which one of a publisher it is.
fn read(world: &mut World, entries: &[Entry], form: Form) -> Run {
    let mut sources = HashMap::new();
    for entry in entries {
        let Opened::Media { index, header, payload } = &entry.what else { continue };
        let (codec, repair) = codec(header, form);
        let hidden = &payload[Parts::of(codec, repair, payload).descriptor..];
        let ssrc = Packet::parse(header).unwrap().ssrc().0;
        // A retransmission brings what its original would have brought, so both name the same.
        let source = match repair {
            true => (ssrc - 1, u64::from(u16::from_be_bytes([payload[0], payload[1]]))),
            false => (ssrc, *index & 0xffff),
        };
        assert_eq!(*sources.entry(hidden.to_vec()).or_insert(source), source, "payloads are told apart");
    }
    let mut decisions = Vec::new();
    for (at, to, mut bytes) in world.diary.take().unwrap().went {
        let tap = &mut world.clients[to].wiretap.as_mut().unwrap().down;
        let what = match bytes[0] {
            0..=3 => Sent::Answer(bytes),
            128.. if (192..224).contains(&bytes[1]) => {
                let length = tap.unprotect_rtcp(&mut bytes).unwrap();
                Sent::Rtcp(bytes[..length].to_vec())
            }
            128.. => {
                let opened = tap.unprotect_rtp(&mut bytes).unwrap();
                let packet = Packet::parse(&bytes[..opened.len]).unwrap();
                let (codec, repair) = codec(packet.bytes(), form);
                let parts = Parts::of(codec, repair, packet.payload());
                let source = sources.get(&packet.payload()[parts.descriptor..]);
                let source = *source.expect("every payload leaves as it came");
                let clear = bytes[..packet.header_len() + parts.hidden].to_vec();
                Sent::Media { clear, length: opened.len, source }
            }
            _ => panic!("the handshakes are over"),
        };
        decisions.push(Decision { at: at - world.start, to, what });
    }
    let mut counters = world.relay.counters().clone();
    // A handshake signs with fresh randomness, and signatures differ in length by a byte or two.
    counters.received[Protocol::Dtls as usize] = Traffic::default();
    counters.sent[Protocol::Dtls as usize] = Traffic::default();
    Run { decisions, counters }
}

/// Where the parts of a payload end.
struct Parts {
    /// The original sequence number of a retransmission, and the codec's descriptor.
    descriptor: usize,
    /// The bytes that encryption leaves clear as well: from here on everything is hidden.
    hidden: usize,
}

impl Parts {
    fn of(codec: CodecName, repair: bool, payload: &[u8]) -> Parts {
        let start = if repair { 2 } else { 0 };
        let (length, clear) = match codec {
            CodecName::Opus => (0, 0),
            CodecName::Vp9 => (vp9::Descriptor::parse(&payload[start..]).unwrap().len, 0),
            CodecName::Vp8 => {
                let descriptor = vp8::Descriptor::parse(&payload[start..]).unwrap();
                let clear = match (descriptor.begins_frame, descriptor.key_frame) {
                    (true, true) => 10,
                    (true, false) => 3,
                    (false, _) => 0,
                };
                (descriptor.len, clear)
            }
        };
        Parts { descriptor: start + length, hidden: start + length + clear }
    }
}

/// What a packet carries by its payload type, and whether it is a retransmission.
fn codec(packet: &[u8], form: Form) -> (CodecName, bool) {
    match packet[1] & 0x7f {
        109 | 111 => (CodecName::Opus, false),
        96 => (form.codec(), false),
        97 => (form.codec(), true),
        other => panic!("nobody negotiated payload type {other}"),
    }
}

/// The same recording with everything hidden randomised; a retransmission like its original. Also the share of payload
/// bytes that are others now.
fn scramble(entries: &[Entry], form: Form) -> (Vec<Entry>, f64) {
    let (mut changed, mut total) = (0, 0);
    let mut scrambled = entries.to_vec();
    for entry in &mut scrambled {
        let Opened::Media { header, payload, .. } = &mut entry.what else { continue };
        let (codec, repair) = codec(header, form);
        let packet = Packet::parse(header).unwrap();
        let (ssrc, sequence) = match repair {
            true => (packet.ssrc().0 - 1, u16::from_be_bytes([payload[0], payload[1]])),
            false => (packet.ssrc().0, packet.sequence()),
        };
        let hidden = Parts::of(codec, repair, payload).hidden;
        let before = payload.clone();
        StdRng::seed_from_u64(u64::from(ssrc) << 16 | u64::from(sequence)).fill_bytes(&mut payload[hidden..]);
        changed += before.iter().zip(payload.iter()).filter(|(before, after)| before != after).count();
        total += payload.len();
    }
    (scrambled, changed as f64 / total as f64)
}

/// The first difference between two runs.
fn compare(one: &[Decision], another: &[Decision]) -> Result<(), String> {
    if let Some(place) = one.iter().zip(another).position(|(one, another)| one != another) {
        return Err(format!("decision {place}: {:?} or {:?}", one[place], another[place]));
    }
    match one.len() == another.len() {
        true => Ok(()),
        false => Err(format!("{} decisions or {}", one.len(), another.len())),
    }
}

/// The recording has in it what a relay has to decide about.
fn assert_eventful(run: &Run, cameras: [u32; 2]) {
    let counts = [
        run.counters.nacks_sent,
        run.counters.nacks_received,
        run.counters.retransmissions_sent,
        run.counters.retransmissions_received,
        run.counters.plis_sent,
    ];
    assert!(counts.iter().all(|&count| count > 5), "{counts:?}");
    assert!(run.counters.plis_received > 0 && run.decisions.len() > 5_000);
    let shown = cameras.map(|ssrc| {
        let is_it = |decision: &&Decision| match decision.what {
            Sent::Media { source, .. } => decision.to == 0 && source.0 == ssrc,
            _ => false,
        };
        run.decisions.iter().filter(is_it).count()
    });
    assert!(shown.iter().all(|&count| count > 50), "the best layer, and the next one while it was gone: {shown:?}");
}

fn holds_for(seed: u64, form: Form) {
    let (entries, live) = record(seed, form);
    let plain = replay(seed, form, &entries, |world| {
        let tracks = &world.clients[1].tracks;
        assert_eventful(&live, [tracks[3].ssrc.0, tracks[2].ssrc.0]);
    });
    compare(&live.decisions, &plain.decisions).expect("a replay is the call itself");
    let (scrambled, share) = scramble(&entries, form);
    assert!(share >= 0.95, "{share} of the payload bytes were changed");
    let blind = replay(seed, form, &scrambled, |_| ());
    compare(&plain.decisions, &blind.decisions).expect("the payload decides nothing");
    assert_eq!(format!("{:?}", plain.counters), format!("{:?}", blind.counters));
}

#[test]
fn every_decision_is_the_same_whatever_the_vp8_payload_is() {
    holds_for(100, Form::Vp8);
    holds_for(101, Form::Vp8Bare);
}

#[test]
fn every_decision_is_the_same_whatever_the_vp9_payload_is() {
    holds_for(102, Form::Vp9);
    holds_for(103, Form::Vp9Flexible);
}

#[cfg(feature = "probe")]
#[test]
fn a_relay_that_reads_the_payload_is_found_out() {
    let curious = |world: &mut World| world.relay.make_curious(CallKey(1));
    let (entries, _) = record(104, Form::Vp8);
    let (scrambled, _) = scramble(&entries, Form::Vp8);
    let plain = replay(104, Form::Vp8, &entries, curious);
    compare(&plain.decisions, &replay(104, Form::Vp8, &entries, curious).decisions).expect("it is no matter of chance");
    assert!(compare(&plain.decisions, &replay(104, Form::Vp8, &scrambled, curious).decisions).is_err());
}

#[test]
fn no_difference_between_two_runs_is_overlooked() {
    let (_, Run { decisions, .. }) = record(105, Form::Vp9);
    let find = |is_it: fn(&Sent) -> bool| decisions.iter().rposition(|decision| is_it(&decision.what)).unwrap();
    let media = find(|what| matches!(what, Sent::Media { .. }));
    let rtcp = find(|what| matches!(what, Sent::Rtcp(_)));
    let mut others = vec![decisions.clone(); 8];
    others[0][media].at += Duration::from_nanos(1);
    others[1][media].to += 1;
    others[2].swap(media, media - 1);
    others[3].pop();
    others[4].insert(media, decisions[media].clone());
    let Sent::Media { clear, .. } = &mut others[5][media].what else { unreachable!() };
    *clear.last_mut().unwrap() ^= 1;
    let Sent::Media { length, .. } = &mut others[6][media].what else { unreachable!() };
    *length += 1;
    let Sent::Rtcp(packet) = &mut others[7][rtcp].what else { unreachable!() };
    packet[4] ^= 1;
    for (edit, other) in others.iter().enumerate() {
        assert!(compare(&decisions, other).is_err(), "edit {edit}");
        assert!(compare(other, &decisions).is_err(), "edit {edit}");
    }
    let mut other = decisions.clone();
    let Sent::Media { source, .. } = &mut other[media].what else { unreachable!() };
    source.0 += 2;
    assert!(compare(&decisions, &other).is_err(), "another layer");
    compare(&decisions, &decisions.clone()).expect("no difference, no complaint");
}
