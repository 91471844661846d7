//! What was counted since the last time somebody asked, for one stream or several: a second of a timeline.

use std::time::Duration;

use super::durations::Durations;
use super::sequences::Counts;

/// What happened in an interval.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// Packets by what became of them; those lost count when they are given up, a second after they were missed.
    pub packets: Counts,
    /// Bytes of payload received.
    pub bytes: u64,
    /// Whole frames.
    pub frames: u64,
    /// Frames given up.
    pub frames_lost: u64,
    /// Frames that did not authenticate.
    pub decrypt_failures: u64,
    /// Frames that authenticated and were not what was sent.
    pub mismatches: u64,
    /// Latency of the frames that arrived.
    pub latency: Durations,
    /// Time without a frame to show, while one was due, over all streams.
    pub frozen: Duration,
}

impl Interval {
    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.packets.merge(&other.packets);
        self.bytes += other.bytes;
        self.frames += other.frames;
        self.frames_lost += other.frames_lost;
        self.decrypt_failures += other.decrypt_failures;
        self.mismatches += other.mismatches;
        self.latency.merge(&other.latency);
        self.frozen += other.frozen;
    }

    /// What was counted since `before`, with the latencies recorded meanwhile. A freeze that turns out to have been the
    /// sender's pause may have been counted before: it is not taken back.
    pub fn since(self, before: &Self, latency: Durations) -> Self {
        Self {
            packets: self.packets.since(&before.packets),
            bytes: self.bytes - before.bytes,
            frames: self.frames - before.frames,
            frames_lost: self.frames_lost - before.frames_lost,
            decrypt_failures: self.decrypt_failures - before.decrypt_failures,
            mismatches: self.mismatches - before.mismatches,
            latency,
            frozen: self.frozen.saturating_sub(before.frozen),
        }
    }

    /// Packets that came, by themselves or repaired.
    pub fn packets(&self) -> u64 {
        self.packets.received + self.packets.repaired
    }

    /// Packets that did not come by themselves.
    pub fn lost_before_repair(&self) -> u64 {
        self.packets.repaired + self.packets.lost
    }

    /// Packets given up.
    pub fn lost(&self) -> u64 {
        self.packets.lost
    }
}
