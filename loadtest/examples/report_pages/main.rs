//! Writes a page for each of a number of made-up runs into a folder, so that the pages can be looked at and tested.

#![allow(clippy::print_stdout, reason = "it tells where the pages are")]

use std::path::PathBuf;

use anyhow::Context;
use sotto_loadtest::report::{compare, html, summary};

mod samples;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).context("name the folder to write the pages into")?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let write = |name: String, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    for (name, report) in samples::all() {
        write(format!("{name}.html"), html::render(&report))?;
        write(format!("{name}.txt"), summary::render(&report))?;
        write(format!("{name}.json"), serde_json::to_string_pretty(&report)?)?;
    }
    let (a, b) = (samples::good(), samples::lossy());
    write("compared.html".into(), compare::render_html(&a, &b))?;
    write("compared.txt".into(), compare::render_text(&a, &b))?;
    println!("{}", folder.display());
    Ok(())
}
