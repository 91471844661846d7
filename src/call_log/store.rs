//! The call log's SQL, on SQLite. Erased rows are overwritten (`secure_delete`) and the rollback journal is cut to
//! nothing after each transaction (`journal_mode=TRUNCATE`), so that no file keeps what was purged.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use sotto_signaling::call_log::{EndReason, EndedCall, ReceiptRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

/// The table of finished calls.
#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
    /// Whether rows were deleted of which parts may still lie in the file.
    unscrubbed: Arc<AtomicBool>,
}

/// One finished call, as it is stored.
#[derive(Clone)]
pub struct Row {
    pub(super) id: String,
    pub(super) ended_day: String,
    pub(super) duration_minutes: i64,
    pub(super) peak_participants: i64,
    pub(super) end_reason: EndReason,
    pub(super) expires_at: i64,
}

/// A row as it was read, whoever wrote it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the columns of the call log
pub struct Kept {
    pub id: String,
    pub ended_day: String,
    pub duration_minutes: i64,
    pub peak_participants: i64,
    pub end_reason: String,
    pub expires_at: i64,
}

/// Why the call log cannot be used. Prints paths of the operator's and nothing of any call.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or the file in it.
    #[error(
        "the call log {0} cannot be written: {1}; choose a folder of yours with --data-dir, or keep nothing with --retention-days 0"
    )]
    Unwritable(PathBuf, io::Error),
    /// A file of another kind or age.
    #[error("{0} is no call log of this version; move it away, or choose another folder with --data-dir")]
    Foreign(PathBuf),
    /// Another program holds it, for longer than one waits.
    #[error("the call log is locked by another program; end what reads or copies it, then try again")]
    Locked,
    /// The database said no, perhaps only for now.
    #[error("{}", reason(.0))]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match primary(&error) {
            // SQLITE_BUSY and SQLITE_LOCKED
            Some(5 | 6) => Self::Locked,
            _ => Self::Database(error),
        }
    }
}

impl Kept {
    /// The names, in the order of the table.
    pub const COLUMNS: [&str; 6] = COLUMNS;

    /// The values as texts, in the same order.
    pub fn fields(&self) -> [String; 6] {
        [
            self.id.clone(),
            self.ended_day.clone(),
            self.duration_minutes.to_string(),
            self.peak_participants.to_string(),
            self.end_reason.clone(),
            self.expires_at.to_string(),
        ]
    }
}

impl Row {
    /// The row of a call that ended now, in Unix seconds. Its time is cut to the hour: to the second it would tell
    /// when the call ended, which `ended_day` takes care not to.
    pub fn new(call: EndedCall, now: i64, retention: Duration) -> Self {
        let expires = now.saturating_add(retention.as_secs() as i64);
        Self {
            id: format!("{:032x}", rand::random::<u128>()),
            ended_day: super::day(now),
            duration_minutes: call.duration.as_millis().div_ceil(60_000).max(1) as i64,
            peak_participants: call.peak_participants.into(),
            end_reason: call.reason,
            expires_at: to_the_hour(expires),
        }
    }

    /// The row as its call's participants are told of it.
    pub fn receipt(&self) -> ReceiptRow {
        let number = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        ReceiptRow {
            ended_day: self.ended_day.clone(),
            duration_minutes: number(self.duration_minutes),
            peak_participants: number(self.peak_participants),
            end_reason: self.end_reason,
            expires_at: self.expires_at,
        }
    }
}

impl Store {
    /// Opens the file in the folder. Where nothing is to be kept and nothing was kept before, no file is made: then
    /// the table lives in memory, so that what is said of it still comes from the schema.
    pub async fn open(folder: &Path, keep: bool) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let pool = if keep || path.exists() {
            prepare(folder, &path).map_err(|error| StoreError::Unwritable(path.clone(), error))?;
            let options = writing(BUSY).filename(&path);
            SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_lazy_with(options)
        } else {
            let pool = SqlitePoolOptions::new().max_connections(1).min_connections(1).idle_timeout(None);
            pool.max_lifetime(None).connect_lazy_with(writing(BUSY).in_memory(true))
        };
        // What an earlier run deleted and could not scrub is scrubbed by this one.
        let store = Self { pool, unscrubbed: Arc::new(AtomicBool::new(true)) };
        store.create(&path).await?;
        Ok(store)
    }

    /// Opens the file that is there, perhaps beside the relay, to read it or to write it. None where there is none.
    pub async fn existing(folder: &Path, write: bool) -> Result<Option<Self>, StoreError> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let options = if write { writing(PATIENT) } else { SqliteConnectOptions::new().busy_timeout(PATIENT) };
        let options = options.filename(&path).read_only(!write);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options);
        let store = Self { pool, unscrubbed: Arc::new(AtomicBool::new(false)) };
        let names = store.names(&path).await?;
        // One with more than that can be read and erased all the same.
        let known = COLUMNS.iter().all(|column| names.iter().any(|name| name == column));
        if known { Ok(Some(store)) } else { Err(StoreError::Foreign(path)) }
    }

    async fn create(&self, path: &Path) -> Result<(), StoreError> {
        sqlx::query(CREATE).execute(&self.pool).await.map_err(|error| foreign(error, path))?;
        let names = self.names(path).await?;
        if names == COLUMNS { Ok(()) } else { Err(StoreError::Foreign(path.to_owned())) }
    }

    async fn names(&self, path: &Path) -> Result<Vec<String>, StoreError> {
        let names = sqlx::query_scalar("SELECT name FROM pragma_table_info('call_log')").fetch_all(&self.pool);
        names.await.map_err(|error| foreign(error, path))
    }

    /// Writes one row. Writing it again changes nothing, so that a doubtful write can be repeated.
    pub async fn insert(&self, row: &Row) -> Result<(), StoreError> {
        sqlx::query(INSERT)
            .bind(&row.id)
            .bind(&row.ended_day)
            .bind(row.duration_minutes)
            .bind(row.peak_participants)
            .bind(row.end_reason.name())
            .bind(row.expires_at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Erases what is over at `now` (Unix seconds) and returns how many rows that were; [`Store::scrub`] then removes
    /// what is left of them. A row whose time lies further ahead than the retention was written under a longer setting
    /// or a wrong clock: its time is cut to what a new row would get.
    pub async fn purge(&self, now: i64, retention: Duration) -> Result<u64, StoreError> {
        let latest = to_the_hour(now.saturating_add(retention.as_secs() as i64));
        sqlx::query("UPDATE call_log SET expires_at = $1 WHERE expires_at > $1")
            .bind(latest)
            .execute(&self.pool)
            .await?;
        let outcome = sqlx::query("DELETE FROM call_log WHERE expires_at <= $1").bind(now).execute(&self.pool).await?;
        if outcome.rows_affected() > 0 {
            self.unscrubbed.store(true, Ordering::Relaxed);
        }
        Ok(outcome.rows_affected())
    }

    /// Writes the file anew where rows were deleted. `secure_delete` overwrites a deleted row where it lies, but not
    /// the copies that were left behind when rows moved from page to page: of 2,000 rows about two, in part.
    pub async fn scrub(&self) -> Result<(), StoreError> {
        if self.unscrubbed.load(Ordering::Relaxed) {
            sqlx::query("VACUUM").execute(&self.pool).await?;
            self.unscrubbed.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Erases every row and what is left of it. Returns how many there were.
    pub async fn erase(&self) -> Result<u64, StoreError> {
        let outcome = sqlx::query("DELETE FROM call_log").execute(&self.pool).await?;
        // Also when there was none: an earlier attempt may have been cut off in between.
        self.unscrubbed.store(true, Ordering::Relaxed);
        self.scrub().await?;
        Ok(outcome.rows_affected())
    }

    /// Every row, the oldest first.
    pub async fn rows(&self) -> Result<Vec<Kept>, StoreError> {
        let rows: Vec<(String, String, i64, i64, String, i64)> = sqlx::query_as(SELECT).fetch_all(&self.pool).await?;
        let kept = |(id, ended_day, duration_minutes, peak_participants, end_reason, expires_at)| Kept {
            id,
            ended_day,
            duration_minutes,
            peak_participants,
            end_reason,
            expires_at,
        };
        Ok(rows.into_iter().map(kept).collect())
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Every table that there is.
    pub async fn tables(&self) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            .fetch_all(&self.pool)
            .await?)
    }

    /// A table's columns with their types.
    pub async fn columns(&self, table: &str) -> Result<Vec<(String, String)>, StoreError> {
        Ok(sqlx::query_as("SELECT name, type FROM pragma_table_info($1)").bind(table).fetch_all(&self.pool).await?)
    }

    /// The number of rows, and the oldest one's day.
    pub async fn extent(&self) -> Result<(u64, Option<String>), StoreError> {
        let query = sqlx::query_as("SELECT count(*), min(ended_day) FROM call_log");
        let (rows, oldest): (i64, _) = query.fetch_one(&self.pool).await?;
        Ok((rows.unsigned_abs(), oldest))
    }

    #[cfg(test)]
    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }
}

/// Makes folder and file, readable by this user alone, and proves that both can be written.
fn prepare(folder: &Path, path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    // SQLite puts its journal beside the file.
    let probe = folder.join(format!("{FILE}-probe"));
    OpenOptions::new().create(true).append(true).mode(0o600).open(&probe)?;
    std::fs::remove_file(probe)
}

fn writing(patience: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .pragma("secure_delete", "ON")
        .pragma("temp_store", "MEMORY")
        .journal_mode(SqliteJournalMode::Truncate)
        .busy_timeout(patience)
}

fn to_the_hour(seconds: i64) -> i64 {
    seconds - seconds.rem_euclid(HOUR)
}

fn foreign(error: sqlx::Error, path: &Path) -> StoreError {
    match primary(&error) {
        // SQLITE_NOTADB and SQLITE_CORRUPT
        Some(26 | 11) => StoreError::Foreign(path.to_owned()),
        _ => error.into(),
    }
}

/// SQLite's result code without what extends it.
fn primary(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// SQLite's messages name tables and files; bound values never stand in them.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::PoolTimedOut => "the database stays locked".to_owned(),
        sqlx::Error::ColumnDecode { index, .. } => format!("{index} is of another type; see `sotto audit`"),
        _ => "the database cannot be reached".to_owned(),
    }
}

/// The database's name in its folder.
pub const FILE: &str = "call-log.sqlite";
const CREATE: &str = "CREATE TABLE IF NOT EXISTS call_log (\
    id TEXT PRIMARY KEY NOT NULL, ended_day TEXT NOT NULL, duration_minutes BIGINT NOT NULL, \
    peak_participants BIGINT NOT NULL, end_reason TEXT NOT NULL, expires_at BIGINT NOT NULL)";
const COLUMNS: [&str; 6] = ["id", "ended_day", "duration_minutes", "peak_participants", "end_reason", "expires_at"];
const INSERT: &str = "INSERT INTO call_log \
    (id, ended_day, duration_minutes, peak_participants, end_reason, expires_at) \
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING";
const SELECT: &str = "SELECT id, ended_day, duration_minutes, peak_participants, end_reason, expires_at \
    FROM call_log ORDER BY ended_day, id";
const HOUR: i64 = 3_600;
/// Another program reading the file holds a lock for moments; beyond that the writer comes back later.
const BUSY: Duration = Duration::from_secs(1);
/// An operator who waits for an answer can wait longer than the relay, which has others to serve.
const PATIENT: Duration = Duration::from_secs(5);
/// One for the writer, one for the transparency page.
const CONNECTIONS: u32 = 2;
