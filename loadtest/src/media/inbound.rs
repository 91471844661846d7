//! One stream that a participant receives: its packets become frames, each is opened and compared with what was sent, and
//! everything is counted.

use sotto_signaling::media::Kind;
use sotto_signaling::message::Stream;

use crate::clock::Moment;
use crate::e2ee::{Opened, Refusal};
use crate::engine::{Codec, Received};
use crate::measure::jitter::Jitter;
use crate::measure::playback::Playback;
use crate::measure::sequences::{Arrival, Sequences};
use crate::measure::{Durations, Interval, Tally};

use super::assembly::{Assembly, Examined, PATIENCE, Step};
use super::continuity::Continuity;
use super::descriptor::Descriptor;
use super::stamp::Stamp;
use super::{Origin, content};

/// Opens a sealed frame into a buffer, which it clears first.
pub type Open<'a> = dyn FnMut(Codec, &[u8], &mut Vec<u8>) -> Result<Opened, Refusal> + 'a;

/// A stream as it arrives. It begins with its slot's assignment; another assignment is another one.
pub struct Inbound {
    stream: Stream,
    from: Option<Origin>,
    sequences: Sequences,
    assembly: Assembly,
    continuity: Continuity,
    jitter: Jitter,
    playback: Playback,
    /// A decoder could use nothing but a key frame now.
    starving: bool,
    asks: bool,
    asked: Option<Moment>,
    paused: bool,
    layer: Option<u8>,
    first_frame: Option<Moment>,
    /// RTP timestamp of the first frame that was opened.
    opened_from: Option<u32>,
    first_key_frame: Option<Moment>,
    plain: Vec<u8>,
    tally: Tally,
    latency: Durations,
    reported: Interval,
}

impl Inbound {
    /// A stream that should come from now on. `from` is who sends it, where that is a participant of this tester; of
    /// others frames are opened and counted, not compared. `check_one_in` is the sample that the engine decrypts: where it
    /// is not all, nobody can tell whether a frame that was left sealed is a key frame, and any ends a decoder's wait.
    pub fn new(_now: Moment, stream: Stream, from: Option<Origin>, check_one_in: u32) -> Self {
        let is_video = stream.kind() == Kind::Video;
        Self {
            stream,
            from,
            sequences: Sequences::new(),
            assembly: Assembly::default(),
            continuity: Continuity::default(),
            jitter: Jitter::new(if is_video { VIDEO_CLOCK } else { AUDIO_CLOCK }),
            playback: Playback::default(),
            starving: is_video && check_one_in <= 1,
            asks: false,
            asked: None,
            paused: false,
            layer: None,
            first_frame: None,
            opened_from: None,
            first_key_frame: None,
            plain: Vec::new(),
            tally: Tally::default(),
            latency: Durations::default(),
            reported: Interval::default(),
        }
    }

    /// A packet came. Tells whether to ask for a key frame.
    pub fn handle_packet(&mut self, packet: &Received<'_>, open: &mut Open<'_>) -> bool {
        let now = packet.arrived;
        self.tally.bytes += packet.size as u64;
        self.tally.lasted = Some((self.tally.lasted.map_or(now, |(first, _)| first), now));
        self.give_up(now);
        if let Arrival::New(index) = self.sequences.receive(packet.sequence, packet.repaired, now) {
            match packet.codec {
                Codec::Opus => self.hear(index, packet, open),
                Codec::Vp8 | Codec::Vp9 => self.see(index, packet, open),
            }
        }
        self.go_on(now)
    }

    /// Gives up what is missing for too long. Tells whether to ask for a key frame.
    pub fn handle_timeout(&mut self, now: Moment) -> bool {
        self.give_up(now);
        self.go_on(now)
    }

    /// When [`Inbound::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Moment> {
        let missing = |index| self.sequences.missing_from(index);
        let ask = self.asks.then(|| self.asked.map(|asked| asked + PATIENCE)).flatten();
        [self.sequences.next_timeout(), self.assembly.next_timeout(&missing), ask].into_iter().flatten().min()
    }

    /// Nothing is due: the stream is muted, or was taken from us, or ended.
    pub fn pause(&mut self, now: Moment) {
        self.paused = true;
        self.asks = false;
        self.playback.pause(now);
    }

    /// The stream goes on. What is due is so from its next frame on.
    pub fn resume(&mut self, now: Moment) {
        self.playback.pause(now);
        self.jitter.forget();
        self.continuity = Continuity::default();
        self.paused = false;
    }

    /// When the first frame came that was whole and authenticated.
    pub fn first_frame(&self) -> Option<Moment> {
        self.first_frame
    }

    /// When the first such key frame came.
    pub fn first_key_frame(&self) -> Option<Moment> {
        self.first_key_frame
    }

    /// What happened since the last call.
    pub fn take_interval(&mut self, now: Moment) -> Interval {
        let tally = &self.tally;
        let total = Interval {
            packets: self.sequences.counts(now),
            bytes: tally.bytes,
            frames: tally.frames,
            frames_lost: tally.frames_lost,
            decrypt_failures: tally.decrypt_failures,
            mismatches: tally.mismatches,
            latency: Durations::default(),
            frozen: self.playback.freezes(now).total,
        };
        let latency = std::mem::take(&mut self.latency);
        self.tally.latency.merge(&latency);
        let before = std::mem::replace(&mut self.reported, total.clone());
        total.since(&before, latency)
    }

    /// What happened since the beginning.
    pub fn tally(&self, now: Moment) -> Tally {
        let mut tally = self.tally.clone();
        tally.packets = self.sequences.counts(now);
        tally.freezes = self.playback.freezes(now);
        tally.latency.merge(&self.latency);
        tally
    }

    /// A packet of sound is a frame, which waits for none before it.
    fn hear(&mut self, index: u64, packet: &Received<'_>, open: &mut Open<'_>) {
        if packet.payload.is_some_and(<[u8]>::is_empty) {
            return;
        }
        let examined = match packet.payload {
            Some(payload) => self.examine(packet, payload, false, open),
            None => {
                self.count_frame(packet.arrived, packet.timestamp);
                Examined { usable: true, ..Examined::default() }
            }
        };
        self.tally.frames_withheld += self.continuity.heard(index, examined.stamp.map(|(sequence, ..)| sequence));
        if examined.usable {
            self.show(packet.arrived, examined);
        }
    }

    /// A packet of a picture.
    fn see(&mut self, index: u64, packet: &Received<'_>, open: &mut Open<'_>) {
        if self.assembly.is_past(index) {
            return;
        }
        let Some(payload) = packet.payload.filter(|payload| !payload.is_empty()) else {
            self.assembly.insert(index, packet, None);
            return;
        };
        let Some(descriptor) = Descriptor::parse(packet.codec, payload) else {
            self.tally.malformed += 1;
            return;
        };
        if descriptor.begins && packet.marker {
            let examined = self.examine(packet, &payload[descriptor.length..], descriptor.key, open);
            self.assembly.insert_whole(index, packet, examined);
        } else if let Some(place) = self.assembly.insert(index, packet, Some(descriptor)) {
            let (bytes, key) = self.assembly.take_bytes(place);
            let examined = self.examine(packet, &bytes, key, open);
            self.assembly.examined(place, bytes, examined);
        }
    }

    fn count_frame(&mut self, now: Moment, timestamp: u32) {
        self.tally.frames += 1;
        if let Some(estimate) = self.jitter.frame(now, timestamp) {
            self.tally.jitter += estimate;
            self.tally.jitter_estimates += 1;
        }
    }

    /// A frame is whole by this packet: opens it and compares it with what was sent.
    fn examine(&mut self, packet: &Received<'_>, sealed: &[u8], key: bool, open: &mut Open<'_>) -> Examined {
        let now = packet.arrived;
        self.count_frame(now, packet.timestamp);
        if let Err(refusal) = open(packet.codec, sealed, &mut self.plain) {
            self.refuse(refusal, packet.timestamp);
            return Examined { usable: false, key: Some(key), stamp: None };
        }
        self.first_frame.get_or_insert(now);
        self.opened_from.get_or_insert(packet.timestamp);
        if key {
            self.first_key_frame.get_or_insert(now);
        }
        let stamp = self.from.and_then(|from| self.compare(from, packet.codec, key));
        if let Some(stamp) = stamp {
            self.latency.record(now.since(stamp.sent));
        }
        let stamp = stamp.map(|Stamp { sequence, sent, layer, .. }| (sequence, sent, layer));
        Examined { usable: true, key: Some(key), stamp }
    }

    /// The stamp of the frame that was opened, if it is what its sender sent, each byte.
    fn compare(&mut self, from: Origin, codec: Codec, key: bool) -> Option<Stamp> {
        self.tally.frames_checked += 1;
        let stamp = Stamp::read(&self.plain).filter(|stamp| {
            let expected = stamp.origin == from && stamp.stream == self.stream && stamp.key == key;
            expected && content::is_intact(stamp, codec, &self.plain)
        });
        self.tally.mismatches += u64::from(stamp.is_none());
        stamp
    }

    /// A newcomer is not to read what came before it, and so is not sent keys for it; repaired, that may come late.
    fn refuse(&mut self, refusal: Refusal, timestamp: u32) {
        let before = self.opened_from.is_none_or(|first| (timestamp.wrapping_sub(first) as i32) < 0);
        if before && matches!(refusal, Refusal::Key | Refusal::Unknown) {
            self.tally.frames_unkeyed += 1;
        } else {
            self.tally.decrypt_failures += 1;
        }
    }

    fn give_up(&mut self, now: Moment) {
        while self.sequences.give_up(now).is_some() {
            if self.stream.kind() == Kind::Audio {
                self.tally.frames_lost += 1;
            }
        }
    }

    /// Hands on what is decided, and asks for a key frame where a decoder would.
    fn go_on(&mut self, now: Moment) -> bool {
        loop {
            let sequences = &self.sequences;
            let Some(step) = self.assembly.step(now, self.starving, &|index| sequences.missing_from(index)) else {
                break;
            };
            self.follow(step, now);
        }
        let due = self.asks && self.asked.is_none_or(|asked| now >= asked + PATIENCE);
        if due {
            self.asked = Some(now);
            self.tally.key_frames_requested += 1;
        }
        due
    }

    /// The next picture in order, as a decoder takes it.
    fn follow(&mut self, step: Step, now: Moment) {
        match step {
            Step::Whole(examined) => {
                // One that was left sealed is not known to be whole before its turn.
                self.tally.frames += u64::from(examined.key.is_none());
                let sequence = examined.stamp.map(|(sequence, ..)| sequence);
                let between = self.continuity.seen(sequence);
                self.tally.frames_lost += between.lost;
                self.tally.frames_withheld += between.withheld;
                self.decode(examined, now);
            }
            Step::Lost => self.lose(true),
            Step::Gap { frame } => self.lose(frame),
            Step::Cut => self.starving = true, // the next is a key frame, or will ask for one
            Step::Filling => {}
        }
    }

    fn lose(&mut self, frame: bool) {
        self.tally.frames_lost += u64::from(frame);
        self.continuity.lost(frame);
        self.starve();
    }

    fn decode(&mut self, examined: Examined, now: Moment) {
        if !examined.usable || self.starving && examined.key == Some(false) {
            return self.starve();
        }
        (self.starving, self.asks) = (false, false);
        self.show(now, examined);
    }

    fn starve(&mut self) {
        self.starving = true;
        self.asks = !self.paused;
    }

    fn show(&mut self, now: Moment, examined: Examined) {
        if let Some((_, _, layer)) = examined.stamp {
            let before = self.layer.replace(layer);
            self.tally.layer_changes += u64::from(before.is_some_and(|before| before != layer));
        }
        if !self.paused {
            self.playback.shown(now, examined.stamp.map(|(sequence, sent, _)| (sequence, sent)));
        }
    }
}

/// RFC 7741, section 4.1, and RFC 7587, section 4.1.
const VIDEO_CLOCK: u32 = 90_000;
const AUDIO_CLOCK: u32 = 48_000;

#[cfg(test)]
mod tests;
