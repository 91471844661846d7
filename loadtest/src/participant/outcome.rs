//! What a participant found from its first connection to its end, and how that adds up.

use std::time::Duration;

use sotto_signaling::message::Stream;

use crate::measure::{Durations, Tally};
use crate::report::{Peer, StreamReport, Summary};

/// All that a participant found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The call, from 0.
    pub call: usize,
    /// The place in the call, from 0.
    pub index: usize,
    /// What went wrong; empty where it left as it was told.
    pub failure: String,
    /// Whether its network was impaired.
    pub impaired: bool,
    /// What it received, stream by stream.
    pub streams: Vec<StreamOutcome>,
    /// From opening the WebSocket to signaling and media being up.
    pub join: Durations,
    /// From the answer to a nominated pair.
    pub ice: Durations,
    /// From there to keys.
    pub dtls: Durations,
    /// From the news that someone came or left to the first frame under a new key, of each sender who remained.
    pub key_change: Durations,
    /// Connections that were lost and made again.
    pub reconnects: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Bytes of payload sent.
    pub bytes_sent: u64,
    /// Frames that were sent late by more than a frame's time, or not at all.
    pub late_frames: u64,
    /// From the first connection to the end.
    pub lasted: Duration,
}

/// One publication as a participant received it, over all its reconnections.
#[derive(Clone, Debug)]
pub struct StreamOutcome {
    /// The sender's place in the call; absent for those who are not of this tester, who are together one.
    pub from: Option<usize>,
    /// Which stream.
    pub stream: Stream,
    /// What was received.
    pub tally: Tally,
    /// From subscribing to the first whole frame that authenticated.
    pub first_frame: Durations,
    /// From subscribing to the first key frame; empty for sound.
    pub first_key_frame: Durations,
}

/// What several participants found together.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Of all streams.
    pub tally: Tally,
    /// As in [`Outcome`], of all.
    pub join: Durations,
    /// As in [`Outcome`], of all.
    pub ice: Durations,
    /// As in [`Outcome`], of all.
    pub dtls: Durations,
    /// As in [`StreamOutcome`], of all.
    pub first_frame: Durations,
    /// As in [`StreamOutcome`], of all.
    pub first_key_frame: Durations,
    /// As in [`Outcome`], of all.
    pub key_change: Durations,
    /// Of all.
    pub reconnects: u64,
    /// Of all.
    pub packets_sent: u64,
    /// Bits per second, payload only, of all together.
    pub bitrate_sent: f64,
    /// Frames that were sent late, of all.
    pub late_frames: u64,
}

impl Outcome {
    /// As it stands in a report.
    pub fn report(&self) -> Peer {
        let mut all = Findings::default();
        all.add(self);
        Peer {
            call: self.call,
            index: self.index,
            failure: self.failure.clone(),
            impaired: self.impaired,
            summary: all.summary(),
            streams: self.streams.iter().map(StreamOutcome::report).collect(),
        }
    }
}

impl StreamOutcome {
    /// Nothing received yet.
    pub fn new(from: Option<usize>, stream: Stream) -> Self {
        let (first_frame, first_key_frame) = Default::default();
        Self { from, stream, tally: Tally::default(), first_frame, first_key_frame }
    }

    fn report(&self) -> StreamReport {
        let mut summary = self.tally.summary();
        summary.first_frame = self.first_frame.distribution();
        summary.first_key_frame = self.first_key_frame.distribution();
        StreamReport { from: self.from, stream: name(self.stream).to_owned(), summary }
    }
}

impl Findings {
    /// Adds what a participant found.
    pub fn add(&mut self, outcome: &Outcome) {
        for stream in &outcome.streams {
            self.tally.merge(&stream.tally);
            self.first_frame.merge(&stream.first_frame);
            self.first_key_frame.merge(&stream.first_key_frame);
        }
        self.join.merge(&outcome.join);
        self.ice.merge(&outcome.ice);
        self.dtls.merge(&outcome.dtls);
        self.key_change.merge(&outcome.key_change);
        self.reconnects += outcome.reconnects;
        self.packets_sent += outcome.packets_sent;
        self.late_frames += outcome.late_frames;
        if !outcome.lasted.is_zero() {
            self.bitrate_sent += outcome.bytes_sent as f64 * 8.0 / outcome.lasted.as_secs_f64();
        }
    }

    /// As figures of a report.
    pub fn summary(&self) -> Summary {
        Summary {
            join: self.join.distribution(),
            ice: self.ice.distribution(),
            dtls: self.dtls.distribution(),
            first_frame: self.first_frame.distribution(),
            first_key_frame: self.first_key_frame.distribution(),
            key_change: self.key_change.distribution(),
            reconnects: self.reconnects,
            packets_sent: self.packets_sent,
            bitrate_sent: self.bitrate_sent,
            ..self.tally.summary()
        }
    }
}

/// A stream's name on the wire.
fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Microphone => "microphone",
        Stream::Camera => "camera",
        Stream::Screen => "screen",
        Stream::ScreenAudio => "screen-audio",
    }
}
