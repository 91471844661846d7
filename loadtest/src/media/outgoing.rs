//! One stream that a participant sends: frames when they are due, sealed, in packets.

use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sotto_signaling::message::Stream;

use crate::clock::Moment;
use crate::engine::{Codec, Packet};
use crate::plan::{Audio, Picture, Video, VideoCodec};

use super::content::{self, Content};
use super::packetizer::Packetizer;
use super::sizes::Sizes;
use super::stamp::Stamp;
use super::voice::{PACKETS_PER_SECOND, Recipe, Voice};
use super::{Origin, block, clip};

/// A source with its encodings.
pub struct Outgoing {
    stream: Stream,
    codec: Codec,
    origin: Origin,
    frames_per_second: u64,
    key_frame_every: Duration,
    encodings: Vec<Encoding>,
    rng: ChaCha8Rng,
    start: Moment,
    /// The next to produce, counted from `start` in times of a frame.
    turn: u64,
    sequence: u32,
    sent: Sent,
    frame: Vec<u8>,
    sealed: Vec<u8>,
}

/// One simulcast encoding; a voice has one.
struct Encoding {
    source: Source,
    packetizer: Packetizer,
    first_timestamp: u32,
    key_wanted: bool,
    last_key: Option<Moment>,
}

enum Source {
    Voice(Recipe),
    Model { sizes: Sizes, height: u16 },
    Clip { sizes: Sizes, place: u16 },
}

/// What went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames of each encoding.
    pub frames: u64,
    /// Frames that were too late to be sent at all.
    pub late_frames: u64,
    /// Packets.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
}

impl Outgoing {
    /// A microphone. Its voice is encoded now, where no other participant has the same.
    pub fn voice(audio: &Audio, origin: Origin, seed: u64, now: Moment) -> Self {
        let recipe = Recipe::new(audio, origin.index);
        Voice::of(recipe);
        Self::new(Stream::Microphone, Codec::Opus, origin, u64::from(PACKETS_PER_SECOND), seed, now)
            .with(Source::Voice(recipe))
    }

    /// A camera. A clip is VP8, whatever codec is asked for; each layer shows it in its one size, and is filled up to its
    /// bitrate.
    pub fn camera(video: &Video, origin: Origin, seed: u64, now: Moment) -> Self {
        let codec = match (video.picture, video.codec) {
            (Picture::Model, VideoCodec::Vp9) => Codec::Vp9,
            _ => Codec::Vp8,
        };
        let mut camera = Self::new(Stream::Camera, codec, origin, u64::from(video.fps.max(1)), seed, now);
        camera.key_frame_every = video.key_frame_every;
        for layer in &video.layers {
            let rng = ChaCha8Rng::from_rng(&mut camera.rng);
            let sizes = Sizes::new(layer.bitrate, video.fps, rng);
            camera = camera.with(match video.picture {
                Picture::Model => Source::Model { sizes, height: u16::try_from(layer.height).unwrap_or(u16::MAX) },
                Picture::Clip => Source::Clip { sizes, place: 0 },
            });
        }
        camera
    }

    /// When [`Outgoing::produce`] has something to do.
    pub fn next_due(&self) -> Moment {
        self.due(self.turn)
    }

    /// Makes the next frame of a layer a key frame; of all where absent.
    pub fn request_key_frame(&mut self, layer: Option<usize>) {
        for (n, encoding) in self.encodings.iter_mut().enumerate() {
            encoding.key_wanted |= layer.is_none_or(|layer| layer == n);
        }
    }

    /// Makes the frame that is due, if one is: `seal` protects it, and says whether it could, `emit` is given the packets
    /// of each layer. Turns that went by are left out, as a camera leaves out pictures, and counted as late.
    pub fn produce(
        &mut self,
        now: Moment,
        seal: &mut dyn FnMut(&[u8], &mut Vec<u8>) -> bool,
        emit: &mut dyn FnMut(usize, Packet),
    ) {
        if now < self.next_due() {
            return;
        }
        let latest = self.turn_at(now);
        self.sent.late_frames += latest - self.turn;
        self.turn = latest + 1;
        let mut any = false;
        for layer in 0..self.encodings.len() {
            any |= self.produce_layer(layer, latest, now, seal, emit);
        }
        self.sequence = self.sequence.wrapping_add(u32::from(any));
    }

    /// Goes on after a time in which nothing was to be sent: what was due meanwhile is not late. Pictures begin anew.
    pub fn resume(&mut self, now: Moment) {
        if now >= self.next_due() {
            self.turn = self.turn_at(now) + 1;
        }
        self.request_key_frame(None);
    }

    /// Which codec its frames are.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Which stream it is.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// How many encodings it has.
    pub fn layers(&self) -> usize {
        self.encodings.len()
    }

    /// Frames that were sent late by more than a frame's time, which here are not sent at all.
    pub fn late_frames(&self) -> u64 {
        self.sent.late_frames
    }

    /// What went out so far.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    fn new(stream: Stream, codec: Codec, origin: Origin, frames_per_second: u64, seed: u64, now: Moment) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Cameras do not all take their pictures in the same instant.
        let phase = rng.next_u64() % (SECOND / frames_per_second);
        Self {
            stream,
            codec,
            origin,
            frames_per_second,
            key_frame_every: Duration::MAX,
            encodings: Vec::new(),
            rng,
            start: Moment(now.0 + phase),
            turn: 0,
            sequence: 0,
            sent: Sent::default(),
            frame: Vec::new(),
            sealed: Vec::new(),
        }
    }

    fn with(mut self, source: Source) -> Self {
        let packetizer = Packetizer::new(self.codec, &mut self.rng);
        let first_timestamp = self.rng.next_u32();
        self.encodings.push(Encoding { source, packetizer, first_timestamp, key_wanted: true, last_key: None });
        self
    }

    fn due(&self, turn: u64) -> Moment {
        Moment(self.start.0 + (u128::from(turn) * u128::from(SECOND)).div_ceil(self.frames_per_second.into()) as u64)
    }

    /// The latest turn that is due.
    fn turn_at(&self, now: Moment) -> u64 {
        let elapsed = u128::from(now.0 - self.start.0);
        (elapsed * u128::from(self.frames_per_second) / u128::from(SECOND)) as u64
    }

    fn produce_layer(
        &mut self,
        layer: usize,
        turn: u64,
        now: Moment,
        seal: &mut dyn FnMut(&[u8], &mut Vec<u8>) -> bool,
        emit: &mut dyn FnMut(usize, Packet),
    ) -> bool {
        let encoding = &mut self.encodings[layer];
        let periodic = encoding.last_key.is_none_or(|last| now.since(last) >= self.key_frame_every);
        let (content, key, length) = encoding.source.picture(turn, encoding.key_wanted || periodic, &mut self.rng);
        let stamp = Stamp {
            origin: self.origin,
            stream: self.stream,
            layer: layer as u8,
            key,
            sequence: self.sequence,
            sent: now,
            length: length as u32,
            content,
        };
        self.sealed.clear();
        if !content::write(&stamp, self.codec, &mut self.frame) || !seal(&self.frame, &mut self.sealed) {
            encoding.key_wanted = true; // what follows would refer to what never went out
            return false;
        }
        if key {
            encoding.last_key = Some(now);
            encoding.key_wanted = false;
        }
        encoding.source.advance();
        let rate = if self.codec == Codec::Opus { AUDIO_CLOCK } else { VIDEO_CLOCK };
        let ticks = u128::from(turn) * rate / u128::from(self.frames_per_second);
        let timestamp = encoding.first_timestamp.wrapping_add(ticks as u32);
        let sent = &mut self.sent;
        encoding.packetizer.packetize(&Bytes::copy_from_slice(&self.sealed), key, timestamp, &mut |packet| {
            sent.packets += 1;
            sent.bytes += packet.payload.len() as u64;
            emit(layer, packet);
        });
        sent.frames += 1;
        true
    }
}

impl Source {
    /// What the next frame is made of, whether it is a key frame, and its length with the stamp.
    fn picture(&mut self, turn: u64, key_wanted: bool, rng: &mut ChaCha8Rng) -> (Content, bool, usize) {
        match self {
            Source::Voice(recipe) => {
                let packets = Voice::of(*recipe).map_or(1, Voice::packets);
                let content = Content::Voice { recipe: *recipe, frame: (turn % u64::from(packets)) as u16 };
                (content, false, content.least(false))
            }
            Source::Model { sizes, height } => {
                let content = Content::Model { height: *height, offset: rng.next_u32() % block::OFFSETS };
                (content, key_wanted, fit(sizes.next(key_wanted), content.least(key_wanted)))
            }
            Source::Clip { sizes, place } => {
                if key_wanted {
                    *place = clip::key_from(*place);
                }
                let key = clip::frame(*place).is_some_and(|frame| frame.key);
                let content = Content::Clip { frame: *place, offset: rng.next_u32() % block::OFFSETS };
                (content, key, fit(sizes.next(key), content.least(key)))
            }
        }
    }

    /// The frame went out.
    fn advance(&mut self) {
        if let Source::Clip { place, .. } = self {
            *place = (*place + 1) % clip::frames();
        }
    }
}

/// A length that holds what it must and that the block can fill.
fn fit(wanted: usize, least: usize) -> usize {
    wanted.min(block::LONGEST).max(least)
}

const SECOND: u64 = 1_000_000_000;
/// RFC 7587, section 4.1, and RFC 7741, section 4.1.
const AUDIO_CLOCK: u128 = 48_000;
const VIDEO_CLOCK: u128 = 90_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::descriptor::Descriptor;
    use crate::plan::Layer;

    const FROM: Origin = Origin { run: 1, call: 2, index: 3 };

    fn simulcast(fps: u32) -> Video {
        let layer = |height, bitrate| Layer { height, bitrate };
        Video { fps, layers: vec![layer(180, 150_000), layer(360, 500_000), layer(720, 1_700_000)], ..Video::default() }
    }

    fn seal(frame: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(frame);
        true
    }

    /// What goes out until `end`, when each frame is made as soon as it is due: when, layer, packet.
    fn produced(outgoing: &mut Outgoing, end: Moment) -> Vec<(Moment, usize, Packet)> {
        let mut packets = Vec::new();
        while outgoing.next_due() <= end {
            let due = outgoing.next_due();
            outgoing.produce(due, &mut seal, &mut |layer, packet| packets.push((due, layer, packet)));
        }
        packets
    }

    fn begins_key_frame(packet: &Packet) -> bool {
        Descriptor::parse(Codec::Vp8, &packet.payload).is_some_and(|descriptor| descriptor.key)
    }

    #[test]
    fn frames_come_at_their_rate_with_timestamps_of_the_same_pace() {
        for fps in [15, 24, 30, 60] {
            let mut camera = Outgoing::camera(&Video { fps, ..Video::default() }, FROM, 1, Moment(0));
            let packets = produced(&mut camera, Moment(100 * SECOND));
            let frames: Vec<_> = packets.iter().filter(|(_, _, packet)| packet.marker).collect();
            assert!(frames.len().abs_diff(100 * fps as usize) <= 1, "{} frames", frames.len());
            let (first, last) = (frames[0], frames[frames.len() - 1]);
            let ticks = f64::from(last.2.timestamp.wrapping_sub(first.2.timestamp));
            let elapsed = last.0.since(first.0).as_secs_f64();
            assert!((ticks / 90_000.0 - elapsed).abs() < 1e-4, "{ticks} ticks in {elapsed} s");
            assert_eq!(camera.late_frames(), 0);
        }
    }

    #[test]
    fn layers_hold_their_bitrates_in_sequence_spaces_of_their_own() {
        let mut camera = Outgoing::camera(&simulcast(30), FROM, 2, Moment(0));
        assert_eq!((camera.layers(), camera.codec(), camera.stream()), (3, Codec::Vp8, Stream::Camera));
        let packets = produced(&mut camera, Moment(60 * SECOND));
        let mut firsts = Vec::new();
        for (layer, bitrate) in [150_000.0, 500_000.0, 1_700_000.0].into_iter().enumerate() {
            let packets: Vec<_> =
                packets.iter().filter(|(_, of, _)| *of == layer).map(|(_, _, packet)| packet).collect();
            let bytes: usize = packets.iter().map(|packet| packet.payload.len()).sum();
            let found = bytes as f64 * 8.0 / 60.0;
            assert!((0.97..1.05).contains(&(found / bitrate)), "layer {layer}: {found}");
            assert!(packets.windows(2).all(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1)));
            assert!(begins_key_frame(packets[0]), "it begins with a key frame");
            assert_eq!(packets.iter().filter(|packet| begins_key_frame(packet)).count(), 1, "nobody asked for another");
            firsts.push((packets[0].sequence, packets[0].timestamp));
        }
        assert!(firsts[0] != firsts[1] && firsts[1] != firsts[2]);
        assert_eq!(camera.sent().packets, packets.len() as u64);
    }

    #[test]
    fn a_key_frame_is_made_of_the_layer_that_was_asked_for_at_once_and_of_all_after_the_longest_time() {
        let video = Video { key_frame_every: Duration::from_secs(2), ..simulcast(30) };
        let mut camera = Outgoing::camera(&video, FROM, 3, Moment(0));
        produced(&mut camera, Moment(SECOND));
        camera.request_key_frame(Some(1));
        let due = camera.next_due();
        let next = produced(&mut camera, due);
        let keys = |packets: &[(Moment, usize, Packet)]| -> Vec<_> {
            packets.iter().filter(|(_, _, packet)| begins_key_frame(packet)).map(|(_, layer, _)| *layer).collect()
        };
        assert_eq!(keys(&next), [1]);
        let until = Moment(SECOND * 5 / 2);
        assert_eq!(keys(&produced(&mut camera, until)), [0, 2], "two seconds after their last");
        camera.request_key_frame(None);
        let due = camera.next_due();
        assert_eq!(keys(&produced(&mut camera, due)), [0, 1, 2]);
    }

    #[test]
    fn a_clip_answers_a_request_with_its_next_key_frame_and_goes_on_from_there() {
        let video = Video { picture: Picture::Clip, ..Video::default() };
        let mut camera = Outgoing::camera(&video, FROM, 4, Moment(0));
        let mut frames = Vec::new();
        for n in 0..40 {
            if n == 20 {
                camera.request_key_frame(Some(0));
            }
            let due = camera.next_due();
            let mut note = |frame: &[u8], out: &mut Vec<u8>| {
                frames.push(Stamp::read(frame).unwrap());
                seal(frame, out)
            };
            camera.produce(due, &mut note, &mut |_, _| {});
        }
        let place = |stamp: &Stamp| match stamp.content {
            Content::Clip { frame, .. } => frame,
            _ => panic!("no clip"),
        };
        let places: Vec<_> = frames.iter().map(place).collect();
        let expected: Vec<_> = (0..20).chain(30..50).collect();
        assert_eq!(places, expected);
        let keys: Vec<_> = frames.iter().filter(|stamp| stamp.key).map(|stamp| stamp.sequence).collect();
        assert_eq!(keys, [0, 15, 20, 35]);
    }

    #[test]
    fn turns_that_went_by_are_left_out_and_counted_and_the_count_of_frames_has_no_gap() {
        for mut outgoing in [
            Outgoing::voice(&Audio::default(), FROM, 5, Moment(0)),
            Outgoing::camera(&simulcast(50), FROM, 5, Moment(0)),
        ] {
            produced(&mut outgoing, Moment(SECOND));
            let sequence = outgoing.sequence;
            let mut count = 0;
            outgoing.produce(outgoing.next_due() + Duration::from_millis(95), &mut seal, &mut |_, packet| {
                count += usize::from(packet.marker);
            });
            assert_eq!((count, outgoing.late_frames()), (outgoing.layers(), 4), "80 ms are four turns, 15 ms are none");
            assert_eq!(outgoing.sequence, sequence + 1);
            outgoing.resume(outgoing.next_due() + Duration::from_secs(60));
            produced(&mut outgoing, Moment(62 * SECOND));
            assert_eq!(outgoing.late_frames(), 4, "nothing was to be sent for a minute");
        }
    }

    #[test]
    fn what_cannot_be_sealed_is_not_sent_and_a_key_frame_follows() {
        let mut camera = Outgoing::camera(&Video::default(), FROM, 6, Moment(0));
        produced(&mut camera, Moment(SECOND));
        let sequence = camera.sequence;
        camera.produce(camera.next_due(), &mut |_, _| false, &mut |_, _| panic!("it was not sealed"));
        assert_eq!(camera.sequence, sequence);
        let due = camera.next_due();
        assert!(begins_key_frame(&produced(&mut camera, due)[0].2));
    }

    #[test]
    fn a_seed_repeats_a_stream_bit_for_bit() {
        let stream = |seed| {
            let mut camera = Outgoing::camera(&simulcast(30), FROM, seed, Moment(0));
            produced(&mut camera, Moment(SECOND)).into_iter().map(|(at, layer, packet)| (at, layer, packet.payload))
        };
        assert!(stream(7).eq(stream(7)));
        assert!(!stream(7).eq(stream(8)));
    }

    #[test]
    fn the_lowest_and_the_highest_rates_make_whole_frames() {
        for bitrate in [1, 10_000, 100_000_000] {
            let layers = vec![Layer { height: 2_160, bitrate }];
            for codec in [VideoCodec::Vp8, VideoCodec::Vp9] {
                let mut camera =
                    Outgoing::camera(&Video { layers: layers.clone(), codec, ..Video::default() }, FROM, 9, Moment(0));
                let mut longest = 0;
                while camera.next_due() < Moment(SECOND) {
                    let due = camera.next_due();
                    let mut check = |frame: &[u8], out: &mut Vec<u8>| {
                        let stamp = Stamp::read(frame).expect("a stamp");
                        assert!(content::is_intact(&stamp, camera_codec(codec), frame));
                        longest = longest.max(frame.len());
                        seal(frame, out)
                    };
                    camera.produce(due, &mut check, &mut |_, _| {});
                }
                assert!(longest <= block::LONGEST);
            }
        }
    }

    fn camera_codec(codec: VideoCodec) -> Codec {
        match codec {
            VideoCodec::Vp8 => Codec::Vp8,
            VideoCodec::Vp9 => Codec::Vp9,
        }
    }
}
