//! What a run found, as plain values: written as JSON, shown as tables and as a page. Times are milliseconds and
//! shares percent, unless the name says otherwise.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;

pub mod compare;
pub mod html;
pub mod measure;
mod plot;
pub mod summary;
pub mod verdict;
pub mod words;
pub mod worst;

/// The version of this form; it grows when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the load tester.
    pub version: String,
    /// When it began, in UTC, RFC 3339.
    pub started: String,
    /// Processor and cores of the machine.
    pub machine: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was asked for.
    pub plan: Plan,
    /// Each `--fail-if` and whether it broke.
    pub thresholds: Vec<Threshold>,
    /// Everything together.
    pub overall: Summary,
    /// Second by second.
    pub timeline: Vec<Second>,
    /// One-way latency of all frames, as a distribution.
    pub latency_histogram: Vec<Bucket>,
    /// The relay, where it is local.
    pub relay: Option<Relay>,
    /// The tester itself.
    pub tester: Tester,
    /// The steps of a ramp.
    pub ramp: Vec<Step>,
    /// Every participant.
    pub peers: Vec<Peer>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// As planned.
    Completed,
    /// By Ctrl-C or SIGTERM.
    Interrupted {
        /// Seconds into the run.
        at: f64,
    },
    /// The relay went away.
    RelayLost {
        /// Seconds into the run.
        at: f64,
        /// What was seen of it.
        reason: String,
    },
    /// It could not begin, or not go on.
    Failed {
        /// What happened, and what to do.
        reason: String,
    },
}

/// One threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// As it was given, such as `loss>0.5%`.
    pub expression: String,
    /// What was measured, in the metric's unit; absent where nothing was.
    pub measured: Option<f64>,
    /// Whether the run fails by it.
    pub broken: bool,
}

/// Figures of a stream, a peer or a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Packets that the sequence numbers say were sent to us.
    pub packets_expected: u64,
    /// Of these, how many came without being asked for again.
    pub packets_received: u64,
    /// How many came because they were asked for again.
    pub packets_repaired: u64,
    /// How many came twice.
    pub packets_duplicate: u64,
    /// Bytes of payload received.
    pub bytes: u64,
    /// Percent of the expected that did not come at first.
    pub loss_before_repair: f64,
    /// Percent of the expected that never came in time.
    pub loss: f64,
    /// Whole frames.
    pub frames: u64,
    /// Frames that were decrypted and compared with what was sent, bit for bit.
    pub frames_checked: u64,
    /// Frames that were given up for a packet that never came, or shown too late to be of use.
    pub frames_lost: u64,
    /// Frames that their senders counted and that have no place among the sequence numbers: left out by the relay, or the
    /// last ones of a layer that was left.
    pub frames_withheld: u64,
    /// Frames that did not authenticate.
    pub decrypt_failures: u64,
    /// Frames that authenticated and were not what was sent.
    pub mismatches: u64,
    /// From the sending of a frame to its last packet's arrival.
    pub latency: Distribution,
    /// Interarrival jitter (RFC 3550, section 6.4.1), of frames.
    pub jitter: f64,
    /// Times without a whole frame for over 200 ms, while one was due.
    pub freezes: u64,
    /// How long these were together.
    pub frozen: f64,
    /// The longest.
    pub longest_freeze: f64,
    /// Bits per second received, payload only, while it lasted.
    pub bitrate: f64,
    /// Changes of the simulcast encoding received.
    pub layer_changes: u64,
    /// Key frames asked for.
    pub key_frames_requested: u64,
    /// From opening the WebSocket to both media and signaling being up.
    pub join: Distribution,
    /// From the answer to a nominated pair.
    pub ice: Distribution,
    /// From there to keys.
    pub dtls: Distribution,
    /// From subscribing to the first whole frame that authenticated.
    pub first_frame: Distribution,
    /// From subscribing to the first key frame.
    pub first_key_frame: Distribution,
    /// From the news that someone came or left to the first frame under a new key.
    pub key_change: Distribution,
    /// Connections that were lost and made again.
    pub reconnects: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Bits per second sent, payload only.
    pub bitrate_sent: f64,
}

/// Percentiles of something measured, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // the names are the measures
pub struct Distribution {
    pub count: u64,
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

/// What one second was like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Second {
    /// Seconds into the run at which it ended.
    pub at: f64,
    /// Participants connected.
    pub peers: u64,
    /// Packets received.
    pub packets: u64,
    /// Packets missing at first.
    pub lost_before_repair: u64,
    /// Packets given up.
    pub lost: u64,
    /// Bits per second received.
    pub bitrate: f64,
    /// Latency of its frames.
    pub latency: Distribution,
    /// Milliseconds frozen, over all streams.
    pub frozen: f64,
    /// Percent of a core that the relay used, where it is known.
    pub relay_cpu: Option<f64>,
    /// Bytes that the relay had in memory.
    pub relay_memory: Option<u64>,
    /// File descriptors that the relay had open.
    pub relay_descriptors: Option<u64>,
    /// Percent of a core that the tester used.
    pub tester_cpu: f64,
}

/// One bar of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Milliseconds from which it counts.
    pub from: f64,
    /// Milliseconds below which it counts.
    pub to: f64,
    /// How many.
    pub count: u64,
}

/// What the relay took, measured from outside while media flowed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Relay {
    /// Packets that it forwarded, as the peers received them.
    pub packets_forwarded: u64,
    /// Microseconds of CPU in user mode per forwarded packet.
    pub user_us_per_packet: f64,
    /// Microseconds of CPU in the kernel per forwarded packet.
    pub system_us_per_packet: f64,
    /// Percent of one core, mean.
    pub cpu: f64,
    /// Bytes of memory (resident set) before anyone joined.
    pub memory_before: u64,
    /// Bytes at most.
    pub memory_peak: u64,
    /// Growth per participant, bytes.
    pub memory_per_participant: f64,
    /// File descriptors before anyone joined.
    pub descriptors_before: u64,
    /// File descriptors at most.
    pub descriptors_peak: u64,
    /// Bytes by which memory grew per hour after everyone had joined; in runs of a minute or more.
    pub memory_slope: Option<f64>,
    /// Descriptors by which it grew per hour after everyone had joined; in runs of a minute or more.
    pub descriptor_slope: Option<f64>,
}

/// What the tester took, and whether it kept up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tester {
    /// Packets received by all peers.
    pub packets_received: u64,
    /// Microseconds of CPU per received packet, user and system, sending included.
    pub us_per_packet: f64,
    /// Percent of one core, mean.
    pub cpu: f64,
    /// How late its loops woke, in milliseconds.
    pub lag: Distribution,
    /// Packets that the kernel dropped because the tester did not read them in time.
    pub dropped: u64,
    /// Frames that were sent late by more than a frame's time, or not at all.
    pub late_frames: u64,
    /// Whether the figures are the tester's own limit rather than the relay's, in words; empty where they are not.
    pub overloaded: Vec<String>,
}

/// One step of a ramp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Participants in it.
    pub participants: usize,
    /// Calls in it.
    pub calls: usize,
    /// Whether every threshold held.
    pub held: bool,
    /// Which broke.
    pub broken: Vec<String>,
    /// What was measured while it was held.
    pub summary: Summary,
    /// CPU of the relay, percent of a core.
    pub relay_cpu: Option<f64>,
}

/// One participant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Peer {
    /// The call, from 0.
    pub call: usize,
    /// The place in the call, from 0.
    pub index: usize,
    /// What became of it; empty where it left as planned.
    pub failure: String,
    /// Whether its network was impaired.
    pub impaired: bool,
    /// All that it received.
    pub summary: Summary,
    /// Stream by stream.
    pub streams: Vec<StreamReport>,
}

/// One publication as one participant received it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamReport {
    /// The sender's place in the call; absent for those that are not of this tester.
    pub from: Option<usize>,
    /// `microphone`, `camera`, `screen` or `screen-audio`.
    pub stream: String,
    /// What was received.
    pub summary: Summary,
}
