//! What `/transparency` states: the stored fields from the store's schema, what the relay can see from the running
//! configuration, and the hashes of what runs. docs/transparency.example.json shows one, for whoever reads it by program.

pub mod build;
mod sight;

use std::time::Duration;

use serde::Serialize;

use build::Build;

/// What of the running configuration is stated. It holds no address, no path and no secret, so that none can be told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whether two people may use the tunnel.
    pub tunnel: bool,
    /// Where the browsers' TLS ends.
    pub tls: TlsEnd,
    /// How long a row of the call log lives; zero means that none is written.
    pub retention: Duration,
}

/// Where the TLS of page and signaling ends.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsEnd {
    /// In this program.
    Relay,
    /// In a proxy before it, which therefore reads what signaling carries.
    Proxy,
    /// There is none: this machine alone is served.
    None,
}

/// The whole statement, as JSON names it.
#[derive(Serialize)]
pub struct Statement {
    version: &'static str,
    build: Build,
    /// In one sentence, for a person.
    summary: String,
    retention_days: u64,
    most_retention_days: u64,
    /// After a row's time is over.
    erased_within_minutes: u64,
    tables: Vec<Table>,
    rows: u64,
    oldest_row_age_days: Option<i64>,
    since_start: SinceStart,
    /// Of the open calls, in memory alone.
    in_memory: Vec<sight::Held>,
    tls: sight::Tls,
    modes: Vec<sight::Mode>,
    never: Vec<sight::Never>,
}

/// One table of the store.
#[derive(Serialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns, as the store says they are.
    pub columns: Vec<Column>,
}

/// One column of a table.
#[derive(Serialize)]
pub struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    /// Absent for a column that nobody wrote about: a defect, which the page shows.
    meaning: Option<&'static str>,
    lifetime: Option<String>,
}

/// What the store holds now.
pub struct Stored {
    /// Every table of it.
    pub tables: Vec<Table>,
    /// Rows.
    pub rows: u64,
    /// Age of the oldest one.
    pub oldest_row_age_days: Option<i64>,
    /// What was done since start.
    pub since_start: SinceStart,
}

/// What was done with rows since the relay was started.
#[derive(Clone, Copy, Serialize)]
#[allow(missing_docs)] // each is what it is called
pub struct SinceStart {
    pub rows_written: u64,
    pub rows_purged: u64,
    pub rows_waiting: u64,
    pub rows_lost: u64,
}

impl Column {
    /// A column of the store, with what is known about it.
    pub fn new(table: &str, name: String, kind: String, retention: Duration) -> Self {
        let known = COLUMNS.iter().find(|(at, column, _)| (*at, *column) == (table, name.as_str()));
        let meaning = known.map(|(_, _, meaning)| *meaning);
        Self { lifetime: meaning.map(|_| lifetime(retention)), name, kind, meaning }
    }

    /// Whether it is known what it is for.
    pub fn is_known(&self) -> bool {
        self.meaning.is_some() && self.lifetime.is_some()
    }
}

/// Puts together what is stated.
pub fn statement(settings: Settings, build: Build, stored: Stored) -> Statement {
    let Stored { tables, rows, oldest_row_age_days, since_start } = stored;
    Statement {
        version: env!("CARGO_PKG_VERSION"),
        build,
        summary: summary(settings.retention),
        retention_days: days(settings.retention),
        most_retention_days: days(MOST_RETENTION),
        erased_within_minutes: ERASED_WITHIN.as_secs() / 60,
        tables,
        rows,
        oldest_row_age_days,
        since_start,
        in_memory: sight::in_memory(settings),
        tls: sight::tls(settings.tls),
        modes: sight::modes(settings),
        never: sight::never(),
    }
}

fn summary(retention: Duration) -> String {
    match days(retention) {
        0 => "Nothing about calls is stored.".to_owned(),
        days => format!(
            "Of each finished call one row is stored, and erased {}, at the latest an hour later. It tells when, how \
             long and how many, and not who, from where or what.",
            after(days)
        ),
    }
}

fn lifetime(retention: Duration) -> String {
    match days(retention) {
        0 => "never written".to_owned(),
        days => format!("erased with its row, {} after the call, at the latest an hour later", span(days)),
    }
}

fn after(days: u64) -> String {
    format!("after {}", span(days))
}

fn span(days: u64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

fn days(time: Duration) -> u64 {
    time.as_secs() / 86_400
}

/// The longest retention that can be set: long enough to compare quarters of a year, and no option widens it.
pub const MOST_RETENTION: Duration = Duration::from_secs(90 * 86_400);

/// A row is gone this long after its time at the latest: rows are looked at twice in it, so that a try may fail.
pub const ERASED_WITHIN: Duration = Duration::from_secs(3_600);

/// What each column is for. One that stands not here fails a test, and shows on the page as unexplained.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("call_log", "id", "a random number that names this row and nothing else"),
    ("call_log", "ended_day", "the day, in UTC, on which the call ended"),
    ("call_log", "duration_minutes", "how long it lasted, in minutes, rounded up"),
    ("call_log", "peak_participants", "the most people who were in it at one time"),
    ("call_log", "end_reason", "why it ended: completed, failed or drained"),
    ("call_log", "expires_at", "when this row is erased, in Unix seconds, to the hour"),
];

#[cfg(test)]
mod tests;
