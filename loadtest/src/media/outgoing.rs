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
