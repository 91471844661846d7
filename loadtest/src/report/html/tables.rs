//! The tables of the page: steps of a ramp, participants and streams with the worst first, and every measure.

use std::fmt::Write;

use crate::report::measure::MEASURES;
use crate::report::plot::escaped;
use crate::report::words::{bitrate, count, milliseconds, percent, plural};
use crate::report::{Report, Summary, worst};

/// The steps of a ramp.
pub fn ramp(report: &Report) -> String {
    if report.ramp.is_empty() {
        return String::new();
    }
    let held = match report.ramp.iter().rfind(|step| step.held) {
        Some(step) => format!(
            "The largest load that held: {} in {}.",
            plural(step.participants, "participant"),
            plural(step.calls, "call")
        ),
        None => "Not even the first step held.".into(),
    };
    let mut html = format!(
        "<section><h2>Steps of the ramp</h2><p>{}</p><table><thead><tr><th scope=\"col\" class=\"n\">Participants</th>\
         <th scope=\"col\" class=\"n far\">Calls</th><th scope=\"col\" class=\"n\">Loss</th><th scope=\"col\" class=\"n\">p99</th>\
         <th scope=\"col\" class=\"n far\">Received</th><th scope=\"col\" class=\"n far\">Relay CPU</th><th scope=\"col\">Result</th></tr></thead><tbody>",
        escaped(&held)
    );
    for step in &report.ramp {
        let (class, result) = match step.held {
            true => ("good", "✓ held".to_owned()),
            false => ("bad", format!("✕ {}", step.broken.join(", "))),
        };
        let _ = write!(
            html,
            "<tr><th scope=\"row\" class=\"n\">{}</th><td class=\"n far\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n far\">{}</td><td class=\"n far\">{}</td><td class=\"{class}\">{}</td></tr>",
            count(step.participants as u64),
            count(step.calls as u64),
            escaped(&percent(step.summary.loss)),
            milliseconds(step.summary.latency.p99),
            bitrate(step.summary.bitrate),
            step.relay_cpu.map_or("–".into(), |cpu| escaped(&percent(cpu))),
            escaped(&result)
        );
    }
    html.push_str("</tbody></table></section>\n");
    html
}

/// Every participant, the worst first.
pub fn participants(report: &Report) -> String {
    if report.peers.is_empty() {
        return String::new();
    }
    let peers = worst::peers(report);
    let rows = peers.iter().take(ROWS).map(|peer| {
        let mut name = format!("{}.{}", peer.call, peer.index);
        if peer.impaired {
            name.push_str(" ~");
        }
        let order = peer.call as f64 * 1e6 + peer.index as f64;
        (name, order, String::new(), peer.failure.clone(), &peer.summary)
    });
    let mut note = String::from("Call and place in it, both from 0.");
    if peers.iter().any(|peer| peer.impaired) {
        note.push_str(" ~ is behind an impaired network.");
    }
    table("Participants", "Participant", &note, peers.len(), rows)
}

/// Every stream, the worst first.
pub fn streams(report: &Report) -> String {
    let streams = worst::streams(report);
    if streams.is_empty() {
        return String::new();
    }
    let rows = streams.iter().take(ROWS).map(|(peer, stream)| {
        let from = stream.from.map_or("?".into(), |from| from.to_string());
        let order = peer.call as f64 * 1e9 + stream.from.map_or(0.0, |from| from as f64 * 1e4) + peer.index as f64;
        (
            format!("{}.{from} → {}.{}", peer.call, peer.call, peer.index),
            order,
            stream.stream.clone(),
            String::new(),
            &stream.summary,
        )
    });
    table("Streams", "From → to", "What one participant received of another.", streams.len(), rows)
}

/// Every measure with its value and what it says.
pub fn measures(report: &Report) -> String {
    let mut html = String::from(
        "<section><h2>Every measure, and what it says</h2><table class=\"measures\">\
        <thead><tr><th scope=\"col\">Measure</th><th scope=\"col\" class=\"n\">Value</th><th scope=\"col\">What it says</th></tr></thead>",
    );
    let mut group = "";
    for measure in MEASURES {
        if measure.group != group {
            if !group.is_empty() {
                html.push_str("</tbody>");
            }
            group = measure.group;
            let _ = write!(
                html,
                "<tbody><tr><th scope=\"colgroup\" colspan=\"3\" class=\"group\">{}</th></tr>",
                escaped(group)
            );
        }
        let value = measure.of(report).map_or("–".to_owned(), |value| measure.say(value));
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td>{}</td></tr>",
            escaped(measure.name),
            escaped(&value),
            escaped(measure.definition)
        );
    }
    html.push_str("</tbody></table></section>\n");
    html
}

type Row<'a> = (String, f64, String, String, &'a Summary);

fn table<'a>(title: &str, who: &str, note: &str, all: usize, rows: impl Iterator<Item = Row<'a>>) -> String {
    let shown = all.min(ROWS);
    let cap = match all > shown {
        true => format!(" The worst {} of {} are shown; the JSON has all.", count(shown as u64), count(all as u64)),
        false => String::new(),
    };
    let mut html = format!(
        "<section><h2>{}</h2><table class=\"sortable\"><caption>{}{cap} Worst first; a column's heading sorts by it.\
         <span class=\"near\"> A wider screen shows more columns.</span></caption><thead><tr>\
         <th scope=\"col\"><button type=\"button\">{}</button></th>",
        escaped(title),
        escaped(note),
        escaped(who)
    );
    for (name, class) in COLUMNS {
        let _ = write!(html, "<th scope=\"col\" class=\"n {class}\"><button type=\"button\">{name}</button></th>");
    }
    html.push_str("</tr></thead><tbody>");
    for (name, order, kind, failure, it) in rows {
        let _ = write!(html, "<tr><th scope=\"row\" data-v=\"{order}\">{}", escaped(&name));
        if !kind.is_empty() {
            let _ = write!(html, " <small>{}</small>", escaped(&kind));
        }
        if !failure.is_empty() {
            let _ = write!(html, "<small class=\"bad\">{}</small>", escaped(&failure));
        }
        html.push_str("</th>");
        let wrong = it.decrypt_failures + it.mismatches;
        let share = |value: f64| if it.packets_expected > 0 { percent(value) } else { "–".into() };
        let latency = |value: f64| if it.latency.count > 0 { milliseconds(value) } else { "–".into() };
        let cells = [
            (it.loss_before_repair, share(it.loss_before_repair)),
            (it.loss, share(it.loss)),
            (it.latency.p50, latency(it.latency.p50)),
            (it.latency.p99, latency(it.latency.p99)),
            (it.frozen, milliseconds(it.frozen)),
            (it.freezes as f64, count(it.freezes)),
            (wrong as f64, count(wrong)),
            (it.bitrate, bitrate(it.bitrate)),
            (it.first_frame.p50, if it.first_frame.count > 0 { milliseconds(it.first_frame.p50) } else { "–".into() }),
        ];
        for ((value, words), (_, class)) in cells.into_iter().zip(COLUMNS) {
            let _ = write!(html, "<td class=\"n {class}\" data-v=\"{value:.3}\">{}</td>", escaped(&words));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></section>\n");
    html
}

/// Headings, and which give way on a narrow screen.
const COLUMNS: [(&str, &str); 9] = [
    ("Loss before", "far"),
    ("Loss", ""),
    ("p50", "far"),
    ("p99", ""),
    ("Frozen", ""),
    ("Freezes", "far"),
    ("Wrong", "far"),
    ("Bitrate", "far"),
    ("First frame", "far"),
];
/// Rows of a table: more than anyone reads, and few enough for a page to open at once.
const ROWS: usize = 200;
