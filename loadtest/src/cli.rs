//! The command line: every flag with its unit and default, laid over a plan file, laid over the scenario's defaults.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::plan::{EngineKind, FileError, Layer, Outage, Picture, Plan, PlanError, Scenario, Signal, VideoCodec};
use crate::quantity::{bitrate, duration, layer, one_in};
use crate::relay_url::{RelayUrl, RelayUrlError};
use crate::threshold::{METRICS, Threshold};

mod words;

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Run a plan.
    Run(Box<Run>),
    /// Put two reports side by side.
    Compare {
        /// The earlier one.
        before: PathBuf,
        /// The later one.
        after: PathBuf,
        /// Where to write the page.
        html: Option<PathBuf>,
    },
    /// Print this and end well: help or version.
    Print(String),
}

/// A run to be made, checked.
#[derive(Clone, Debug)]
pub struct Run {
    /// What happens in it.
    pub plan: Plan,
    /// The relay.
    pub target: Target,
    /// Where the report is written as JSON.
    pub json: Option<PathBuf>,
    /// Where it is written as a page.
    pub html: Option<PathBuf>,
    /// Whether the links of the calls are printed, for browsers.
    pub show_link: bool,
    /// Threads that carry the peers; one for each core where absent.
    pub threads: Option<usize>,
}

/// The relay that carries a run.
#[derive(Clone, Debug)]
pub enum Target {
    /// One that is started for it.
    Spawn {
        /// Its binary; found or built where absent.
        binary: Option<PathBuf>,
        /// Its media threads; one for each core where absent.
        workers: Option<u16>,
    },
    /// One that runs already.
    Running {
        /// Where it serves pages.
        url: RelayUrl,
        /// Its process, where it is on this machine.
        pid: Option<u32>,
        /// The link of the call to join; new calls are begun where absent.
        link: Option<Secret>,
    },
}

/// A link. Not printable, for whoever reads it is in the call.
#[derive(Clone, zeroize::ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// The link itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A command line that cannot be run. Each prints as it is, and says what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says it
pub enum CliError {
    #[error("{0}")]
    Flags(String),
    #[error("say what is to happen: meeting, webinar, churn, ramp or soak (see --help), or give --plan file.toml")]
    NoScenario,
    #[error("say which relay: --spawn starts one on this machine, --relay http://host:port uses one that runs")]
    NoRelay,
    #[error("{0} and {1} exclude each other; leave out one of them")]
    Both(&'static str, &'static str),
    #[error("{0} needs {1}; add it, or leave out {0}")]
    Needs(&'static str, &'static str),
    #[error("--threads 0 carries nobody; give at least 1")]
    Threads,
    #[error("--link joins one call; leave out {0}")]
    OneCall(&'static str),
    #[error("--fail-if `{0}`: a relay's process is seen only on this machine; use --spawn, or --pid with its number")]
    Unseen(String),
    #[error("--network `{0}`: {1}")]
    Network(String, crate::plan::network::NetworkError),
    #[error(transparent)]
    Relay(#[from] RelayUrlError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Plan(#[from] PlanError),
}

#[derive(Parser)]
#[command(name = "sotto-loadtest", version, max_term_width = 110, arg_required_else_help = true)]
#[command(about = words::ABOUT, long_about = words::LONG_ABOUT, after_long_help = words::exit_codes())]
#[command(subcommand_help_heading = "Scenarios", subcommand_value_name = "SCENARIO", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    scenario: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Subcommand)]
enum Command {
    /// A call in which all stay and speakers change
    #[command(after_help = words::MEETING)]
    Meeting,
    /// One sends, the others watch
    #[command(after_help = words::WEBINAR)]
    Webinar,
    /// Participants join and leave all the time
    #[command(after_help = words::CHURN)]
    Churn(ChurnFlags),
    /// Calls are added until a threshold breaks; tells the largest load that held
    #[command(after_help = words::RAMP)]
    Ramp(RampFlags),
    /// A meeting for hours, with the slopes of memory and descriptors
    #[command(after_help = words::SOAK)]
    Soak,
}

#[derive(Args)]
#[command(next_help_heading = "Joins and leaves")]
struct ChurnFlags {
    /// Changes per second in the whole run; in each, one participant leaves and another joins [default: 0.5]
    #[arg(long, value_name = "RATE")]
    per_second: Option<f64>,
}

#[derive(Args)]
#[command(next_help_heading = "Growth")]
struct RampFlags {
    /// Calls added with each step [default: 1]
    #[arg(long, value_name = "CALLS")]
    step_calls: Option<usize>,
    /// How long each step is measured, once all are in [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    hold: Option<Duration>,
    /// Steps at most [default: 100]
    #[arg(long, value_name = "STEPS")]
    steps: Option<usize>,
}

#[derive(Args)]
struct Flags {
    #[command(flatten)]
    relay: RelayFlags,
    #[command(flatten)]
    load: LoadFlags,
    #[command(flatten)]
    media: MediaFlags,
    #[command(flatten)]
    network: NetworkFlags,
    #[command(flatten)]
    report: ReportFlags,
}

#[derive(Args)]
#[command(next_help_heading = "The relay")]
struct RelayFlags {
    /// Start a relay for this run, on free ports of this machine, and stop it afterwards
    #[arg(long, global = true)]
    spawn: bool,
    /// Use the relay that serves its page here
    #[arg(long, global = true, value_name = "http[s]://HOST:PORT")]
    relay: Option<String>,
    /// Process number of a relay that was not started by --spawn, to measure its CPU and memory
    #[arg(long, global = true, value_name = "NUMBER")]
    pid: Option<u32>,
    /// Join this call, by the host's or the invite link, so that a browser and the peers are in one
    #[arg(long, global = true, value_name = "LINK")]
    link: Option<String>,
    /// Print the invite links of the calls, for browsers; whoever has a link can join
    #[arg(long, global = true)]
    show_link: bool,
    /// The binary for --spawn [default: the one beside this program, or built from the workspace]
    #[arg(long, global = true, value_name = "FILE")]
    relay_binary: Option<PathBuf>,
    /// Media threads of the relay that --spawn starts [default: one for each core]
    #[arg(long, global = true, value_name = "THREADS")]
    relay_workers: Option<u16>,
}

#[derive(Args)]
#[command(next_help_heading = "The load")]
struct LoadFlags {
    /// A plan with any of these settings, by their names here; flags win over it
    #[arg(long, global = true, value_name = "FILE.toml")]
    plan: Option<PathBuf>,
    /// Calls at one time [default: 1]
    #[arg(long, global = true, value_name = "CALLS")]
    calls: Option<usize>,
    /// Participants of each call [default: 4; 20 in a webinar, 6 in churn]
    #[arg(long, global = true, value_name = "PEOPLE")]
    participants: Option<usize>,
    /// How many of each call send a picture [default: all; 1 in a webinar]
    #[arg(long, global = true, value_name = "PEOPLE")]
    publishers: Option<usize>,
    /// How many of each call send sound [default: all; the publishers in a webinar]
    #[arg(long, global = true, value_name = "PEOPLE")]
    voices: Option<usize>,
    /// From the first join to the end [default: 20s; 60s in churn, 1h in a soak]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Time within which the participants join, evenly spread [default: 2s]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    join_over: Option<Duration>,
    /// How long one speaks, shown large by the others, before another does [default: 5s]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    speaker_every: Option<Duration>,
    /// Pictures that one participant watches at most [default: all]
    #[arg(long, global = true, value_name = "PICTURES")]
    watch: Option<usize>,
    /// Send no speaking hints, of which the page sends four a second
    #[arg(long, global = true)]
    no_hints: bool,
    /// From which every random choice comes: the same seed makes the same run [default: 1]
    #[arg(long, global = true, value_name = "NUMBER")]
    seed: Option<u64>,
    /// What carries the media: `full` is the webrtc crate, `light` its handshake with a batched path for many peers
    #[arg(long, global = true, value_name = "full|light", value_parser = engine)]
    engine: Option<EngineKind>,
    /// Share of frames that are decrypted and compared bit for bit; all packets are counted [default: 1/1]
    #[arg(long, global = true, value_name = "1/N", value_parser = one_in)]
    check: Option<u32>,
    /// Threads that carry the peers [default: one for each core]
    #[arg(long, global = true, value_name = "THREADS")]
    threads: Option<usize>,
}

#[derive(Args)]
#[command(next_help_heading = "Sound and picture")]
struct MediaFlags {
    /// Bits per second of Opus [default: 32k]
    #[arg(long, global = true, value_name = "BITRATE", value_parser = bitrate)]
    audio_bitrate: Option<u32>,
    /// Opus at a variable bitrate; the page asks browsers for a constant one
    #[arg(long, global = true)]
    vbr: bool,
    /// A steady tone in the place of syllables and pauses
    #[arg(long, global = true)]
    tone: bool,
    /// No microphones
    #[arg(long, global = true)]
    no_audio: bool,
    /// Codec of the pictures [default: vp8]
    #[arg(long, global = true, value_name = "vp8|vp9", value_parser = codec)]
    codec: Option<VideoCodec>,
    /// Frames per second, 15 to 60 [default: 30]
    #[arg(long, global = true, value_name = "FRAMES")]
    fps: Option<u32>,
    /// Lines and bits per second of the picture; 360p@500k by default
    #[arg(long, global = true, value_name = "LINES@BITRATE", value_parser = layer)]
    video: Option<Layer>,
    /// The same of simulcast encodings, from the smallest, such as 180p@150k,360p@500k,720p@1.7m
    #[arg(long, global = true, value_name = "LINES@BITRATE,...", value_parser = layer, value_delimiter = ',')]
    layers: Option<Vec<Layer>>,
    /// Time between key frames that nobody asked for [default: 1m]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    key_frame_every: Option<Duration>,
    /// Send a real VP8 clip, which a browser in the call decodes
    #[arg(long, global = true)]
    clip: bool,
    /// No cameras
    #[arg(long, global = true)]
    no_video: bool,
}

#[derive(Args)]
#[command(next_help_heading = "The network")]
struct NetworkFlags {
    /// Between each peer and the relay: a name, settings, or a name with settings that alter it
    #[arg(long, global = true, value_name = "NETWORK", long_help = words::network())]
    network: Option<String>,
    /// How many of each call have that network, counted from the last [default: all]
    #[arg(long, global = true, value_name = "PEOPLE")]
    network_peers: Option<usize>,
    /// A time in which nothing passes: its begin in the run, and how long; may be given again
    #[arg(long, global = true, value_name = "BEGIN+TIME", value_parser = outage)]
    outage: Vec<Outage>,
}

#[derive(Args)]
#[command(next_help_heading = "The report")]
struct ReportFlags {
    /// Fail the run, with exit code 2, where this is true of it; may be several
    #[arg(long, global = true, value_name = "THRESHOLD", num_args = 1.., long_help = words::thresholds())]
    fail_if: Vec<String>,
    /// Write the report as JSON
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as one page with plots, which needs nothing else
    #[arg(long, global = true, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Put two JSON reports side by side in the place of a run; with --html also as a page
    #[arg(long, global = true, num_args = 2, value_names = ["BEFORE.json", "AFTER.json"])]
    compare: Option<Vec<PathBuf>>,
}

impl Request {
    /// Reads the command line, its first word being the program.
    ///
    /// # Errors
    ///
    /// Where it cannot be run, in words that name the flag and what to do.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Request, CliError> {
        let matches = match Arguments::command().try_get_matches_from(args) {
            Ok(matches) => matches,
            Err(error) => return told(&error),
        };
        let arguments = Arguments::from_arg_matches(&matches).map_err(|error| CliError::Flags(text(&error)))?;
        arguments.request()
    }
}

impl Arguments {
    fn request(self) -> Result<Request, CliError> {
        if let Some(files) = self.flags.report.compare {
            if self.scenario.is_some() {
                return Err(CliError::Both("--compare", "a scenario"));
            }
            let [before, after] = <[PathBuf; 2]>::try_from(files).expect("clap takes two");
            return Ok(Request::Compare { before, after, html: self.flags.report.html });
        }
        let plan = self.plan()?;
        let target = self.flags.relay.target(&plan)?;
        let process_is_seen = matches!(target, Target::Spawn { .. } | Target::Running { pid: Some(_), .. });
        for text in plan.fail_if.iter().filter(|_| !process_is_seen) {
            if Threshold::parse(text).map_err(PlanError::from)?.metric().of_the_relay {
                return Err(CliError::Unseen(text.clone()));
            }
        }
        if self.flags.load.threads == Some(0) {
            return Err(CliError::Threads);
        }
        let (json, html) = (self.flags.report.json, self.flags.report.html);
        let (show_link, threads) = (self.flags.relay.show_link, self.flags.load.threads);
        Ok(Request::Run(Box::new(Run { plan, target, json, html, show_link, threads })))
    }

    /// The scenario's defaults, below the file, below the flags.
    fn plan(&self) -> Result<Plan, CliError> {
        let scenario = self.scenario.as_ref().map(Command::scenario);
        let mut plan = match (&self.flags.load.plan, scenario) {
            (Some(file), scenario) => Plan::read(file, scenario)?,
            (None, Some(scenario)) => Plan::of(scenario),
            (None, None) => return Err(CliError::NoScenario),
        };
        match &self.scenario {
            Some(Command::Churn(flags)) => set(&mut plan.churn.per_second, flags.per_second),
            Some(Command::Ramp(flags)) => {
                set(&mut plan.ramp.calls, flags.step_calls);
                set(&mut plan.ramp.hold, flags.hold);
                set(&mut plan.ramp.steps, flags.steps);
            }
            _ => {}
        }
        self.flags.load.lay_over(&mut plan);
        self.flags.media.lay_over(&mut plan)?;
        self.flags.network.lay_over(&mut plan)?;
        if !self.flags.report.fail_if.is_empty() {
            plan.fail_if.clone_from(&self.flags.report.fail_if);
        }
        plan.check()?;
        Ok(plan)
    }
}

impl Command {
    fn scenario(&self) -> Scenario {
        match self {
            Command::Meeting => Scenario::Meeting,
            Command::Webinar => Scenario::Webinar,
            Command::Churn(_) => Scenario::Churn,
            Command::Ramp(_) => Scenario::Ramp,
            Command::Soak => Scenario::Soak,
        }
    }
}

impl LoadFlags {
    fn lay_over(&self, plan: &mut Plan) {
        set(&mut plan.calls, self.calls);
        set(&mut plan.participants, self.participants);
        set_some(&mut plan.publishers, self.publishers);
        set_some(&mut plan.voices, self.voices);
        set(&mut plan.duration, self.duration);
        set(&mut plan.join_over, self.join_over);
        set(&mut plan.speaker_every, self.speaker_every);
        set_some(&mut plan.watch, self.watch);
        set(&mut plan.hints, self.no_hints.then_some(false));
        set(&mut plan.seed, self.seed);
        set(&mut plan.engine, self.engine);
        set(&mut plan.check_one_in, self.check);
    }
}

impl MediaFlags {
    fn lay_over(&self, plan: &mut Plan) -> Result<(), CliError> {
        if self.video.is_some() && self.layers.is_some() {
            return Err(CliError::Both("--video", "--layers"));
        }
        set(&mut plan.audio.on, self.no_audio.then_some(false));
        set(&mut plan.audio.bitrate, self.audio_bitrate);
        set(&mut plan.audio.constant, self.vbr.then_some(false));
        set(&mut plan.audio.signal, self.tone.then_some(Signal::Tone));
        set(&mut plan.video.on, self.no_video.then_some(false));
        set(&mut plan.video.codec, self.codec);
        set(&mut plan.video.fps, self.fps);
        set(&mut plan.video.layers, self.layers.clone().or(self.video.map(|layer| vec![layer])));
        set(&mut plan.video.key_frame_every, self.key_frame_every);
        set(&mut plan.video.picture, self.clip.then_some(Picture::Clip));
        Ok(())
    }
}

impl NetworkFlags {
    fn lay_over(&self, plan: &mut Plan) -> Result<(), CliError> {
        if let Some(text) = &self.network {
            let read = crate::plan::Network::parse(text).map_err(|error| CliError::Network(text.clone(), error))?;
            (plan.network.up, plan.network.down) = (read.up, read.down);
        }
        set_some(&mut plan.network.peers, self.network_peers);
        if !self.outage.is_empty() {
            plan.network.outages.clone_from(&self.outage);
        }
        Ok(())
    }
}

impl RelayFlags {
    fn target(&self, plan: &Plan) -> Result<Target, CliError> {
        if self.spawn {
            let others =
                [("--relay", self.relay.is_some()), ("--link", self.link.is_some()), ("--pid", self.pid.is_some())];
            if let Some((other, _)) = others.into_iter().find(|&(_, given)| given) {
                return Err(CliError::Both("--spawn", other));
            }
            return Ok(Target::Spawn { binary: self.relay_binary.clone(), workers: self.relay_workers });
        }
        let only = [("--relay-binary", self.relay_binary.is_some()), ("--relay-workers", self.relay_workers.is_some())];
        if let Some((flag, _)) = only.into_iter().find(|&(_, given)| given) {
            return Err(CliError::Needs(flag, "--spawn"));
        }
        match (&self.relay, &self.link) {
            (None, None) => Err(CliError::NoRelay),
            (Some(relay), None) => Ok(Target::Running { url: RelayUrl::parse(relay)?, pid: self.pid, link: None }),
            (relay, Some(link)) => {
                if plan.calls > 1 {
                    return Err(CliError::OneCall("--calls"));
                }
                if plan.scenario == Scenario::Ramp {
                    return Err(CliError::OneCall("ramp, which adds calls"));
                }
                // The relay may be reached under another name than the one in the link, but joins are for the latter.
                let url = RelayUrl::of_link(link, relay.as_deref())?;
                Ok(Target::Running { url, pid: self.pid, link: Some(Secret(link.clone())) })
            }
        }
    }
}

/// What clap has to say: help is printed, a fault is an error.
fn told(error: &clap::Error) -> Result<Request, CliError> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Ok(Request::Print(text(error)))
        }
        _ => Err(CliError::Flags(text(error))),
    }
}

fn text(error: &clap::Error) -> String {
    error.render().to_string().trim_start_matches("error: ").trim_end().to_owned()
}

fn set<T>(setting: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *setting = value;
    }
}

fn set_some<T>(setting: &mut Option<T>, flag: Option<T>) {
    if flag.is_some() {
        *setting = flag;
    }
}

fn engine(text: &str) -> Result<EngineKind, &'static str> {
    match text {
        "full" => Ok(EngineKind::Full),
        "light" => Ok(EngineKind::Light),
        _ => Err("write full or light"),
    }
}

fn codec(text: &str) -> Result<VideoCodec, &'static str> {
    match text {
        "vp8" => Ok(VideoCodec::Vp8),
        "vp9" => Ok(VideoCodec::Vp9),
        _ => Err("write vp8 or vp9"),
    }
}

fn outage(text: &str) -> Result<Outage, String> {
    let (at, lasts) = text.split_once('+').ok_or("write its begin and how long it lasts, such as 8s+3s")?;
    let read = |text| duration(text).map_err(|error| error.to_string());
    Ok(Outage { at: read(at)?, lasts: read(lasts)? })
}

/// The names and meanings of all metrics, for help.
fn metrics() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    METRICS.iter().map(|metric| (metric.name, metric.about, metric.unit.example()))
}

#[cfg(test)]
mod tests;
