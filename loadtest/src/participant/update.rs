//! What a participant is told to do, and what it tells.

use std::time::Duration;

use super::outcome::Outcome;
use crate::clock::Moment;
use crate::measure::Interval;

/// Names a participant within one tester.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub usize);

/// What a participant is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Say goodbye and leave. Answered by [`Update::Gone`].
    Leave,
    /// Raise the voice, or rest. Voices are sent all the same, as the page sends them: what changes is what the
    /// speaking hints say, and with it whom the others show large.
    Speak(bool),
}

/// What a participant tells.
pub enum Update {
    /// Signaling and media are up for the first time.
    Joined {
        /// Who.
        peer: PeerId,
        /// When.
        at: Moment,
        /// Since the WebSocket was opened.
        took: Duration,
    },
    /// What the last second was like. Comes as long as the participant is there, also while it is not connected.
    Second {
        /// Whose.
        peer: PeerId,
        /// What it was like.
        second: Box<Second>,
    },
    /// The media path or the signaling connection is gone; it is being made again.
    Lost {
        /// Who.
        peer: PeerId,
        /// When.
        at: Moment,
        /// Whether signaling is gone, and media with it.
        signaling: bool,
        /// In words for the report.
        reason: String,
    },
    /// What was lost is back.
    Rejoined {
        /// Who.
        peer: PeerId,
        /// When.
        at: Moment,
        /// Since it was lost.
        after: Duration,
    },
    /// Nothing answers at the relay's address since 5 s: the relay is gone.
    Unreachable {
        /// Who.
        peer: PeerId,
        /// When that began.
        since: Moment,
        /// What was seen, in words for the report.
        reason: String,
    },
    /// The relay is gone: somebody could not reach it for 5 s, or all were without signaling for as long. Told once in a
    /// run, by the fleet.
    RelayLost {
        /// When that began.
        since: Moment,
        /// What was seen, in words for the report.
        reason: String,
    },
    /// It is over, as ordered or by a failure. The last of a participant.
    Gone {
        /// Who.
        peer: PeerId,
        /// What it found.
        outcome: Box<Outcome>,
    },
}

/// One second of a participant.
#[derive(Clone, Debug, Default)]
pub struct Second {
    /// When it ended.
    pub at: Moment,
    /// Whether signaling and media were up at its end.
    pub connected: bool,
    /// What was received, over all streams.
    pub interval: Interval,
    /// Packets sent.
    pub packets_sent: u64,
    /// Bytes of payload sent.
    pub bytes_sent: u64,
    /// Frames that were sent late by more than a frame's time, or not at all.
    pub late_frames: u64,
    /// How late the engine's loop woke for this participant, each time, in microseconds.
    pub lags: Vec<u32>,
}
