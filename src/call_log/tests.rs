//! The call log: what is written, what is not, and that nothing is left of what was purged.

use sotto_signaling::call_log::{CallLog as _, EndReason};
use sqlx::Row as _;

use super::*;
use crate::transparency::TlsEnd;

mod full_disk;
mod receipt;
mod retention;

const WEEK: Settings = keep(7 * DAY);
/// 2026-11-21, 20:26:40 UTC.
const NOW: u64 = 1_795_292_800;

const fn keep(seconds: u64) -> Settings {
    Settings { tunnel: true, tls: TlsEnd::Relay, retention: Duration::from_secs(seconds) }
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn after_a_week() -> SystemTime {
    now() + WEEK.retention
}

fn call(seconds: u64) -> EndedCall {
    EndedCall { duration: Duration::from_secs(seconds), peak_participants: 3, reason: EndReason::Completed }
}

async fn rows(log: &CallLog) -> Vec<sqlx::sqlite::SqliteRow> {
    sqlx::query("SELECT * FROM call_log").fetch_all(log.store.pool()).await.unwrap()
}

/// The file's bytes that stand in any file of the folder.
fn stands_in(folder: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

#[tokio::test]
async fn a_finished_call_leaves_one_row_with_the_documented_columns() {
    let folder = tempfile::tempdir().unwrap();
    let log = CallLog::open(folder.path(), WEEK, now).await.unwrap();
    log.ended(call(61));
    assert_eq!(log.close(Duration::from_secs(5)).await, 0);
    let rows = rows(&log).await;
    assert_eq!(rows.len(), 1);
    let names: Vec<&str> = rows[0].columns().iter().map(sqlx::Column::name).collect();
    assert_eq!(names, ["id", "ended_day", "duration_minutes", "peak_participants", "end_reason", "expires_at"]);
    assert_eq!(rows[0].get::<String, _>("id").len(), 32);
    assert_eq!(rows[0].get::<String, _>("ended_day"), "2026-11-21");
    assert_eq!(rows[0].get::<i64, _>("duration_minutes"), 2, "rounded up");
    assert_eq!(rows[0].get::<i64, _>("peak_participants"), 3);
    assert_eq!(rows[0].get::<String, _>("end_reason"), "completed");
    let expires = rows[0].get::<i64, _>("expires_at");
    assert_eq!(expires % 3_600, 0, "the second of its end is not kept");
    let exact = (NOW + WEEK.retention.as_secs()) as i64;
    assert!(expires <= exact && expires > exact - 3_600);
    assert_eq!(log.totals().written.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_receipt_says_what_is_stored_and_asking_for_one_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = CallLog::open(folder.path(), WEEK, now).await.unwrap();
    let early = log.receipt(call(59));
    assert_eq!(early.row.map(|row| row.duration_minutes), Some(1));
    let told = log.ended(call(61));
    assert_eq!((told.retention_days, log.close(Duration::from_secs(5)).await), (7, 0));
    let (rows, told) = (rows(&log).await, told.row.expect("a row is kept"));
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<String, _>("ended_day"), told.ended_day);
    assert_eq!(rows[0].get::<i64, _>("duration_minutes"), i64::from(told.duration_minutes));
    assert_eq!(rows[0].get::<i64, _>("peak_participants"), i64::from(told.peak_participants));
    assert_eq!(rows[0].get::<String, _>("end_reason"), told.end_reason.name());
    assert_eq!(rows[0].get::<i64, _>("expires_at"), told.expires_at);

    let folder = tempfile::tempdir().unwrap();
    let log = CallLog::open(folder.path(), keep(0), now).await.unwrap();
    let nothing = Receipt { retention_days: 0, row: None };
    assert_eq!([log.receipt(call(61)), log.ended(call(61))], [nothing.clone(), nothing]);
}

#[tokio::test]
async fn without_retention_nothing_touches_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let unmade = folder.path().join("data");
    let log = CallLog::open(&unmade, keep(0), now).await.unwrap();
    log.ended(call(60));
    log.close(Duration::from_secs(5)).await;
    assert!(rows(&log).await.is_empty());
    assert!(!unmade.exists());
    assert_eq!(log.transparency().await.unwrap()["tables"][0]["columns"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn without_retention_what_an_earlier_setting_left_is_erased() {
    let folder = tempfile::tempdir().unwrap();
    let log = CallLog::open(folder.path(), WEEK, now).await.unwrap();
    log.ended(call(60));
    log.close(Duration::from_secs(5)).await;
    let id = rows(&log).await[0].get::<String, _>("id");
    assert!(stands_in(folder.path(), id.as_bytes()));
    log.store.pool().close().await;
    let log = CallLog::open(folder.path(), keep(0), now).await.unwrap();
    assert!(rows(&log).await.is_empty() && !stands_in(folder.path(), id.as_bytes()));
    assert_eq!(log.totals().purged.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_row_past_its_time_is_in_no_file_though_a_reader_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let log = CallLog::open(folder.path(), WEEK, now).await.unwrap();
    for _ in 0..300 {
        log.ended(call(60));
    }
    assert_eq!(log.close(Duration::from_secs(30)).await, 0);
    let ids: Vec<String> = rows(&log).await.iter().map(|row| row.get("id")).collect();
    assert_eq!(ids.len(), 300);
    assert!(ids.iter().all(|id| stands_in(folder.path(), id.as_bytes())), "the scan finds what is there");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("call-log.sqlite"));
    let reader = SqlitePoolOf::connect_with(options).await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM call_log").fetch_one(&reader).await.unwrap();
    assert_eq!(seen, 300);
    let restarted = CallLog::open(folder.path(), WEEK, after_a_week).await.unwrap();
    assert_eq!(restarted.totals().purged.load(Ordering::Relaxed), 300);
    let left: Vec<&String> = ids.iter().filter(|id| stands_in(folder.path(), id.as_bytes())).collect();
    assert!(left.is_empty(), "{} of 300 ids are still there", left.len());
    reader.close().await;
}

type SqlitePoolOf = sqlx::sqlite::SqlitePool;

#[tokio::test]
async fn every_pooled_connection_overwrites_what_it_deletes() {
    let folder = tempfile::tempdir().unwrap();
    let log = CallLog::open(folder.path(), WEEK, now).await.unwrap();
    let (mut first, mut second) =
        (log.store.pool().acquire().await.unwrap(), log.store.pool().acquire().await.unwrap());
    for connection in [&mut first, &mut second] {
        let secure: i64 = sqlx::query_scalar("PRAGMA secure_delete").fetch_one(&mut **connection).await.unwrap();
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut **connection).await.unwrap();
        assert_eq!((secure, journal.as_str()), (1, "truncate"));
    }
}

#[tokio::test]
async fn a_clock_that_was_a_year_ahead_lets_no_row_live_longer() {
    let folder = tempfile::tempdir().unwrap();
    let log = CallLog::open(folder.path(), WEEK, || now() + Duration::from_secs(365 * DAY)).await.unwrap();
    log.ended(call(60));
    log.close(Duration::from_secs(5)).await;
    let store = log.store.clone();
    assert_eq!(store.purge(NOW as i64, WEEK.retention).await.unwrap(), 0);
    assert_eq!(store.purge((NOW + WEEK.retention.as_secs()) as i64, WEEK.retention).await.unwrap(), 1);
}

#[tokio::test]
async fn rows_wait_for_a_locked_store_and_are_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = CallLog::open(folder.path(), WEEK, now).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("call-log.sqlite"));
    let locker = SqlitePoolOf::connect_with(options).await.unwrap();
    let mut lock = locker.acquire().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut *lock).await.unwrap();
    log.ended(call(60));
    log.ended(call(60));
    assert_eq!(log.close(Duration::from_secs(30)).await, 2, "both still wait, none is lost");
    sqlx::query("ROLLBACK").execute(&mut *lock).await.unwrap();
    assert_eq!(log.close(Duration::from_secs(5)).await, 0);
    assert_eq!(rows(&log).await.len(), 2);
    assert_eq!(log.totals().lost.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn every_stored_column_is_stated_with_meaning_and_lifetime() {
    let folder = tempfile::tempdir().unwrap();
    let log = CallLog::open(folder.path(), WEEK, now).await.unwrap();
    log.ended(call(60));
    log.close(Duration::from_secs(5)).await;
    let page = log.transparency().await.unwrap();
    let columns = page["tables"][0]["columns"].as_array().unwrap();
    assert_eq!((page["tables"].as_array().unwrap().len(), columns.len()), (1, 6));
    for column in columns {
        assert!(column["meaning"].is_string() && column["lifetime"].is_string(), "{column} is unexplained");
    }
    assert_eq!((page["retention_days"].as_u64(), page["rows"].as_u64()), (Some(7), Some(1)));
    assert_eq!(page["oldest_row_age_days"].as_u64(), Some(0));
    assert_eq!(page["since_start"]["rows_written"].as_u64(), Some(1));
    sqlx::query("ALTER TABLE call_log ADD COLUMN address TEXT").execute(log.store.pool()).await.unwrap();
    let page = log.transparency().await.unwrap();
    assert!(page["tables"][0]["columns"][6]["meaning"].is_null(), "a new column shows up by itself");
}

#[tokio::test]
async fn a_folder_or_file_that_cannot_serve_is_named_with_its_fix() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "x").unwrap();
    let text = CallLog::open(&blocked, WEEK, now).await.err().unwrap().to_string();
    assert!(text.contains("--data-dir") && !text.contains('\n'), "{text}");
    std::fs::write(folder.path().join("call-log.sqlite"), "no database, but long enough to look at".repeat(50))
        .unwrap();
    let text = CallLog::open(folder.path(), WEEK, now).await.err().unwrap().to_string();
    assert!(text.contains("is no call log"), "{text}");
}

#[test]
fn days_are_counted_over_months_and_years() {
    assert_eq!(day(1_709_208_000), "2024-02-29");
    let (early, late) = (day_number("2025-12-31").unwrap(), day_number("2026-01-01").unwrap());
    assert_eq!(late - early, 1);
    assert_eq!(day_number("yesterday"), None);
}
