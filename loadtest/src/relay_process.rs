//! A relay of one's own: its binary is found or built, started on free ports of this machine with a data folder that
//! goes with it, watched and stopped.

use std::collections::VecDeque;
use std::env::consts::EXE_SUFFIX;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How the relay is to be started. What is absent stays as the relay has it by default.
#[derive(Clone, Debug, Default)]
pub struct SpawnOptions {
    /// The binary; otherwise the one beside this program, one built from the workspace, or the one in `PATH`.
    pub binary: Option<PathBuf>,
    /// The address that it takes media on; 127.0.0.1 where absent. Pages and signaling stay on 127.0.0.1.
    pub media_ip: Option<IpAddr>,
    /// Media threads.
    pub workers: Option<u16>,
    /// Participants in one call at most.
    pub max_participants: Option<u32>,
    /// Calls at most.
    pub max_calls: Option<u32>,
    /// Publications in one call at most.
    pub max_publications: Option<u32>,
}

/// A running relay. Dropped, it is killed.
pub struct RelayProcess {
    child: Child,
    pid: u32,
    binary: PathBuf,
    http: SocketAddr,
    admin: SocketAddr,
    log: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
    _data: TempDir,
}

/// How a relay that was told to stop did so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, and without complaint.
    Clean,
    /// Not well: its status, and the last line that it logged.
    Failed(String),
    /// Not at all, so it was killed.
    Killed,
}

/// Why a relay could not be started.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says it
pub enum SpawnError {
    #[error("--relay-binary {0} is no file that can be run; give the path of the `sotto` binary")]
    NoFile(PathBuf),
    #[error(
        "the relay's binary `sotto` is neither beside this program nor in PATH, and there is no workspace to build \
             it from; give its path with --relay-binary, or the address of a running relay"
    )]
    NotFound,
    #[error("`cargo build --bin sotto` failed ({0}); see its output above, or give a binary with --relay-binary")]
    Build(String),
    #[error("the relay {0} cannot be started: {1}; give another binary with --relay-binary")]
    Start(PathBuf, std::io::Error),
    #[error("no folder for the relay's data: {0}; set TMPDIR to one that can be written")]
    Data(std::io::Error),
    #[error("the relay ended as it began: {0}")]
    Ended(String),
    #[error("the relay was not up after {} s; is the machine overloaded?", UP_WITHIN.as_secs())]
    Late,
}

impl RelayProcess {
    /// Starts a relay and waits until it answers.
    ///
    /// # Errors
    /// Where there is no binary and none can be built, or where the relay does not come up.
    pub async fn spawn(options: &SpawnOptions) -> Result<Self, SpawnError> {
        let binary = find(options).await?;
        let mut attempt = 1;
        loop {
            match Self::start(&binary, options).await {
                // Another program took the port that was free a moment ago.
                Err(SpawnError::Ended(reason)) if reason.contains("in use") && attempt < ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    /// Number of its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The binary that runs.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Where it serves pages.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it serves metrics.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The URL of its signaling.
    pub fn signaling(&self) -> String {
        format!("ws://{}/v1/ws", self.http)
    }

    /// The host name that joins are signed for.
    pub fn host_name(&self) -> String {
        self.http.to_string()
    }

    /// Waits until the relay ends by itself and tells how. May be dropped and called again.
    pub async fn died(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => self.obituary(status).await,
            Err(error) => format!("it cannot be watched: {error}"),
        }
    }

    /// Whether it answers at all; a process that hangs still runs.
    pub async fn is_up(&self) -> bool {
        answers(self.admin).await
    }

    /// Stops it: first asked, then killed.
    pub async fn stop(mut self) -> Ending {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid as i32)) {
            let _ = kill_process(pid, Signal::TERM); // it may have ended meanwhile, which wait() tells
        }
        match timeout(STOPPED_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ending::Clean,
            Ok(Ok(status)) => Ending::Failed(self.obituary(status).await),
            Ok(Err(_)) | Err(_) => {
                let _ = self.child.kill().await;
                Ending::Killed
            }
        }
    }

    async fn start(binary: &Path, options: &SpawnOptions) -> Result<Self, SpawnError> {
        let data = tempfile::tempdir().map_err(SpawnError::Data)?;
        let admin = free_port().map_err(|error| SpawnError::Start(binary.to_owned(), error))?;
        let mut command = Command::new(binary);
        command.args(arguments(options, admin, data.path())).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // Ctrl-C is for the tester, which writes its report first and stops the relay then.
        command.process_group(0);
        // Settings of the tester's own environment would make this another relay than the report says.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SOTTO_")) {
            command.env_remove(name);
        }
        let mut child = command.spawn().map_err(|error| SpawnError::Start(binary.to_owned(), error))?;
        let pid = child.id().expect("nobody waited for it yet");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped above")).lines();
        let log = Arc::default();
        let reader = tokio::spawn(keep_last(child.stderr.take().expect("piped above"), Arc::clone(&log)));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0)); // until it says where it listens
        let mut relay = Self { child, pid, binary: binary.to_owned(), http: nowhere, admin, log, reader, _data: data };
        let up = timeout(UP_WITHIN, relay.wait_until_up(&mut stdout)).await;
        up.map_err(|_| SpawnError::Late)??;
        tokio::spawn(async move { while let Ok(Some(_)) = stdout.next_line().await {} });
        Ok(relay)
    }

    /// Its one line of output is the link, whose port the kernel chose; then it has to answer.
    async fn wait_until_up(&mut self, stdout: &mut Lines<BufReader<ChildStdout>>) -> Result<(), SpawnError> {
        let link = stdout.next_line().await.ok().flatten();
        let port = link.as_deref().and_then(|link| link.trim_end_matches('/').rsplit(':').next()?.parse().ok());
        let Some(port) = port else {
            if link.is_some() {
                let _ = self.child.kill().await;
                return Err(SpawnError::Ended("it did not print its link, so it is no relay of this version".into()));
            }
            return Err(SpawnError::Ended(self.died().await));
        };
        self.http.set_port(port);
        while !answers(self.admin).await {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(SpawnError::Ended(self.obituary(status).await));
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn obituary(&mut self, status: ExitStatus) -> String {
        // A task that ended has read all there was; one that was waited for must not be again.
        if !self.reader.is_finished() {
            let _ = timeout(LAST_WORDS, &mut self.reader).await;
        }
        let log = self.log.lock().expect("no holder panics");
        match log.back() {
            Some(line) => format!("{status}; it said: {line}"),
            None => format!("{status}; it said nothing"),
        }
    }
}

fn arguments(options: &SpawnOptions, admin: SocketAddr, data: &Path) -> Vec<OsString> {
    let media_ip = options.media_ip.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    // The kernel chooses the ports that the relay itself can tell; no call is logged; a stop need not wait for calls.
    let mut arguments: Vec<OsString> = [
        ("--http", "127.0.0.1:0".to_owned()),
        ("--admin", admin.to_string()),
        ("--media-ip", media_ip.to_string()),
        ("--media-bind", media_ip.to_string()),
        ("--media-port", "0".to_owned()),
        ("--retention-days", "0".to_owned()),
        ("--drain-seconds", "0".to_owned()),
        ("--log", "warn".to_owned()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.into(), value.into()])
    .collect();
    arguments.extend(["--data-dir".into(), data.as_os_str().to_owned()]);
    let limits = [
        ("--workers", options.workers.map(u32::from)),
        ("--max-participants", options.max_participants),
        ("--max-calls", options.max_calls),
        ("--max-publications", options.max_publications),
    ];
    for (flag, value) in limits {
        arguments.extend(value.into_iter().flat_map(|value| [flag.into(), value.to_string().into()]));
    }
    arguments
}

async fn find(options: &SpawnOptions) -> Result<PathBuf, SpawnError> {
    if let Some(path) = &options.binary {
        return if path.is_file() { Ok(path.clone()) } else { Err(SpawnError::NoFile(path.clone())) };
    }
    let name = format!("sotto{EXE_SUFFIX}");
    let own = std::env::current_exe().ok();
    // Test binaries lie one folder deeper than the programs.
    let beside = own.iter().flat_map(|path| path.ancestors().skip(1).take(2)).map(|folder| folder.join(&name));
    if let Some(path) = beside.into_iter().find(|path| path.is_file()) {
        return Ok(path);
    }
    // What is built here is the version that this tester belongs to, before whatever is installed.
    if let Some(workspace) = workspace() {
        return build(&workspace).await;
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&folders).map(|folder| folder.join(&name)).find(|path| path.is_file());
    installed.ok_or(SpawnError::NotFound)
}

/// The folder of the workspace that this program was started in, by `cargo run` or by hand.
fn workspace() -> Option<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let starts = package.into_iter().chain(std::env::current_dir().ok());
    let folders: Vec<PathBuf> =
        starts.flat_map(|start| start.ancestors().map(Path::to_owned).collect::<Vec<_>>()).collect();
    folders.into_iter().find(|folder| is_workspace(folder))
}

fn is_workspace(folder: &Path) -> bool {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    let manifest = manifest.parse::<toml::Table>().unwrap_or_default();
    let package = manifest.get("package").and_then(|package| package.get("name"));
    manifest.contains_key("workspace") && package.and_then(toml::Value::as_str) == Some("sotto")
}

/// Builds the relay as this program was built, and asks cargo where it put it.
async fn build(workspace: &Path) -> Result<PathBuf, SpawnError> {
    let failed = |error: &dyn std::fmt::Display| SpawnError::Build(error.to_string());
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--bin", "sotto", "--message-format", "json-render-diagnostics"]).current_dir(workspace);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&output.status));
    }
    let executable = String::from_utf8_lossy(&output.stdout).lines().find_map(executable);
    executable.ok_or_else(|| failed(&"cargo did not say where the binary is"))
}

/// Where a line of cargo's messages says that the relay's binary lies.
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let of_relay = message["reason"] == "compiler-artifact" && message["target"]["name"] == "sotto";
    message["executable"].as_str().filter(|_| of_relay).map(PathBuf::from)
}

/// Whether `/healthz` answers that all is well.
async fn answers(admin: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(admin).await.ok()?;
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = [0; HEALTHY.len()];
        stream.read_exact(&mut answer).await.ok()?;
        (answer == *HEALTHY).then_some(())
    };
    timeout(ANSWERED_WITHIN, ask).await.ok().flatten().is_some()
}

/// Reads to the end, so that the relay never waits for a reader, and keeps the last lines.
async fn keep_last(log: impl AsyncRead + Unpin, kept: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(log).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut kept = kept.lock().expect("no holder panics");
        if kept.len() >= KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

/// An address that nobody listens on now.
fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// How often a start is tried when another program takes the chosen port.
const ATTEMPTS: u32 = 5;
/// A relay is up in a tenth of a second; a debug build on a machine that is busy compiling took two.
const UP_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks whether it is up.
const POLL: Duration = Duration::from_millis(20);
/// A relay that cannot answer for this long serves nobody.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// The relay gives its call log 5 s at the end; then nothing more is to be expected.
const STOPPED_WITHIN: Duration = Duration::from_secs(7);
/// What a process wrote before it ended is in the pipe already; this is for the task that reads it.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Enough to show what it said last.
const KEPT_LINES: usize = 8;
/// How an answer of a relay begins that is well.
const HEALTHY: &[u8; 12] = b"HTTP/1.1 200";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;

    #[tokio::test]
    async fn a_relay_is_found_started_measured_and_stopped() {
        let options = SpawnOptions { workers: Some(1), max_calls: Some(3), ..SpawnOptions::default() };
        let relay = RelayProcess::spawn(&options).await.unwrap();
        assert!(relay.is_up().await);
        assert!(relay.http().port() != 0 && relay.signaling().starts_with("ws://127.0.0.1:"));
        let usage = Process::new(relay.pid()).unwrap().usage().unwrap();
        assert!(usage.memory > 1 << 20 && usage.descriptors.unwrap() > 5);
        let data = relay._data.path().to_owned();
        assert_eq!(relay.stop().await, Ending::Clean);
        assert!(!data.exists(), "its data goes with it");
    }

    #[tokio::test]
    async fn the_death_of_a_relay_is_noticed_with_its_signal() {
        let mut relay = RelayProcess::spawn(&SpawnOptions::default()).await.unwrap();
        assert!(timeout(Duration::from_millis(10), relay.died()).await.is_err(), "it lives");
        kill_process(Pid::from_raw(relay.pid() as i32).unwrap(), Signal::KILL).unwrap();
        let reason = timeout(Duration::from_secs(5), relay.died()).await.unwrap();
        assert!(reason.contains("SIGKILL"), "{reason}");
        assert!(!relay.is_up().await);
        assert_eq!(relay.died().await, reason, "it can be asked again");
        assert_eq!(relay.stop().await, Ending::Failed(reason));
    }

    #[tokio::test]
    async fn what_the_relay_refuses_is_told_in_its_own_words() {
        let options = SpawnOptions { max_participants: Some(1), ..SpawnOptions::default() };
        let error = RelayProcess::spawn(&options).await.err().unwrap().to_string();
        assert!(error.contains("--max-participants"), "{error}");
    }

    #[tokio::test]
    async fn a_binary_that_is_none_is_named() {
        let options = SpawnOptions { binary: Some("/no/such/relay".into()), ..SpawnOptions::default() };
        let error = RelayProcess::spawn(&options).await.err().unwrap().to_string();
        assert!(error.contains("/no/such/relay") && error.contains("--relay-binary"), "{error}");
        let options = SpawnOptions { binary: Some("/bin/echo".into()), ..SpawnOptions::default() };
        let error = RelayProcess::spawn(&options).await.err().unwrap().to_string();
        assert!(error.contains("no relay of this version"), "{error}");
    }

    #[test]
    fn cargo_tells_where_the_relay_is_among_what_it_built() {
        let library = r#"{"reason":"compiler-artifact","target":{"name":"sotto"},"executable":null}"#;
        let other = r#"{"reason":"compiler-artifact","target":{"name":"build"},"executable":"/t/build"}"#;
        let relay = r#"{"reason":"compiler-artifact","target":{"name":"sotto"},"executable":"/t/sotto"}"#;
        let found = [library, other, "warning: no JSON", relay].into_iter().find_map(executable);
        assert_eq!(found, Some(PathBuf::from("/t/sotto")));
    }
}
