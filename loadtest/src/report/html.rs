//! The report as one HTML file that asks nobody for anything: it opens from a disk, prints, and can be sent around.

mod parts;
pub(super) mod plots;
mod tables;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(super) use parts::when;

use super::Report;
use super::plot::escaped;
use super::summary::what_was_done;

/// The whole page.
pub fn render(report: &Report) -> String {
    let title = format!("Load test: {}", what_was_done(&report.plan));
    page(
        &title,
        &[
            parts::head(report),
            parts::verdict(report),
            parts::thresholds(report),
            parts::key_figures(report),
            plots::section(report),
            tables::ramp(report),
            tables::participants(report),
            tables::streams(report),
            parts::repeat(report),
            parts::environment(report),
            tables::measures(report),
            "</main>".into(),
        ]
        .concat(),
    )
}

/// A page with our style and script around a body that is HTML already. Its policy lets nothing in from elsewhere,
/// and no script run but ours.
pub(super) fn page(title: &str, body: &str) -> String {
    let hash = STANDARD.encode(digest(&SHA256, SCRIPT.as_bytes()));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
        escaped(title)
    )
}

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");
