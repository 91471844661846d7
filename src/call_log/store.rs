//! The call log's SQL, on SQLite. Erased rows are overwritten (`secure_delete`) and the rollback journal is cut to
//! nothing after each transaction (`journal_mode=TRUNCATE`), so that no file keeps what was purged.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sotto_signaling::call_log::{EndReason, EndedCall, ReceiptRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

/// The table of finished calls.
#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
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
    /// The database said no, perhaps only for now.
    #[error("{}", reason(.0))]
    Database(#[from] sqlx::Error),
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
            expires_at: expires - expires.rem_euclid(HOUR),
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
        let options = SqliteConnectOptions::new()
            .pragma("secure_delete", "ON")
            .pragma("temp_store", "MEMORY")
            .journal_mode(SqliteJournalMode::Truncate)
            .busy_timeout(BUSY);
        let pool = if keep || path.exists() {
            prepare(folder, &path).map_err(|error| StoreError::Unwritable(path.clone(), error))?;
            SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_lazy_with(options.filename(&path))
        } else {
            let pool = SqlitePoolOptions::new().max_connections(1).min_connections(1).idle_timeout(None);
            pool.max_lifetime(None).connect_lazy_with(options.in_memory(true))
        };
        let store = Self { pool };
        store.create(&path).await?;
        Ok(store)
    }

    async fn create(&self, path: &Path) -> Result<(), StoreError> {
        match sqlx::query(CREATE).execute(&self.pool).await {
            Ok(_) => {}
            Err(error) if is_foreign(&error) => return Err(StoreError::Foreign(path.to_owned())),
            Err(error) => return Err(error.into()),
        }
        let columns = self.columns("call_log").await?;
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        if names == COLUMNS { Ok(()) } else { Err(StoreError::Foreign(path.to_owned())) }
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

    /// Erases what is over at `now` (Unix seconds) and returns how many rows that were. A row whose time lies further
    /// ahead than the retention was written under a longer setting or a wrong clock: its time is cut to what a new
    /// row would get.
    pub async fn purge(&self, now: i64, retention: Duration) -> Result<u64, StoreError> {
        let latest = now.saturating_add(retention.as_secs() as i64);
        sqlx::query("UPDATE call_log SET expires_at = $1 WHERE expires_at > $1")
            .bind(latest)
            .execute(&self.pool)
            .await?;
        let outcome = sqlx::query("DELETE FROM call_log WHERE expires_at <= $1").bind(now).execute(&self.pool).await?;
        Ok(outcome.rows_affected())
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

fn is_foreign(error: &sqlx::Error) -> bool {
    // SQLITE_NOTADB and SQLITE_CORRUPT
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("26" | "11"))
}

/// SQLite's messages name tables and files; bound values never stand in them.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::PoolTimedOut => "the database stays locked".to_owned(),
        _ => "the database cannot be reached".to_owned(),
    }
}

const FILE: &str = "call-log.sqlite";
const CREATE: &str = "CREATE TABLE IF NOT EXISTS call_log (\
    id TEXT PRIMARY KEY NOT NULL, ended_day TEXT NOT NULL, duration_minutes BIGINT NOT NULL, \
    peak_participants BIGINT NOT NULL, end_reason TEXT NOT NULL, expires_at BIGINT NOT NULL)";
const COLUMNS: [&str; 6] = ["id", "ended_day", "duration_minutes", "peak_participants", "end_reason", "expires_at"];
const INSERT: &str = "INSERT INTO call_log \
    (id, ended_day, duration_minutes, peak_participants, end_reason, expires_at) \
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING";
const HOUR: i64 = 3_600;
/// Another program reading the file holds a lock for moments; beyond that the writer comes back later.
const BUSY: Duration = Duration::from_secs(1);
/// One for the writer, one for the transparency page.
const CONNECTIONS: u32 = 2;
