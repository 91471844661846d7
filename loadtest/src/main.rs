//! The `sotto-loadtest` binary. Wiring only: command line, run, report, exit code.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sotto_loadtest::cli::{Request, Run};
use sotto_loadtest::conductor::{conduct, exit_code};
use sotto_loadtest::report::{Report, compare, html, summary};

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("sotto-loadtest: {error:#}");
            ExitCode::from(exit_code::CANNOT_RUN)
        }
    }
}

fn run() -> anyhow::Result<u8> {
    match Request::from_args(std::env::args_os())? {
        Request::Print(text) => print(&text),
        Request::Compare { before, after, html } => put_side_by_side(&before, &after, html.as_deref())?,
        Request::Run(run) => return make(&run),
    }
    Ok(exit_code::FINE)
}

fn make(run: &Run) -> anyhow::Result<u8> {
    // A run of hours whose report cannot be written is found out before it.
    for (flag, path) in [("--json", &run.json), ("--html", &run.html)] {
        path.as_deref().map_or(Ok(()), |path| prepare(flag, path))?;
    }
    allow_many_files();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = run.threads {
        runtime.worker_threads(threads);
    }
    let runtime = runtime.enable_all().build()?;
    let report = runtime.block_on(conduct(run))?;
    // Tasks that still run hold nothing that is worth waiting for.
    runtime.shutdown_background();
    if let Some(path) = &run.json {
        write(path, &(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    if let Some(path) = &run.html {
        write(path, &html::render(&report))?;
    }
    print(&summary::render(&report));
    Ok(exit_code::of(&report))
}

fn put_side_by_side(before: &Path, after: &Path, page: Option<&Path>) -> anyhow::Result<()> {
    let (before, after) = (read(before)?, read(after)?);
    if let Some(path) = page {
        prepare("--html", path)?;
        write(path, &compare::render_html(&before, &after))?;
    }
    print(&compare::render_text(&before, &after));
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Report> {
    let text = std::fs::read_to_string(path).with_context(|| format!("--compare {} cannot be read", path.display()))?;
    serde_json::from_str(&text).map_err(|error| {
        anyhow!("--compare {}: {error}; give a file that --json wrote, of the same version", path.display())
    })
}

/// Makes the folder, and sees whether the file can be written.
fn prepare(flag: &str, path: &Path) -> anyhow::Result<()> {
    let cannot = || format!("{flag} {} cannot be written; choose another place", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(cannot)?;
    }
    std::fs::OpenOptions::new().create(true).append(true).open(path).with_context(cannot)?;
    Ok(())
}

/// A report is whole or as it was before.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    written.with_context(|| format!("{} cannot be written; is the disk full?", path.display()))
}

/// Every participant has sockets, and the usual soft limit of 1024 is kept for programs that use select().
fn allow_many_files() {
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
}

/// Whoever reads may have closed the pipe, which is no fault of the run.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}
