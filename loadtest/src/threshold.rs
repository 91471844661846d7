//! What a run must not exceed: `loss>0.5%`, `latency_p99>50ms`. A threshold that is true breaks, and the run fails by it.

use crate::quantity;
use crate::report::{self, Distribution, Relay, Report, Summary};

/// One threshold, read.
#[derive(Clone, Debug)]
pub struct Threshold {
    expression: String,
    metric: &'static Metric,
    comparison: Comparison,
    limit: f64,
}

/// A text that is no threshold. Each message says how one is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says it
pub enum ThresholdError {
    #[error("--fail-if `{0}`: write a metric, a comparison and a limit, such as 'loss>0.5%' or 'latency_p99>50ms'")]
    Form(String),
    #[error("--fail-if `{0}`: `{1}` is not measured; the metrics are {known}", known = known())]
    Metric(String, String),
    #[error("--fail-if `{0}`: `{1}` is no limit for {2}; write it as in '{2}>{3}'")]
    Limit(String, String, &'static str, &'static str),
}

/// Something measured that a threshold can be about.
#[derive(Debug)]
pub struct Metric {
    /// Its name in thresholds.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// In what it is measured.
    pub unit: Unit,
    /// Whether it is known only of a relay whose process can be seen.
    pub of_the_relay: bool,
    /// Whether it is known at the end of a run alone, of whole streams, and not of each step of a ramp.
    pub of_whole_streams: bool,
    read: fn(&Reading<'_>) -> Option<f64>,
}

/// In what a metric is measured, also in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Percent.
    Percent,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Bits per second.
    BitsPerSecond,
    /// Bytes.
    Bytes,
    /// How many.
    Count,
}

/// What thresholds are held against.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// What was received.
    pub summary: &'a Summary,
    /// What it took of the relay, where that is known.
    pub relay: Option<&'a Relay>,
    /// Participants that did not come in, or not through to the end.
    pub failed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Threshold {
    /// Reads `metric op limit`, where op is one of `>`, `>=`, `<`, `<=` and the limit may have its unit.
    ///
    /// # Errors
    ///
    /// Where it is none, in words that say what would be.
    pub fn parse(text: &str) -> Result<Self, ThresholdError> {
        let form = || ThresholdError::Form(text.to_owned());
        let at = text.find(['<', '>']).ok_or_else(form)?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let (comparison, limit) = COMPARISONS
            .iter()
            .find_map(|&(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?.trim())))
            .ok_or_else(form)?;
        if name.is_empty() || limit.is_empty() {
            return Err(form());
        }
        let metric = METRICS.iter().find(|metric| metric.name == name);
        let metric = metric.ok_or_else(|| ThresholdError::Metric(text.to_owned(), name.to_owned()))?;
        let wrong = || ThresholdError::Limit(text.to_owned(), limit.to_owned(), metric.name, metric.unit.example());
        let limit = metric.unit.read(limit).ok_or_else(wrong)?;
        Ok(Self { expression: text.trim().to_owned(), metric, comparison, limit })
    }

    /// What it is about.
    pub fn metric(&self) -> &'static Metric {
        self.metric
    }

    /// Holds it against what was measured. What was not measured cannot be said to be within it, so that breaks it too.
    pub fn judge(&self, reading: &Reading<'_>) -> report::Threshold {
        let measured = (self.metric.read)(reading);
        let broken = measured.is_none_or(|value| match self.comparison {
            Comparison::Above => value > self.limit,
            Comparison::AtLeast => value >= self.limit,
            Comparison::Below => value < self.limit,
            Comparison::AtMost => value <= self.limit,
        });
        report::Threshold { expression: self.expression.clone(), measured, broken }
    }
}

impl<'a> Reading<'a> {
    /// What a whole run measured.
    pub fn of(report: &'a Report) -> Self {
        let failed = report.peers.iter().filter(|peer| !peer.failure.is_empty()).count();
        Self { summary: &report.overall, relay: report.relay.as_ref(), failed }
    }

    /// Nothing received measures nothing, least of all that nothing was wrong.
    fn received(&self) -> Option<&'a Summary> {
        (self.summary.packets_expected > 0).then_some(self.summary)
    }
}

impl Unit {
    /// A limit as one would write it.
    pub fn example(self) -> &'static str {
        match self {
            Unit::Percent => "0.5%",
            Unit::Milliseconds => "50ms",
            Unit::Microseconds => "2.5us",
            Unit::BitsPerSecond => "500k",
            Unit::Bytes => "2MB",
            Unit::Count => "0",
        }
    }

    /// Reads a limit; a bare number is in this unit.
    fn read(self, text: &str) -> Option<f64> {
        if let Some(number) = number(text) {
            return Some(number);
        }
        let scaled = |units: &[(&str, f64)]| {
            units.iter().find_map(|(unit, factor)| Some(number(text.strip_suffix(unit)?.trim())? * factor))
        };
        match self {
            Unit::Percent => scaled(&[("%", 1.0)]),
            Unit::Milliseconds => quantity::duration(text).ok().map(|time| time.as_secs_f64() * 1e3),
            Unit::Microseconds => scaled(&[("us", 1.0), ("µs", 1.0), ("ms", 1e3)]),
            Unit::BitsPerSecond => quantity::bitrate(text).ok().map(f64::from),
            Unit::Bytes => scaled(&[("kB", 1e3), ("MB", 1e6), ("KiB", 1024.0), ("MiB", 1_048_576.0), ("B", 1.0)]),
            Unit::Count => None,
        }
    }
}

fn number(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

fn known() -> String {
    METRICS.iter().map(|metric| metric.name).collect::<Vec<_>>().join(", ")
}

const COMPARISONS: [(&str, Comparison); 4] =
    [(">=", Comparison::AtLeast), ("<=", Comparison::AtMost), (">", Comparison::Above), ("<", Comparison::Below)];

const fn of_peers(name: &'static str, about: &'static str, unit: Unit, read: Read) -> Metric {
    Metric { name, about, unit, of_the_relay: false, of_whole_streams: false, read }
}

const fn of_relay(name: &'static str, about: &'static str, unit: Unit, read: Read) -> Metric {
    Metric { name, about, unit, of_the_relay: true, of_whole_streams: false, read }
}

const fn of_streams(name: &'static str, about: &'static str, unit: Unit, read: Read) -> Metric {
    Metric { name, about, unit, of_the_relay: false, of_whole_streams: true, read }
}

type Read = fn(&Reading<'_>) -> Option<f64>;

fn count(reading: &Reading<'_>, of: fn(&Summary) -> u64) -> Option<f64> {
    reading.received().map(|summary| of(summary) as f64)
}

fn of_times(times: &Distribution, value: f64) -> Option<f64> {
    (times.count > 0).then_some(value)
}

/// Everything that thresholds can be about.
pub const METRICS: &[Metric] = &[
    of_peers("loss", "packets that never came in time", Unit::Percent, |r| Some(r.received()?.loss)),
    of_peers("loss_before_repair", "packets that did not come at first", Unit::Percent, |r| {
        Some(r.received()?.loss_before_repair)
    }),
    of_peers("latency_p50", "one-way latency of frames, median", Unit::Milliseconds, |r| {
        of_times(&r.summary.latency, r.summary.latency.p50)
    }),
    of_peers("latency_p95", "of 95 frames in 100, at most", Unit::Milliseconds, |r| {
        of_times(&r.summary.latency, r.summary.latency.p95)
    }),
    of_peers("latency_p99", "of 99 frames in 100, at most", Unit::Milliseconds, |r| {
        of_times(&r.summary.latency, r.summary.latency.p99)
    }),
    of_peers("latency_max", "of the slowest frame", Unit::Milliseconds, |r| {
        of_times(&r.summary.latency, r.summary.latency.max)
    }),
    of_streams("jitter", "interarrival jitter (RFC 3550)", Unit::Milliseconds, |r| Some(r.received()?.jitter)),
    of_streams("freezes", "times without a whole frame for over 200 ms", Unit::Count, |r| count(r, |s| s.freezes)),
    of_peers("frozen", "how long these were together", Unit::Milliseconds, |r| Some(r.received()?.frozen)),
    of_streams("longest_freeze", "how long the longest was", Unit::Milliseconds, |r| {
        Some(r.received()?.longest_freeze)
    }),
    of_peers("frames_lost", "frames given up", Unit::Count, |r| count(r, |s| s.frames_lost)),
    of_peers("decrypt_failures", "frames that did not authenticate", Unit::Count, |r| count(r, |s| s.decrypt_failures)),
    of_peers("mismatches", "frames that were not what was sent", Unit::Count, |r| count(r, |s| s.mismatches)),
    of_peers("bitrate", "bits received per second, all participants together", Unit::BitsPerSecond, |r| {
        Some(r.received()?.bitrate)
    }),
    of_peers("join_p95", "from opening the WebSocket to media", Unit::Milliseconds, |r| {
        of_times(&r.summary.join, r.summary.join.p95)
    }),
    of_peers("join_max", "of the slowest participant", Unit::Milliseconds, |r| {
        of_times(&r.summary.join, r.summary.join.max)
    }),
    of_streams("first_frame_p95", "from subscribing to the first frame", Unit::Milliseconds, |r| {
        of_times(&r.summary.first_frame, r.summary.first_frame.p95)
    }),
    of_streams("key_change_p95", "from a join or a leave to the new key", Unit::Milliseconds, |r| {
        of_times(&r.summary.key_change, r.summary.key_change.p95)
    }),
    of_peers("reconnects", "connections lost and made again", Unit::Count, |r| Some(r.summary.reconnects as f64)),
    of_peers("failed", "participants that could not join or not stay", Unit::Count, |r| Some(r.failed as f64)),
    of_relay("cpu_per_packet", "the relay's CPU per forwarded packet", Unit::Microseconds, |r| {
        let relay = r.relay.filter(|relay| relay.packets_forwarded > 0)?;
        Some(relay.user_us_per_packet + relay.system_us_per_packet)
    }),
    of_relay("relay_cpu", "the relay's CPU, percent of one core", Unit::Percent, |r| Some(r.relay?.cpu)),
    of_relay("memory_per_participant", "growth of the relay's memory", Unit::Bytes, |r| {
        Some(r.relay?.memory_per_participant)
    }),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn received() -> Summary {
        let latency = Distribution { count: 10, p50: 3.0, p95: 20.0, p99: 60.0, max: 80.0, ..Distribution::default() };
        Summary { packets_expected: 1_000, loss: 0.6, latency, freezes: 2, bitrate: 2e6, ..Summary::default() }
    }

    fn judge(text: &str, summary: &Summary, relay: Option<&Relay>) -> report::Threshold {
        Threshold::parse(text).expect(text).judge(&Reading { summary, relay, failed: 1 })
    }

    #[test]
    fn a_threshold_breaks_when_it_is_true() {
        let summary = received();
        for (text, broken) in [
            ("loss>0.5%", true),
            ("loss>0.6%", false),
            ("loss>=0.6%", true),
            (" loss > 0.7 ", false),
            ("latency_p99>50ms", true),
            ("latency_p99>0.05s", true),
            ("latency_p99>60", false),
            ("latency_max<=80ms", true),
            ("bitrate<2.5m", true),
            ("bitrate<1m", false),
            ("freezes>1", true),
            ("failed>0", true),
        ] {
            assert_eq!(judge(text, &summary, None).broken, broken, "{text}");
        }
    }

    #[test]
    fn what_was_not_measured_breaks_every_threshold_about_it() {
        let nothing = Summary::default();
        for metric in METRICS.iter().filter(|metric| !["reconnects", "failed"].contains(&metric.name)) {
            let judged = judge(&format!("{}>5", metric.name), &nothing, None);
            assert_eq!((judged.measured, judged.broken), (None, true), "{}", metric.name);
        }
    }

    #[test]
    fn the_relays_cpu_is_user_and_system_together() {
        let relay = Relay {
            packets_forwarded: 100,
            user_us_per_packet: 1.5,
            system_us_per_packet: 2.0,
            memory_per_participant: 1.5e6,
            ..Relay::default()
        };
        assert_eq!(judge("cpu_per_packet>3us", &received(), Some(&relay)).measured, Some(3.5));
        assert!(judge("memory_per_participant>1MiB", &received(), Some(&relay)).broken);
        assert!(!judge("memory_per_participant>2MB", &received(), Some(&relay)).broken);
    }

    #[test]
    fn every_metric_takes_its_own_example() {
        for metric in METRICS {
            let text = format!("{}>{}", metric.name, metric.unit.example());
            assert_eq!(Threshold::parse(&text).map(|read| read.metric().name), Ok(metric.name));
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_how_to_write_it() {
        for (text, word) in [
            ("loss", "such as"),
            ("loss=5", "such as"),
            (">5", "such as"),
            ("loss>", "such as"),
            ("luck>5", "latency_p99"),
            ("loss>5ms", "'loss>0.5%'"),
            ("latency_p99>50%", "'latency_p99>50ms'"),
            ("loss>-1", "'loss>0.5%'"),
            ("freezes>2s", "'freezes>0'"),
        ] {
            let said = Threshold::parse(text).expect_err(text).to_string();
            assert!(said.contains(word) && said.contains(text), "{said}");
        }
    }

    #[test]
    fn no_text_makes_the_reader_fail_otherwise_than_by_its_error() {
        use proptest::prelude::*;
        proptest!(|(text in "(loss|latency_max|bitrate)?[<>=]{0,2}\\PC{0,12}")| {
            let _ = Threshold::parse(&text);
        });
    }
}
