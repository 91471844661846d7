//! The binary as an operator meets it: starting, answering, refusing wrong settings, stopping.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test may fail loudly, and lives in real time

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use prometheus_parse::Scrape;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A running relay on ports that the kernel chose, ended when dropped.
struct Relay {
    child: Child,
    folder: tempfile::TempDir,
    link: String,
    http: SocketAddr,
    admin: SocketAddr,
    log: std::thread::JoinHandle<String>,
}

fn command(folder: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sotto"));
    let free = ["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--media-port", "0", "--workers", "2"];
    let set = |flag: &str| flags.contains(&flag);
    for pair in free.chunks(2).filter(|pair| !set(pair[0])) {
        command.args(pair);
    }
    if !set("--data-dir") {
        command.arg("--data-dir").arg(folder.join("data"));
    }
    command.args(flags).env_clear().current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Relay {
    fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = command(folder.path(), flags).spawn().unwrap();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let (out, mut link) = (child.stdout.take().unwrap(), String::new());
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        // Made first, so that the child ends with it whatever fails below.
        let reader = std::thread::spawn(String::new);
        let mut relay = Self { child, folder, link: String::new(), http: nowhere, admin: nowhere, log: reader };
        let (mut log, mut admin) = (String::new(), None);
        while admin.is_none() {
            let mut line = String::new();
            assert!(errors.read_line(&mut line).unwrap() > 0, "it ended: {log}");
            let told = line.split_once("metrics on http://").and_then(|(_, rest)| rest.split_once('/'));
            admin = told.map(|(address, _)| address.parse().unwrap());
            log += &line;
        }
        BufReader::new(out).read_line(&mut link).unwrap();
        relay.link = link.trim_end().to_owned();
        relay.http = relay.link.split('/').nth(2).unwrap().parse().unwrap();
        relay.admin = admin.unwrap();
        relay.log = std::thread::spawn(move || {
            errors.read_to_string(&mut log).unwrap();
            log
        });
        relay
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait().unwrap() {
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                status => return status,
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status, head and body.
fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

fn refused(flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let Output { status, stdout, stderr } = command(folder.path(), flags).output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert!(!status.success() && stdout.is_empty(), "{flags:?}: {text}");
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("sotto: ")).collect();
    assert_eq!(lines.len(), 1, "{flags:?}: {text}");
    lines[0].to_owned()
}

#[test]
fn it_serves_the_page_what_it_stores_and_its_health() {
    let relay = Relay::start(&[]);
    assert_eq!(relay.link, format!("http://{}/", relay.http));
    let (status, head, body) = get(relay.http, "/");
    assert_eq!(status, 200);
    assert!(body.contains("<html") && head.contains("content-security-policy"), "{head}");
    let (status, _, body) = get(relay.http, "/transparency");
    let page: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, page["retention_days"].as_u64(), page["rows"].as_u64()), (200, Some(7), Some(0)));
    assert_eq!(page["tls"]["ends"], "none");
    assert_eq!(page["modes"][0]["on"], true);
    assert!(!body.contains("127.0.0.1") && !body.contains(&relay.admin.port().to_string()), "no address: {body}");
    assert_eq!(get(relay.admin, "/healthz").0, 200);
    assert_eq!(get(relay.admin, "/").0, 404);
    assert_eq!(get(relay.http, "/metrics").0, 404, "the public does not see metrics");
}

#[test]
fn metrics_parse_and_hold_nothing_of_a_client() {
    let relay = Relay::start(&[]);
    let client = TcpStream::connect(relay.http).unwrap();
    get(relay.http, "/jackdaw?name=jackdaw");
    let (_, _, text) = get(relay.admin, "/metrics");
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let value = |name: &str, label: Option<&str>| {
        let sample = scrape.samples.iter().find(|sample| {
            sample.metric == name && label.is_none_or(|label| sample.labels.values().any(|value| value == label))
        });
        sample.unwrap_or_else(|| panic!("{name} is missing")).value.clone()
    };
    assert_eq!(value("sotto_workers", None), prometheus_parse::Value::Gauge(2.0));
    let refused = value("sotto_http_refusals_total", Some("not_found"));
    assert_eq!(refused, prometheus_parse::Value::Counter(1.0), "the request was seen");
    let port = client.local_addr().unwrap().port();
    for canary in ["jackdaw".to_owned(), "127.0.0.1".to_owned(), format!(":{port}"), format!("\"{port}")] {
        assert!(!text.contains(&canary), "{canary} stands in the metrics");
    }
}

#[tokio::test]
async fn a_client_is_welcomed_and_told_when_the_relay_stops() {
    let mut relay = Relay::start(&[]);
    let mut request = format!("ws://{}/v1/ws", relay.http).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "sotto.v1".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let welcome = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(welcome.contains("\"welcome\"") && welcome.contains("\"nonce\""), "{welcome}");
    relay.signal("-TERM");
    let closed = tokio::time::timeout(PATIENCE, async {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                break;
            }
        }
    });
    closed.await.expect("the socket is closed");
    assert_eq!(relay.ended(PATIENCE).and_then(|status| status.code()), Some(0));
}

#[test]
fn both_signals_end_it_well_and_free_its_ports() {
    for name in ["-TERM", "-INT"] {
        let mut relay = Relay::start(&[]);
        let start = Instant::now();
        relay.signal(name);
        assert_eq!(relay.ended(PATIENCE).and_then(|status| status.code()), Some(0));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        TcpListener::bind(relay.http).unwrap();
    }
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _holder = TcpListener::bind(taken).unwrap();
    let address = taken.to_string();
    for flag in ["--http", "--admin"] {
        let line = refused(&[flag, &address]);
        assert!(line.contains(&address) && line.contains(flag), "{line}");
    }
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let line = refused(&["--media-port", &port, "--workers", "1"]);
    assert!(line.contains(&port) && line.contains("--media-port"), "{line}");
}

#[test]
fn wrong_settings_end_with_one_line_that_names_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no certificate").unwrap();
    let file = file.to_str().unwrap();
    for (flags, expected) in [
        (vec!["--retention-days", "365"], "--retention-days"),
        (vec!["--data-dir", file], "--data-dir"),
        (vec!["--tls-cert", file], "--tls-key"),
        (vec!["--tls-cert", file, "--tls-key", file], "--tls-cert"),
        (vec!["--http", "192.0.2.1:80", "--media-ip", "192.0.2.1", "--media-bind", "0.0.0.0"], "--http"),
        (vec!["--config", file], "line 1"),
    ] {
        let line = refused(&flags);
        assert!(line.contains(expected), "{flags:?}: {line}");
    }
}

#[test]
fn the_environment_beats_the_file_and_a_flag_beats_both() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sotto.toml");
    std::fs::write(&file, "retention-days = 91\n").unwrap();
    let run = |flags: &[&str], variables: &[(&str, &str)]| {
        let mut command = command(folder.path(), flags);
        command.env("SOTTO_CONFIG", &file).envs(variables.iter().copied());
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    // Each source is wrong in its own way, so the complaint tells which one was heard.
    assert!(run(&[], &[]).contains("91"));
    assert!(run(&[], &[("SOTTO_RETENTION_DAYS", "92")]).contains("92"));
    assert!(run(&["--retention-days", "93"], &[("SOTTO_RETENTION_DAYS", "92")]).contains("93"));
}

#[test]
fn no_line_of_any_level_holds_an_address_of_a_client() {
    let mut relay = Relay::start(&["--log", "trace"]);
    let client = TcpStream::connect(relay.http).unwrap();
    let media = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ports = [client.local_addr().unwrap().port(), media.local_addr().unwrap().port()];
    get(relay.http, "/c?canary=jackdaw");
    get(relay.http, "/jackdaw");
    relay.signal("-TERM");
    relay.ended(PATIENCE).expect("it ends");
    let log = std::mem::replace(&mut relay.log, std::thread::spawn(String::new)).join().unwrap();
    assert!(log.contains("stopping"), "the log was read: {log}");
    assert!(!log.contains("jackdaw"), "{log}");
    for port in ports {
        assert!(!log.contains(&format!(":{port}")), "{log}");
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "a run says how much it was")]
fn a_flood_from_strangers_writes_no_line_and_takes_no_memory() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut relay = Relay::start(&["--log", "trace", "--workers", "1", "--media-port", &port.to_string()]);
    let seconds = std::env::var("SOTTO_FLOOD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let sockets: Vec<_> = (0..16).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let junk =
        [vec![0x80; 1_200], vec![0x80; 100], b"\x00\x01\x00\x00\x21\x12\xa4\x42jackdaw here".to_vec(), vec![22; 200]];
    let flood = |time: Duration| {
        let (end, mut sent) = (Instant::now() + time, 0_u64);
        while Instant::now() < end {
            for socket in &sockets {
                for bytes in &junk {
                    sent += u64::from(socket.send_to(bytes, ("127.0.0.1", port)).is_ok());
                }
            }
        }
        sent
    };
    flood(Duration::from_millis(200));
    let (before, memory) = (dropped(&relay), memory(&relay));
    let sent = flood(Duration::from_secs(seconds));
    let (arrived, grown) = (dropped(&relay) - before, self::memory(&relay) as f64 / memory as f64);
    println!("{sent} datagrams sent in {seconds} s, {arrived} taken and dropped, memory {grown:.2} of before");
    assert!(arrived >= 10_000 * seconds, "the flood arrived: {arrived} of {sent}");
    assert!(grown <= 1.1, "memory grew to {grown:.2} of what it was");
    relay.signal("-TERM");
    relay.ended(PATIENCE).expect("it ends");
    let log = std::mem::replace(&mut relay.log, std::thread::spawn(String::new)).join().unwrap();
    assert!(log.contains("stopping") && log.lines().count() < 20, "{} lines", log.lines().count());
}

/// Datagrams that were thrown away, for any reason.
fn dropped(relay: &Relay) -> u64 {
    let (_, _, text) = get(relay.admin, "/metrics");
    let samples = text.lines().filter(|line| line.starts_with("sotto_drops_total"));
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// KiB that are in memory.
fn memory(relay: &Relay) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn without_retention_no_folder_is_made() {
    let mut relay = Relay::start(&["--retention-days", "0"]);
    assert_eq!(get(relay.http, "/transparency").0, 200);
    relay.signal("-TERM");
    assert_eq!(relay.ended(PATIENCE).and_then(|status| status.code()), Some(0));
    assert_eq!(std::fs::read_dir(relay.folder.path()).unwrap().count(), 0);
}

#[test]
fn memory_is_not_dumped() {
    let mut relay = Relay::start(&[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", relay.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let values: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(values[4..6], ["0", "0"], "{core}");
    relay.signal("-ABRT");
    let status = relay.ended(PATIENCE).unwrap();
    assert!(status.signal().is_some() && !status.core_dumped(), "{status}");
    let left: Vec<_> =
        std::fs::read_dir(relay.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["data"]);
}

#[test]
fn nobody_of_the_same_user_reads_its_memory() {
    let me = std::fs::metadata("/proc/self").unwrap().uid();
    // Root reads everything, so a root test runs the relay, and looks, as another user.
    let user = if me == 0 { 65_534 } else { me };
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    let program = folder.path().join("sotto");
    std::fs::copy(env!("CARGO_BIN_EXE_sotto"), &program).unwrap();
    let mut relay = Command::new(&program);
    relay.args(command(folder.path(), &[]).get_args()).env_clear().current_dir(folder.path());
    relay.uid(user).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = relay.spawn().unwrap();
    let mut link = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut link).unwrap();
    let memory = format!("/proc/{}/mem", child.id());
    let owner = std::fs::metadata(&memory).unwrap().uid();
    let look = Command::new("head").args(["-c", "1", &memory]).uid(user).output().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(link.starts_with("http://"), "it ran: {link}");
    assert_eq!(owner, 0, "the kernel gives the memory of what may not be dumped to root");
    let refusal = String::from_utf8(look.stderr).unwrap();
    assert!(!look.status.success() && refusal.contains("ermission denied"), "{refusal}");
}

/// Far beyond what any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
