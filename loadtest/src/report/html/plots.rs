//! Which plots a report has, from its second-by-second figures and its histogram.

use std::fmt::Write;

use crate::report::measure::Unit;
use crate::report::plot::{Axis, Plot, Series, Shape, escaped, worded};
use crate::report::summary::spreads;
use crate::report::words::{bytes, milliseconds, percent, plural, seconds};
use crate::report::{Bucket, Distribution, Outcome, Report, Second, Summary};

/// All plots that there is anything for.
pub fn section(report: &Report) -> String {
    let run = Run::of(report);
    let figures = [
        run.latency(),
        distribution(report),
        run.loss(&report.overall),
        run.frozen(&report.overall),
        run.bitrate(),
        run.cpu(),
        run.memory(),
        run.descriptors(),
        run.participants(),
        setup(report),
    ]
    .concat();
    if figures.is_empty() {
        return String::new();
    }
    let note = match run.width {
        width if width > 1.5 => format!(
            "<p class=\"quiet\">Each point stands for {}: sums and means of that time, and its worst second of p95, p99 and CPU.</p>",
            worded(&seconds(width))
        ),
        _ => String::new(),
    };
    let note = format!(
        "{note}<p class=\"quiet pointing\">Point at a plot, or focus it and use the arrow keys, to read all of them at that time.</p>"
    );
    format!("<section><h2>Over the run</h2>{note}<div class=\"plots\">{figures}</div></section>\n")
}

/// The plots of two runs that can be laid over each other, A and B in a colour each.
pub fn overlaid(a: &Report, b: &Report) -> String {
    let (runs, end) = ([Run::of(a), Run::of(b)], Run::of(a).end.max(Run::of(b).end));
    let lines = |of: fn(&Second) -> Option<f64>| -> Vec<Series> {
        let named = runs.iter().zip([("A", "c1"), ("B", "c4")]);
        named
            .map(|(run, (name, class))| Series { name: name.into(), class, shape: Shape::Line(run.line(of)) })
            .collect()
    };
    let mut html = String::new();
    let mut add = |id: &str, title: &str, note: &str, unit: Unit, of: fn(&Second) -> Option<f64>| {
        let series = lines(of);
        let most = values(&series).fold(0.0, f64::max);
        if most == 0.0 {
            return;
        }
        let up = match id {
            "latency" => Axis::log(values(&series), unit),
            _ => Axis::linear(values(&series), most, unit),
        };
        let label = format!("{title} of both runs over time.");
        let plot = Plot { label: &label, across: Axis::time(end), up, shaded: &[], marked: &[], series };
        html.push_str(&figure(id, title, "", note, &plot));
    };
    add("latency", "Latency, p99", "One way, of whole frames; logarithmic.", Unit::Milliseconds, |it| {
        (it.latency.count > 0).then_some(it.latency.p99)
    });
    add("loss", "Loss after repair", "Share of the packets due.", Unit::Percent, |it| share(it, it.lost));
    add("loss-before", "Loss before repair", "Share of the packets due.", Unit::Percent, |it| {
        share(it, it.lost_before_repair)
    });
    add("frozen", "Frozen time", "Milliseconds a second, over all streams.", Unit::Milliseconds, |it| Some(it.frozen));
    add("bitrate", "Bitrate", "Payload received.", Unit::BitsPerSecond, |it| Some(it.bitrate));
    add("cpu", "CPU of the relay", "100 % is one core.", Unit::Percent, |it| it.relay_cpu);
    add("tester", "CPU of the tester", "100 % is one core.", Unit::Percent, |it| Some(it.tester_cpu));
    add("memory", "Memory of the relay", "Resident set.", Unit::Bytes, |it| {
        it.relay_memory.map(|memory| memory as f64)
    });
    add("participants", "Participants", "Connected, in all calls.", Unit::Count, |it| Some(it.peers as f64));
    let spread = overlaid_distribution(a, b);
    if html.is_empty() && spread.is_empty() {
        return String::new();
    }
    format!("<section><h2>Over the run</h2><div class=\"plots\">{spread}{html}</div></section>\n")
}

fn overlaid_distribution(a: &Report, b: &Report) -> String {
    let bars = [shares(&a.latency_histogram), shares(&b.latency_histogram)];
    if bars.iter().any(Vec::is_empty) {
        return String::new();
    }
    let across = Axis::log(bars.iter().flatten().flat_map(|bar| [bar.0, bar.1]), Unit::Milliseconds);
    let [a, b] = bars.map(Shape::Outline);
    let series =
        vec![Series { name: "A".into(), class: "c1", shape: a }, Series { name: "B".into(), class: "c4", shape: b }];
    let label = "Distribution of latency of both runs.";
    let up = Axis::linear(values(&series), 1.0, Unit::Percent);
    let plot = Plot { label, across, up, shaded: &[], marked: &[], series };
    figure(
        "distribution",
        "Latency as a distribution",
        "",
        "Share of all frames; logarithmic from left to right.",
        &plot,
    )
}

/// The run's seconds, at most [`POINTS`] of them, with what all plots over time share.
struct Run {
    points: Vec<Second>,
    /// Seconds that a point stands for.
    width: f64,
    end: f64,
    outages: Vec<(f64, f64)>,
    marks: Vec<(f64, String)>,
}

impl Run {
    fn of(report: &Report) -> Self {
        let many = report.timeline.len().div_ceil(POINTS).max(1);
        let points: Vec<Second> = report.timeline.chunks(many).map(merged).collect();
        let seen = report.timeline.last().map_or(0.0, |second| second.at);
        let (end, marks) = match &report.outcome {
            Outcome::RelayLost { at, .. } => (seen.max(*at), vec![(*at, "relay lost".to_owned())]),
            Outcome::Interrupted { at } => (seen.max(*at), vec![(*at, "interrupted".to_owned())]),
            Outcome::Completed | Outcome::Failed { .. } => (seen, vec![]),
        };
        let outages = report.plan.network.outages.iter().map(|outage| {
            let from = outage.at.as_secs_f64();
            (from, from + outage.lasts.as_secs_f64())
        });
        let outages = outages.filter(|outage| outage.0 < end).collect();
        let width = if points.is_empty() { 1.0 } else { (seen / points.len() as f64).max(f64::MIN_POSITIVE) };
        Self { points, width, end, outages, marks }
    }

    fn latency(&self) -> String {
        let of = |part: fn(&Distribution) -> f64| self.line(|it| (it.latency.count > 0).then(|| part(&it.latency)));
        let worst =
            self.points.iter().filter(|it| it.latency.count > 0).max_by(|a, b| a.latency.p99.total_cmp(&b.latency.p99));
        let Some(worst) = worst else {
            return String::new();
        };
        let said = format!("p99 at its worst: {} at {}.", milliseconds(worst.latency.p99), seconds(worst.at));
        let series = vec![
            Series { name: "p50".into(), class: "c1", shape: Shape::Line(of(|it| it.p50)) },
            Series { name: "p95".into(), class: "c2", shape: Shape::Line(of(|it| it.p95)) },
            Series { name: "p99".into(), class: "c3", shape: Shape::Line(of(|it| it.p99)) },
        ];
        let up = Axis::log(values(&series), Unit::Milliseconds);
        self.figure(
            "latency",
            "Latency",
            &said,
            "One way, of whole frames; logarithmic.",
            up,
            Unit::Milliseconds,
            series,
        )
    }

    fn loss(&self, overall: &Summary) -> String {
        if self.points.iter().all(|it| it.packets + it.lost_before_repair + it.lost == 0) {
            return String::new();
        }
        let before = self.bars(|it| share(it, it.lost_before_repair));
        let after = self.bars(|it| share(it, it.lost));
        let worst = after.iter().max_by(|a, b| a.2.total_cmp(&b.2)).filter(|bar| bar.2 > 0.0);
        let said = match worst {
            Some(worst) => format!("At its worst {} after repair, at {}.", percent(worst.2), seconds(worst.1)),
            None if overall.loss > 0.0 => format!("{} after repair.", percent(overall.loss)),
            None if overall.loss_before_repair > 0.0 || before.iter().any(|bar| bar.2 > 0.0) => {
                "Every packet that was lost came when it was asked for again.".to_owned()
            }
            None => return flat("loss", "Loss", "No packet was lost, not even before repair."),
        };
        let series = vec![
            Series { name: "before repair".into(), class: "c5", shape: Shape::Bars(before) },
            Series { name: "after repair".into(), class: "c3", shape: Shape::Bars(after) },
        ];
        let up = Axis::linear(values(&series), 1.0, Unit::Percent);
        self.figure("loss", "Loss", &said, "Share of the packets due.", up, Unit::Percent, series)
    }

    fn frozen(&self, overall: &Summary) -> String {
        if self.points.iter().all(|it| it.packets == 0) {
            return String::new();
        }
        if overall.freezes == 0 && self.points.iter().all(|it| it.frozen == 0.0) {
            return flat("frozen", "Frozen time", "No stream froze.");
        }
        let said = format!("{} in {}.", milliseconds(overall.frozen), plural(overall.freezes as usize, "freeze"));
        let bars = self.bars(|it| Some(it.frozen));
        let series = vec![Series { name: "frozen".into(), class: "c3", shape: Shape::Bars(bars) }];
        let up = Axis::linear(values(&series), 1000.0, Unit::Milliseconds);
        let note = "Milliseconds a second, over all streams; 1,000 is one stream frozen all the time.";
        self.figure("frozen", "Frozen time", &said, note, up, Unit::Milliseconds, series)
    }

    fn bitrate(&self) -> String {
        if self.points.iter().all(|it| it.bitrate == 0.0) {
            return String::new();
        }
        let most = self.points.iter().map(|it| it.bitrate).fold(0.0, f64::max);
        let said = format!("{} at most.", Unit::BitsPerSecond.say(most));
        let series =
            vec![Series { name: "received".into(), class: "c1", shape: Shape::Line(self.line(|it| Some(it.bitrate))) }];
        let up = Axis::linear(values(&series), 1000.0, Unit::BitsPerSecond);
        self.figure(
            "bitrate",
            "Bitrate",
            &said,
            "Payload that all participants received.",
            up,
            Unit::BitsPerSecond,
            series,
        )
    }

    fn cpu(&self) -> String {
        if self.points.is_empty() {
            return String::new();
        }
        let most = |of: fn(&Second) -> Option<f64>| self.points.iter().filter_map(of).fold(0.0, f64::max);
        let mut series = vec![];
        let mut said = format!("Tester {} at most.", percent(most(|it| Some(it.tester_cpu))));
        if self.points.iter().any(|it| it.relay_cpu.is_some()) {
            series.push(Series { name: "relay".into(), class: "c1", shape: Shape::Line(self.line(|it| it.relay_cpu)) });
            said = format!(
                "Relay {} at most, tester {}.",
                percent(most(|it| it.relay_cpu)),
                percent(most(|it| Some(it.tester_cpu)))
            );
        }
        series.push(Series {
            name: "tester".into(),
            class: "c4",
            shape: Shape::Line(self.line(|it| Some(it.tester_cpu))),
        });
        let up = Axis::linear(values(&series), 10.0, Unit::Percent);
        self.figure("cpu", "CPU", &said, "100 % is one core.", up, Unit::Percent, series)
    }

    fn memory(&self) -> String {
        let series = vec![Series {
            name: "relay".into(),
            class: "c1",
            shape: Shape::Line(self.line(|it| it.relay_memory.map(|memory| memory as f64))),
        }];
        let most = values(&series).fold(0.0, f64::max);
        if most == 0.0 {
            return String::new();
        }
        let up = Axis::linear(values(&series), 1024.0, Unit::Bytes);
        let said = format!("{} at most.", bytes(most));
        self.figure("memory", "Memory of the relay", &said, "Resident set.", up, Unit::Bytes, series)
    }

    fn descriptors(&self) -> String {
        let series = vec![Series {
            name: "relay".into(),
            class: "c1",
            shape: Shape::Line(self.line(|it| it.relay_descriptors.map(|open| open as f64))),
        }];
        let most = values(&series).fold(0.0, f64::max);
        if most == 0.0 {
            return String::new();
        }
        let up = Axis::linear(values(&series), 4.0, Unit::Count);
        let said = format!("{most:.0} at most.");
        self.figure(
            "descriptors",
            "Open descriptors of the relay",
            &said,
            "Files and sockets.",
            up,
            Unit::Count,
            series,
        )
    }

    fn participants(&self) -> String {
        let most = self.points.iter().map(|it| it.peers).max().unwrap_or(0);
        if most == 0 {
            return String::new();
        }
        let series = vec![Series {
            name: "connected".into(),
            class: "c1",
            shape: Shape::Line(self.line(|it| Some(it.peers as f64))),
        }];
        let up = Axis::linear(values(&series), 4.0, Unit::Count);
        self.figure(
            "participants",
            "Participants",
            &format!("{most} at most."),
            "Connected, in all calls.",
            up,
            Unit::Count,
            series,
        )
    }

    fn line(&self, of: impl Fn(&Second) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
        self.points.iter().map(|it| (it.at, of(it))).collect()
    }

    fn bars(&self, of: impl Fn(&Second) -> Option<f64>) -> Vec<(f64, f64, f64)> {
        let begins = std::iter::once(0.0).chain(self.points.iter().map(|it| it.at));
        begins.zip(&self.points).map(|(from, it)| (from, it.at, of(it).unwrap_or(0.0))).collect()
    }

    #[allow(clippy::too_many_arguments, reason = "each is one word on the page")]
    fn figure(
        &self,
        id: &str,
        title: &str,
        said: &str,
        note: &str,
        up: Axis,
        unit: Unit,
        series: Vec<Series>,
    ) -> String {
        let label = format!("{title} over time. {said}");
        let plot = Plot {
            label: &label,
            across: Axis::time(self.end),
            up,
            shaded: &self.outages,
            marked: &self.marks,
            series,
        };
        let mut html = figure(id, title, said, note, &plot);
        let points = points(&plot, unit, self.end);
        html.insert_str(html.len() - "</figure>".len(), &points);
        html
    }
}

/// The latency of all frames.
fn distribution(report: &Report) -> String {
    let bars = shares(&report.latency_histogram);
    if bars.is_empty() {
        return String::new();
    }
    let it = &report.overall.latency;
    let said = format!(
        "Half within {}, 95 of 100 within {}, 99 within {}.",
        milliseconds(it.p50),
        milliseconds(it.p95),
        milliseconds(it.p99)
    );
    let series = vec![Series { name: "frames".into(), class: "c1", shape: Shape::Bars(bars.clone()) }];
    let plot = Plot {
        label: &format!("Distribution of latency. {said}"),
        across: Axis::log(bars.iter().flat_map(|bar| [bar.0, bar.1]), Unit::Milliseconds),
        up: Axis::linear(values(&series), 1.0, Unit::Percent),
        shaded: &[],
        marked: &[(it.p50, "p50".into()), (it.p95, "p95".into()), (it.p99, "p99".into())],
        series,
    };
    figure(
        "distribution",
        "Latency as a distribution",
        &said,
        "Share of all frames; logarithmic from left to right.",
        &plot,
    )
}

/// Buckets as percent of all, the first from above zero so that a logarithmic scale can hold it.
pub fn shares(buckets: &[Bucket]) -> Vec<(f64, f64, f64)> {
    let all: u64 = buckets.iter().map(|bucket| bucket.count).sum();
    let filled = |bucket: &&Bucket| bucket.count > 0 && bucket.to > 0.0 && bucket.to.is_finite();
    let (Some(first), Some(last)) =
        (buckets.iter().position(|it| filled(&it)), buckets.iter().rposition(|it| filled(&it)))
    else {
        return vec![];
    };
    let share = |bucket: &Bucket| {
        let from = if bucket.from > 0.0 { bucket.from } else { bucket.to / 2.0 };
        (from, bucket.to, bucket.count as f64 * 100.0 / all as f64)
    };
    buckets[first..=last].iter().map(share).collect()
}

/// How long it takes to be in: each step from its fastest to its slowest, on one logarithmic scale.
fn setup(report: &Report) -> String {
    let rows: Vec<_> = spreads(&report.overall).into_iter().skip(1).filter(|(_, it)| it.count > 0).collect();
    if rows.is_empty() {
        return String::new();
    }
    let scale = Axis::tight(rows.iter().flat_map(|(_, it)| [it.min, it.p50, it.max]));
    let mut html = String::from("<figure id=\"setup\"><figcaption><h3>Joining and keys</h3>");
    let join = &report.overall.join;
    if join.count > 0 {
        let _ = write!(
            html,
            "<p>Half joined within {}, the slowest took {}.</p>",
            escaped(&milliseconds(join.p50)),
            escaped(&milliseconds(join.max))
        );
    }
    html.push_str(
        "<p class=\"quiet\">Thin: fastest to slowest. Thick: to 95 of 100. Line: half. Logarithmic.</p></figcaption>\
         <table class=\"spans\"><thead><tr><th scope=\"col\">Step</th><th scope=\"col\" aria-label=\"Range\" class=\"range\"></th>\
         <th scope=\"col\" class=\"n\">p50</th><th scope=\"col\" class=\"n\">p95</th><th scope=\"col\" class=\"n far\">max</th><th scope=\"col\" class=\"n far\">of</th></tr></thead><tbody>",
    );
    for (name, it) in rows {
        let [min, p50, p95, max] = [it.min, it.p50, it.p95, it.max].map(|value| scale.place(value) * 100.0);
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td class=\"range\"><svg viewBox=\"0 0 100 20\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             <path class=\"thin\" d=\"M{min:.2} 10H{max:.2}\"/><path class=\"thick\" d=\"M{min:.2} 10H{p95:.2}\"/>\
             <path class=\"half\" d=\"M{p50:.2} 2V18\"/></svg></td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n far\">{}</td><td class=\"n far\">{}</td></tr>",
            escaped(name),
            milliseconds(it.p50),
            milliseconds(it.p95),
            milliseconds(it.max),
            it.count
        );
    }
    html.push_str("</tbody></table></figure>");
    html
}

/// A plot with its title, what it shows in a sentence, and its legend.
pub fn figure(id: &str, title: &str, said: &str, note: &str, plot: &Plot<'_>) -> String {
    let legend = if plot.series.len() > 1 || !plot.shaded.is_empty() { plot.legend() } else { String::new() };
    format!(
        "<figure id=\"{id}\"><figcaption><h3>{}</h3><p>{}</p><p class=\"quiet\">{}</p>{legend}</figcaption>{}</figure>",
        escaped(title),
        worded(said),
        worded(note),
        plot.html()
    )
}

/// A plot in which there would be nothing to see.
fn flat(id: &str, title: &str, said: &str) -> String {
    format!("<figure id=\"{id}\" class=\"flat\"><figcaption><h3>{title}</h3><p>✓ {said}</p></figcaption></figure>")
}

/// The values of a plot over time for the script that reads them out under the pointer.
fn points(plot: &Plot<'_>, unit: Unit, end: f64) -> String {
    let series: Vec<_> = plot
        .series
        .iter()
        .map(|series| {
            let values: Vec<(f64, Option<f64>)> = match &series.shape {
                Shape::Line(points) => points.iter().map(|&(at, value)| (short(at), value.map(short))).collect(),
                Shape::Bars(bars) | Shape::Outline(bars) => {
                    bars.iter().map(|bar| (short(bar.1), Some(short(bar.2)))).collect()
                }
            };
            serde_json::json!({ "name": series.name, "values": values })
        })
        .collect();
    let unit = match unit {
        Unit::Milliseconds => "ms",
        Unit::Percent => "%",
        Unit::BitsPerSecond => "bit/s",
        Unit::Bytes => "B",
        _ => "",
    };
    let json = serde_json::json!({ "end": short(end), "unit": unit, "series": series }).to_string();
    // nothing in it may end the element
    format!("<script type=\"application/json\">{}</script>", json.replace('<', "\\u003c"))
}

/// Percent of the packets due in this time.
fn share(it: &Second, lost: u64) -> Option<f64> {
    let due = (it.packets + it.lost).max(lost);
    (due > 0).then(|| lost as f64 * 100.0 / due as f64)
}

fn short(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn values(series: &[Series]) -> impl Iterator<Item = f64> {
    series.iter().flat_map(|series| -> Vec<f64> {
        match &series.shape {
            Shape::Line(points) => points.iter().filter_map(|point| point.1).collect(),
            Shape::Bars(bars) | Shape::Outline(bars) => bars.iter().map(|bar| bar.2).collect(),
        }
    })
}

/// Several seconds as one. Percentiles cannot be merged exactly: the middle is weighted, of the others the worst holds.
fn merged(seconds: &[Second]) -> Second {
    let mut whole = seconds[0].clone();
    let frames: u64 = seconds.iter().map(|it| it.latency.count).sum();
    let mean = |of: fn(&Second) -> f64| seconds.iter().map(of).sum::<f64>() / seconds.len() as f64;
    let worst = |of: fn(&Second) -> f64| seconds.iter().map(of).fold(0.0, f64::max);
    let weighed = |of: fn(&Distribution) -> f64| {
        seconds.iter().map(|it| of(&it.latency) * it.latency.count as f64).sum::<f64>() / frames.max(1) as f64
    };
    whole.at = seconds.last().map_or(0.0, |it| it.at);
    whole.peers = seconds.iter().map(|it| it.peers).max().unwrap_or(0);
    whole.packets = seconds.iter().map(|it| it.packets).sum();
    whole.lost_before_repair = seconds.iter().map(|it| it.lost_before_repair).sum();
    whole.lost = seconds.iter().map(|it| it.lost).sum();
    whole.frozen = mean(|it| it.frozen);
    whole.bitrate = mean(|it| it.bitrate);
    whole.latency = Distribution {
        count: frames,
        min: seconds.iter().filter(|it| it.latency.count > 0).map(|it| it.latency.min).fold(f64::INFINITY, f64::min),
        mean: weighed(|it| it.mean),
        p50: weighed(|it| it.p50),
        p95: worst(|it| it.latency.p95),
        p99: worst(|it| it.latency.p99),
        max: worst(|it| it.latency.max),
    };
    whole.relay_cpu = seconds.iter().filter_map(|it| it.relay_cpu).reduce(f64::max);
    whole.relay_memory = seconds.iter().filter_map(|it| it.relay_memory).max();
    whole.relay_descriptors = seconds.iter().filter_map(|it| it.relay_descriptors).max();
    whole.tester_cpu = worst(|it| it.tester_cpu);
    whole
}

/// Points of a plot: about one for each pixel that it is wide.
const POINTS: usize = 600;
