//! Everything counted of a stream, and of several together.

use std::time::Duration;

use crate::clock::Moment;
use crate::report::Summary;

use super::durations::Durations;
use super::playback::Freezes;
use super::sequences::Counts;

/// Figures of one stream, or of those that were merged into it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Packets by what became of them.
    pub packets: Counts,
    /// Bytes of payload received, those that came twice included.
    pub bytes: u64,
    /// The first packet's arrival and the last one's, by which `bytes` become a rate.
    pub lasted: Option<(Moment, Moment)>,
    /// Whole frames.
    pub frames: u64,
    /// Frames that were decrypted and compared.
    pub frames_checked: u64,
    /// Frames of which a packet never came, or that a later key frame made useless before they were whole.
    pub frames_lost: u64,
    /// Frames that were sent and that the sequence numbers have no place for: the relay left them out on purpose, or the
    /// end of one layer was cut off by the next.
    pub frames_withheld: u64,
    /// Frames that came before the first one that opened, under keys that we were not to have.
    pub frames_unkeyed: u64,
    /// Frames that did not authenticate, those before the keys excepted.
    pub decrypt_failures: u64,
    /// Frames that authenticated and were not what was sent.
    pub mismatches: u64,
    /// Packets whose payload no receiver can read.
    pub malformed: u64,
    /// From a frame's sending to its last packet's arrival.
    pub latency: Durations,
    /// The jitter's running estimate at each frame, added up.
    pub jitter: Duration,
    /// How many estimates those are.
    pub jitter_estimates: u64,
    /// Times without a frame to show.
    pub freezes: Freezes,
    /// Changes of the simulcast encoding shown.
    pub layer_changes: u64,
    /// Key frames asked for.
    pub key_frames_requested: u64,
}

impl Tally {
    /// Adds another stream's figures.
    pub fn merge(&mut self, other: &Self) {
        self.packets.merge(&other.packets);
        self.bytes += other.bytes;
        self.lasted = match (self.lasted, other.lasted) {
            (Some((first, last)), Some((from, until))) => Some((first.min(from), last.max(until))),
            (one, another) => one.or(another),
        };
        self.frames += other.frames;
        self.frames_checked += other.frames_checked;
        self.frames_lost += other.frames_lost;
        self.frames_withheld += other.frames_withheld;
        self.frames_unkeyed += other.frames_unkeyed;
        self.decrypt_failures += other.decrypt_failures;
        self.mismatches += other.mismatches;
        self.malformed += other.malformed;
        self.latency.merge(&other.latency);
        self.jitter += other.jitter;
        self.jitter_estimates += other.jitter_estimates;
        self.freezes.merge(&other.freezes);
        self.layer_changes += other.layer_changes;
        self.key_frames_requested += other.key_frames_requested;
    }

    /// As figures of a report. What a stream does not know of itself stays empty: times of joining, first frames, what was
    /// sent.
    pub fn summary(&self) -> Summary {
        let Counts { received, repaired, duplicate, lost, .. } = self.packets;
        let expected = self.packets.expected();
        Summary {
            packets_expected: expected,
            packets_received: received,
            packets_repaired: repaired,
            packets_duplicate: duplicate,
            bytes: self.bytes,
            loss_before_repair: percent(repaired + lost, expected),
            loss: percent(lost, expected),
            frames: self.frames,
            frames_checked: self.frames_checked,
            frames_lost: self.frames_lost,
            frames_withheld: self.frames_withheld,
            decrypt_failures: self.decrypt_failures,
            mismatches: self.mismatches,
            latency: self.latency.distribution(),
            jitter: milliseconds(self.jitter) / self.jitter_estimates.max(1) as f64,
            freezes: self.freezes.count,
            frozen: milliseconds(self.freezes.total),
            longest_freeze: milliseconds(self.freezes.longest),
            bitrate: self.bitrate(),
            layer_changes: self.layer_changes,
            key_frames_requested: self.key_frames_requested,
            ..Summary::default()
        }
    }

    /// Bits per second from the first packet to the last.
    fn bitrate(&self) -> f64 {
        let lasted = self.lasted.map_or(Duration::ZERO, |(first, last)| last.since(first));
        if lasted.is_zero() { 0.0 } else { self.bytes as f64 * 8.0 / lasted.as_secs_f64() }
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
