//! The whole program against a relay of its own: what it finds, and how it ends when it is not left alone.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test of processes waits for them

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sotto_loadtest::conductor::exit_code;
use sotto_loadtest::report::{Outcome, Report};

/// Sound alone: what is tested here is the run, on a machine that tests other things meanwhile.
const MEETING: [&str; 5] = ["meeting", "--spawn", "--participants", "3", "--no-video"];

fn start(arguments: &[&str], json: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sotto-loadtest"));
    command.args(MEETING).args(arguments).arg("--json").arg(json);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn read(json: &Path) -> Report {
    serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap()
}

/// Waits until the relay that this process started is there, and gives its number.
fn relay_of(tester: &Child) -> Pid {
    let children = format!("/proc/{0}/task/{0}/children", tester.id());
    let deadline = Instant::now() + Duration::from_secs(120); // it may have to be built
    loop {
        let all = std::fs::read_to_string(&children).unwrap();
        for child in all.split_whitespace() {
            let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if name.trim() == "sotto" {
                return Pid::from_raw(child.parse().unwrap()).unwrap();
            }
        }
        assert!(Instant::now() < deadline, "no relay was started");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn ended(tester: Child) -> (u8, Output) {
    let output = tester.wait_with_output().unwrap();
    let code = output.status.code().unwrap_or_else(|| panic!("it ended by {}", output.status));
    (u8::try_from(code).unwrap(), output)
}

#[test]
fn a_small_meeting_loses_nothing_and_all_of_it_decrypts() {
    let folder = tempfile::tempdir().unwrap();
    let (json, html) = (folder.path().join("report.json"), folder.path().join("report.html"));
    let thresholds = ["--duration", "8s", "--fail-if", "decrypt_failures>0", "mismatches>0", "loss>0"];
    let page = ["--html", html.to_str().unwrap()];
    let (code, output) = ended(start(&[thresholds.as_slice(), &page].concat(), &json));
    let report = read(&json);
    let said = String::from_utf8_lossy(&output.stdout);
    // A machine that is busy with other tests may be the limit, which is not what is tested here.
    assert!([exit_code::FINE, exit_code::TESTER].contains(&code), "{code}: {said}");
    let broken: Vec<_> = report.thresholds.iter().filter(|threshold| threshold.broken).collect();
    assert!(broken.is_empty() || report.tester.dropped > 0, "{broken:?}: {said}");
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!((report.peers.len(), report.timeline.len()), (3, 8));
    assert!(report.overall.frames_checked > 500, "{:?}", report.overall);
    assert!(report.relay.unwrap().packets_forwarded > 500);
    assert!(std::fs::read_to_string(html).unwrap().contains("</html>"));
}

#[test]
fn a_relay_that_dies_is_reported_within_ten_seconds_with_what_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let tester = start(&["--duration", "2m"], &json);
    let relay = relay_of(&tester);
    std::thread::sleep(Duration::from_secs(8));
    kill_process(relay, Signal::KILL).unwrap();
    let killed = Instant::now();
    let (code, output) = ended(tester);
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    assert_eq!(code, exit_code::RELAY_LOST);
    assert!(String::from_utf8_lossy(&output.stderr).contains("the relay was lost"));
    let report = read(&json);
    assert!(matches!(report.outcome, Outcome::RelayLost { .. }), "{:?}", report.outcome);
    assert!(report.timeline.len() >= 4 && report.relay.is_some(), "every number up to there");
}

#[test]
fn an_interrupted_run_writes_its_report_and_leaves_no_relay_behind() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let tester = start(&["--duration", "2m"], &json);
    let relay = relay_of(&tester);
    std::thread::sleep(Duration::from_secs(5));
    kill_process(Pid::from_raw(tester.id() as i32).unwrap(), Signal::INT).unwrap();
    let (code, _) = ended(tester);
    assert!([exit_code::FINE, exit_code::TESTER, exit_code::THRESHOLD].contains(&code), "{code}");
    assert!(matches!(read(&json).outcome, Outcome::Interrupted { .. }));
    assert!(!Path::new(&format!("/proc/{}", relay.as_raw_nonzero())).exists(), "the relay still runs");
}

#[test]
fn what_cannot_be_run_says_why_and_what_to_do() {
    for (arguments, words) in [
        (vec!["meeting"], "--spawn starts one"),
        (vec!["meeting", "--relay", "http://127.0.0.1:9"], "no relay answers"),
        (vec!["meeting", "--spawn", "--relay-binary", "/no/such/sotto"], "--relay-binary"),
        (vec!["meeting", "--spawn", "--json", "/proc/no/report.json"], "choose another place"),
        (vec!["--compare", "/no/a.json", "/no/b.json"], "cannot be read"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_sotto-loadtest")).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(i32::from(exit_code::CANNOT_RUN)), "{said}");
        assert!(said.contains("sotto-loadtest: ") && said.contains(words), "{said}");
    }
}
