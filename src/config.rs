//! Every knob: its default, unit and reason. A flag beats `SOTTO_*` in the environment, which beats the TOML file,
//! which beats the default.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::OsStr;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::records::Records;

/// What the relay runs with, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where pages and signaling are served.
    pub http: SocketAddr,
    /// Where `/metrics` and `/healthz` are served.
    pub admin: SocketAddr,
    /// Addresses that browsers send media to, at least one.
    pub media_ips: Vec<IpAddr>,
    /// The local address that media sockets are bound to.
    pub media_bind: IpAddr,
    /// UDP port of the first worker; worker i has this port plus i. 0 lets the kernel choose each.
    pub media_port: u16,
    /// Media threads.
    pub workers: usize,
    /// Where the call log lies.
    pub data_dir: PathBuf,
    /// How long a row of the call log lives; zero means that none is written.
    pub retention: Duration,
    /// Caps.
    pub caps: Caps,
    /// Certificate chain and key, in PEM; both or none.
    pub tls: Option<Tls>,
    /// Host names, with port where it is not the scheme's own, that a join may be signed for.
    /// Empty where none was set: then they follow from the address that is really listened on.
    pub hosts: Vec<String>,
    /// Whether two people may have a tunnel.
    pub tunnel: bool,
    /// How long running calls go on after the first signal.
    pub drain: Duration,
    /// What is logged.
    pub log: tracing::Level,
}

/// How much is carried at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Participants in one call.
    pub participants: usize,
    /// Calls on this relay.
    pub calls: usize,
    /// Publications in one call.
    pub publications: usize,
}

/// Certificate chain and key, in PEM. Not printable.
#[derive(Clone)]
pub struct Tls {
    /// The chain, the server's own certificate first.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: zeroize::Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Run the relay.
    Run(Box<Config>),
    /// Answer a question about the stored records.
    Records(Records),
    /// Print this and end well: help, version or the table of knobs.
    Print(String),
}

/// A setting that cannot be used. Each prints as one line that names what to change.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says it
pub enum ConfigError {
    #[error("{0} (see `sotto --help`)")]
    Flags(String),
    #[error("the configuration file {0} cannot be read: {1}; check the path given with --config")]
    Unreadable(PathBuf, std::io::Error),
    #[error("{0}: {1}")]
    Toml(PathBuf, String),
    #[error("{0}: `{1}` is no setting; the settings are {2}")]
    UnknownSetting(PathBuf, String, String),
    #[error("{0}: `{1}` must be a text, a number or a list of texts")]
    Kind(PathBuf, String),
    #[error(
        "--media-ip is missing: name the address that browsers reach this machine by, since --http {0} is not loopback"
    )]
    MediaIp(SocketAddr),
    #[error("--media-ip {0} is no address to send to; name one that browsers reach this machine by")]
    Unannounceable(IpAddr),
    #[error("--media-bind {0} cannot carry --media-ip {1}; bind to {2}, or announce another address")]
    Family(IpAddr, IpAddr, &'static str),
    #[error("--media-port {0} leaves no room for {1} workers, as each takes the next port; choose at most {2}")]
    Ports(u16, usize, usize),
    #[error("--tls-cert and --tls-key belong together; set {0} too")]
    TlsHalf(&'static str),
    #[error("{flag} {path} cannot be read: {error}; check path and permissions")]
    TlsFile { flag: &'static str, path: PathBuf, error: std::io::Error },
    #[error("--host `{0}` is no host name; write it as the browser shows it: meet.example.org, or 10.0.0.5:8080")]
    Host(String),
}

/// Sotto carries browser video calls without being able to watch them, and forgets each when it ends.
///
/// Without any flag it serves this machine alone: open the printed link in two browsers.
/// For others to join, give it an address and a certificate (browsers grant cameras over https only):
///
///   sotto --http 0.0.0.0:443 --media-ip 203.0.113.7 --host meet.example.org \
///         --tls-cert cert.pem --tls-key key.pem
///
/// and let TCP 443 and UDP 3478 and up (one port per worker) through the firewall.
#[derive(Parser)]
#[command(name = "sotto", version, max_term_width = 110, verbatim_doc_comment, args_conflicts_with_subcommands = true)]
struct Flags {
    /// TOML file with any of these settings, named as the flags without dashes in front; flags and environment win.
    #[arg(long, env = "SOTTO_CONFIG", value_name = "file")]
    config: Option<PathBuf>,
    /// Where page and signaling are served. Loopback unless told otherwise: nothing is exposed by accident.
    #[arg(long, env = "SOTTO_HTTP", value_name = "ip:port", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where /metrics and /healthz are served. Apart from the page, so that the public never reaches it.
    #[arg(long, env = "SOTTO_ADMIN", value_name = "ip:port", default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
    /// Addresses that browsers send media to, IPv4 or IPv6, behind NAT the public ones. When --http is loopback,
    /// 127.0.0.1 and the machine's own, for Firefox sends nothing to 127.0.0.1; else it must be set, since a machine
    /// cannot know how others reach it.
    #[arg(long, env = "SOTTO_MEDIA_IP", value_name = "ip,ip", value_delimiter = ',')]
    media_ip: Vec<IpAddr>,
    /// Local address of the media sockets. By default all addresses, or only loopback when no other is announced.
    #[arg(long, env = "SOTTO_MEDIA_BIND", value_name = "ip")]
    media_bind: Option<IpAddr>,
    /// UDP port of the first worker; worker i has this port plus i. 3478 is STUN's own, which firewalls let pass most.
    #[arg(long, env = "SOTTO_MEDIA_PORT", value_name = "port", default_value = "3478")]
    media_port: u16,
    /// Media threads, by default one per core: a call lives on one of them, so more would only share cores.
    #[arg(long, env = "SOTTO_WORKERS", value_name = "threads",
          allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Folder of the call log, made when it is missing. It holds nothing else.
    #[arg(long, env = "SOTTO_DATA_DIR", value_name = "folder", default_value = "./data")]
    data_dir: PathBuf,
    /// Life of a row of the call log. 0 keeps nothing; 7 is enough to see how busy a week was; 90 is the most.
    #[arg(long, env = "SOTTO_RETENTION_DAYS", value_name = "days", default_value = "7",
          allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(0..=90))]
    retention_days: u64,
    /// Participants in one call. 100 is about what one core and one browser can take.
    #[arg(long, env = "SOTTO_MAX_PARTICIPANTS", value_name = "participants", default_value = "100",
          allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    max_participants: u32,
    /// Calls on this relay: bounds what an invited crowd can take. Each empty call costs a few kilobytes.
    #[arg(long, env = "SOTTO_MAX_CALLS", value_name = "calls", default_value = "1000",
          allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_calls: u32,
    /// Publications (microphones, cameras, screens) in one call: four for each of 100 participants.
    #[arg(long, env = "SOTTO_MAX_PUBLICATIONS", value_name = "publications", default_value = "400",
          allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_publications: u32,
    /// Certificate chain in PEM. Without it the page is served over http, which browsers trust with a camera on
    /// localhost only; behind a proxy that has the certificate, set --host.
    #[arg(long, env = "SOTTO_TLS_CERT", value_name = "file")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM.
    #[arg(long, env = "SOTTO_TLS_KEY", value_name = "file")]
    tls_key: Option<PathBuf>,
    /// Host names under which browsers open the page, with the port where the address bar shows one. By default the
    /// --http address, and localhost where that reaches it. A join signed for another host is refused.
    #[arg(long, env = "SOTTO_HOST", value_name = "host,host", value_delimiter = ',')]
    host: Vec<String>,
    /// Whether a call of two may go through a tunnel, for which the relay holds no key at all. Off: it always forwards.
    #[arg(long, env = "SOTTO_TUNNEL", value_name = "on|off", default_value = "on",
          action = clap::ArgAction::Set, value_parser = on_or_off)]
    tunnel: bool,
    /// How long running calls go on after Ctrl-C or SIGTERM, with no new ones let in. 0 tells clients at once.
    #[arg(long, env = "SOTTO_DRAIN_SECONDS", value_name = "seconds", default_value = "0",
          allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    drain_seconds: u64,
    /// What is logged to standard error; no level prints who calls whom.
    #[arg(long, env = "SOTTO_LOG", value_name = "error|warn|info|debug|trace", default_value = "info")]
    log: tracing::Level,
    /// Print the table of all settings in Markdown and exit.
    #[arg(long)]
    knobs: bool,
    /// Read before this is parsed; here for the help.
    #[command(subcommand)]
    _records: Option<Records>,
}

impl Config {
    /// Reads the command line (the program's name first), the environment and the file that they name.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Request, ConfigError> {
        let args: Vec<OsString> = args.into_iter().collect();
        let mut command = Flags::command();
        if args.get(1).and_then(|arg| arg.to_str()).is_some_and(|arg| command.find_subcommand(arg).is_some()) {
            return Self::records(args);
        }
        if let Some(path) = config_path(&args) {
            for (id, values) in read_file(&path)? {
                command = command.mut_arg(id, |arg| arg.default_values(values));
            }
        }
        let matched = command.try_get_matches_from(args).and_then(|mut all| Flags::from_arg_matches_mut(&mut all));
        let flags = match matched {
            Ok(flags) => flags,
            Err(error) => return answered(&error),
        };
        if flags.knobs {
            return Ok(Request::Print(knobs()));
        }
        Ok(Request::Run(Box::new(flags.check()?)))
    }

    /// The relay's settings, right or wrong, are no matter to who asks about its records.
    fn records(args: Vec<OsString>) -> Result<Request, ConfigError> {
        let command = Records::augment_subcommands(clap::Command::new("sotto").max_term_width(110));
        match command.try_get_matches_from(args).and_then(|all| Records::from_arg_matches(&all)) {
            Ok(records) => Ok(Request::Records(records)),
            Err(error) => answered(&error),
        }
    }
}

/// Help and version are no mistakes.
fn answered(error: &clap::Error) -> Result<Request, ConfigError> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Request::Print(error.to_string())),
        _ => Err(ConfigError::Flags(first_sentence(&error.to_string()))),
    }
}

impl Flags {
    fn check(self) -> Result<Config, ConfigError> {
        let media_ips = self.announced()?;
        let media_bind = self.media_bind.unwrap_or_else(|| natural_bind(&media_ips));
        check_families(media_bind, &media_ips)?;
        let workers = self.workers.map_or_else(cores, usize::from);
        if self.media_port > 0 && usize::from(self.media_port) + workers - 1 > usize::from(u16::MAX) {
            return Err(ConfigError::Ports(self.media_port, workers, usize::from(u16::MAX) + 1 - workers));
        }
        if let Some(host) = self.host.iter().find(|host| !is_host(host)) {
            return Err(ConfigError::Host(host.clone()));
        }
        Ok(Config {
            tls: self.tls()?,
            http: self.http,
            admin: self.admin,
            media_ips,
            media_bind,
            media_port: self.media_port,
            workers,
            data_dir: self.data_dir,
            retention: Duration::from_secs(self.retention_days * 86_400),
            caps: Caps {
                participants: self.max_participants as usize,
                calls: self.max_calls as usize,
                publications: self.max_publications as usize,
            },
            hosts: self.host.iter().map(|host| host.to_ascii_lowercase()).collect(),
            tunnel: self.tunnel,
            drain: Duration::from_secs(self.drain_seconds),
            log: self.log,
        })
    }

    fn announced(&self) -> Result<Vec<IpAddr>, ConfigError> {
        if let Some(&ip) = self.media_ip.iter().find(|ip| ip.is_unspecified() || ip.is_multicast()) {
            return Err(ConfigError::Unannounceable(ip));
        }
        match (self.media_ip.is_empty(), self.http.ip().is_loopback()) {
            (false, _) => Ok(self.media_ip.clone()),
            (true, true) => Ok([IpAddr::V4(Ipv4Addr::LOCALHOST)].into_iter().chain(own_address()).collect()),
            (true, false) => Err(ConfigError::MediaIp(self.http)),
        }
    }

    fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        let read = |flag, path: &Path| {
            std::fs::read(path).map_err(|error| ConfigError::TlsFile { flag, path: path.to_owned(), error })
        };
        match (&self.tls_cert, &self.tls_key) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(ConfigError::TlsHalf("--tls-key")),
            (None, Some(_)) => Err(ConfigError::TlsHalf("--tls-cert")),
            (Some(certificate), Some(key)) => Ok(Some(Tls {
                certificate: read("--tls-cert", certificate)?,
                key: zeroize::Zeroizing::new(read("--tls-key", key)?),
            })),
        }
    }
}

/// The hosts that joins may be signed for when none was set: those that reach the listening address, the best first.
/// A relay that listens on all addresses is also opened by those that it announces for media.
pub fn hosts_of(listening: SocketAddr, announced: &[IpAddr], tls: bool) -> Vec<String> {
    let port = if listening.port() == if tls { 443 } else { 80 } { None } else { Some(listening.port()) };
    let with_port = |name: String| port.map_or(name.clone(), |port| format!("{name}:{port}"));
    let name = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let (ip, mut names) = (listening.ip(), Vec::new());
    if ip.is_unspecified() {
        names.extend(announced.iter().map(name));
        names.extend(
            ["127.0.0.1".to_owned(), "[::1]".to_owned()]
                .into_iter()
                .filter(|name| !names.contains(name))
                .collect::<Vec<_>>(),
        );
    } else {
        names.push(name(&ip));
    }
    if ip.is_loopback() || ip.is_unspecified() {
        names.push("localhost".to_owned());
    }
    names.into_iter().map(with_port).collect()
}

/// All settings as a Markdown table, made from the flags themselves.
pub fn knobs() -> String {
    let mut table = String::from("| Flag | Environment | Default | Unit | What and why |\n|---|---|---|---|---|\n");
    for arg in Flags::command().get_arguments().filter(|arg| arg.get_env().is_some()) {
        let flag = arg.get_long().unwrap_or_default();
        let variable = arg.get_env().map(|name| name.to_string_lossy()).unwrap_or_default();
        let default = arg.get_default_values().first().map(|value| format!("`{}`", value.to_string_lossy()));
        let unit = arg.get_value_names().and_then(|names| names.first()).map(|name| name.replace('|', ", "));
        let help = arg.get_help().map(|help| help.to_string().replace('\n', " ")).unwrap_or_default();
        let default = default.unwrap_or_default();
        table += &format!("| `--{flag}` | `{variable}` | {default} | {} | {help} |\n", unit.unwrap_or_default());
    }
    table
}

/// The address that the machine would send from, as its routes say; connecting a UDP socket sends nothing.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((DOCUMENTATION, DISCARD_PORT)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

fn natural_bind(announced: &[IpAddr]) -> IpAddr {
    match announced {
        [only] if only.is_loopback() => *only,
        _ if announced.iter().any(IpAddr::is_ipv6) => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    }
}

fn check_families(bind: IpAddr, announced: &[IpAddr]) -> Result<(), ConfigError> {
    let unreachable = announced.iter().find(|ip| match bind {
        IpAddr::V4(_) => ip.is_ipv6(),
        IpAddr::V6(bind) => ip.is_ipv4() && !bind.is_unspecified(),
    });
    unreachable.map_or(Ok(()), |&ip| Err(ConfigError::Family(bind, ip, "::")))
}

fn is_host(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    !host.is_empty() && host.len() <= 259 && host.bytes().all(allowed)
}

fn on_or_off(text: &str) -> Result<bool, &'static str> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write on or off"),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Where `--config` or `SOTTO_CONFIG` points, whatever else is wrong with the command line.
fn config_path(args: &[OsString]) -> Option<PathBuf> {
    let command = Flags::command().ignore_errors(true);
    command.try_get_matches_from(args).ok()?.get_one::<PathBuf>("config").cloned()
}

/// The file's settings as the texts that the flags would have been given.
fn read_file(path: &Path) -> Result<Vec<(String, Vec<OsStr>)>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable(path.to_owned(), error))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        ConfigError::Toml(path.to_owned(), format!("line {line}: {}", error.message().replace('\n', " ")))
    })?;
    let command = Flags::command();
    let known: BTreeSet<&str> =
        command.get_arguments().filter(|arg| arg.get_env().is_some()).filter_map(clap::Arg::get_long).collect();
    let mut settings = Vec::new();
    for (name, value) in table {
        if name == "config" || !known.contains(name.as_str()) {
            let known: Vec<&str> = known.into_iter().filter(|&name| name != "config").collect();
            return Err(ConfigError::UnknownSetting(path.to_owned(), name, known.join(", ")));
        }
        let values = texts(&value).ok_or_else(|| ConfigError::Kind(path.to_owned(), name.clone()))?;
        settings.push((name.replace('-', "_"), values));
    }
    Ok(settings)
}

fn texts(value: &toml::Value) -> Option<Vec<OsStr>> {
    // clap keeps defaults for the life of the program; the file is read once.
    match value {
        toml::Value::String(text) => Some(vec![leak(text.clone())]),
        toml::Value::Integer(number) => Some(vec![leak(number.to_string())]),
        toml::Value::Array(items) => items.iter().map(|item| Some(leak(item.as_str()?.to_owned()))).collect(),
        _ => None,
    }
}

fn leak(text: String) -> OsStr {
    let text: &'static str = Box::leak(text.into_boxed_str());
    OsStr::from(text)
}

/// clap explains over several lines; the first paragraph has the fault and the flag.
fn first_sentence(text: &str) -> String {
    let paragraph: Vec<&str> = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    paragraph.join(" ").trim_start_matches("error: ").to_owned()
}

/// An address that is nobody's (RFC 5737): a route to it is the default route.
const DOCUMENTATION: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The port whose service throws away what it gets (RFC 863), should anything ever be sent.
const DISCARD_PORT: u16 = 9;

#[cfg(test)]
mod tests;
