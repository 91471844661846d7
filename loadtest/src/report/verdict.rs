//! What a run says to whoever asks first thing in the morning: did it hold, and may its figures be believed.

use super::words::{count, percent, plural, seconds};
use super::{Outcome, Report};

/// The answer, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it is to be taken.
    pub tone: Tone,
    /// One sentence.
    pub headline: String,
    /// What else must be known before a figure is believed, a sentence each, the gravest first.
    pub details: Vec<String>,
}

/// How a verdict is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Everything that was asked for held.
    Good,
    /// Nothing was asked for, and nothing went wrong.
    Plain,
    /// The figures are there and do not say what they seem to.
    Doubtful,
    /// It did not hold.
    Bad,
}

impl Verdict {
    /// Reads it from a report.
    pub fn of(report: &Report) -> Self {
        let (mut tone, headline) = judged(report);
        let details: Vec<String> = [gone(report), limit(report), broken(report), wrong(report), lost(report)].concat();
        if tone == Tone::Plain && !(wrong(report).is_empty() && lost(report).is_empty()) {
            tone = Tone::Doubtful;
        }
        Self { tone, headline, details }
    }
}

/// Tone and headline: by the gravest of what happened.
fn judged(report: &Report) -> (Tone, String) {
    let broken = report.thresholds.iter().filter(|threshold| threshold.broken).count();
    let all = report.thresholds.len();
    let whether = match (broken, all) {
        (_, 0) => None,
        (0, 1) => Some("the threshold held".to_owned()),
        (0, 2) => Some("both thresholds held".to_owned()),
        (0, _) => Some(format!("all {all} thresholds held")),
        (1, 1) => Some("the threshold broke".to_owned()),
        _ => Some(format!("{broken} of {all} thresholds broke")),
    };
    match &report.outcome {
        Outcome::Failed { .. } => (Tone::Bad, "The run failed.".into()),
        Outcome::RelayLost { at, .. } => (Tone::Bad, format!("The relay was lost {} into the run.", seconds(*at))),
        _ if !report.tester.overloaded.is_empty() => {
            (Tone::Doubtful, "The tester was the limit, not the relay.".into())
        }
        Outcome::Interrupted { at } => (
            if broken > 0 { Tone::Bad } else { Tone::Doubtful },
            match whether {
                Some(whether) => format!("Interrupted after {}; up to then {whether}.", seconds(*at)),
                None => format!("Interrupted after {}.", seconds(*at)),
            },
        ),
        Outcome::Completed if !report.ramp.is_empty() => climbed(report),
        Outcome::Completed => match whether {
            Some(whether) => (if broken > 0 { Tone::Bad } else { Tone::Good }, capitalised(&whether) + "."),
            None => (Tone::Plain, "The run completed; no threshold was set.".into()),
        },
    }
}

/// How far a ramp came. That a threshold breaks in the end is what it is for.
fn climbed(report: &Report) -> (Tone, String) {
    let Some(top) = report.ramp.iter().rfind(|step| step.held) else {
        return (Tone::Bad, "Not even the first step of the ramp held.".into());
    };
    let load = format!("{} in {}", plural(top.participants, "participant"), plural(top.calls, "call"));
    let headline = match report.ramp.iter().find(|step| !step.held) {
        Some(step) => format!("It held up to {load}; {} broke it.", count(step.participants as u64)),
        None => format!("It held all the way, up to {load}."),
    };
    (Tone::Good, headline)
}

/// Why it ended before its time.
fn gone(report: &Report) -> Vec<String> {
    match &report.outcome {
        Outcome::RelayLost { reason, .. } => {
            vec![sentence(reason), "Every figure here is of the time before.".into()]
        }
        Outcome::Failed { reason } => vec![sentence(reason)],
        Outcome::Completed | Outcome::Interrupted { .. } => vec![],
    }
}

/// In what the tester fell short.
fn limit(report: &Report) -> Vec<String> {
    let mut said: Vec<String> = report.tester.overloaded.iter().map(|reason| sentence(reason)).collect();
    if !said.is_empty() {
        said.push(
            "Loss and latency in this report may be the tester's own: run fewer participants, the light engine, \
             or more cores."
                .into(),
        );
    }
    said
}

/// Which thresholds broke, where the headline speaks of something else or does not name them.
fn broken(report: &Report) -> Vec<String> {
    let broken: Vec<&str> =
        report.thresholds.iter().filter(|threshold| threshold.broken).map(|it| it.expression.as_str()).collect();
    if broken.is_empty() || matches!(report.outcome, Outcome::Failed { .. }) {
        vec![]
    } else {
        vec![format!("Broken: {}.", broken.join(", "))]
    }
}

/// What no network excuses.
fn wrong(report: &Report) -> Vec<String> {
    let mut said = vec![];
    let overall = &report.overall;
    if overall.decrypt_failures > 0 {
        said.push(format!("{} did not decrypt.", plural(overall.decrypt_failures as usize, "frame")));
    }
    if overall.mismatches > 0 {
        said.push(format!(
            "{} decrypted into something else than was sent.",
            plural(overall.mismatches as usize, "frame")
        ));
    }
    let failed = report.peers.iter().filter(|peer| !peer.failure.is_empty()).count();
    if failed > 0 && !matches!(report.outcome, Outcome::RelayLost { .. }) {
        said.push(format!("{failed} of {} failed.", plural(report.peers.len(), "participant")));
    }
    if overall.packets_expected == 0 && !matches!(report.outcome, Outcome::Failed { .. }) {
        said.push("No media arrived at all.".into());
    }
    said
}

/// Loss that repair did not make good.
fn lost(report: &Report) -> Vec<String> {
    let overall = &report.overall;
    let lost = overall.packets_expected.saturating_sub(overall.packets_received + overall.packets_repaired);
    if overall.loss == 0.0 || lost == 0 {
        return vec![];
    }
    vec![format!(
        "{} of {} packets ({}) never came, not even after they were asked for again.",
        count(lost),
        count(overall.packets_expected),
        percent(overall.loss)
    )]
}

/// With a capital in front and a stop behind, for reasons that come from elsewhere.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    capitalised(text) + stop
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
