//! An audit of folders as relays leave them, and as no relay would.

use std::time::{Duration, SystemTime};

use sotto_signaling::call_log::{CallLog as _, EndReason, EndedCall};
use sqlx::sqlite::SqlitePool;

use super::*;
use crate::call_log::{CallLog, seconds};
use crate::transparency::{Settings, TlsEnd};

/// 2026-11-21, 20:26:40 UTC.
const NOW: i64 = 1_795_292_800;
const WEEK: Settings = Settings { tunnel: true, tls: TlsEnd::Relay, retention: Duration::from_secs(7 * 86_400) };

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW as u64)
}

/// A folder with the rows of so many calls.
async fn folder(calls: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let log = CallLog::open(folder.path(), WEEK, now).await.unwrap();
    for call in 0..calls {
        let duration = Duration::from_secs(60 * u64::from(call % 400));
        log.ended(EndedCall { duration, peak_participants: 1 + call % 90, reason: EndReason::Completed });
    }
    assert_eq!(log.close(Duration::from_secs(60)).await, 0);
    assert_eq!(seconds(now()), NOW);
    folder
}

async fn audited(folder: &Path, now: i64) -> Report {
    let request = Request { data: folder.to_owned(), search: None, also: Vec::new() };
    audit(&request, now).await.unwrap()
}

async fn sql(folder: &Path, text: &'static str) {
    let options = SqliteConnectOptions::new().filename(folder.join(FILE));
    let pool = SqlitePool::connect_with(options).await.unwrap();
    sqlx::query(text).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn a_folder_as_the_relay_leaves_it_is_clean() {
    for calls in [0, 1, 1_500] {
        let folder = folder(calls).await;
        let report = audited(folder.path(), NOW).await;
        assert!(report.is_clean(), "{report}");
        assert!(report.to_string().contains(&format!("checked: {calls} rows")), "{report}");
    }
}

#[tokio::test]
async fn every_value_of_another_form_is_told_without_repeating_it() {
    let folder = folder(2).await;
    for (change, fault) in [
        ("UPDATE call_log SET id = 'jackdaw' WHERE rowid = 1", "row 1: id is not 32 hex digits"),
        ("UPDATE call_log SET ended_day = '2026-13-40'", "row 1: ended_day is no day"),
        ("UPDATE call_log SET ended_day = '2026-12-31'", "row 2: ended_day lies ahead"),
        ("UPDATE call_log SET duration_minutes = 0", "duration_minutes is no number of minutes"),
        ("UPDATE call_log SET duration_minutes = 'jackdaw'", "duration_minutes is no number of minutes"),
        ("UPDATE call_log SET peak_participants = 172870142", "peak_participants is no number of people"),
        ("UPDATE call_log SET end_reason = 'jackdaw'", "end_reason is not completed, failed or drained"),
        ("UPDATE call_log SET expires_at = expires_at + 1", "expires_at is not to the hour"),
        ("UPDATE call_log SET expires_at = expires_at + 8640000", "expires_at lies beyond the longest retention"),
    ] {
        sql(folder.path(), change).await;
        let report = audited(folder.path(), NOW).await;
        assert!(report.findings.iter().any(|found| found.contains(fault)), "{change}: {report}");
        assert!(!report.to_string().contains("jackdaw"), "{report}");
    }
}

#[tokio::test]
async fn a_row_is_overdue_an_hour_after_its_time_and_not_before() {
    let folder = folder(1).await;
    let expires = NOW + 7 * 86_400 - (NOW + 7 * 86_400) % 3_600;
    assert!(audited(folder.path(), expires + 3_600).await.is_clean());
    let report = audited(folder.path(), expires + 3_601).await;
    assert!(report.to_string().contains("it should be erased for more than an hour"), "{report}");
}

#[tokio::test]
async fn what_is_no_part_of_the_call_log_is_told() {
    let folder = folder(3).await;
    sql(folder.path(), "ALTER TABLE call_log ADD COLUMN address TEXT").await;
    sql(folder.path(), "CREATE TABLE visits (agent TEXT)").await;
    sql(folder.path(), "INSERT INTO visits VALUES ('Mozilla/5.0 via https://calls.example.org/c from 192.0.2.7')")
        .await;
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    std::fs::write(folder.path().join("logs/today"), "joined from 192.0.2.7:50000").unwrap();
    let report = audited(folder.path(), NOW).await.to_string();
    for part in [
        "the column \"address\" is no part",
        "the table \"visits\" is no part",
        "\"logs\" is no file",
        "\"logs/today\" is no file of the call log; it holds what looks like an IPv4 address",
        "call-log.sqlite holds what looks like a link",
        "call-log.sqlite holds what looks like a browser's name",
        "call-log.sqlite holds what looks like an IPv4 address",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
}

#[tokio::test]
async fn a_row_that_was_deleted_without_overwriting_it_is_found_in_the_file() {
    let folder = folder(400).await;
    sql(folder.path(), "DELETE FROM call_log WHERE rowid % 3 = 0").await;
    let report = audited(folder.path(), NOW).await;
    assert!(report.to_string().contains("bytes that are in no row and not erased"), "{report}");
    sql(folder.path(), "DELETE FROM call_log").await;
    let report = audited(folder.path(), NOW).await;
    assert!(!report.is_clean(), "pages that were given up whole: {report}");
    sql(folder.path(), "VACUUM").await;
    let report = audited(folder.path(), NOW).await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn what_stands_in_an_unused_place_is_found_and_so_is_a_whole_page() {
    let folder = folder(5).await;
    let path = folder.path().join(FILE);
    let clean = std::fs::read(&path).unwrap();
    let gap = clean.windows(64).position(|window| window == [0; 64]).unwrap() + 32;
    for (at, bytes) in [(gap, &b"Ana!"[..]), (gap, b"10.77.0.1"), (clean.len(), &[7; 4_096])] {
        let mut changed = clean.clone();
        changed.resize(changed.len().max(at + bytes.len()), 0);
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        std::fs::write(&path, changed).unwrap();
        let report = audited(folder.path(), NOW).await;
        assert!(!report.is_clean(), "{} bytes at {at}: {report}", bytes.len());
    }
}

#[tokio::test]
async fn what_was_planted_is_found_in_the_folder_and_beside_it() {
    let folder = folder(2).await;
    let other = tempfile::tempdir().unwrap();
    let (search, log) = (other.path().join("canaries"), other.path().join("log"));
    std::fs::write(&search, "text:jackdaw\nip:192.0.2.7\n").unwrap();
    std::fs::write(&log, "nothing to see").unwrap();
    let request = Request { data: folder.path().to_owned(), search: Some(search), also: vec![log.clone()] };
    let report = audit(&request, NOW).await.unwrap();
    assert!(report.is_clean() && report.to_string().contains("2 canaries"), "{report}");
    std::fs::write(&log, "%6aackdaw").unwrap();
    sql(folder.path(), "UPDATE call_log SET ended_day = 'c0000207' WHERE rowid = 1").await;
    let report = audit(&request, NOW).await.unwrap().to_string();
    assert!(report.contains("the canary of line 1 percent-encoded, once"), "{report}");
    assert!(report.contains("the canary of line 2 in hex, once"), "{report}");
    assert!(!report.contains("jackdaw") && !report.contains("192.0.2.7"), "a finding repeats no canary: {report}");
}

#[tokio::test]
async fn what_cannot_be_told_names_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let request = |data: &Path, search: Option<&Path>| Request {
        data: data.to_owned(),
        search: search.map(Path::to_owned),
        also: Vec::new(),
    };
    let fail = async |request: Request| audit(&request, NOW).await.err().unwrap().to_string();
    assert!(fail(request(empty.path(), None)).await.contains("there is no call log"));
    std::fs::write(empty.path().join(FILE), "no database, but long enough to look at".repeat(50)).unwrap();
    assert!(fail(request(empty.path(), None)).await.contains("is no database"));
    let canaries = empty.path().join("canaries");
    assert!(fail(request(empty.path(), Some(&canaries))).await.contains("canaries cannot be read"));
    std::fs::write(&canaries, "jackdaw").unwrap();
    let text = fail(request(empty.path(), Some(&canaries))).await;
    assert!(text.contains("line 1 begins with none of") && !text.contains("jackdaw"), "{text}");
}

#[tokio::test]
async fn a_locked_database_is_told_as_locked() {
    let folder = folder(1).await;
    let options = SqliteConnectOptions::new().filename(folder.path().join(FILE));
    let mut locker = options.connect().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut locker).await.unwrap();
    let request = Request { data: folder.path().to_owned(), search: None, also: Vec::new() };
    let text = audit(&request, NOW).await.err().unwrap().to_string();
    assert!(text.contains("is locked by another program"), "{text}");
}
