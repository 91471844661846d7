//! The `sotto` binary. Wiring only: configuration, call log, workers, signaling, metrics, and the way down.
#![allow(clippy::disallowed_methods)] // the call log is told the wall clock by this file

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sotto::call_log::CallLog;
use sotto::config::{Config, Request, Tls, hosts_of};
use sotto::media::{Carrier, Home, Service};
use sotto::metrics::{self, Sources};
use sotto::records::{self, Records, RecordsError};
use sotto::relay::command::Event;
use sotto::relay::{self, Relay};
use sotto::transparency::{Settings, TlsEnd};
use sotto::transport::dtls::Certificate;
use sotto::udp::Socket;
use sotto::worker::{Handle, Worker, WorkerError};
use sotto_signaling::limits::Limits;
use sotto_signaling::{Server, Services};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sotto: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let config = match Config::from_args(std::env::args_os())? {
        Request::Run(config) => *config,
        Request::Records(asked) => return ask(asked),
        Request::Print(text) => {
            print(text.trim_end());
            return Ok(ExitCode::SUCCESS);
        }
    };
    keep_memory_to_ourselves();
    log_to_stderr(config.log);
    let crypto = rustls::crypto::aws_lc_rs::default_provider().install_default();
    crypto.map_err(|_| anyhow!("another crypto provider is installed already"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(config));
    // Tasks that still run hold nothing that is worth waiting for.
    runtime.shutdown_background();
    outcome
}

/// Answers an operator's question. A pipe that was closed, as `head` does, is no fault.
fn ask(asked: Records) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(records::run(asked, SystemTime::now(), &mut std::io::stdout())) {
        Ok(code) => Ok(ExitCode::from(code)),
        Err(RecordsError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("sotto: {error}");
            Ok(ExitCode::from(CANNOT_TELL))
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::new()?;
    let tls = config.tls.as_ref().map(tls_config).transpose()?;
    let http = listen(config.http, "--http").await?;
    let admin = listen(config.admin, "--admin").await?;
    let call_log = Arc::new(CallLog::open(&config.data_dir, stated(&config), SystemTime::now).await?);
    let (workers, carrier, mut failed) = start_media(&config)?;
    let server = Server::new(Services {
        media: Arc::new(Service(carrier.clone())),
        call_log: call_log.clone(),
        hosts: hosts(&config, http.local_addr()?),
        limits: limits(&config),
    });
    let handles: Vec<Handle> = workers.iter().map(|worker| worker.handle().clone()).collect();
    let sources = Sources { workers: handles, signaling: server.clone(), call_log: call_log.clone(), media: carrier };
    tracing::info!("metrics on http://{}/metrics", admin.local_addr()?);
    tokio::spawn(async move { axum::serve(admin, metrics::router(Arc::new(sources))).await });
    print(&link(&config, http.local_addr()?));
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    let listening = sotto_signaling::listener::serve(http, tls, server.clone(), async {
        let _ = closed.await;
    });
    tokio::spawn(listening);

    tokio::select! {
        () = stop.asked() => {}
        Some(error) = failed.recv() => return Err(error.into()),
    }
    tracing::info!("stopping: no new calls; running ones have {} s (again to stop at once)", config.drain.as_secs());
    let seconds = u32::try_from(config.drain.as_secs()).unwrap_or(u32::MAX);
    tokio::select! {
        () = server.drain(seconds) => {}
        () = stop.asked() => return Ok(ExitCode::from(STOPPED_AT_ONCE)),
        Some(error) = failed.recv() => return Err(error.into()),
    }
    drop(close);
    let unwritten = tokio::select! {
        unwritten = call_log.close(LAST_ROWS) => unwritten,
        () = stop.asked() => return Ok(ExitCode::from(STOPPED_AT_ONCE)),
    };
    workers.into_iter().for_each(Worker::stop);
    if unwritten > 0 {
        bail!("{unwritten} rows of the call log could not be written; is the disk full?");
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts every worker on its port, and the task that brings their events to the calls.
fn start_media(config: &Config) -> anyhow::Result<(Vec<Worker>, Arc<Carrier>, mpsc::Receiver<WorkerError>)> {
    let certificate = Certificate::generate()?;
    let fingerprint = certificate.fingerprint();
    let (events, event_inbox) = mpsc::channel::<Event>(MOST_EVENTS);
    let (failed, failures) = mpsc::channel(1);
    let (mut workers, mut homes) = (Vec::new(), Vec::new());
    for index in 0..config.workers {
        let port = if config.media_port == 0 { 0 } else { config.media_port + index as u16 };
        let socket = Socket::bind(SocketAddr::new(config.media_bind, port))?;
        if let Some(advice) = socket.buffer_advice().filter(|_| index == 0) {
            tracing::warn!("{advice}");
        }
        let settings = relay::Config { certificate: certificate.clone() };
        let core = move |now| Relay::new(settings, now, rand::random());
        let worker = Worker::start(index, socket, core, events.clone(), failed.clone())
            .with_context(|| format!("media worker {index} cannot start"))?;
        let port = worker.handle().address().port();
        let addresses = config.media_ips.iter().map(|&ip| SocketAddr::new(ip, port)).collect();
        homes.push(Home { worker: worker.handle().clone(), addresses });
        workers.push(worker);
    }
    let carrier = Carrier::new(homes, fingerprint, config.caps.calls);
    tokio::spawn(carrier.clone().route(event_inbox));
    Ok((workers, carrier, failures))
}

/// Ctrl-C and SIGTERM, the same to us.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    let fail = |error: std::io::Error| match error.kind() {
        AddrInUse => anyhow!("{address} is in use by another program; stop it, or choose another port with {flag}"),
        AddrNotAvailable => anyhow!("{} is no address of this machine; set {flag} to one that is", address.ip()),
        PermissionDenied => anyhow!("{address} may not be bound by this user; choose a port above 1023 with {flag}"),
        _ => anyhow!("{flag} {address} cannot be opened: {error}"),
    };
    TcpListener::bind(address).await.map_err(fail)
}

fn tls_config(tls: &Tls) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_slice_iter(&tls.certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.context("--tls-cert holds no certificate in PEM; name the file with the full chain")?;
    let key = PrivateKeyDer::from_pem_slice(&tls.key).ok();
    let key = key.context("--tls-key holds no private key in PEM; name the key of the certificate")?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| anyhow!("--tls-key does not fit --tls-cert: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn hosts(config: &Config, listening: SocketAddr) -> Vec<String> {
    if config.hosts.is_empty() {
        return hosts_of(listening, &config.media_ips, config.tls.is_some());
    }
    config.hosts.clone()
}

/// What to open.
fn link(config: &Config, listening: SocketAddr) -> String {
    let hosts = hosts(config, listening);
    let host = hosts.first().map_or("localhost", String::as_str);
    format!("{}://{host}/", if tls_end(config) == TlsEnd::None { "http" } else { "https" })
}

/// A public name without a certificate of ours is behind a proxy that has one: browsers give no camera to plain http.
fn tls_end(config: &Config) -> TlsEnd {
    match (&config.tls, config.hosts.first()) {
        (Some(_), _) => TlsEnd::Relay,
        (None, Some(host)) if !is_local(host) => TlsEnd::Proxy,
        (None, _) => TlsEnd::None,
    }
}

/// What `/transparency` tells of the configuration.
fn stated(config: &Config) -> Settings {
    Settings { tunnel: config.tunnel, tls: tls_end(config), retention: config.retention }
}

fn is_local(host: &str) -> bool {
    host.starts_with("localhost") || host.starts_with("127.") || host.starts_with("[::1]")
}

fn limits(config: &Config) -> Limits {
    let caps = config.caps;
    Limits {
        calls: caps.calls,
        participants: caps.participants,
        publications: caps.publications,
        tunnel: config.tunnel,
        ..Limits::default()
    }
}

/// Keys and media pass through this memory: no core dumps, and no look inside for others.
fn keep_memory_to_ourselves() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // Every WebSocket is an open file, and the usual soft limit of 1024 is kept for programs that use select().
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
}

/// Only our own crates speak: what a library logs may hold an address. A panic's text may hold anything, so its place
/// is all that is told.
fn log_to_stderr(level: tracing::Level) {
    let filter = EnvFilter::new(format!("off,sotto={level},sotto_signaling={level}"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!("defect: thread {thread} panicked at {place}");
    }));
}

#[allow(clippy::print_stdout)] // the link is the program's one line of output
fn print(text: &str) {
    println!("{text}");
}

/// Events between all workers and the control plane: a few for every participant of a full machine.
const MOST_EVENTS: usize = 8_192;
/// Rows are written in milliseconds; a disk that takes longer than this will not take them.
const LAST_ROWS: Duration = Duration::from_secs(5);
/// A question about the records that could not be answered; 1 is for an audit that found something.
const CANNOT_TELL: u8 = 2;
/// What a shell shows for a program that was interrupted.
const STOPPED_AT_ONCE: u8 = 130;
