//! What a run found, for a terminal of 80 columns: how it ended, what broke, the figures, and the worst of the peers.

use super::verdict::Verdict;
use super::words::{bitrate, bytes, count, microseconds, milliseconds, percent, plural, seconds};
use super::{Distribution, Peer, Report, Summary, Threshold, worst};
use crate::plan::{EngineKind, Plan, Scenario};
use crate::threshold;

/// The whole summary, lines of at most 80 columns, ending with a newline.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for part in [
        head(report),
        thresholds(report),
        overall(report),
        ramp(report),
        worst_peers(report),
        worst_streams(report),
        relay(report),
        tester(report),
    ] {
        if !part.is_empty() {
            text.push_str(&part.join("\n"));
            text.push_str("\n\n");
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// What was done, in one line: `meeting, 2 calls of 4, 20 s, engine full, seed 1`.
pub fn what_was_done(plan: &Plan) -> String {
    let scenario = match plan.scenario {
        Scenario::Meeting => "meeting",
        Scenario::Webinar => "webinar",
        Scenario::Churn => "churn",
        Scenario::Ramp => "ramp",
        Scenario::Soak => "soak",
    };
    let engine = match plan.engine {
        EngineKind::Full => "full",
        EngineKind::Light => "light",
    };
    let of = match plan.scenario {
        Scenario::Ramp => {
            format!(
                "{} of {} more every {}",
                plural(plan.ramp.calls, "call"),
                plan.participants,
                seconds(plan.ramp.hold.as_secs_f64())
            )
        }
        _ => {
            format!("{} of {}, {}", plural(plan.calls, "call"), plan.participants, seconds(plan.duration.as_secs_f64()))
        }
    };
    format!("{scenario}, {of}, engine {engine}, seed {}", plan.seed)
}

fn head(report: &Report) -> Vec<String> {
    let verdict = Verdict::of(report);
    let mut lines = vec![verdict.headline];
    for detail in verdict.details {
        lines.extend(wrapped(&detail, "  "));
    }
    lines.push(String::new());
    lines.extend(wrapped(&what_was_done(&report.plan), ""));
    lines
}

fn thresholds(report: &Report) -> Vec<String> {
    if report.thresholds.is_empty() {
        return vec![];
    }
    let mut lines = vec!["Thresholds (the run fails if)".to_owned()];
    for threshold in &report.thresholds {
        let measured = measured(threshold);
        let mark = if threshold.broken { "BROKEN" } else { "held" };
        lines.push(format!("  {mark:<7} {:<40} {measured}", cut(&threshold.expression, 40)));
    }
    lines
}

/// What was measured for a threshold, in its metric's unit.
pub fn measured(threshold: &Threshold) -> String {
    let Some(value) = threshold.measured else {
        return "nothing measured".into();
    };
    match threshold::Threshold::parse(&threshold.expression).map(|it| it.metric().unit) {
        Ok(threshold::Unit::Percent) => percent(value),
        Ok(threshold::Unit::Milliseconds) => milliseconds(value),
        Ok(threshold::Unit::Microseconds) => microseconds(value),
        Ok(threshold::Unit::BitsPerSecond) => bitrate(value),
        Ok(threshold::Unit::Bytes) => bytes(value),
        Ok(threshold::Unit::Count) | Err(_) => super::words::number(value),
    }
}

fn overall(report: &Report) -> Vec<String> {
    let it = &report.overall;
    if it.packets_expected == 0 {
        return vec![];
    }
    let mut lines = vec![format!("{:<18}{:>12}{:>12}{:>12}{:>12}{:>12}", "", "p50", "p95", "p99", "max", "of")];
    for (name, spread) in spreads(it) {
        if spread.count > 0 {
            let [p50, p95, p99, max] = [spread.p50, spread.p95, spread.p99, spread.max].map(milliseconds);
            lines.push(format!("{name:<18}{p50:>12}{p95:>12}{p99:>12}{max:>12}{:>12}", count(spread.count)));
        }
    }
    lines.push(String::new());
    lines.extend(pairs(&[
        (
            "packets",
            format!(
                "{} due, {} repaired, {} twice",
                count(it.packets_expected),
                count(it.packets_repaired),
                count(it.packets_duplicate)
            ),
        ),
        ("loss", format!("{} before repair, {} after", percent(it.loss_before_repair), percent(it.loss))),
        (
            "frames",
            format!("{} whole, {} checked, {} lost", count(it.frames), count(it.frames_checked), count(it.frames_lost)),
        ),
        (
            "decrypting",
            format!(
                "{}, {}",
                plural(it.decrypt_failures as usize, "failure"),
                if it.mismatches == 1 { "1 mismatch".into() } else { format!("{} mismatches", count(it.mismatches)) }
            ),
        ),
        (
            "frozen",
            format!(
                "{} in {}, longest {}",
                milliseconds(it.frozen),
                plural(it.freezes as usize, "freeze"),
                milliseconds(it.longest_freeze)
            ),
        ),
        ("jitter", milliseconds(it.jitter)),
        ("bitrate", format!("{} received, {} sent", bitrate(it.bitrate), bitrate(it.bitrate_sent))),
        (
            "also",
            format!(
                "{}, {}, {} asked for",
                plural(it.reconnects as usize, "reconnect"),
                plural(it.layer_changes as usize, "layer change"),
                plural(it.key_frames_requested as usize, "key frame")
            ),
        ),
    ]));
    lines
}

/// What is spread over frames or participants, by name.
pub fn spreads(summary: &Summary) -> [(&'static str, &Distribution); 7] {
    [
        ("latency", &summary.latency),
        ("join", &summary.join),
        ("ICE", &summary.ice),
        ("DTLS", &summary.dtls),
        ("first frame", &summary.first_frame),
        ("first key frame", &summary.first_key_frame),
        ("key change", &summary.key_change),
    ]
}

fn ramp(report: &Report) -> Vec<String> {
    if report.ramp.is_empty() {
        return vec![];
    }
    let mut lines = vec![match report.ramp.iter().rfind(|step| step.held) {
        Some(step) => format!(
            "Largest load that held: {} in {}",
            plural(step.participants, "participant"),
            plural(step.calls, "call")
        ),
        None => "No step held.".to_owned(),
    }];
    lines.push(format!(
        "  {:<7}{:>13}{:>7}{:>12}{:>12}{:>11}  {}",
        "", "participants", "calls", "loss", "p99", "relay CPU", "broken"
    ));
    let skipped = report.ramp.len().saturating_sub(STEPS);
    if skipped > 0 {
        lines.push(format!("  … {} before", plural(skipped, "step")));
    }
    for step in &report.ramp[skipped..] {
        lines.push(cut(
            &format!(
                "  {:<7}{:>13}{:>7}{:>12}{:>12}{:>11}  {}",
                if step.held { "held" } else { "BROKEN" },
                count(step.participants as u64),
                count(step.calls as u64),
                percent(step.summary.loss),
                milliseconds(step.summary.latency.p99),
                step.relay_cpu.map_or("–".into(), |cpu| format!("{cpu:.0} %")),
                step.broken.join(", ")
            ),
            COLUMNS,
        ));
    }
    lines
}

fn worst_peers(report: &Report) -> Vec<String> {
    let peers = worst::peers(report);
    let bad: Vec<&Peer> = peers.into_iter().filter(|peer| worst::is_noteworthy(peer)).take(WORST).collect();
    if bad.is_empty() {
        return vec![];
    }
    let mut lines = vec![columns("Worst participants")];
    for peer in bad {
        let name = format!("call {} peer {}{}", peer.call, peer.index, if peer.impaired { " ~" } else { "" });
        lines.push(row(&name, &peer.summary));
        if !peer.failure.is_empty() {
            lines.extend(wrapped(&peer.failure, "      "));
        }
    }
    if report.peers.iter().any(|peer| peer.impaired) {
        lines.push("  (~ behind an impaired network)".into());
    }
    lines
}

fn worst_streams(report: &Report) -> Vec<String> {
    let streams = worst::streams(report);
    let bad: Vec<_> = streams.into_iter().filter(|(_, it)| worst::hurt(&it.summary)).take(WORST).collect();
    if bad.is_empty() {
        return vec![];
    }
    let mut lines = vec![columns("Worst streams")];
    for (peer, stream) in bad {
        let from = stream.from.map_or("other".into(), |from| from.to_string());
        lines.push(row(&format!("call {} {from}>{} {}", peer.call, peer.index, stream.stream), &stream.summary));
    }
    lines
}

fn columns(title: &str) -> String {
    format!("{title:<31}{:>12}{:>12}{:>12}{:>12}", "loss before", "after", "p99", "frozen")
}

fn row(name: &str, it: &Summary) -> String {
    format!(
        "  {:<29}{:>12}{:>12}{:>12}{:>12}",
        cut(name, 29),
        percent(it.loss_before_repair),
        percent(it.loss),
        milliseconds(it.latency.p99),
        milliseconds(it.frozen)
    )
}

fn relay(report: &Report) -> Vec<String> {
    let Some(it) = &report.relay else {
        return vec!["Relay: not on this machine, so its CPU and memory are not known.".into()];
    };
    let mut lines = vec!["Relay".to_owned()];
    let slope = match (it.memory_slope, it.descriptor_slope) {
        (Some(memory), Some(descriptors)) => {
            format!("{} and {} descriptors an hour", bytes(memory), super::words::number(descriptors))
        }
        _ => "not measured: it takes a run of a minute or more".into(),
    };
    lines.extend(pairs(&[
        (
            "CPU a packet",
            format!(
                "{} ({} user, {} system), {} forwarded",
                microseconds(it.user_us_per_packet + it.system_us_per_packet),
                microseconds(it.user_us_per_packet),
                microseconds(it.system_us_per_packet),
                count(it.packets_forwarded)
            ),
        ),
        ("CPU", format!("{} of a core", percent(it.cpu))),
        (
            "memory",
            format!("{} at most, {} a participant", bytes(it.memory_peak as f64), bytes(it.memory_per_participant)),
        ),
        ("descriptors", format!("{} at most, {} before anyone joined", it.descriptors_peak, it.descriptors_before)),
        ("growth", slope),
    ]));
    lines
}

fn tester(report: &Report) -> Vec<String> {
    let it = &report.tester;
    let mut lines = vec![match (it.overloaded.is_empty(), it.packets_received) {
        (_, 0) => "Tester: received nothing.".to_owned(),
        (true, _) => "Tester: kept up; what is missing here was not lost by it.".to_owned(),
        (false, _) => "Tester: did NOT keep up; it was the limit.".to_owned(),
    }];
    if it.packets_received > 0 {
        lines.extend(pairs(&[
            ("CPU", format!("{} of a core, {} a received packet", percent(it.cpu), microseconds(it.us_per_packet))),
            (
                "lag",
                format!(
                    "{} p50, {} p99, {} max",
                    milliseconds(it.lag.p50),
                    milliseconds(it.lag.p99),
                    milliseconds(it.lag.max)
                ),
            ),
            (
                "own faults",
                format!(
                    "{} dropped unread, {} late",
                    plural(it.dropped as usize, "packet"),
                    plural(it.late_frames as usize, "frame")
                ),
            ),
        ]));
    }
    lines
}

fn pairs(pairs: &[(&str, String)]) -> Vec<String> {
    pairs
        .iter()
        .flat_map(|(name, value)| {
            let mut lines = wrapped(value, "                "); // as wide as the names beside it
            if let Some(first) = lines.first_mut() {
                *first = format!("  {name:<14}{}", first.trim_start());
            }
            lines
        })
        .collect()
}

/// A text in lines that fit, each behind the indent.
pub fn wrapped(text: &str, indent: &str) -> Vec<String> {
    let mut lines = vec![indent.to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("it began with one");
        if line.len() > indent.len() && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push(format!("{indent}{word}"));
        } else {
            if line.len() > indent.len() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// What every terminal has.
const COLUMNS: usize = 80;
/// Enough to see whether the worst are alike; the rest is in the JSON and on the page.
const WORST: usize = 5;
/// The last steps of a ramp are those of interest; together with the rest they fit on a screen.
const STEPS: usize = 12;
