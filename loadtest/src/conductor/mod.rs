//! Conducts a run: has participants join, speak and leave as the script says, gathers what they tell, and ends with a
//! report. The only part beside the engines that reads the clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::random;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use crate::cli::{Run, Target};
use crate::clock::Moment;
use crate::e2ee::{Link, LinkError};
use crate::engine::full::play::Full;
use crate::engine::light::Light;
use crate::fleet::{Engine, Fleet, FleetError, PeerNetwork, RelayAddress};
use crate::media::voice::Voice;
use crate::participant::{Order, PeerId, Spec, Update};
use crate::plan::{EngineKind, PlanError};
use crate::process::{Process, ProcessError, UdpDrops};
use crate::progress::Progress;
use crate::report::{Outcome, Report, words};
use crate::scenario::{Act, Place, Script};
use crate::threshold::Threshold;

pub mod carrier;
pub mod exit_code;
pub mod ledger;
pub mod stop;
pub mod window;

use carrier::{Carrier, CarrierError};
use ledger::Ledger;
use stop::Stop;
use window::Sample;

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says it
pub enum ConductError {
    #[error(transparent)]
    Carrier(#[from] CarrierError),
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("--link: {0}")]
    Link(#[from] LinkError),
    #[error("this program cannot be measured: {0}")]
    Process(#[from] ProcessError),
    #[error("signals cannot be handled: {0}")]
    Signals(std::io::Error),
}

/// A run that goes on.
struct Conductor<'a> {
    run: &'a Run,
    began: Moment,
    script: Script,
    fleet: Fleet,
    updates: UnboundedReceiver<Update>,
    carrier: Carrier,
    ledger: Ledger,
    machine: Machine,
    progress: Progress,
    /// Of each call.
    links: Vec<Arc<Link>>,
    /// By place, who is there.
    peers: Vec<(Place, PeerId)>,
    /// Tells the frames of this run from those of any other.
    number: u64,
    /// Seconds that are over.
    seconds: usize,
}

/// What the tester itself takes.
struct Machine {
    own: Process,
    drops: UdpDrops,
}

/// Makes a run, to its end or until something ends it before, and tells what it found. Call it within a tokio runtime.
///
/// # Errors
///
/// Where it cannot begin. What happens later is in the report.
pub async fn conduct(run: &Run) -> Result<Report, ConductError> {
    let mut stop = Stop::new().map_err(ConductError::Signals)?;
    let progress = Progress::new(run.plan.length());
    if matches!(run.target, Target::Spawn { .. }) {
        progress.say("starting a relay");
    }
    let carrier = tokio::select! {
        carrier = Carrier::find(&run.target, &run.plan) => carrier?,
        () = stop.asked() => std::process::exit(i32::from(exit_code::CANNOT_RUN)),
    };
    let (started, own_relay) = (now_utc(), carrier.own_pid());
    let mut conductor = Conductor::new(run, carrier, progress).await?;
    let outcome = conductor.play(&mut stop).await;
    stop.exit_at_next(own_relay);
    Ok(conductor.finish(outcome, started).await)
}

impl<'a> Conductor<'a> {
    async fn new(run: &'a Run, carrier: Carrier, progress: Progress) -> Result<Self, ConductError> {
        let relay = RelayAddress { url: carrier.url().signaling(), host_name: carrier.url().host_name().to_owned() };
        let (fleet, updates) = Fleet::with_engine(engine(run)?, relay);
        if run.plan.audio.on {
            Voice::prepare(&run.plan.audio, run.plan.participants);
        }
        let mut machine = Machine { own: Process::own()?, drops: UdpDrops::default() };
        let began = Moment::now();
        let before = Sample { at: began, relay: carrier.usage().ok().flatten(), ..machine.sample() };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = run.threads.map_or(cores, |threads| threads.min(cores));
        let thresholds = thresholds(&run.plan.fail_if)?;
        let mut conductor = Self {
            run,
            began,
            script: Script::new(&run.plan),
            fleet,
            updates,
            carrier,
            ledger: Ledger::new(&run.plan, thresholds, cores, before),
            machine,
            progress,
            links: Vec::new(),
            peers: Vec::new(),
            number: random(),
            seconds: 0,
        };
        if let Target::Running { link: Some(link), .. } = &run.target {
            conductor.add_link(Link::parse(link.reveal())?);
        }
        Ok(conductor)
    }

    /// Until the script or something else ends it.
    async fn play(&mut self, stop: &mut Stop) -> Outcome {
        loop {
            if let Some(outcome) = self.catch_up().await {
                return outcome;
            }
            let next_second = Duration::from_secs(self.seconds as u64 + 1);
            let due = self.script.next_due().map_or(next_second, |due| due.min(next_second));
            let wait = (self.began + due).since(Moment::now());
            tokio::select! {
                () = sleep(wait) => {}
                Some(update) = self.updates.recv() => {
                    if let Some(outcome) = self.told(update) {
                        return outcome;
                    }
                }
                reason = self.carrier.died() => return self.lost(Moment::now(), reason),
                () = stop.asked() => return Outcome::Interrupted { at: self.elapsed().as_secs_f64() },
            }
        }
    }

    /// Does what is due by now.
    async fn catch_up(&mut self) -> Option<Outcome> {
        let elapsed = self.elapsed();
        while Duration::from_secs(self.seconds as u64 + 1) <= elapsed {
            if let Err(reason) = self.second() {
                return Some(self.lost(Moment::now(), reason));
            }
        }
        while let Some(act) = self.script.poll(elapsed) {
            match act {
                Act::Join(place) => {
                    if let Err(error) = self.join(place) {
                        return Some(Outcome::Failed { reason: error.to_string() });
                    }
                }
                Act::Leave(place) => {
                    let left = self.peers.extract_if(.., |(of, _)| *of == place);
                    left.for_each(|(_, peer)| self.fleet.order(peer, Order::Leave));
                }
                Act::Speak(place, speaks) => {
                    let speaker = self.peers.iter().find(|(of, _)| *of == place);
                    speaker.into_iter().for_each(|&(_, peer)| self.fleet.order(peer, Order::Speak(speaks)));
                }
                Act::Hold => {
                    let sample = self.sample_with_metrics().await;
                    self.ledger.begin_step(sample);
                }
                Act::Judge => self.judge().await,
                Act::End => return Some(Outcome::Completed),
            }
        }
        if self.ledger.is_complete() && !self.ledger.is_steady() {
            let sample = self.sample_with_metrics().await;
            self.ledger.begin_steady(sample);
        }
        None
    }

    fn told(&mut self, update: Update) -> Option<Outcome> {
        if let Update::RelayLost { since, reason } = update {
            return Some(self.lost(since, reason));
        }
        let failure = match &update {
            Update::Gone { outcome, .. } if !outcome.failure.is_empty() => Some(outcome.failure.clone()),
            _ => None,
        };
        let place = self.ledger.update(update)?;
        self.peers.retain(|(of, _)| *of != place);
        self.script.departed(place);
        if let Some(failure) = failure {
            self.progress.say(&format!("participant {} of call {} failed: {failure}", place.index, place.call));
        }
        let reason = self.ledger.nobody_came()?;
        let reason = format!("no participant could join: {reason}");
        Some(Outcome::Failed { reason })
    }

    /// A second of the run is over.
    fn second(&mut self) -> Result<(), String> {
        let sample = Sample { relay: self.carrier.usage()?, ..self.machine.sample() };
        self.ledger.tick(self.seconds, sample);
        self.seconds += 1;
        let glance = self.ledger.glance(sample.at, self.script.present());
        self.progress.show(self.elapsed(), self.run.plan.length(), &glance);
        Ok(())
    }

    async fn judge(&mut self) {
        let sample = self.sample_with_metrics().await;
        self.ledger.sample(sample);
        let (calls, participants) = (self.script.calls(), self.script.present());
        let held = self.ledger.judge_step(calls);
        let verdict = if held { "held".to_owned() } else { format!("broke: {}", self.ledger.broken().join("; ")) };
        let calls = words::plural(calls, "call");
        self.progress.say(&format!("{calls} with {participants} participants {verdict}"));
        if held { self.script.grow(self.elapsed()) } else { self.script.end() }
    }

    fn join(&mut self, place: Place) -> Result<(), FleetError> {
        while self.links.len() <= place.call {
            self.add_link(Link::host(random()));
        }
        let spec = self.spec(place);
        let peer = self.fleet.join(spec)?;
        self.peers.push((place, peer));
        self.ledger.asked(peer, place);
        Ok(())
    }

    fn spec(&self, place: Place) -> Spec {
        let plan = &self.run.plan;
        let role = place.index % plan.participants;
        let network = plan.is_impaired(place.index).then(|| PeerNetwork {
            up: plan.network.up.clone(),
            down: plan.network.down.clone(),
            outages: plan.network.outages.clone(),
            run_start: self.began,
        });
        Spec {
            call: place.call,
            index: place.index,
            run: self.number,
            link: Arc::clone(&self.links[place.call]),
            host_name: self.carrier.url().host_name().to_owned(),
            microphone: (role < plan.microphones()).then(|| plan.audio.clone()),
            camera: (role < plan.cameras()).then(|| plan.video.clone()),
            hints: plan.hints,
            watch: plan.watch,
            stage_height: plan.video.layers.last().map_or(0, |layer| layer.height),
            check_one_in: plan.check_one_in,
            network,
            seed: seed_of(plan.seed, place),
        }
    }

    fn add_link(&mut self, link: Link) {
        if self.run.show_link {
            let url = self.carrier.url().link(&link.invite_fragment());
            self.progress.say(&format!("join call {} at {}", self.links.len(), url.as_str()));
        }
        self.links.push(Arc::new(link));
    }

    fn lost(&self, since: Moment, reason: String) -> Outcome {
        let reason = format!("the relay was lost: {reason}");
        Outcome::RelayLost { at: since.since(self.began).as_secs_f64(), reason }
    }

    async fn sample_with_metrics(&mut self) -> Sample {
        let forwarded = self.carrier.forwarded().await;
        Sample { relay: self.carrier.usage().ok().flatten(), forwarded, ..self.machine.sample() }
    }

    fn elapsed(&self) -> Duration {
        Moment::now().since(self.began)
    }

    /// Has all leave, and makes the report.
    async fn finish(mut self, outcome: Outcome, started: String) -> Report {
        let sample = match outcome {
            Outcome::RelayLost { .. } => Sample { relay: None, ..self.machine.sample() },
            _ => self.sample_with_metrics().await,
        };
        self.ledger.sample(sample);
        self.ledger.end(sample.at, outcome == Outcome::Completed);
        self.progress.finish();
        match &outcome {
            Outcome::Completed => {}
            Outcome::Interrupted { .. } => self.progress.say("stopping; once more to stop at once, without a report"),
            Outcome::RelayLost { reason, .. } | Outcome::Failed { reason } => self.progress.say(reason),
        }
        self.fleet.stop().await;
        while let Ok(update) = self.updates.try_recv() {
            self.ledger.update(update);
        }
        self.carrier.stop().await;
        self.ledger.report(outcome, started, machine())
    }
}

impl Machine {
    /// Now, without the relay.
    fn sample(&mut self) -> Sample {
        Sample {
            at: Moment::now(),
            tester: self.own.usage().unwrap_or_default(),
            dropped: self.drops.count().unwrap_or_default(),
            ..Sample::default()
        }
    }
}

/// What carries the peers. Those of the full engine live on the runtime.
fn engine(run: &Run) -> Result<Box<dyn Engine>, FleetError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(match run.plan.engine {
        EngineKind::Full => Box::new(Full::new(Handle::current())),
        EngineKind::Light => Box::new(Light::start(run.threads.unwrap_or(cores))?),
    })
}

/// Those that were asked for; and nobody may fail, unless something else was said about that.
fn thresholds(texts: &[String]) -> Result<Vec<Threshold>, PlanError> {
    let mut thresholds = texts.iter().map(|text| Threshold::parse(text)).collect::<Result<Vec<_>, _>>()?;
    if !thresholds.iter().any(|threshold| threshold.metric().name == "failed") {
        thresholds.push(Threshold::parse("failed>0")?);
    }
    Ok(thresholds)
}

/// Different for each place of each run, and the same whenever the run is made again.
fn seed_of(seed: u64, place: Place) -> u64 {
    let place = ((place.call as u64) << 32) | place.index as u64;
    (seed ^ place.wrapping_mul(GOLDEN)).wrapping_mul(GOLDEN).rotate_left(32) ^ place
}

/// Processor and cores.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpus.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()));
    format!("{}, {cores} {}", name.unwrap_or("unknown processor"), if cores == 1 { "core" } else { "cores" })
}

#[allow(clippy::disallowed_methods)] // the report says when it was made
fn now_utc() -> String {
    let now = OffsetDateTime::from(SystemTime::now());
    let now = now.replace_nanosecond(0).unwrap_or(now);
    now.format(&Rfc3339).unwrap_or_default()
}

/// 2^64 divided by the golden ratio: spreads neighbouring numbers.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_a_seed_of_its_own_and_the_same_again() {
        let places = (0..50).flat_map(|call| (0..200).map(move |index| Place { call, index }));
        let seeds: std::collections::BTreeSet<u64> = places.map(|place| seed_of(1, place)).collect();
        assert_eq!(seeds.len(), 10_000);
        let place = Place { call: 3, index: 4 };
        assert_eq!(seed_of(7, place), seed_of(7, place));
        assert_ne!(seed_of(7, place), seed_of(8, place));
    }

    #[test]
    fn nobody_may_fail_unless_it_is_said_how_many_may() {
        let names = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            thresholds(&texts).unwrap().iter().map(|threshold| threshold.metric().name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["loss>1%"]), ["loss", "failed"]);
        assert_eq!(names(&["failed>3"]), ["failed"]);
    }

    #[test]
    fn the_report_names_machine_and_time() {
        assert!(machine().contains("core"));
        assert_eq!(now_utc().len(), "2026-01-01T00:00:00Z".len());
    }
}
