//! Reads a data folder as somebody would who does not believe what is said of it: every file, every table, every value,
//! every byte of the database that is in no row; and, when told what was planted, searches for that in all its forms.

pub mod canary;
mod decode;
pub mod forms;
mod looks;
mod pages;
pub mod scan;
mod values;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::call_log::store::FILE;
use canary::{Canary, CanaryError};
use scan::{Extent, Scanner};

/// What is to be read.
pub struct Request {
    /// The data folder.
    pub data: PathBuf,
    /// The file of canaries.
    pub search: Option<PathBuf>,
    /// Files and folders that are searched for canaries besides.
    pub also: Vec<PathBuf>,
}

/// What was read, and what should not be there.
#[derive(Default)]
pub struct Report {
    checked: Vec<String>,
    findings: Vec<String>,
}

/// Why nothing can be told. Each prints as one line that says what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says it
pub enum AuditError {
    #[error(
        "there is no call log in {0}; name the relay's data folder with --data (a relay with --retention-days 0 has none)"
    )]
    Missing(PathBuf),
    #[error("{0} cannot be read: {1}; check path and permissions")]
    Unreadable(PathBuf, io::Error),
    #[error("{0}: {1}")]
    Canaries(PathBuf, CanaryError),
    #[error("{0} holds too many canaries for one search; split it")]
    Many(PathBuf),
    #[error("{0} is locked by another program; try again when that is done")]
    Locked(PathBuf),
    #[error(
        "{0} is no database that can be read: {1}; start the relay on it once, which repairs a write that was cut off"
    )]
    Broken(PathBuf, String),
}

/// Reads all of it at `now`, in Unix seconds.
pub async fn audit(request: &Request, now: i64) -> Result<Report, AuditError> {
    let scanner = request.search.as_deref().map(scanner).transpose()?;
    let mut report = Report::default();
    let store = request.data.join(FILE);
    // Without a call log a search still has what it was told to search.
    if !store.is_file() && (scanner.is_none() || request.also.is_empty()) {
        return Err(AuditError::Missing(request.data.clone()));
    }
    if request.data.is_dir() {
        files(&request.data, &mut report).map_err(|error| AuditError::Unreadable(request.data.clone(), error))?;
    }
    if store.is_file() {
        database(&store, now, &mut report).await?;
    }
    if let Some((scanner, canaries)) = scanner {
        let mut extent = Extent::default();
        for path in [&request.data].into_iter().filter(|data| data.is_dir()).chain(&request.also) {
            let hits = scanner.path(path, &mut extent);
            let hits = hits.map_err(|error| AuditError::Unreadable(path.clone(), error))?;
            report.findings.extend(hits.iter().map(ToString::to_string));
        }
        report.checked.push(format!(
            "{canaries} canaries in all their forms, in {} files of {} bytes together, and in their names",
            extent.files, extent.bytes
        ));
    }
    Ok(report)
}

impl Report {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.checked.iter().try_for_each(|line| writeln!(f, "checked: {line}"))?;
        self.findings.iter().try_for_each(|line| writeln!(f, "FOUND: {line}"))?;
        match self.findings.len() {
            0 => writeln!(f, "clean: nothing that should not be there"),
            1 => writeln!(f, "1 finding"),
            many => writeln!(f, "{many} findings"),
        }
    }
}

impl fmt::Display for scan::Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = if self.times == 1 { "once".to_owned() } else { format!("{} times", self.times) };
        write!(f, "the canary of line {} {}, {times}, in {:?} at byte {}", self.line, self.form, self.place, self.at)
    }
}

fn scanner(path: &Path) -> Result<(Scanner, usize), AuditError> {
    let text = std::fs::read_to_string(path).map_err(|error| AuditError::Unreadable(path.to_owned(), error))?;
    let canaries = Canary::parse_all(&text).map_err(|error| AuditError::Canaries(path.to_owned(), error))?;
    let scanner = Scanner::new(&canaries).map_err(|_| AuditError::Many(path.to_owned()))?;
    Ok((scanner, canaries.len()))
}

/// Everything in the folder that is not the call log is a finding, and told what it looks like.
fn files(folder: &Path, report: &mut Report) -> io::Result<()> {
    let (mut files, mut bytes) = (0_u64, 0);
    let journal = format!("{FILE}-journal");
    for entry in scan::entries(folder)?.into_iter().skip(1) {
        let name = entry.strip_prefix(folder).unwrap_or(&entry);
        let Ok(metadata) = entry.symlink_metadata() else { continue };
        files += 1;
        bytes += metadata.len();
        if name == Path::new(FILE) || name == Path::new(&journal) {
            continue;
        }
        let looks = if metadata.is_file() { looks::of(&mut File::open(&entry)?)? } else { Vec::new() };
        let looks = if looks.is_empty() { String::new() } else { format!("; it holds {}", looks.join(", ")) };
        report.findings.push(format!("{name:?} is no file of the call log{looks}"));
    }
    report.checked.push(format!("{files} files in the folder, of {bytes} bytes together"));
    Ok(())
}

/// Reads the database under a lock that keeps writers away, so that the file and its rows are those of one moment.
async fn database(path: &Path, now: i64, report: &mut Report) -> Result<(), AuditError> {
    let fail = |error: sqlx::Error| broken(path, &error);
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(PATIENCE);
    let mut connection = options.connect().await.map_err(fail)?;
    let mut lock = connection.begin().await.map_err(fail)?;
    let sql: &mut SqliteConnection = &mut lock;
    values::schema(sql, report).await.map_err(fail)?;
    values::rows(sql, now, report).await.map_err(fail)?;
    // Closing this file drops the lock, as POSIX has it, so it is closed after all else is read.
    let unreadable = |error| AuditError::Unreadable(path.to_owned(), error);
    let mut file = File::open(path).map_err(unreadable)?;
    pages::account(&mut file, report).map_err(unreadable)?;
    let looks = looks::of_rows(&mut file).map_err(unreadable)?;
    report.findings.extend(looks.iter().map(|what| format!("{FILE} holds {what}")));
    journal(path, report).map_err(unreadable)?;
    drop(file);
    lock.rollback().await.map_err(fail)
}

/// While nobody can write, the journal has nothing to hold.
fn journal(path: &Path, report: &mut Report) -> io::Result<()> {
    let journal = path.with_file_name(format!("{FILE}-journal"));
    match std::fs::metadata(&journal) {
        Ok(metadata) if metadata.len() > 0 => report.findings.push(format!(
            "{FILE}-journal holds {} bytes: of a write that waits for its turn (audit again), or that was cut off \
             (start the relay once)",
            metadata.len()
        )),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    Ok(())
}

fn broken(path: &Path, error: &sqlx::Error) -> AuditError {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        // SQLITE_BUSY and SQLITE_LOCKED
        Some(5 | 6) => AuditError::Locked(path.to_owned()),
        _ => AuditError::Broken(
            path.to_owned(),
            error.as_database_error().map_or("it cannot be opened", |error| error.message()).to_owned(),
        ),
    }
}

/// Longer than the relay ever writes at a time.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
