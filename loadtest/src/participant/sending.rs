//! What a participant sends: its voice and its picture, protected and handed to the engine when they are due.

use std::collections::VecDeque;

use sotto_signaling::message::Stream;

use super::session::Session;
use super::{Output, Spec};
use crate::clock::Moment;
use crate::e2ee::Encryption;
use crate::engine::{self, Command};
use crate::media::Outgoing;

/// The sources, and what became of their frames.
pub struct Sending {
    sources: Vec<Source>,
    lines: Vec<engine::Sending>,
    /// The MID of each stream's m-line, in the connection of now.
    mids: Vec<(Stream, String)>,
    counts: Counts,
}

struct Source {
    stream: Stream,
    outgoing: Outgoing,
    /// Whether it could send when it was last asked.
    flows: bool,
    /// Those that were counted already.
    late_frames: u64,
}

/// What was sent since the last time.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Frames that were sent late by more than a frame's time, or not at all.
    pub late_frames: u64,
}

impl Sending {
    /// Prepares what a participant sends.
    pub fn new(spec: &Spec, now: Moment) -> Self {
        let origin = spec.origin();
        let voice = spec.microphone.as_ref().map(|audio| Outgoing::voice(audio, origin, spec.seed, now));
        // Not the voice's seed, so that their first sequence numbers and times differ.
        let camera = spec.camera.as_ref().map(|video| Outgoing::camera(video, origin, !spec.seed, now));
        let both = [(Stream::Microphone, voice), (Stream::Camera, camera)];
        let sources: Vec<Source> = both
            .into_iter()
            .filter_map(|(stream, outgoing)| Some(Source { stream, outgoing: outgoing?, flows: false, late_frames: 0 }))
            .collect();
        let line = |source: &Source| engine::Sending {
            stream: source.stream,
            codec: source.outgoing.codec(),
            layers: source.outgoing.layers(),
        };
        let lines = sources.iter().map(line).collect();
        Self { sources, lines, mids: Vec::new(), counts: Counts::default() }
    }

    /// A new connection begins, which has no m-lines yet.
    pub fn begin(&mut self) {
        self.mids.clear();
        self.pause();
    }

    /// Nothing is sent until it can be again.
    pub fn pause(&mut self) {
        self.sources.iter_mut().for_each(|source| source.flows = false);
    }

    /// The m-lines that send have these MIDs.
    pub fn described(&mut self, mids: Vec<(Stream, String)>) {
        self.mids = mids;
    }

    /// What is to be described.
    pub fn lines(&self) -> &[engine::Sending] {
        &self.lines
    }

    /// The MIDs of what was described.
    pub fn mids(&self) -> &[(Stream, String)] {
        &self.mids
    }

    /// The next frame should be a key frame.
    pub fn request_key_frame(&mut self, stream: Stream, layer: Option<usize>) {
        let Some(source) = self.sources.iter_mut().find(|source| source.stream == stream) else { return };
        source.outgoing.request_key_frame(layer);
    }

    /// Makes the frames that are due.
    pub fn produce(
        &mut self,
        now: Moment,
        session: &Session,
        encryption: &mut Encryption,
        outputs: &mut VecDeque<Output>,
    ) {
        for Source { stream, outgoing, flows, late_frames } in &mut self.sources {
            let stream = *stream;
            if !session.carries(stream) {
                *flows = false;
                continue;
            }
            if !std::mem::replace(flows, true) {
                outgoing.resume(now);
            }
            let codec = outgoing.codec();
            let counts = &mut self.counts;
            let mut emit = |layer, packet: engine::Packet| {
                counts.packets += 1;
                counts.bytes += packet.payload.len() as u64;
                outputs.push_back(Output::Do(Command::Packet { stream, layer, packet }));
            };
            outgoing.produce(now, &mut |frame, out| encryption.protect(stream, codec, frame, out), &mut emit);
            let late = outgoing.late_frames();
            counts.late_frames += late - std::mem::replace(late_frames, late);
        }
    }

    /// When the next frame is due.
    pub fn next_timeout(&self, session: &Session) -> Option<Moment> {
        let carried = self.sources.iter().filter(|source| session.carries(source.stream));
        carried.map(|source| if source.flows { source.outgoing.next_due() } else { Moment(0) }).min()
    }

    /// What was sent since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }
}
