use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;
use crate::engine::Packet;
use crate::media::Outgoing;
use crate::plan::{Audio, Layer, Picture, Video, VideoCodec};
use crate::report::Summary;

const FROM: Origin = Origin { run: 7, call: 1, index: 3 };
const TICK: Duration = Duration::from_millis(1);

/// Packets on their way, and what they meet there.
struct Path {
    sender: Outgoing,
    receiver: Inbound,
    layer: usize,
    now: Moment,
    rng: ChaCha8Rng,
    /// When each arrives, whether it was asked for again.
    under_way: Vec<(Moment, bool, Packet)>,
    sent: u64,
    asked: u64,
}

/// What one packet meets: when it arrives, after its sending, and as a repair or not; nothing is a loss.
type Fate<'a> = &'a mut dyn FnMut(&mut ChaCha8Rng, u64) -> Vec<(Duration, bool)>;

impl Path {
    fn new(sender: Outgoing, seed: u64) -> Self {
        let receiver = Inbound::new(Moment(0), sender.stream(), Some(FROM), 1);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { sender, receiver, layer: 0, now: Moment(0), rng, under_way: Vec::new(), sent: 0, asked: 0 }
    }

    fn voice(seed: u64) -> Self {
        Self::new(Outgoing::voice(&Audio::default(), FROM, seed, Moment(0)), seed)
    }

    fn camera(seed: u64, video: &Video) -> Self {
        Self::new(Outgoing::camera(video, FROM, seed, Moment(0)), seed)
    }

    fn run(&mut self, duration: Duration, fate: Fate<'_>) {
        let end = self.now + duration;
        while self.now < end {
            self.now = self.now + TICK;
            self.send(fate);
            self.deliver();
            if self.receiver.next_timeout().is_some_and(|at| at <= self.now) && self.receiver.handle_timeout(self.now) {
                self.ask();
            }
        }
    }

    /// Nothing is sent any more; what is under way arrives.
    fn settle(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.deliver();
        self.receiver.handle_timeout(self.now);
    }

    fn send(&mut self, fate: Fate<'_>) {
        let Self { sender, layer: wanted, now, rng, under_way, sent, .. } = self;
        sender.produce(*now, &mut plain, &mut |layer, packet| {
            if layer == *wanted {
                let fates = fate(rng, *sent).into_iter();
                under_way.extend(fates.map(|(after, repaired)| (*now + after, repaired, packet.clone())));
                *sent += 1;
            }
        });
    }

    fn deliver(&mut self) {
        let now = self.now;
        self.under_way.sort_by_key(|(at, ..)| *at);
        let due = self.under_way.partition_point(|(at, ..)| *at <= now);
        for (at, repaired, packet) in self.under_way.drain(..due).collect::<Vec<_>>() {
            let received = received(&packet, self.sender.codec(), at, repaired);
            if self.receiver.handle_packet(&received, &mut open) {
                self.ask();
            }
        }
    }

    fn ask(&mut self) {
        self.asked += 1;
        self.sender.request_key_frame(None);
    }

    fn tally(&self) -> Tally {
        self.receiver.tally(self.now)
    }

    fn summary(&self) -> Summary {
        self.tally().summary()
    }
}

/// Seals nothing.
fn plain(frame: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(frame);
    true
}

/// Opens what [`plain`] sealed.
fn open(_codec: Codec, sealed: &[u8], out: &mut Vec<u8>) -> Result<Opened, Refusal> {
    out.clear();
    out.extend_from_slice(sealed);
    Ok(Opened { generation: 0, step: 0, counter: 0 })
}

fn received(packet: &Packet, codec: Codec, arrived: Moment, repaired: bool) -> Received<'_> {
    let Packet { marker, sequence, timestamp, ref payload } = *packet;
    Received {
        slot: 0,
        arrived,
        codec,
        marker,
        sequence,
        timestamp,
        repaired,
        size: payload.len(),
        payload: Some(payload),
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Everything arrives after 20 ms.
fn perfect(_: &mut ChaCha8Rng, _: u64) -> Vec<(Duration, bool)> {
    vec![(ms(20), false)]
}

fn chance(rng: &mut ChaCha8Rng, percent: u32) -> bool {
    rng.next_u32() % 100 < percent
}

#[test]
fn a_perfect_path_shows_every_frame_intact_and_in_time() {
    let clip = Video { picture: Picture::Clip, ..Video::default() };
    let vp9 = Video { codec: VideoCodec::Vp9, ..Video::default() };
    for mut path in [Path::voice(1), Path::camera(2, &Video::default()), Path::camera(3, &clip), Path::camera(4, &vp9)]
    {
        path.run(seconds(10), &mut perfect);
        let Summary { frames, frames_checked, mismatches, latency, bitrate, .. } = path.summary();
        assert!((299..=500).contains(&frames), "{frames} frames");
        assert_eq!((frames_checked, mismatches), (frames, 0));
        assert_eq!((latency.min, latency.max), (20.0, 20.0));
        let wanted = if path.sender.codec() == Codec::Opus { 32_000.0 } else { 500_000.0 };
        assert!((0.93..1.1).contains(&(bitrate / wanted)), "{bitrate} bits per second");
        let found = path.summary();
        assert_eq!((found.loss_before_repair, found.loss, found.packets_duplicate), (0.0, 0.0, 0));
        assert_eq!((found.freezes, found.frozen, found.frames_lost, found.key_frames_requested), (0, 0.0, 0, 0));
        assert_eq!((found.decrypt_failures, found.layer_changes), (0, 0));
        assert!(found.jitter < 1.0, "{}", found.jitter);
    }
}

#[test]
fn five_percent_lost_and_repaired_is_five_percent_before_repair_and_none_after() {
    for seed in 0..4 {
        for mut path in [Path::voice(seed), Path::camera(seed, &Video::default())] {
            let mut lost = 0;
            path.run(seconds(60), &mut |rng, _| {
                let repaired = chance(rng, 5);
                lost += u64::from(repaired);
                vec![(ms(if repaired { 100 } else { 20 }), repaired)]
            });
            path.receiver.pause(path.now);
            path.settle(ms(150));
            let found = path.summary();
            assert_eq!((found.packets_repaired, found.packets_expected - found.packets_received), (lost, lost));
            assert!((found.loss_before_repair - 5.0).abs() < 1.0, "seed {seed}: {}", found.loss_before_repair);
            assert_eq!((found.loss, found.frames_lost, found.mismatches, found.packets_duplicate), (0.0, 0, 0, 0));
            assert_eq!((found.latency.min, found.latency.max, found.latency.p99), (20.0, 100.0, 100.0));
            assert_eq!((found.freezes, found.key_frames_requested), (0, 0), "seed {seed}: {found:?}");
        }
    }
}

#[test]
fn what_is_not_repaired_is_lost_after_a_second_and_not_before() {
    let mut path = Path::voice(5);
    path.run(seconds(2), &mut |_, n| if n == 50 { vec![] } else { vec![(ms(20), false)] });
    let lost_at = 1_000 + 20 + 1_000; // the next one shows it at 1,040 ms at the latest
    let mut path = Path::voice(5);
    path.run(ms(lost_at - 30), &mut |_, n| if n == 50 { vec![] } else { vec![(ms(20), false)] });
    assert_eq!((path.summary().loss, path.summary().loss_before_repair), (0.0, 0.0), "it may still come");
    let expected = path.summary().packets_expected;
    path.run(ms(60), &mut perfect);
    let found = path.summary();
    assert_eq!(found.packets_expected - found.packets_received, 1);
    assert_eq!((found.frames_lost, path.tally().packets.lost, found.freezes), (1, 1, 0));
    assert!(found.packets_expected > expected);
}

#[test]
fn the_last_packets_are_not_lost_since_nothing_tells_of_them() {
    let mut path = Path::camera(6, &Video::default());
    path.run(seconds(3), &mut |_, n| if n < 100 { vec![(ms(20), false)] } else { vec![] });
    path.receiver.pause(path.now);
    path.run(seconds(3), &mut |_, _| vec![]);
    let found = path.summary();
    assert_eq!((found.packets_expected, found.packets_received, found.loss), (100, 100, 0.0));
    assert_eq!(found.frames_lost, 0);
}

#[test]
fn packets_out_of_order_are_neither_lost_nor_repaired() {
    for mut path in [Path::voice(7), Path::camera(7, &Video::default())] {
        path.run(seconds(30), &mut |rng, _| vec![(ms(20 + u64::from(rng.next_u32() % 60)), false)]);
        path.settle(ms(100));
        let found = path.summary();
        assert_eq!((found.loss_before_repair, found.loss, found.packets_duplicate), (0.0, 0.0, 0));
        assert_eq!((found.packets_received, found.mismatches, found.frames_lost), (path.sent, 0, 0));
        assert_eq!((found.frames, found.frames_checked), (path.sender.sent().frames, found.frames));
        assert_eq!((found.freezes, found.key_frames_requested), (0, 0));
        assert!(found.jitter > 5.0, "{}", found.jitter);
    }
}

#[test]
fn duplicates_are_counted_and_change_nothing_else() {
    for mut path in [Path::voice(8), Path::camera(8, &Video::default())] {
        let mut twice = 0;
        path.run(seconds(20), &mut |rng, _| {
            let again = chance(rng, 10);
            twice += u64::from(again);
            vec![(ms(20), false); 1 + usize::from(again)]
        });
        path.settle(ms(100));
        let found = path.summary();
        assert_eq!((found.packets_duplicate, found.packets_received), (twice, path.sent));
        assert_eq!((found.frames, found.mismatches, found.loss), (path.sender.sent().frames, 0, 0.0));
    }
}

#[test]
fn an_original_that_its_repair_overtook_did_come_by_itself() {
    let mut path = Path::camera(9, &Video::default());
    path.run(seconds(5), &mut |_, n| match n {
        40 => vec![(ms(60), true), (ms(90), false)],
        _ => vec![(ms(20), false)],
    });
    let found = path.tally().packets;
    assert_eq!((found.repaired, found.duplicate, found.lost), (0, 1, 0));
}

#[test]
fn sequence_numbers_and_timestamps_wrap_without_a_trace() {
    let mut path =
        Path::camera(10, &Video { layers: vec![Layer { height: 720, bitrate: 8_000_000 }], ..Video::default() });
    path.run(seconds(80), &mut |rng, _| vec![(ms(20 + u64::from(rng.next_u32() % 5)), false)]);
    path.settle(ms(100));
    let found = path.summary();
    assert!(path.sent > 65_536, "{} packets", path.sent);
    assert_eq!((found.packets_received, found.packets_expected, found.loss), (path.sent, path.sent, 0.0));
    assert_eq!((found.frames, found.mismatches, found.freezes), (path.sender.sent().frames, 0, 0));
}

#[test]
fn after_a_lost_picture_time_stands_still_until_a_key_frame() {
    let mut path = Path::camera(11, &Video::default());
    // One packet in the middle is lost for good.
    path.run(seconds(10), &mut |_, n| if n == 200 { vec![] } else { vec![(ms(20), false)] });
    path.settle(ms(20));
    let found = path.summary();
    assert_eq!((found.frames_lost, path.tally().packets.lost), (1, 1));
    assert_eq!((found.key_frames_requested, path.asked, found.freezes), (1, 1, 1));
    // Given up after a second, asked for at once, sent with the next picture, 20 ms on the way.
    assert!((1_000.0..1_150.0).contains(&found.frozen), "{} ms", found.frozen);
    assert_eq!(found.frames, path.sender.sent().frames - 1);
    assert_eq!((found.frames_checked, found.mismatches), (found.frames, 0));
    assert_eq!(path.tally().frames_withheld, 0);
}

#[test]
fn an_outage_freezes_as_long_as_it_lasts_and_a_little_more() {
    for mut path in [Path::voice(12), Path::camera(12, &Video::default())] {
        let before = ms(5_000);
        path.run(before, &mut perfect);
        path.run(seconds(3), &mut |_, _| vec![]);
        let meanwhile = path.receiver.take_interval(path.now).frozen;
        assert!((2_900..3_060).contains(&meanwhile.as_millis()), "while it lasts: {meanwhile:?}");
        path.run(seconds(5), &mut perfect);
        path.settle(ms(20));
        let found = path.summary();
        assert_eq!(found.freezes, 1);
        let extra = if path.sender.codec() == Codec::Opus { 60.0 } else { 1_200.0 };
        assert!((3_000.0..3_000.0 + extra).contains(&found.frozen), "{} ms", found.frozen);
        assert_eq!(found.longest_freeze, found.frozen);
        assert_eq!(path.tally().packets.lost, path.sender.sent().packets - found.packets_received);
        assert_eq!(found.frames_lost, path.sender.sent().frames - found.frames, "by the senders' own counting");
        assert_eq!(path.tally().frames_withheld, 0);
    }
}

#[test]
fn a_picture_that_is_late_by_a_repair_is_waited_for() {
    let mut path = Path::camera(13, &Video::default());
    path.run(seconds(6), &mut |_, n| vec![if n == 120 { (ms(400), true) } else { (ms(20), false) }]);
    let found = path.summary();
    assert_eq!((found.freezes, found.frames_lost, found.key_frames_requested), (1, 0, 0));
    assert!((360.0..440.0).contains(&found.frozen), "{} ms", found.frozen);
    assert!(found.latency.max >= 400.0, "{}", found.latency.max);
}

#[test]
fn a_key_frame_ends_the_wait_for_what_is_before_it() {
    let clip = Video { picture: Picture::Clip, ..Video::default() };
    let mut path = Path::camera(14, &clip);
    path.run(seconds(6), &mut |_, n| if n == 120 { vec![] } else { vec![(ms(20), false)] });
    let found = path.summary();
    assert_eq!((found.frames_lost, path.tally().packets.lost, found.freezes), (1, 1, 1));
    assert!(found.frozen < 760.0, "a key frame comes each half second: {} ms", found.frozen);
    assert_eq!(found.key_frames_requested, 0, "and so none was asked for");
}

#[test]
fn what_the_relay_leaves_out_is_withheld_and_not_lost() {
    let mut path = Path::voice(15);
    let mut renumbered = 0u16;
    let (mut withheld, mut count) = (0, 0);
    for _ in 0..5_000 {
        path.now = path.now + TICK;
        let Path { sender, receiver, now, .. } = &mut path;
        sender.produce(*now, &mut plain, &mut |_, mut packet| {
            count += 1;
            if count % 10 == 0 {
                withheld += 1;
                return;
            }
            packet.sequence = renumbered;
            renumbered += 1;
            receiver.handle_packet(&received(&packet, Codec::Opus, *now, false), &mut open);
        });
    }
    let tally = path.tally();
    assert_eq!((tally.packets.lost, tally.frames_lost, tally.packets.received), (0, 0, u64::from(renumbered)));
    assert!(withheld - tally.frames_withheld <= 1 && withheld > 20, "{} of {withheld}", tally.frames_withheld);
}

#[test]
fn pauses_and_ends_are_no_freezes() {
    let mut path = Path::camera(16, &Video::default());
    path.run(seconds(2), &mut perfect);
    path.receiver.pause(path.now);
    path.run(seconds(3), &mut |_, _| vec![]);
    assert_eq!(path.summary().freezes, 0);
    path.sender.resume(path.now);
    path.receiver.resume(path.now);
    path.run(ms(150), &mut |_, _| vec![(ms(0), false)]);
    path.receiver.pause(path.now);
    path.run(seconds(60), &mut |_, _| vec![]);
    assert_eq!(path.summary().freezes, 0);
}

#[test]
fn a_stream_that_never_began_froze_nothing() {
    let receiver = Inbound::new(Moment(0), Stream::Camera, Some(FROM), 1);
    assert_eq!(receiver.next_timeout(), None);
    let found = receiver.tally(Moment(0) + seconds(60)).summary();
    assert_eq!(found, Summary::default());
}

#[test]
fn a_single_flipped_bit_anywhere_is_a_mismatch() {
    let clip = Video { picture: Picture::Clip, ..Video::default() };
    for (mut path, seed) in
        [(Path::voice(17), 17), (Path::camera(18, &Video::default()), 18), (Path::camera(19, &clip), 19)]
    {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut flipped = 0;
        let mut corrupting = |_: Codec, sealed: &[u8], out: &mut Vec<u8>| {
            out.clear();
            out.extend_from_slice(sealed);
            if chance(&mut rng, 50) {
                let bit = rng.next_u32() as usize % (out.len() * 8);
                out[bit / 8] ^= 1 << (bit % 8);
                flipped += 1;
            }
            Ok(Opened { generation: 0, step: 0, counter: 0 })
        };
        for _ in 0..20_000 {
            path.now = path.now + TICK;
            let Path { sender, receiver, now, .. } = &mut path;
            let codec = sender.codec();
            sender.produce(*now, &mut plain, &mut |_, packet| {
                receiver.handle_packet(&received(&packet, codec, *now, false), &mut corrupting);
            });
        }
        let tally = path.tally();
        assert_eq!((tally.mismatches, tally.frames_checked), (flipped, tally.frames));
        assert!(flipped > 250);
    }
}

#[test]
fn a_frame_of_another_sender_is_a_mismatch_and_one_of_no_tester_is_not_compared() {
    for (from, checked) in
        [(Some(Origin { index: 4, ..FROM }), true), (Some(Origin { run: 8, ..FROM }), true), (None, false)]
    {
        let mut path = Path::voice(20);
        path.receiver = Inbound::new(Moment(0), Stream::Microphone, from, 1);
        path.run(seconds(1), &mut perfect);
        let tally = path.tally();
        assert!(tally.frames > 40);
        let expected = if checked { tally.frames } else { 0 };
        assert_eq!((tally.mismatches, tally.frames_checked, tally.latency.count()), (expected, expected, 0));
    }
}

#[test]
fn frames_before_the_keys_are_no_failures_and_later_ones_are() {
    let mut path = Path::camera(21, &Video::default());
    let mut count = 0;
    let mut opener = |codec: Codec, sealed: &[u8], out: &mut Vec<u8>| {
        count += 1;
        match count {
            1..=10 => Err(Refusal::Key),
            50 => Err(Refusal::Key),
            60 => Err(Refusal::Forged),
            _ => open(codec, sealed, out),
        }
    };
    let mut asked = 0;
    for _ in 0..5_000 {
        path.now = path.now + TICK;
        let Path { sender, receiver, now, .. } = &mut path;
        let mut wanted = false;
        sender.produce(*now, &mut plain, &mut |_, packet| {
            wanted |= receiver.handle_packet(&received(&packet, Codec::Vp8, *now, false), &mut opener);
        });
        if wanted {
            asked += 1;
            sender.request_key_frame(None);
        }
    }
    let tally = path.tally();
    assert_eq!((tally.frames_unkeyed, tally.decrypt_failures), (10, 2));
    assert_eq!((tally.frames_checked, tally.mismatches), (tally.frames - 12, 0));
    assert!(
        (3..=6).contains(&asked),
        "asked {asked} times: each 200 ms while none can be read, and after each failure"
    );
    assert!(path.receiver.first_key_frame() >= path.receiver.first_frame());
}

#[test]
fn layers_are_switched_at_key_frames_without_a_gap() {
    let layers = [180, 360, 720].map(|height| Layer { height, bitrate: height * 1_500 }).to_vec();
    let mut path = Path::camera(22, &Video { layers, ..Video::default() });
    assert_eq!(path.sender.layers(), 3);
    let (mut current, mut wanted, mut next, mut ticks) = (0, 0, 4_000u16, 0u32);
    let mut starts = [None; 3];
    for tick in 0..20_000u32 {
        if tick % 2_000 == 1_500 {
            wanted = (wanted + 1) % 3;
            path.sender.request_key_frame(Some(wanted));
        }
        path.now = path.now + TICK;
        let Path { sender, receiver, now, .. } = &mut path;
        sender.produce(*now, &mut plain, &mut |layer, mut packet| {
            // As the relay does it: from the first packet of a key frame on, in one numbering.
            let key = Descriptor::parse(Codec::Vp8, &packet.payload).is_some_and(|descriptor| descriptor.key);
            if layer == wanted && key && current != wanted {
                current = wanted;
                starts[layer] = None;
            }
            if layer == current {
                let start = *starts[layer].get_or_insert_with(|| {
                    ticks = ticks.wrapping_add(900);
                    packet.timestamp.wrapping_sub(ticks)
                });
                (packet.sequence, packet.timestamp) = (next, packet.timestamp.wrapping_sub(start));
                (next, ticks) = (next.wrapping_add(1), packet.timestamp);
                assert!(!receiver.handle_packet(&received(&packet, Codec::Vp8, *now, false), &mut open));
            }
        });
    }
    let tally = path.tally();
    assert_eq!((tally.layer_changes, tally.packets.lost, tally.mismatches, tally.frames_lost), (10, 0, 0, 0));
    assert_eq!((tally.freezes.count, tally.decrypt_failures, tally.key_frames_requested), (0, 0, 0));
    assert!(tally.frames_withheld <= 10);
}

#[test]
fn a_layer_that_is_cut_off_in_the_middle_of_a_picture_is_no_loss() {
    let mut path = Path::camera(23, &Video::default());
    path.run(seconds(2), &mut perfect);
    let mut packets = Vec::new();
    path.sender.request_key_frame(None);
    path.run(seconds(1), &mut |_, _| vec![]);
    path.sender.request_key_frame(None);
    while packets.is_empty() {
        path.now = path.now + TICK;
        path.sender.produce(path.now, &mut plain, &mut |_, packet| packets.push(packet));
    }
    assert!(packets.len() > 2, "a key frame takes several packets");
    let mut receiver = Inbound::new(path.now, Stream::Camera, Some(FROM), 1);
    let half = packets.len() / 2;
    let again = packets[0].sequence.wrapping_add(half as u16);
    for (n, packet) in packets[..half].iter().chain(&packets).enumerate() {
        let second = u32::from(n >= half);
        let sequence = packets[0].sequence.wrapping_add(n as u16);
        let packet = Packet { sequence, timestamp: packet.timestamp.wrapping_add(second * 900), ..packet.clone() };
        assert!(!receiver.handle_packet(&received(&packet, Codec::Vp8, path.now, false), &mut open));
        assert!(second == 0 || sequence.wrapping_sub(again) < 1_000);
    }
    let tally = receiver.tally(path.now);
    assert_eq!((tally.frames, tally.frames_lost, tally.packets.lost, tally.mismatches), (1, 0, 0, 0));
    assert!(receiver.first_key_frame().is_some());
}

#[test]
fn a_sample_counts_every_packet_and_frame_and_checks_its_share() {
    for mut path in [Path::voice(24), Path::camera(24, &Video::default())] {
        path.receiver = Inbound::new(Moment(0), path.sender.stream(), Some(FROM), 4);
        for tick in 0..20_000u32 {
            path.now = path.now + TICK;
            let Path { sender, receiver, now, .. } = &mut path;
            let codec = sender.codec();
            sender.produce(*now, &mut plain, &mut |_, packet| {
                let whole = received(&packet, codec, *now, false);
                let sealed = !crate::media::in_sample(packet.timestamp, 4);
                let packet = Received { payload: whole.payload.filter(|_| !sealed), ..whole };
                if tick % 4_000 >= 5 {
                    receiver.handle_packet(&packet, &mut open);
                }
            });
        }
        let tally = path.tally();
        let lost = path.sender.sent().frames - tally.frames;
        assert!(lost <= 12, "{lost} frames are missing");
        assert!(tally.frames_checked * 4 > tally.frames * 3 / 4 && tally.frames_checked * 4 < tally.frames * 5 / 4);
        assert_eq!((tally.mismatches, tally.frames_withheld), (0, 0));
        assert_eq!(tally.latency.count(), tally.frames_checked);
    }
}

#[test]
fn intervals_add_up_to_the_tally() {
    let mut path = Path::camera(25, &Video::default());
    let mut sum = Interval::default();
    for _ in 0..20 {
        path.run(ms(500), &mut |rng, _| match chance(rng, 3) {
            true if chance(rng, 10) => vec![],
            true => vec![(ms(90), true)],
            false => vec![(ms(20), false)],
        });
        sum.merge(&path.receiver.take_interval(path.now));
    }
    let tally = path.tally();
    assert_eq!((sum.packets, sum.bytes, sum.frames), (tally.packets, tally.bytes, tally.frames));
    assert_eq!((sum.frames_lost, sum.frozen), (tally.frames_lost, tally.freezes.total));
    assert_eq!(sum.latency.distribution(), tally.latency.distribution());
    assert!(tally.packets.lost > 0 && tally.packets.repaired > 0);
    assert_eq!(sum.lost_before_repair(), tally.packets.repaired + tally.packets.lost);
}

#[test]
fn every_frame_that_was_sent_is_either_here_or_lost_on_the_worst_of_paths() {
    for seed in 0..24 {
        let layers = vec![Layer { height: 360, bitrate: 300_000 * (1 + seed as u32 % 4) }];
        let video =
            Video { layers, codec: if seed % 2 == 0 { VideoCodec::Vp8 } else { VideoCodec::Vp9 }, ..Video::default() };
        for mut path in [Path::voice(seed), Path::camera(seed, &video)] {
            path.run(seconds(1), &mut perfect);
            let mut gone = 0;
            path.run(seconds(40), &mut |rng, _| {
                let late = ms(20 + u64::from(rng.next_u32() % 80));
                match rng.next_u32() % 100 {
                    0..3 => {
                        gone += 1;
                        vec![]
                    }
                    3..8 => vec![(late + ms(u64::from(rng.next_u32() % 300)), true)],
                    8..10 => vec![(late, false), (late + ms(30), true)],
                    10..12 => vec![(late + ms(40), false), (late, true)],
                    _ => vec![(late, false)],
                }
            });
            path.run(seconds(2), &mut perfect);
            path.settle(ms(20));
            let tally = path.tally();
            let sent = path.sender.sent();
            assert_eq!((tally.packets.lost, tally.packets.late), (gone, 0), "seed {seed}");
            assert_eq!(tally.packets.expected(), sent.packets, "seed {seed}");
            let found = tally.frames + tally.frames_lost;
            assert_eq!((found, tally.frames_withheld), (sent.frames, 0), "seed {seed}");
            assert_eq!((tally.mismatches, tally.frames_checked), (0, tally.frames), "seed {seed}");
            assert_eq!(path.receiver.next_timeout(), None, "seed {seed}: nothing is left to wait for");
        }
    }
}

#[test]
fn a_picture_that_never_comes_whole_is_asked_for_five_times_a_second() {
    let mut path =
        Path::camera(26, &Video { layers: vec![Layer { height: 720, bitrate: 2_000_000 }], ..Video::default() });
    path.run(seconds(1), &mut perfect);
    path.run(seconds(10), &mut |_, n| if n % 3 == 0 { vec![] } else { vec![(ms(20), false)] });
    let found = path.summary();
    assert!((40..=50).contains(&found.key_frames_requested), "{} requests", found.key_frames_requested);
    assert_eq!(path.asked, found.key_frames_requested);
    assert_eq!(found.freezes, 1);
    assert!(found.frozen > 9_500.0, "{} ms", found.frozen);
}

#[test]
fn the_same_seed_finds_the_same() {
    let run = || {
        let mut path = Path::camera(27, &Video::default());
        path.run(seconds(20), &mut |rng, _| if chance(rng, 4) { vec![] } else { vec![(ms(20), false)] });
        path.summary()
    };
    assert_eq!(run(), run());
}
