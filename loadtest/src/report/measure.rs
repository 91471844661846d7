//! Every measure of a run once: its name, its unit, which way is better, and what exactly it says.

use super::{Distribution, Relay, Report, Summary, Tester, words};

/// A measure of a run.
pub struct Measure {
    /// Under which heading it stands.
    pub group: &'static str,
    /// As it is called in tables.
    pub name: &'static str,
    /// What it is told in.
    pub unit: Unit,
    /// Which way is better.
    pub better: Better,
    /// What it says, and how it comes about.
    pub definition: &'static str,
    source: Source,
}

/// What a value is told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the units
pub enum Unit {
    Milliseconds,
    Microseconds,
    Percent,
    Count,
    BitsPerSecond,
    Bytes,
    BytesPerHour,
    PerHour,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less of it.
    Less,
    /// Neither: it says what was done.
    Neither,
}

enum Source {
    /// Where any media was due.
    Media(fn(&Summary) -> f64),
    /// Where anyone took part.
    Peers(fn(&Summary) -> f64),
    /// Where it was measured at all.
    Spread(fn(&Summary) -> Distribution, fn(&Distribution) -> f64),
    /// Where the relay is local.
    Relay(fn(&Relay) -> Option<f64>),
    Tester(fn(&Tester) -> f64),
}

impl Measure {
    /// Its value in a report; `None` where nothing was measured.
    pub fn of(&self, report: &Report) -> Option<f64> {
        let overall = &report.overall;
        match self.source {
            Source::Media(of) => (overall.packets_expected > 0).then(|| of(overall)),
            Source::Peers(of) => (!report.peers.is_empty()).then(|| of(overall)),
            Source::Spread(spread, of) => Some(spread(overall)).filter(|spread| spread.count > 0).map(|it| of(&it)),
            Source::Relay(of) => report.relay.as_ref().and_then(of),
            Source::Tester(of) => (report.tester.packets_received > 0).then(|| of(&report.tester)),
        }
    }

    /// A value of this measure in words, with its unit.
    pub fn say(&self, value: f64) -> String {
        self.unit.say(value)
    }
}

impl Unit {
    /// A value in words.
    pub fn say(self, value: f64) -> String {
        match self {
            Self::Milliseconds => words::milliseconds(value),
            Self::Microseconds => words::microseconds(value),
            Self::Percent => words::percent(value),
            Self::Count => words::number(value),
            Self::BitsPerSecond => words::bitrate(value),
            Self::Bytes => words::bytes(value),
            Self::BytesPerHour => format!("{}/h", words::bytes(value)),
            Self::PerHour => format!("{}/h", words::number(value)),
        }
    }
}

const MEDIA: &str = "Packets and frames";
const TIME: &str = "Latency and smoothness";
const SETUP: &str = "Joining and keys";
const RELAY: &str = "Relay";
const TESTER: &str = "Tester";

/// All of them, in the order of reading.
pub static MEASURES: &[Measure] = &[
    Measure {
        group: MEDIA,
        name: "loss before repair",
        unit: Unit::Percent,
        better: Better::Less,
        definition: "Share of the packets due, by their sequence numbers, that did not come at first.",
        source: Source::Media(|it| it.loss_before_repair),
    },
    Measure {
        group: MEDIA,
        name: "loss after repair",
        unit: Unit::Percent,
        better: Better::Less,
        definition: "Share of the packets due that had not come a second after they were found missing, although they \
            were asked for again.",
        source: Source::Media(|it| it.loss),
    },
    Measure {
        group: MEDIA,
        name: "packets due",
        unit: Unit::Count,
        better: Better::Neither,
        definition: "Packets that the sequence numbers say were sent to the receivers.",
        source: Source::Media(|it| it.packets_expected as f64),
    },
    Measure {
        group: MEDIA,
        name: "packets repaired",
        unit: Unit::Count,
        better: Better::Neither,
        definition: "Packets that came because the receiver asked for them again (NACK).",
        source: Source::Media(|it| it.packets_repaired as f64),
    },
    Measure {
        group: MEDIA,
        name: "packets twice",
        unit: Unit::Count,
        better: Better::Less,
        definition: "Packets that came more than once.",
        source: Source::Media(|it| it.packets_duplicate as f64),
    },
    Measure {
        group: MEDIA,
        name: "frames",
        unit: Unit::Count,
        better: Better::Neither,
        definition: "Whole frames received.",
        source: Source::Media(|it| it.frames as f64),
    },
    Measure {
        group: MEDIA,
        name: "frames checked",
        unit: Unit::Count,
        better: Better::Neither,
        definition: "Frames that were decrypted and compared with what was sent, bit for bit.",
        source: Source::Media(|it| it.frames_checked as f64),
    },
    Measure {
        group: MEDIA,
        name: "frames lost",
        unit: Unit::Count,
        better: Better::Less,
        definition: "Frames given up for a packet that never came, or that came too late to be shown.",
        source: Source::Media(|it| it.frames_lost as f64),
    },
    Measure {
        group: MEDIA,
        name: "decrypt failures",
        unit: Unit::Count,
        better: Better::Less,
        definition: "Frames that did not authenticate. Anything but 0 is a fault.",
        source: Source::Media(|it| it.decrypt_failures as f64),
    },
    Measure {
        group: MEDIA,
        name: "mismatches",
        unit: Unit::Count,
        better: Better::Less,
        definition: "Frames that authenticated and were not what was sent. Anything but 0 is a fault.",
        source: Source::Media(|it| it.mismatches as f64),
    },
    Measure {
        group: MEDIA,
        name: "bitrate received",
        unit: Unit::BitsPerSecond,
        better: Better::Neither,
        definition: "Payload that all participants received per second, without headers.",
        source: Source::Media(|it| it.bitrate),
    },
    Measure {
        group: MEDIA,
        name: "bitrate sent",
        unit: Unit::BitsPerSecond,
        better: Better::Neither,
        definition: "Payload that all participants sent per second, without headers.",
        source: Source::Peers(|it| it.bitrate_sent),
    },
    Measure {
        group: TIME,
        name: "latency p50",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "One way through the relay, from the sending of a frame to the arrival of its last packet; the time \
            of sending stands inside the encrypted frame. Half of the frames were faster.",
        source: Source::Spread(|it| it.latency, |it| it.p50),
    },
    Measure {
        group: TIME,
        name: "latency p95",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "95 of 100 frames were faster.",
        source: Source::Spread(|it| it.latency, |it| it.p95),
    },
    Measure {
        group: TIME,
        name: "latency p99",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "99 of 100 frames were faster.",
        source: Source::Spread(|it| it.latency, |it| it.p99),
    },
    Measure {
        group: TIME,
        name: "latency max",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "The slowest frame.",
        source: Source::Spread(|it| it.latency, |it| it.max),
    },
    Measure {
        group: TIME,
        name: "jitter",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "By how much the spacing of frames at the receiver varies from that at the sender (RFC 3550, \
            section 6.4.1).",
        source: Source::Media(|it| it.jitter),
    },
    Measure {
        group: TIME,
        name: "freezes",
        unit: Unit::Count,
        better: Better::Less,
        definition: "Times in which a stream had no whole frame for over 200 ms while one was due. After a lost video \
            frame only a key frame ends it, as for a decoder.",
        source: Source::Media(|it| it.freezes as f64),
    },
    Measure {
        group: TIME,
        name: "frozen time",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "How long these times were together, over all streams.",
        source: Source::Media(|it| it.frozen),
    },
    Measure {
        group: TIME,
        name: "longest freeze",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "The longest of them.",
        source: Source::Media(|it| it.longest_freeze),
    },
    Measure {
        group: TIME,
        name: "layer changes",
        unit: Unit::Count,
        better: Better::Neither,
        definition: "Changes of the simulcast encoding that receivers were sent.",
        source: Source::Media(|it| it.layer_changes as f64),
    },
    Measure {
        group: TIME,
        name: "key frames asked for",
        unit: Unit::Count,
        better: Better::Neither,
        definition: "Requests for a key frame (PLI): when someone begins to watch, and after losses.",
        source: Source::Media(|it| it.key_frames_requested as f64),
    },
    Measure {
        group: SETUP,
        name: "join p50",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "From opening the WebSocket to both media and signaling being up. Half were faster.",
        source: Source::Spread(|it| it.join, |it| it.p50),
    },
    Measure {
        group: SETUP,
        name: "join p95",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "95 of 100 were faster.",
        source: Source::Spread(|it| it.join, |it| it.p95),
    },
    Measure {
        group: SETUP,
        name: "join max",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "The slowest.",
        source: Source::Spread(|it| it.join, |it| it.max),
    },
    Measure {
        group: SETUP,
        name: "ICE p95",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "From the relay's answer to a nominated pair of candidates.",
        source: Source::Spread(|it| it.ice, |it| it.p95),
    },
    Measure {
        group: SETUP,
        name: "DTLS p95",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "From there to the keys of this hop.",
        source: Source::Spread(|it| it.dtls, |it| it.p95),
    },
    Measure {
        group: SETUP,
        name: "first frame p95",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "From subscribing to the first whole frame that authenticated.",
        source: Source::Spread(|it| it.first_frame, |it| it.p95),
    },
    Measure {
        group: SETUP,
        name: "first key frame p95",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "From subscribing to the first key frame of video.",
        source: Source::Spread(|it| it.first_key_frame, |it| it.p95),
    },
    Measure {
        group: SETUP,
        name: "key change p95",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "From the news that someone came or left to the first frame under a new key.",
        source: Source::Spread(|it| it.key_change, |it| it.p95),
    },
    Measure {
        group: SETUP,
        name: "reconnects",
        unit: Unit::Count,
        better: Better::Less,
        definition: "Connections that were lost and made again.",
        source: Source::Peers(|it| it.reconnects as f64),
    },
    Measure {
        group: RELAY,
        name: "CPU per packet",
        unit: Unit::Microseconds,
        better: Better::Less,
        definition: "CPU time of the relay's process, user and kernel, divided by the packets that it forwarded, while \
            media flowed.",
        source: Source::Relay(|it| Some(it.user_us_per_packet + it.system_us_per_packet)),
    },
    Measure {
        group: RELAY,
        name: "of it user",
        unit: Unit::Microseconds,
        better: Better::Less,
        definition: "In the relay's own code.",
        source: Source::Relay(|it| Some(it.user_us_per_packet)),
    },
    Measure {
        group: RELAY,
        name: "of it system",
        unit: Unit::Microseconds,
        better: Better::Less,
        definition: "In the kernel on its behalf: sockets, mostly.",
        source: Source::Relay(|it| Some(it.system_us_per_packet)),
    },
    Measure {
        group: RELAY,
        name: "packets forwarded",
        unit: Unit::Count,
        better: Better::Neither,
        definition: "Packets that the relay forwarded: as it says itself where `--spawn` started it, or else as the participants received them.",
        source: Source::Relay(|it| Some(it.packets_forwarded as f64)),
    },
    Measure {
        group: RELAY,
        name: "CPU of the relay",
        unit: Unit::Percent,
        better: Better::Less,
        definition: "Percent of one core, mean; two busy cores are 200 %.",
        source: Source::Relay(|it| Some(it.cpu)),
    },
    Measure {
        group: RELAY,
        name: "memory at most",
        unit: Unit::Bytes,
        better: Better::Less,
        definition: "Resident set of the relay's process.",
        source: Source::Relay(|it| Some(it.memory_peak as f64)),
    },
    Measure {
        group: RELAY,
        name: "memory per participant",
        unit: Unit::Bytes,
        better: Better::Less,
        definition: "Its growth since before anyone joined, divided by the participants.",
        source: Source::Relay(|it| Some(it.memory_per_participant)),
    },
    Measure {
        group: RELAY,
        name: "memory slope",
        unit: Unit::BytesPerHour,
        better: Better::Less,
        definition: "Its growth after everyone had joined; in runs of a minute or more.",
        source: Source::Relay(|it| it.memory_slope),
    },
    Measure {
        group: RELAY,
        name: "descriptors at most",
        unit: Unit::Count,
        better: Better::Less,
        definition: "File descriptors that the relay's process had open.",
        source: Source::Relay(|it| Some(it.descriptors_peak as f64)),
    },
    Measure {
        group: RELAY,
        name: "descriptor slope",
        unit: Unit::PerHour,
        better: Better::Less,
        definition: "Their growth after everyone had joined; in runs of a minute or more.",
        source: Source::Relay(|it| it.descriptor_slope),
    },
    Measure {
        group: TESTER,
        name: "CPU per received packet",
        unit: Unit::Microseconds,
        better: Better::Less,
        definition: "CPU time of the tester divided by the packets that its participants received; sending, encrypting \
            and checking included.",
        source: Source::Tester(|it| it.us_per_packet),
    },
    Measure {
        group: TESTER,
        name: "CPU of the tester",
        unit: Unit::Percent,
        better: Better::Less,
        definition: "Percent of one core, mean.",
        source: Source::Tester(|it| it.cpu),
    },
    Measure {
        group: TESTER,
        name: "lag p99",
        unit: Unit::Milliseconds,
        better: Better::Less,
        definition: "How late the tester's loops woke, which it may add to the latency that it measures.",
        source: Source::Tester(|it| it.lag.p99),
    },
    Measure {
        group: TESTER,
        name: "dropped by the tester",
        unit: Unit::Count,
        better: Better::Less,
        definition: "Packets that the kernel dropped since the tester did not read them in time: the tester's loss, not \
            the relay's.",
        source: Source::Tester(|it| it.dropped as f64),
    },
    Measure {
        group: TESTER,
        name: "frames late",
        unit: Unit::Count,
        better: Better::Less,
        definition: "Frames that the tester sent late by more than a frame's time, or not at all.",
        source: Source::Tester(|it| it.late_frames as f64),
    },
];
