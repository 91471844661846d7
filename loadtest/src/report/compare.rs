//! Two runs side by side: what changed, by how much, which is better, and whether they may be compared at all.

use super::Report;
use super::measure::{Better, MEASURES, Measure};
use super::summary::{what_was_done, wrapped};
use super::verdict::Verdict;
use super::words::number;

mod html;

pub use html::render_html;

/// The comparison for a terminal of 80 columns.
pub fn render_text(a: &Report, b: &Report) -> String {
    let mut lines = vec![];
    for (name, report) in [("A", a), ("B", b)] {
        lines.extend(wrapped(&format!("{name}: {}", what_was_done(&report.plan)), ""));
        lines.extend(wrapped(&format!("{}, {}", report.started, report.machine), "   "));
        lines.extend(wrapped(&Verdict::of(report).headline, "   "));
    }
    lines.push(String::new());
    for warning in warnings(a, b) {
        lines.extend(wrapped(&format!("! {warning}"), ""));
    }
    let mut group = "";
    for row in rows(a, b) {
        if row.measure.group != group {
            group = row.measure.group;
            lines.push(format!("\n{group:<24}{:>13}{:>13}{:>14}{:>8}", "A", "B", "difference", "ratio"));
        }
        let say = |value: Option<f64>| value.map_or("–".to_owned(), |value| row.measure.say(value));
        lines.push(
            format!(
                "  {:<22}{:>13}{:>13}{:>14}{:>8} {}",
                row.measure.name,
                say(row.a),
                say(row.b),
                row.difference(),
                row.ratio(),
                match row.better() {
                    Some(Side::A) => "A",
                    Some(Side::B) => "B",
                    None => "",
                }
            )
            .trim_end()
            .to_owned(),
        );
    }
    lines.push("\nThe last column names the better one, where it differs by more than a 50th.".into());
    lines.join("\n") + "\n"
}

/// What keeps the two from being compared measure by measure, a sentence each.
pub fn warnings(a: &Report, b: &Report) -> Vec<String> {
    let mut warnings = vec![];
    if a.machine != b.machine {
        warnings
            .push(format!("The machines differ: {} and {}. Times and CPU are not comparable.", a.machine, b.machine));
    }
    if a.plan.engine != b.plan.engine {
        warnings
            .push("The engines differ: one is full, one light; the tester's part in time and CPU is not alike.".into());
    }
    let changed = changed_settings(a, b);
    if !changed.is_empty() {
        warnings.push(format!("The plans differ in: {}.", changed.join(", ")));
    }
    if a.version != b.version {
        warnings.push(format!("The load testers differ: version {} and {}.", a.version, b.version));
    }
    for (name, report) in [("A", a), ("B", b)] {
        if !report.tester.overloaded.is_empty() {
            warnings.push(format!("In {name} the tester was the limit: its loss and latency may be the tester's own."));
        }
        if report.outcome != super::Outcome::Completed {
            warnings.push(format!("{name} did not run to its end: {}", Verdict::of(report).headline));
        }
    }
    warnings
}

/// The settings in which two plans differ, but for the engine, as `name a/b`.
fn changed_settings(a: &Report, b: &Report) -> Vec<String> {
    let (Ok(a), Ok(b)) = (serde_json::to_value(&a.plan), serde_json::to_value(&b.plan)) else {
        return vec![];
    };
    let mut changed = vec![];
    differing("", &a, &b, &mut changed);
    // the engine has its own warning, and what is asked of a run does not change it
    changed.retain(|setting| !setting.starts_with("engine ") && !setting.starts_with("fail-if "));
    changed
}

fn differing(name: &str, a: &serde_json::Value, b: &serde_json::Value, found: &mut Vec<String>) {
    use serde_json::Value::{Null, Object};
    if a == b {
        return;
    }
    let (Object(fields), Object(others)) = (a, b) else {
        found.push(format!("{name} ({a} and {b})"));
        return;
    };
    for key in fields.keys().chain(others.keys().filter(|key| !fields.contains_key(*key))) {
        let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        differing(&name, fields.get(key).unwrap_or(&Null), others.get(key).unwrap_or(&Null), found);
    }
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

/// One measure of both.
pub struct Row {
    /// Which.
    pub measure: &'static Measure,
    /// Of the first.
    pub a: Option<f64>,
    /// Of the second.
    pub b: Option<f64>,
}

/// Every measure that at least one of them has.
pub fn rows(a: &Report, b: &Report) -> Vec<Row> {
    let rows = MEASURES.iter().map(|measure| Row { measure, a: measure.of(a), b: measure.of(b) });
    rows.filter(|row| row.a.is_some() || row.b.is_some()).collect()
}

impl Row {
    /// B less A, with its sign.
    pub fn difference(&self) -> String {
        match (self.a, self.b) {
            (Some(a), Some(b)) if a == b => "=".into(),
            (Some(a), Some(b)) => {
                format!("{}{}", if b > a { "+" } else { "−" }, self.measure.say((b - a).abs()))
            }
            _ => "–".into(),
        }
    }

    /// B by A.
    pub fn ratio(&self) -> String {
        match (self.a, self.b) {
            (Some(a), Some(b)) if a != 0.0 && a.is_finite() && (b / a).is_finite() => format!("×{}", number(b / a)),
            _ => "–".into(),
        }
    }

    /// Which is better, where the measure has a better and the two differ by more than runs of the same do.
    pub fn better(&self) -> Option<Side> {
        let (a, b) = (self.a?, self.b?);
        if self.measure.better == Better::Neither || (a - b).abs() <= a.abs().max(b.abs()) * ALIKE {
            return None;
        }
        Some(if a < b { Side::A } else { Side::B })
    }
}

/// Share by which two may differ and count as alike; a run repeated differs by as much.
const ALIKE: f64 = 0.02;
