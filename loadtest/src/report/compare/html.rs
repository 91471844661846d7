//! Two runs as one page: the table of differences, and their plots laid over each other.

use std::fmt::Write;

use super::{Side, rows, warnings};
use crate::report::Report;
use crate::report::html::{page, plots};
use crate::report::plot::escaped;
use crate::report::summary::what_was_done;
use crate::report::verdict::Verdict;

/// The comparison as one self-contained HTML file.
pub fn render_html(a: &Report, b: &Report) -> String {
    let body = [head(a, b), cautions(a, b), plots::overlaid(a, b), table(a, b)].concat() + "</main>";
    page("Load tests compared", &body)
}

fn head(a: &Report, b: &Report) -> String {
    let mut html = String::from(
        "<header><p class=\"brand\">Sotto load test</p><h1>Two runs side by side</h1></header>\n<main><section class=\"two\">",
    );
    for (name, class, report) in [("A", "c1", a), ("B", "c4", b)] {
        let verdict = Verdict::of(report);
        let _ = write!(
            html,
            "<div class=\"{class}\"><h2><b>{name}</b> {}</h2><p>{}</p><p class=\"quiet\">{} · {}</p></div>",
            escaped(&what_was_done(&report.plan)),
            escaped(&verdict.headline),
            escaped(&crate::report::html::when(&report.started)),
            escaped(&report.machine)
        );
    }
    html.push_str("</section>\n");
    html
}

fn cautions(a: &Report, b: &Report) -> String {
    let warnings = warnings(a, b);
    if warnings.is_empty() {
        return "<p class=\"quiet\">Same plan, engine and machine.</p>".into();
    }
    let mut html = String::from(
        "<section class=\"verdict doubtful\" aria-labelledby=\"cautions\"><div><h2 id=\"cautions\">Compare with care</h2><ul>",
    );
    for warning in warnings {
        let _ = write!(html, "<li>{}</li>", escaped(&warning));
    }
    html.push_str("</ul></div></section>\n");
    html
}

fn table(a: &Report, b: &Report) -> String {
    let mut html = String::from(
        "<section><h2>Measure by measure</h2><table class=\"measures compared\"><caption>Difference and ratio are of B to A. \
         The better is bold, and named, where they differ by more than a 50th.</caption><thead><tr><th scope=\"col\">Measure</th>\
         <th scope=\"col\" class=\"n\">A</th><th scope=\"col\" class=\"n\">B</th><th scope=\"col\" class=\"n\">Difference</th>\
         <th scope=\"col\" class=\"n far\">Ratio</th><th scope=\"col\" class=\"far\">Better</th></tr></thead>",
    );
    let mut group = "";
    for row in rows(a, b) {
        if row.measure.group != group {
            if !group.is_empty() {
                html.push_str("</tbody>");
            }
            group = row.measure.group;
            let _ = write!(
                html,
                "<tbody><tr><th scope=\"colgroup\" colspan=\"6\" class=\"group\">{}</th></tr>",
                escaped(group)
            );
        }
        let say = |value: Option<f64>| value.map_or("–".to_owned(), |value| escaped(&row.measure.say(value)));
        let (class, better, won) = match row.better() {
            Some(Side::A) => ("c1", "A", [" won c1", ""]),
            Some(Side::B) => ("c4", "B", ["", " won c4"]),
            None => ("", "", ["", ""]),
        };
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td class=\"n{}\">{}</td><td class=\"n{}\">{}</td><td class=\"n\">{}</td><td class=\"n far\">{}</td>\
             <td class=\"better far {class}\">{better}</td></tr>",
            escaped(row.measure.name),
            won[0],
            say(row.a),
            won[1],
            say(row.b),
            escaped(&row.difference()),
            row.ratio()
        );
    }
    html.push_str("</tbody></table></section>\n");
    html
}
