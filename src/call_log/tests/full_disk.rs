//! A disk that is really full: a file system of half a megabyte in memory, mounted where nobody else sees it. Where this
//! machine lets no test mount one, SQLite is told that the file may not grow.
#![allow(clippy::print_stdout)] // says on which of the two it was tested

use std::io::Write;
use std::process::Command;

use super::retention::{folder, ids};
use super::*;

/// Names the mounted folder to the test that runs a second time inside of it.
const MOUNTED: &str = "SOTTO_TEST_SMALL_DISK";
const NAME: &str = "call_log::tests::full_disk::rows_wait_for_a_full_disk_and_none_is_lost";

#[test]
fn rows_wait_for_a_full_disk_and_none_is_lost() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Ok(mounted) = std::env::var(MOUNTED) {
        return runtime.block_on(on_a_disk(Path::new(&mounted)));
    }
    let folder = folder();
    let script = "mount -t tmpfs -o size=512k tmpfs \"$0\" && exec \"$@\"";
    let mut again = Command::new("unshare");
    again.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(folder.path());
    again.arg(std::env::current_exe().unwrap()).args(["--exact", NAME, "--nocapture"]).env(MOUNTED, folder.path());
    let ran = again.output();
    let text = ran.as_ref().map_or_else(|_| String::new(), |ran| String::from_utf8_lossy(&ran.stdout).into_owned());
    if text.contains("running 1 test") {
        let errors = String::from_utf8_lossy(&ran.as_ref().unwrap().stderr).into_owned();
        assert!(ran.unwrap().status.success() && text.contains(FULL), "{text}{errors}");
        println!("on a file system of its own that was filled");
    } else {
        runtime.block_on(with_a_file_that_may_not_grow(folder.path()));
        println!("with a file that may not grow, for nothing can be mounted here");
    }
}

const FULL: &str = "the disk was full";

async fn on_a_disk(mount: &Path) {
    let data = mount.join("data");
    let (log, mut writer, _inbox) = CallLog::prepare(&data, WEEK, now).await.unwrap();
    fill(&mut writer, 50).await;
    assert_eq!(ids(&log.store).await.len(), 50);
    // Everything else on the disk is taken by something else.
    let mut filler = std::fs::File::create(mount.join("filler")).unwrap();
    let error = loop {
        if let Err(error) = filler.write_all(&[1; 1_024]) {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    println!("{FULL}");
    fill(&mut writer, 40).await;
    assert!(writer.failing && !writer.waiting.is_empty(), "{} wait", writer.waiting.len());
    // The time of the first rows is over while the disk is full.
    writer.clock = after_a_week;
    writer.purge_when_due().await;
    assert!(writer.failing && ids(&log.store).await.len() >= 50, "it cannot be done, and is not forgotten");
    drop(filler);
    std::fs::remove_file(mount.join("filler")).unwrap();
    writer.purge_when_due().await;
    writer.write().await;
    assert!(!writer.failing && writer.waiting.is_empty());
    let totals = [&writer.totals.written, &writer.totals.lost].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(totals, [90, 0], "every row was written once, none was lost");
    writer.purged_at = now();
    writer.purge_when_due().await;
    assert_eq!(writer.totals.purged.load(Ordering::Relaxed), 90);
    assert!(ids(&log.store).await.is_empty());
}

async fn fill(writer: &mut Writer, calls: u64) {
    let row = |_| Row::new(call(60), NOW as i64, WEEK.retention);
    writer.waiting.extend((0..calls).map(row));
    writer.write().await;
}

async fn with_a_file_that_may_not_grow(folder: &Path) {
    let (log, mut writer, _inbox) = CallLog::prepare(folder, WEEK, now).await.unwrap();
    let mut all = [log.store.pool().acquire().await.unwrap(), log.store.pool().acquire().await.unwrap()];
    for connection in &mut all {
        sqlx::query("PRAGMA max_page_count = 4").execute(&mut **connection).await.unwrap();
    }
    drop(all);
    fill(&mut writer, 200).await;
    let waiting = writer.waiting.len();
    assert!(writer.failing && waiting > 0 && ids(&log.store).await.len() == 200 - waiting);
    let mut all = [log.store.pool().acquire().await.unwrap(), log.store.pool().acquire().await.unwrap()];
    for connection in &mut all {
        sqlx::query("PRAGMA max_page_count = 1000000").execute(&mut **connection).await.unwrap();
    }
    drop(all);
    writer.write().await;
    assert!(!writer.failing && ids(&log.store).await.len() == 200);
}

#[tokio::test]
async fn where_nothing_can_be_mounted_a_file_that_may_not_grow_stands_for_the_disk() {
    with_a_file_that_may_not_grow(folder().path()).await;
}
