//! What is read first and last: the verdict, the figures that matter most, how to repeat the run, and where it was.

use std::fmt::Write;

use crate::report::plot::{escaped, worded};
use crate::report::summary::{measured, what_was_done};
use crate::report::verdict::{Tone, Verdict};
use crate::report::words::{bitrate, count, microseconds, milliseconds, percent, plural, seconds};
use crate::report::{Outcome, Report};

/// Whose report it is, of what, and when.
pub fn head(report: &Report) -> String {
    format!(
        "<header><p class=\"brand\">Sotto load test</p><h1>{}</h1><p class=\"quiet\">{}</p></header>\n<main>",
        worded(&capitalised(&what_was_done(&report.plan))),
        escaped(&[when(&report.started), report.machine.clone()].join(" · "))
    )
}

/// The answer, in words.
pub fn verdict(report: &Report) -> String {
    let verdict = Verdict::of(report);
    let mut html = format!(
        "<section class=\"verdict {}\" aria-labelledby=\"verdict\">{}<div><h2 id=\"verdict\">{}</h2>",
        tone(verdict.tone),
        sign(verdict.tone),
        worded(&verdict.headline)
    );
    match verdict.details.as_slice() {
        [] => {}
        [one] => {
            let _ = write!(html, "<p>{}</p>", worded(one));
        }
        several => {
            html.push_str("<ul>");
            for detail in several {
                let _ = write!(html, "<li>{}</li>", worded(detail));
            }
            html.push_str("</ul>");
        }
    }
    html.push_str("</div></section>\n");
    html
}

/// Each threshold with what was measured.
pub fn thresholds(report: &Report) -> String {
    if report.thresholds.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<section><h2>Thresholds</h2><table class=\"fit\"><caption>The run fails if one of these is true.</caption>\
         <thead><tr><th scope=\"col\">Fails if</th><th scope=\"col\" class=\"n\">Measured</th><th scope=\"col\">Result</th></tr></thead><tbody>",
    );
    for threshold in &report.thresholds {
        let measured = escaped(&measured(threshold));
        let (class, result) = if threshold.broken { ("bad", "✕ broken") } else { ("good", "✓ held") };
        let _ = write!(
            html,
            "<tr><th scope=\"row\"><code>{}</code></th><td class=\"n\">{measured}</td><td class=\"{class}\">{result}</td></tr>",
            escaped(&threshold.expression)
        );
    }
    html.push_str("</tbody></table></section>\n");
    html
}

/// The figures that matter most, large.
pub fn key_figures(report: &Report) -> String {
    let it = &report.overall;
    let mut figures: Vec<(&str, String, String)> = vec![];
    if it.packets_expected > 0 {
        figures.push((
            "Loss after repair",
            percent(it.loss),
            format!("{} before; {} packets repaired", percent(it.loss_before_repair), count(it.packets_repaired)),
        ));
        if it.latency.count > 0 {
            let l = &it.latency;
            let rest = format!("p50 {}, p99 {}, max {}", milliseconds(l.p50), milliseconds(l.p99), milliseconds(l.max));
            figures.push(("Latency, 95 of 100 frames within", milliseconds(l.p95), rest));
        }
        let longest = match it.freezes {
            0 => "no stream froze".to_owned(),
            _ => format!("{}, the longest {}", plural(it.freezes as usize, "freeze"), milliseconds(it.longest_freeze)),
        };
        figures.push(("Frozen, over all streams", milliseconds(it.frozen), longest));
        let wrong = it.decrypt_failures + it.mismatches;
        figures.push((
            "Frames wrong",
            count(wrong),
            format!("{} checked bit for bit of {}", count(it.frames_checked), count(it.frames)),
        ));
    }
    if it.join.count > 0 {
        let rest = format!("p50 {}, max {}", milliseconds(it.join.p50), milliseconds(it.join.max));
        figures.push(("Joined, 95 of 100 within", milliseconds(it.join.p95), rest));
    }
    if it.packets_expected > 0 {
        let sent = format!("{} sent", bitrate(it.bitrate_sent));
        figures.push(("Received", bitrate(it.bitrate), sent));
    }
    if let Some(relay) = &report.relay {
        let (user, system) = (relay.user_us_per_packet, relay.system_us_per_packet);
        let rest =
            format!("{} user, {} system; {} of a core", microseconds(user), microseconds(system), percent(relay.cpu));
        figures.push(("Relay CPU per forwarded packet", microseconds(user + system), rest));
    }
    if report.tester.packets_received > 0 {
        let kept = if report.tester.overloaded.is_empty() { "Kept up" } else { "Was the limit" };
        let tester = &report.tester;
        let rest = format!("{} of a core; woke {} late (p99)", percent(tester.cpu), milliseconds(tester.lag.p99));
        figures.push(("The tester itself", kept.to_owned(), rest));
    }
    if figures.is_empty() {
        return String::new();
    }
    let mut html = String::from("<section><h2>Key figures</h2><dl class=\"figures\">");
    for (name, value, rest) in figures {
        let _ = write!(
            html,
            "<div><dt>{}</dt><dd class=\"value\">{}</dd><dd class=\"quiet\">{}</dd></div>",
            escaped(name),
            worded(&value),
            worded(&rest)
        );
    }
    html.push_str("</dl></section>\n");
    html
}

/// The plan as a file, and the command that takes it.
pub fn repeat(report: &Report) -> String {
    let plan = match toml::to_string(&report.plan) {
        Ok(plan) => plan,
        Err(error) => format!("# this plan cannot be written as TOML: {error}"),
    };
    format!(
        "<section><h2>Repeat this run</h2><p>Save the plan as <code>plan.toml</code> and run this; the seed makes every \
         random choice the same again.</p><figure class=\"copy\"><pre tabindex=\"0\"><code>{}</code></pre></figure>\
         <figure class=\"copy plan\"><pre tabindex=\"0\" aria-label=\"plan.toml\"><code>{}</code></pre></figure></section>\n",
        escaped(COMMAND),
        escaped(plan.trim_end())
    )
}

/// Where and how it ran.
pub fn environment(report: &Report) -> String {
    let ended = match &report.outcome {
        Outcome::Completed => "as planned".to_owned(),
        Outcome::Interrupted { at } => format!("interrupted after {}", seconds(*at)),
        Outcome::RelayLost { at, .. } => format!("relay lost after {}", seconds(*at)),
        Outcome::Failed { .. } => "failed".to_owned(),
    };
    let sample = match report.plan.check_one_in {
        0 | 1 => "every frame".to_owned(),
        n => format!("one frame in {}", count(u64::from(n))),
    };
    let engine = match report.plan.engine {
        crate::plan::EngineKind::Full => "full: the webrtc crate from end to end",
        crate::plan::EngineKind::Light => {
            "light: the handshake of the webrtc crate's family, and a media path made to cost little"
        }
    };
    let rows = [
        ("Machine", report.machine.clone()),
        ("Began", when(&report.started)),
        ("Ended", ended),
        ("Participants", format!("{} reported", count(report.peers.len() as u64))),
        ("Engine", engine.to_owned()),
        ("Decrypted and compared", sample),
        (
            "Relay",
            if report.relay.is_some() { "measured on this machine" } else { "elsewhere; not measured" }.to_owned(),
        ),
        ("Load tester", format!("sotto-loadtest {}, report schema {}", report.version, report.schema)),
    ];
    let mut html = String::from("<section><h2>Environment</h2><dl class=\"rows\">");
    for (name, value) in rows {
        let _ = write!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", escaped(&value));
    }
    html.push_str("</dl></section>\n");
    html
}

/// `2026-11-22T01:04:37Z` as people write it.
pub fn when(started: &str) -> String {
    let shape: String = started.chars().take(16).collect();
    match started.is_ascii() && started.len() >= 17 && shape.as_bytes()[10] == b'T' && started.ends_with('Z') {
        true => format!("{} UTC", shape.replace('T', " ")),
        false => started.to_owned(),
    }
}

fn tone(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Plain => "plain",
        Tone::Doubtful => "doubtful",
        Tone::Bad => "bad",
    }
}

/// A drawn sign, so that the tone is not told by colour alone.
fn sign(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => {
            "<svg class=\"sign\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path d=\"M5 12.5l4.5 4.5L19 7.5\"/></svg>"
        }
        Tone::Plain => "<svg class=\"sign\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path d=\"M6 12H18\"/></svg>",
        Tone::Doubtful => {
            "<svg class=\"sign\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path d=\"M12 5V14M12 18.2V18.4\"/></svg>"
        }
        Tone::Bad => {
            "<svg class=\"sign\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path d=\"M6.5 6.5l11 11M17.5 6.5l-11 11\"/></svg>"
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

const COMMAND: &str = "sotto-loadtest --plan plan.toml --spawn --json out.json --html out.html";
