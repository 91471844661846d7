//! `sotto audit`, `erase` and `export`, as an operator types them: beside a running relay, on a stopped one, on nothing.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test may fail loudly, and lives in real time

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use sotto::call_log::CallLog;
use sotto::transparency::{Settings, TlsEnd};
use sotto_signaling::call_log::{CallLog as _, EndReason, EndedCall};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

const WEEK: Settings = Settings { tunnel: true, tls: TlsEnd::Relay, retention: Duration::from_secs(7 * 86_400) };

fn sotto(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sotto"));
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit status, standard output, standard error.
fn answer(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = sotto(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A log with the rows of some calls, open as a relay has it.
async fn relay(folder: &Path, calls: u32) -> CallLog {
    let log = CallLog::open(folder, WEEK, SystemTime::now).await.unwrap();
    for call in 0..calls {
        let duration = Duration::from_secs(60 * u64::from(1 + call));
        log.ended(EndedCall { duration, peak_participants: 2, reason: EndReason::Completed });
    }
    assert_eq!(log.close(Duration::from_secs(60)).await, 0);
    log
}

fn ids(folder: &str) -> Vec<String> {
    let (code, json, _) = answer(&["export", "--data", folder]);
    assert_eq!(code, 0);
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn export_answers_what_is_held_in_one_line_as_json_and_as_csv() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let running = relay(folder.path(), 3).await;
    let (code, json, _) = answer(&["export", "--data", path, "--format", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, rows.as_array().unwrap().len()), (0, 3));
    let names: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["duration_minutes", "end_reason", "ended_day", "expires_at", "id", "peak_participants"]);
    let (code, csv, _) = answer(&["export", "--data", path, "--format", "csv"]);
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!((code, lines.len()), (0, 5), "a header, three rows, and an end of line");
    assert_eq!(lines[0], "id,ended_day,duration_minutes,peak_participants,end_reason,expires_at");
    for (line, row) in lines[1..4].iter().zip(rows.as_array().unwrap()) {
        let fields: Vec<&str> = line.split(',').collect();
        let expected = ["id", "ended_day", "duration_minutes", "peak_participants", "end_reason", "expires_at"];
        let expected = expected.map(|name| row[name].to_string().trim_matches('"').to_owned());
        assert_eq!(fields, expected);
    }
    drop(running);
    assert_eq!(ids(path).len(), 3, "it reads a folder that no relay uses too");
}

#[tokio::test]
async fn erase_leaves_no_byte_of_any_row_and_needs_a_yes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let running = relay(folder.path(), 300).await;
    let ids = ids(path);
    let canaries = folder.path().with_extension("canaries");
    std::fs::write(&canaries, ids.iter().map(|id| format!("text:{id}\nhex:{id}\n")).collect::<String>()).unwrap();
    let search = ["audit", "--data", path, "--search", canaries.to_str().unwrap()];
    let (code, told, _) = answer(&["erase", "--data", path]);
    assert!(code == 2 && told.contains("300 rows would be erased") && told.contains("--yes"), "{told}");
    let (code, told, _) = answer(&search);
    assert!(code == 1 && told.contains("600 findings"), "the scan finds what is there: {told}");
    let (code, told, errors) = answer(&["erase", "--data", path, "--yes"]);
    assert!(code == 0 && told.contains("300 rows erased"), "{told}{errors}");
    let (code, told, errors) = answer(&search);
    std::fs::remove_file(canaries).unwrap();
    assert_eq!(code, 0, "{told}{errors}");
    assert!(told.contains("checked: 0 rows") && told.contains("600 canaries"), "{told}");
    running.ended(EndedCall { duration: Duration::ZERO, peak_participants: 1, reason: EndReason::Drained });
    assert_eq!(running.close(Duration::from_secs(60)).await, 0, "the relay beside it goes on writing");
    assert_eq!(self::ids(path).len(), 1);
}

#[tokio::test]
async fn audit_ends_with_0_when_clean_and_1_with_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let _running = relay(folder.path(), 3).await;
    let (code, told, errors) = answer(&["audit", "--data", path]);
    assert!(code == 0 && told.contains("clean") && told.contains("checked: 3 rows"), "{told}{errors}");
    std::fs::write(folder.path().join("notes"), "somebody called from 192.0.2.7").unwrap();
    let (code, told, _) = answer(&["audit", "--data", path]);
    assert!(code == 1 && told.contains("FOUND: \"notes\"") && told.contains("IPv4"), "{told}");
    assert!(!told.contains("192.0.2.7"), "a finding repeats nothing: {told}");
}

#[test]
fn a_folder_without_a_call_log_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for asked in [&["audit"][..], &["export"], &["erase", "--yes"], &["erase"]] {
        let (code, told, errors) = answer(&[asked, &["--data", path]].concat());
        assert!(code == 2 && told.is_empty(), "{asked:?}: {told}");
        assert!(errors.contains("there is no call log in") && errors.lines().count() == 1, "{asked:?}: {errors}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "asking leaves nothing behind");
}

#[tokio::test]
async fn a_database_that_stays_locked_is_told_as_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    relay(folder.path(), 1).await;
    let options = SqliteConnectOptions::new().filename(folder.path().join("call-log.sqlite"));
    let mut locker = options.connect().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut locker).await.unwrap();
    for asked in [&["audit"][..], &["export"], &["erase", "--yes"]] {
        let (code, told, errors) = answer(&[asked, &["--data", path]].concat());
        assert!(code == 2 && errors.contains("locked by another program"), "{asked:?}: {told}{errors}");
    }
    sqlx::query("ROLLBACK").execute(&mut locker).await.unwrap();
    locker.close().await.unwrap();
    assert_eq!(ids(path).len(), 1, "nothing was erased");
}

#[test]
fn help_teaches_them_and_wrong_settings_of_the_relay_do_not_stop_them() {
    let (_, help, _) = answer(&["--help"]);
    for name in ["audit", "erase", "export"] {
        assert!(help.contains(&format!("\n  {name}")), "{help}");
    }
    let (code, help, _) = answer(&["audit", "--help"]);
    assert!(code == 0 && help.contains("--search") && help.contains("encoded twice"), "{help}");
    let folder = tempfile::tempdir().unwrap();
    let mut command = sotto(&["export"]);
    command.env("SOTTO_DATA_DIR", folder.path()).env("SOTTO_HTTP", "nonsense").env("SOTTO_CONFIG", "/nowhere");
    let errors = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(errors.contains("there is no call log in") && errors.contains(folder.path().to_str().unwrap()), "{errors}");
    let (code, _, errors) = answer(&["--workers", "1", "audit"]);
    assert!(code != 0 && errors.contains("audit") && errors.lines().count() == 1, "{errors}");
    let (code, _, errors) = answer(&["export", "--format", "xml"]);
    assert!(code != 0 && errors.contains("csv") && errors.lines().count() == 1, "{errors}");
}

#[tokio::test]
async fn a_pipe_that_closes_early_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    relay(folder.path(), 3).await;
    let mut child = sotto(&["export", "--data", folder.path().to_str().unwrap()]).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
