//! Retention, proven: a row is gone in time through restarts, wrong clocks, locks and readers, and no byte of it is left
//! in any file. The scanner of `sotto audit` looks for whole ids and for halves, as text and as bytes.

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::*;
use crate::audit::canary::Canary;
use crate::audit::scan::{Extent, Hit, Scanner};
use crate::audit::{Request, audit};
use crate::call_log::store::FILE;

/// A clock of the test's own.
macro_rules! clock {
    ($set:ident, $read:ident) => {
        static SECONDS: AtomicU64 = AtomicU64::new(NOW);
        fn $read() -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(SECONDS.load(Ordering::Relaxed))
        }
        let $set = |seconds: u64| SECONDS.store(seconds, Ordering::Relaxed);
    };
}

/// In memory where that is possible: thousands of rows are written one by one, each to the disk.
pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A log whose writer does nothing until it is told.
async fn still(folder: &Path, clock: Clock) -> (CallLog, Writer) {
    let (log, writer, _inbox) = CallLog::prepare(folder, WEEK, clock).await.unwrap();
    (log, writer)
}

async fn write(writer: &mut Writer, calls: u64) -> Vec<String> {
    let before = ids(&writer.store).await;
    for minutes in 0..calls {
        let now = seconds((writer.clock)());
        writer.waiting.push_back(Row::new(call(60 * (1 + minutes % 400)), now, writer.retention));
    }
    writer.write().await;
    assert!(writer.waiting.is_empty());
    ids(&writer.store).await.into_iter().filter(|id| !before.contains(id)).collect()
}

pub(super) async fn ids(store: &Store) -> Vec<String> {
    store.rows().await.unwrap().into_iter().map(|row| row.id).collect()
}

/// Every trace of these ids in any file of the folder. Of an id that was overwritten in part a half may be left.
fn traces(folder: &Path, ids: &[String]) -> Vec<Hit> {
    let lines: String = ids.iter().map(|id| format!("text:{}\ntext:{}\nhex:{id}\n", &id[..16], &id[16..])).collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let scanner = Scanner::new(&Canary::parse_all(&lines).unwrap()).unwrap();
    scanner.path(folder, &mut Extent::default()).unwrap()
}

async fn connect(folder: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(folder.join(FILE))).await.unwrap()
}

#[tokio::test]
async fn an_hour_after_its_time_no_byte_of_a_row_is_in_any_file_however_many_live_on() {
    clock!(set, now);
    let folder = folder();
    let (_log, mut writer) = still(folder.path(), now).await;
    let mut days: Vec<Vec<String>> = Vec::new();
    for day in 0..16 {
        set(NOW + day * DAY);
        days.push(write(&mut writer, 60).await);
        set(NOW + day * DAY + 3_600);
        writer.purge_when_due().await;
        let over = days.len().saturating_sub(7);
        let living = days[over..].concat();
        assert_eq!(ids(&writer.store).await.len(), living.len());
        if over > 0 {
            let left = traces(folder.path(), &days[over - 1]);
            assert!(left.is_empty(), "day {day}: {} traces: {:?}", left.len(), left.first());
            let request = Request { data: folder.path().to_owned(), search: None, also: Vec::new() };
            let report = audit(&request, (NOW + day * DAY + 3_600) as i64).await.unwrap();
            assert!(report.is_clean() && !report.to_string().contains("copies of parts"), "day {day}: {report}");
        }
    }
    let (gone, living) = days.split_at(days.len() - 7);
    let left = traces(folder.path(), &gone.concat());
    assert!(left.is_empty(), "{} traces: {:?}", left.len(), left.first());
    assert!(traces(folder.path(), &living[0][..1]).len() >= 2, "the scan finds what is there");
    assert_eq!(writer.totals.purged.load(Ordering::Relaxed), 9 * 60);
}

#[tokio::test]
async fn a_purge_holds_through_restarts() {
    clock!(set, now);
    let folder = folder();
    let (log, mut writer) = still(folder.path(), now).await;
    let written = write(&mut writer, 100).await;
    drop((log, writer));
    set(NOW + 7 * DAY - 2 * 3_600);
    let (log, writer) = still(folder.path(), now).await;
    assert_eq!(ids(&writer.store).await.len(), 100, "before its time a restart takes nothing");
    drop((log, writer));
    set(NOW + 7 * DAY);
    let (log, writer) = still(folder.path(), now).await;
    assert!(ids(&writer.store).await.is_empty() && traces(folder.path(), &written).is_empty());
    assert_eq!(log.totals().purged.load(Ordering::Relaxed), 100);
}

#[tokio::test]
async fn what_a_relay_that_was_killed_left_half_erased_the_next_one_erases() {
    clock!(set, now);
    let folder = folder();
    let (log, mut writer) = still(folder.path(), now).await;
    let written = write(&mut writer, 400).await;
    drop((log, writer));
    let mut killed = connect(folder.path()).await;
    for text in ["PRAGMA secure_delete = OFF", "DELETE FROM call_log WHERE rowid % 2 = 0"] {
        sqlx::query(text).execute(&mut killed).await.unwrap();
    }
    killed.close().await.unwrap();
    set(NOW + 60);
    let (_log, writer) = {
        assert!(traces(folder.path(), &written).len() > 400 * 2, "deleted rows are still in the file");
        still(folder.path(), now).await
    };
    let living = ids(&writer.store).await;
    let gone: Vec<String> = written.into_iter().filter(|id| !living.contains(id)).collect();
    assert!(gone.len() == 200 && traces(folder.path(), &gone).is_empty());
}

#[tokio::test]
async fn a_clock_set_forward_back_or_asleep_lets_no_row_live_longer() {
    clock!(set, now);
    let folder = folder();
    let (_log, mut writer) = still(folder.path(), now).await;
    // Asleep for eight days: the first look at the clock purges.
    let asleep = write(&mut writer, 5).await;
    set(NOW + 8 * DAY);
    writer.purge_when_due().await;
    assert!(ids(&writer.store).await.is_empty() && traces(folder.path(), &asleep).is_empty());
    // A year ahead, then right again: what was written under the wrong year goes a week from now.
    set(NOW + 365 * DAY);
    writer.purge_when_due().await;
    let ahead = write(&mut writer, 5).await;
    set(NOW + 8 * DAY);
    writer.purge_when_due().await;
    let latest = writer.store.rows().await.unwrap().iter().map(|row| row.expires_at).max().unwrap();
    assert!(latest <= (NOW + 15 * DAY) as i64 && latest % 3_600 == 0, "cut to a week, and to the hour");
    // A month back, after the last purge: it is noticed at once, not when the clock has come forward again.
    set(NOW - 22 * DAY);
    writer.purge_when_due().await;
    assert_eq!(ids(&writer.store).await.len(), 5);
    set(NOW - 15 * DAY);
    writer.purge_when_due().await;
    assert!(ids(&writer.store).await.is_empty() && traces(folder.path(), &ahead).is_empty());
}

#[tokio::test]
async fn a_purge_that_meets_a_lock_is_repeated_until_it_is_done() {
    clock!(set, now);
    let folder = folder();
    let (_log, mut writer) = still(folder.path(), now).await;
    let written = write(&mut writer, 20).await;
    set(NOW + 7 * DAY);
    let mut locker = connect(folder.path()).await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut locker).await.unwrap();
    writer.waiting.push_back(Row::new(call(60), (NOW + 7 * DAY) as i64, WEEK.retention));
    for _ in 0..2 {
        writer.purge_when_due().await;
        writer.write().await;
    }
    assert!(writer.failing && writer.waiting.len() == 1, "the row waits");
    sqlx::query("ROLLBACK").execute(&mut locker).await.unwrap();
    assert_eq!(ids(&writer.store).await.len(), 20);
    writer.purge_when_due().await;
    writer.write().await;
    assert!(traces(folder.path(), &written).is_empty() && !writer.failing);
    assert_eq!(ids(&writer.store).await.len(), 1, "what waited is written once");
    let totals = &writer.totals;
    let counts = [&totals.written, &totals.purged, &totals.lost, &totals.waiting];
    assert_eq!(counts.map(|count| count.load(Ordering::Relaxed)), [21, 20, 0, 0]);
}

#[tokio::test]
async fn an_open_reader_delays_a_purge_and_cannot_keep_what_was_purged() {
    clock!(set, now);
    let folder = folder();
    let (_log, mut writer) = still(folder.path(), now).await;
    let written = write(&mut writer, 300).await;
    let mut reader = connect(folder.path()).await;
    let mut reading = reader.begin().await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM call_log").fetch_one(&mut *reading).await.unwrap();
    assert_eq!(seen, 300);
    set(NOW + 7 * DAY);
    writer.purge_when_due().await;
    assert!(writer.failing, "the reader's moment is held");
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM call_log").fetch_one(&mut *reading).await.unwrap();
    assert_eq!(seen, 300);
    reading.rollback().await.unwrap();
    writer.purge_when_due().await;
    let left = traces(folder.path(), &written);
    assert!(left.is_empty(), "{} traces with the reader still connected", left.len());
    assert_eq!(writer.totals.purged.load(Ordering::Relaxed), 300);
}

#[tokio::test]
async fn erasing_now_leaves_no_byte_either_and_tells_who_is_in_the_way() {
    let folder = folder();
    let (_log, mut writer) = still(folder.path(), now).await;
    let written = write(&mut writer, 300).await;
    let mut reader = connect(folder.path()).await;
    let mut reading = reader.begin().await.unwrap();
    let _: i64 = sqlx::query_scalar("SELECT count(*) FROM call_log").fetch_one(&mut *reading).await.unwrap();
    let operator = Store::existing(folder.path(), true).await.unwrap().unwrap();
    assert!(matches!(operator.erase().await, Err(StoreError::Locked)));
    reading.rollback().await.unwrap();
    assert_eq!(operator.erase().await.unwrap(), 300);
    let left = traces(folder.path(), &written);
    assert!(left.is_empty(), "{} traces", left.len());
    assert_eq!(write(&mut writer, 1).await.len(), 1, "the relay beside it writes on");
}

#[tokio::test]
async fn a_start_waits_for_a_lock_and_does_not_serve_before_the_purge() {
    let folder = folder();
    let (log, mut writer) = still(folder.path(), now).await;
    let written = write(&mut writer, 10).await;
    drop((log, writer));
    let mut locker = connect(folder.path()).await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut locker).await.unwrap();
    let path = folder.path().to_owned();
    let start = tokio::spawn(async move { CallLog::open(&path, WEEK, after_a_week).await.map(|log| log.store) });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!start.is_finished());
    sqlx::query("ROLLBACK").execute(&mut locker).await.unwrap();
    let store = start.await.unwrap().unwrap();
    assert!(ids(&store).await.is_empty() && traces(folder.path(), &written).is_empty());
}
