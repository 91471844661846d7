//! Plots as HTML: lines and bars in an SVG that stretches with its box, scales and words beside it in the page's own
//! type, so that they stay readable at any width. Colours come from the page's classes `c1`, `c2` and so on.

use std::fmt::Write;

use super::measure::Unit;
use super::words;

/// One plot.
pub struct Plot<'a> {
    /// What is seen, for those who do not see it.
    pub label: &'a str,
    /// From left to right.
    pub across: Axis,
    /// From bottom to top.
    pub up: Axis,
    /// Spans of the axis across in which something was as planned different, such as an outage.
    pub shaded: &'a [(f64, f64)],
    /// Places across that are marked by a line, each with its name.
    pub marked: &'a [(f64, String)],
    /// What is drawn, the last on top.
    pub series: Vec<Series>,
}

/// Something drawn.
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its class, which gives it colour and dash.
    pub class: &'static str,
    /// How it is drawn.
    pub shape: Shape,
}

/// How something is drawn.
pub enum Shape {
    /// A line through values at places; it breaks where there is none.
    Line(Vec<(f64, Option<f64>)>),
    /// Bars from the bottom: from, to, value.
    Bars(Vec<(f64, f64, f64)>),
    /// The outline of such bars, to be laid over others.
    Outline(Vec<(f64, f64, f64)>),
}

/// A scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    from: f64,
    to: f64,
    log: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero to a round number that holds everything, and at least `least`.
    pub fn linear(values: impl Iterator<Item = f64>, least: f64, unit: Unit) -> Self {
        let most = values.filter(|value| value.is_finite()).fold(least, f64::max);
        let step = nice(most / LINES, if unit == Unit::Bytes { 1024.0 } else { 1000.0 });
        let steps = (most / step - 1e-9).ceil().max(1.0);
        let ticks = (0..=steps as usize).map(|place| place as f64 * step);
        Self { from: 0.0, to: steps * step, log: false, ticks: ticks.map(|tick| (tick, unit.say(tick))).collect() }
    }

    /// Whole powers of ten around all values above zero, two at least.
    pub fn log(values: impl Iterator<Item = f64>, unit: Unit) -> Self {
        let (low, high) = extent(values);
        let (from, mut to) = (low.log10().floor() as i32, (high.log10() - 1e-9).ceil() as i32);
        to = to.max(from + 1);
        let ticks = (from..=to).map(|power| 10_f64.powi(power)).map(|tick| (tick, unit.say(tick))).collect();
        Self { from: 10_f64.powi(from), to: 10_f64.powi(to), log: true, ticks }
    }

    /// A logarithmic scale without words, no wider than its values.
    pub fn tight(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = extent(values);
        Self { from: low, to: high.max(low * 2.0), log: true, ticks: vec![] }
    }

    /// The seconds of a run.
    pub fn time(to: f64) -> Self {
        let to = to.max(1.0);
        let step = STEPS.into_iter().find(|step| to / step <= TIMES).unwrap_or(to / TIMES);
        let ticks = (0..=(to / step) as usize).map(|place| place as f64 * step);
        Self { from: 0.0, to, log: false, ticks: ticks.map(|tick| (tick, words::seconds(tick))).collect() }
    }

    /// Where a value lies, 0 to 1.
    pub fn place(&self, value: f64) -> f64 {
        let share = match self.log {
            true => (value.max(self.from) / self.from).log10() / (self.to / self.from).log10(),
            false => (value - self.from) / (self.to - self.from),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }
}

impl Plot<'_> {
    /// The plot as HTML. Names are escaped here.
    pub fn html(&self) -> String {
        let mut html = format!("<div class=\"plot\" role=\"img\" aria-label=\"{}\">", escaped(self.label));
        html.push_str("<div class=\"up\" aria-hidden=\"true\">");
        for (value, words) in &self.up.ticks {
            let _ =
                write!(html, "<span style=\"bottom:{:.2}%\">{}</span>", self.up.place(*value) * 100.0, escaped(words));
        }
        html.push_str("</div><div class=\"field\"><svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
        self.background(&mut html);
        for series in &self.series {
            self.draw(series, &mut html);
        }
        html.push_str("</svg>");
        for (row, (at, words)) in self.marked.iter().enumerate() {
            let at = self.across.place(*at) * 100.0;
            // each a line lower, for they may stand close together
            let _ = write!(
                html,
                "<span class=\"mark{}\" style=\"left:{at:.2}%;top:{:.1}rem\">{}</span>",
                if at > 80.0 { " before" } else { "" },
                row as f64 - 0.3,
                escaped(words)
            );
        }
        html.push_str("</div><div class=\"across\" aria-hidden=\"true\">");
        let last = self.across.ticks.len().saturating_sub(1);
        for (place, (value, words)) in self.across.ticks.iter().enumerate() {
            let left = self.across.place(*value) * 100.0;
            let class = if place == last && left > 90.0 { " class=\"end\"" } else { "" };
            let _ = write!(html, "<span{class} style=\"left:{left:.2}%\">{}</span>", escaped(words));
        }
        html.push_str("</div></div>");
        html
    }

    /// The legend: a stroke as it is drawn and the name.
    pub fn legend(&self) -> String {
        let mut html = String::from("<ul class=\"legend\">");
        for series in &self.series {
            let shape = if matches!(series.shape, Shape::Bars(_)) { "bar" } else { "stroke" };
            let drawn = match shape {
                "bar" => "<rect x=\"4\" y=\"1\" width=\"16\" height=\"10\"/>",
                _ => "<path d=\"M0 6H24\"/>",
            };
            let _ = write!(
                html,
                "<li><svg class=\"{} {shape}\" viewBox=\"0 0 24 12\" aria-hidden=\"true\">{drawn}</svg>{}</li>",
                series.class,
                escaped(&series.name)
            );
        }
        if !self.shaded.is_empty() {
            html.push_str("<li><svg class=\"shade\" viewBox=\"0 0 24 12\" aria-hidden=\"true\"><rect width=\"24\" height=\"12\"/></svg>outage</li>");
        }
        html.push_str("</ul>");
        html
    }

    fn background(&self, html: &mut String) {
        for &(from, to) in self.shaded {
            let (left, right) = (self.x(from), self.x(to));
            let _ = write!(
                html,
                "<rect class=\"shade\" x=\"{left:.1}\" y=\"0\" width=\"{:.1}\" height=\"1000\"/>",
                right - left
            );
        }
        for (value, _) in &self.up.ticks {
            let y = self.y(*value);
            let class = if y > 999.0 { "base" } else { "grid" };
            let _ = write!(html, "<path class=\"{class}\" d=\"M0 {y:.1}H1000\"/>");
        }
        for (at, _) in self.marked {
            let _ = write!(html, "<path class=\"marking\" d=\"M{:.1} 0V1000\"/>", self.x(*at));
        }
    }

    fn draw(&self, series: &Series, html: &mut String) {
        match &series.shape {
            Shape::Line(points) => {
                let _ = write!(html, "<path class=\"line {}\" d=\"{}\"/>", series.class, self.path(points));
            }
            Shape::Bars(bars) => {
                let _ = write!(html, "<path class=\"bars {}\" d=\"{}\"/>", series.class, self.area(bars));
            }
            Shape::Outline(bars) => {
                let mut path = String::new();
                for &(from, to, value) in bars {
                    let (left, right, top) = (self.x(from), self.x(to), self.y(value));
                    let _ = write!(path, "{}{left:.1} {top:.1}H{right:.1}", if path.is_empty() { 'M' } else { 'L' });
                }
                let _ = write!(html, "<path class=\"line {}\" d=\"{path}\"/>", series.class);
            }
        }
    }

    /// Bars as one shape, those side by side without a seam between them.
    fn area(&self, bars: &[(f64, f64, f64)]) -> String {
        let mut path = String::new();
        let mut end = None;
        for &(from, to, value) in bars.iter().filter(|bar| bar.2 > 0.0) {
            // what is there is seen, however little it is beside the rest
            let top = self.y(value).min(1000.0 - LEAST);
            let (left, right) = (self.x(from), self.x(to));
            let right = right.max(left + LEAST / 4.0);
            let _ = match end.is_some_and(|end: f64| (end - left).abs() < 0.5) {
                true => write!(path, "V{top:.1}H{right:.1}"),
                false => {
                    write!(path, "{}M{left:.1} 1000V{top:.1}H{right:.1}", if end.is_some() { "V1000Z" } else { "" })
                }
            };
            end = Some(self.x(to));
        }
        if end.is_some() {
            path.push_str("V1000Z");
        }
        path
    }

    /// A line that breaks where nothing was measured; a value between two breaks becomes a short dash.
    fn path(&self, points: &[(f64, Option<f64>)]) -> String {
        let mut path = String::new();
        let mut drawn = 0;
        for (place, (at, value)) in points.iter().enumerate() {
            let Some(value) = value else {
                drawn = 0;
                continue;
            };
            let (x, y) = (self.x(*at), self.y(*value));
            let alone = drawn == 0 && points.get(place + 1).is_none_or(|next| next.1.is_none());
            let _ = match (drawn, alone) {
                (0, true) => write!(path, "M{:.1} {y:.1}h{LEAST}", (x - LEAST / 2.0).max(0.0)),
                (0, false) => write!(path, "M{x:.1} {y:.1}"),
                _ => write!(path, "L{x:.1} {y:.1}"),
            };
            drawn += 1;
        }
        path
    }

    fn x(&self, value: f64) -> f64 {
        self.across.place(value) * 1000.0
    }

    fn y(&self, value: f64) -> f64 {
        1000.0 - self.up.place(value) * 1000.0
    }
}

/// The least and the most of what is above zero.
fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite() && *value > 0.0)
        .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    if high > 0.0 { (low, high) } else { (0.1, 10.0) }
}

/// Text as HTML shows it, in elements and in attributes.
pub fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(letter),
        }
    }
    html
}

/// Words as HTML, in which no number is parted from its unit at the end of a line.
pub fn worded(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for (place, word) in text.split(' ').enumerate() {
        if place > 0 {
            let bound = html.ends_with(|last: char| last.is_ascii_digit()) && word.starts_with(UNITS);
            html.push_str(if bound { "&nbsp;" } else { " " });
        }
        html.push_str(&escaped(word));
    }
    html
}

/// 1, 2 or 5 times a power of ten, in the units of which a thousand or 1024 make the next.
fn nice(step: f64, base: f64) -> f64 {
    let mut unit = 1.0;
    while step / unit >= base {
        unit *= base;
    }
    let power = 10_f64.powf((step / unit).log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power * unit >= step * 0.999);
    factor.unwrap_or(10.0) * power * unit
}

/// How units begin: ms, s, min, %, µs, kbit/s, Mbit/s, Gbit/s, KiB, MiB, GiB.
const UNITS: [char; 7] = ['m', 's', '%', 'µ', 'k', 'M', 'K'];
/// Lines across a plot: enough to read a value off, few enough to see the marks.
const LINES: f64 = 4.0;
/// Words under a plot, as many as a phone has room for.
const TIMES: f64 = 6.0;
/// Seconds between these.
const STEPS: [f64; 17] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0,
    86_400.0,
];
/// Thousandths of a plot that the smallest mark takes: about two pixels.
const LEAST: f64 = 8.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(points: &[(f64, Option<f64>)]) -> String {
        let shape = Shape::Line(points.to_vec());
        let series = vec![Series { name: "a".into(), class: "c1", shape }];
        let up = Axis::linear([10.0].into_iter(), 10.0, Unit::Count);
        let plot = Plot { label: "", across: Axis::time(10.0), up, shaded: &[], marked: &[], series };
        plot.path(points)
    }

    #[test]
    fn a_line_breaks_where_nothing_was_measured() {
        assert_eq!(drawn(&[(0.0, Some(0.0)), (5.0, Some(10.0))]), "M0.0 1000.0L500.0 0.0");
        let broken = drawn(&[(0.0, Some(0.0)), (1.0, Some(0.0)), (2.0, None), (3.0, Some(5.0)), (4.0, Some(5.0))]);
        assert_eq!(broken.matches('M').count(), 2);
        assert_eq!(drawn(&[(2.0, None), (3.0, Some(5.0)), (4.0, None)]), "M296.0 500.0h8");
    }

    #[test]
    fn scales_end_in_round_numbers_that_hold_everything() {
        let linear = Axis::linear([0.3, 37.0].into_iter(), 1.0, Unit::Count);
        assert_eq!((linear.to, linear.ticks.len()), (40.0, 5));
        let log = Axis::log([0.3, 37.0].into_iter(), Unit::Milliseconds);
        assert_eq!((log.from, log.to), (0.1, 100.0));
        assert!((log.place(1.0) - 1.0 / 3.0).abs() < 1e-9);
        let bytes = Axis::linear([13.0 * 1024.0 * 1024.0].into_iter(), 1.0, Unit::Bytes);
        assert_eq!(bytes.ticks.last().map(|tick| tick.1.as_str()), Some("15 MiB"));
    }

    #[test]
    fn a_scale_of_nothing_or_of_nonsense_can_still_be_drawn() {
        for axis in [Axis::linear([f64::NAN].into_iter(), 1.0, Unit::Count), Axis::log([].into_iter(), Unit::Count)] {
            for value in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
                assert!((0.0..=1.0).contains(&axis.place(value)), "{value}");
            }
        }
    }

    #[test]
    fn numbers_keep_their_units_and_markup_is_text() {
        assert_eq!(worded("within 5 ms & <b>"), "within 5&nbsp;ms &amp; &lt;b&gt;");
        assert_eq!(worded("2 calls"), "2 calls");
    }
}
