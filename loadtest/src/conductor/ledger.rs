//! Everything that a run's participants and the machine tell, gathered into a report. Told the time; reads no clock.

use std::collections::HashMap;
use std::time::Duration;

use super::window::{Sample, Window};
use crate::clock::Moment;
use crate::measure::Interval;
use crate::participant::{Findings, Outcome, PeerId, Second, Update};
use crate::plan::{Plan, Scenario};
use crate::report::{self, Peer, Relay, Report, Step, Tester};
use crate::scenario::Place;
use crate::threshold::{Reading, Threshold};

/// What a run found until now.
pub struct Ledger {
    plan: Plan,
    thresholds: Vec<Threshold>,
    cores: usize,
    began: Moment,
    peers: HashMap<PeerId, Present>,
    /// Who was asked to join at first and is neither in nor gone.
    awaited: usize,
    joined: usize,
    most_connected: usize,
    timeline: Vec<Row>,
    before: Sample,
    /// From the first join to the end.
    whole: Window,
    /// From everybody's being in to the end.
    steady: Option<Window>,
    /// Of a ramp: the step that is held.
    step: Option<Window>,
    /// Joins of the step that has begun.
    step_joins: Vec<Duration>,
    steps: Vec<Step>,
    findings: Findings,
    outcomes: Vec<Peer>,
    /// Beyond which nothing counts: who says goodbye makes gaps that are nobody's fault.
    ended: Option<Moment>,
    /// Whether everybody had the time to come in that the plan gives.
    in_full: bool,
    memory_peak: u64,
    descriptors_peak: u64,
}

/// What the last second was like, for people who watch.
#[derive(Clone, Debug, Default)]
pub struct Glance {
    /// Participants connected.
    pub connected: usize,
    /// Participants that were asked to join and not told to leave.
    pub wanted: usize,
    /// Packets received.
    pub packets: u64,
    /// Bits per second received.
    pub bitrate: f64,
    /// Percent given up.
    pub loss: f64,
    /// Milliseconds.
    pub latency_p99: Option<f64>,
    /// Percent of a core.
    pub relay_cpu: Option<f64>,
}

struct Present {
    place: Place,
    connected: bool,
    joined: bool,
}

/// A second of the timeline as it fills: participants tell theirs a little later.
#[derive(Default)]
struct Row {
    interval: Interval,
    peers: usize,
    relay_cpu: Option<f64>,
    relay: Option<crate::process::Usage>,
    tester_cpu: f64,
    /// The run went on to its end.
    ended: bool,
}

impl Ledger {
    /// Of a run that begins now, on so many cores; the sample is from before anybody joined.
    pub fn new(plan: &Plan, thresholds: Vec<Threshold>, cores: usize, before: Sample) -> Self {
        let (peers, timeline, steps, step_joins, findings, outcomes) = Default::default();
        Self {
            plan: plan.clone(),
            thresholds,
            cores,
            began: before.at,
            peers,
            awaited: plan.calls * plan.participants,
            joined: 0,
            most_connected: 0,
            timeline,
            before,
            whole: Window::begin(before),
            steady: None,
            step: None,
            step_joins,
            steps,
            findings,
            outcomes,
            ended: None,
            in_full: false,
            memory_peak: before.relay.map_or(0, |usage| usage.memory),
            descriptors_peak: before.relay.and_then(|usage| usage.descriptors).unwrap_or(0),
        }
    }

    /// Somebody was asked to join.
    pub fn asked(&mut self, peer: PeerId, place: Place) {
        self.peers.insert(peer, Present { place, connected: false, joined: false });
    }

    /// A participant tells. Gives its place where it is gone.
    pub fn update(&mut self, update: Update) -> Option<Place> {
        match update {
            Update::Joined { peer, took, .. } => {
                self.connected(peer, true);
                self.step_joins.push(took);
                if self.peers.get_mut(&peer).is_some_and(|present| !std::mem::replace(&mut present.joined, true)) {
                    self.joined += 1;
                    self.awaited = self.awaited.saturating_sub(1);
                }
                None
            }
            Update::Second { peer, second } => {
                self.second(peer, &second);
                None
            }
            Update::Lost { peer, .. } => {
                self.connected(peer, false);
                None
            }
            Update::Rejoined { peer, .. } => {
                self.connected(peer, true);
                self.windows().for_each(Window::rejoined);
                None
            }
            Update::Gone { peer, outcome } => self.gone(peer, &outcome),
            Update::Unreachable { .. } | Update::RelayLost { .. } => None,
        }
    }

    /// What relay and tester have taken by the end of this second of the run, counted from 0.
    pub fn tick(&mut self, second: usize, sample: Sample) {
        let before = self.whole.last();
        let elapsed = sample.at.since(before.at).as_secs_f64().max(f64::EPSILON);
        let percent = |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64() / elapsed * 100.0;
        let peers = self.count_connected();
        let row = self.row(second);
        row.ended = true;
        row.peers = peers;
        row.relay = sample.relay;
        row.relay_cpu = sample.relay.zip(before.relay).map(|(now, before)| percent(now.cpu(), before.cpu()));
        row.tester_cpu = percent(sample.tester.cpu(), before.tester.cpu());
        self.sample(sample);
    }

    /// The same at any other time.
    pub fn sample(&mut self, sample: Sample) {
        if let Some(usage) = sample.relay {
            self.memory_peak = self.memory_peak.max(usage.memory);
            self.descriptors_peak = self.descriptors_peak.max(usage.descriptors.unwrap_or(0));
        }
        self.windows().for_each(|window| window.sample(sample));
    }

    /// Whether everybody who was to join at first is in, or has failed to.
    pub fn is_complete(&self) -> bool {
        self.awaited == 0
    }

    /// Whether the steady time has begun.
    pub fn is_steady(&self) -> bool {
        self.steady.is_some()
    }

    /// The steady time begins.
    pub fn begin_steady(&mut self, sample: Sample) {
        self.steady = Some(Window::begin(sample));
    }

    /// Whether everybody is gone, and nobody was ever in.
    pub fn nobody_came(&self) -> Option<&str> {
        let nobody = self.joined == 0 && self.peers.is_empty() && self.is_complete();
        self.outcomes.first().filter(|_| nobody).map(|peer| peer.failure.as_str())
    }

    /// Of a ramp: a step is measured from now on.
    pub fn begin_step(&mut self, sample: Sample) {
        let mut step = Window::begin(sample);
        self.step_joins.drain(..).for_each(|took| step.joined(took));
        self.step = Some(step);
    }

    /// Of a ramp: the step is over. Whether it held, which decides whether there is another.
    pub fn judge_step(&mut self, calls: usize) -> bool {
        let Some(step) = self.step.take() else { return false };
        let (summary, cpu) = (step.summary(), step.relay_cpu());
        let relay = cpu.map(|cpu| Relay {
            packets_forwarded: step.packets(),
            user_us_per_packet: cpu.user_us,
            system_us_per_packet: cpu.system_us,
            cpu: cpu.percent,
            memory_per_participant: self.memory_per_participant(),
            ..Relay::default()
        });
        let failed = self.outcomes.iter().filter(|peer| !peer.failure.is_empty()).count();
        let reading = Reading { summary: &summary, relay: relay.as_ref(), failed };
        let judged = self.thresholds.iter().map(|threshold| threshold.judge(&reading));
        let mut broken: Vec<String> = judged.filter(|it| it.broken).map(|it| it.expression).collect();
        broken.extend(step.overloaded(self.cores).into_iter().map(|reason| format!("{TESTER}{reason}")));
        let held = broken.is_empty();
        let participants = self.count_connected();
        self.steps.push(Step { participants, calls, held, broken, summary, relay_cpu: cpu.map(|cpu| cpu.percent) });
        held
    }

    /// Of a ramp: why the last step did not hold.
    pub fn broken(&self) -> &[String] {
        self.steps.last().map(|step| step.broken.as_slice()).unwrap_or_default()
    }

    /// Nothing that happens from now on counts. In a run that went its full length, whoever is not in failed to join.
    pub fn end(&mut self, now: Moment, in_full: bool) {
        (self.ended, self.in_full) = (Some(now), in_full);
    }

    /// What the last full second was like, so far into the run, while so many should be there.
    pub fn glance(&self, now: Moment, wanted: usize) -> Glance {
        let last =
            (now.since(self.began).as_secs() as usize).checked_sub(2).and_then(|second| self.timeline.get(second));
        let Some(row) = last else { return Glance { connected: self.count_connected(), wanted, ..Glance::default() } };
        let latency = row.interval.latency.distribution();
        Glance {
            connected: self.count_connected(),
            wanted,
            packets: row.interval.packets(),
            bitrate: row.interval.bytes as f64 * 8.0,
            loss: row.interval.lost() as f64 / row.interval.packets.expected().max(1) as f64 * 100.0,
            latency_p99: (latency.count > 0).then_some(latency.p99),
            relay_cpu: row.relay_cpu,
        }
    }

    /// The report, with its thresholds judged.
    pub fn report(mut self, outcome: report::Outcome, started: String, machine: String) -> Report {
        for (_, present) in std::mem::take(&mut self.peers) {
            let failure = "it did not end when it was told to, which is a defect of this program".to_owned();
            let Place { call, index } = present.place;
            self.outcomes.push(Peer { call, index, failure, ..Peer::default() });
        }
        self.outcomes.sort_by_key(|peer| (peer.call, peer.index));
        let mut report = Report {
            schema: report::SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started,
            machine,
            outcome,
            plan: self.plan.clone(),
            thresholds: Vec::new(),
            overall: self.findings.summary(),
            timeline: self.timeline.iter().enumerate().filter_map(|(at, row)| row.second(at + 1)).collect(),
            latency_histogram: self.findings.tally.latency.buckets(),
            relay: self.relay(),
            tester: self.tester(),
            ramp: std::mem::take(&mut self.steps),
            peers: std::mem::take(&mut self.outcomes),
        };
        report.thresholds = self.judged(&report);
        report
    }

    /// A ramp is judged by the largest load that held: that it ends at one that does not is what it is for.
    fn judged(&self, report: &Report) -> Vec<report::Threshold> {
        let steps = &report.ramp;
        let reading = match steps.iter().rev().find(|step| step.held).or(steps.first()) {
            Some(step) => {
                let failed = if step.held { 0 } else { Reading::of(report).failed };
                Reading { summary: &step.summary, relay: report.relay.as_ref(), failed }
            }
            None => Reading::of(report),
        };
        self.thresholds.iter().map(|threshold| threshold.judge(&reading)).collect()
    }

    fn relay(&self) -> Option<Relay> {
        let before = self.before.relay?;
        let window = self.steady.as_ref().unwrap_or(&self.whole);
        let cpu = window.relay_cpu().unwrap_or_default();
        let (memory_slope, descriptor_slope) = window.slopes();
        Some(Relay {
            packets_forwarded: window.forwarded().unwrap_or(window.packets()),
            user_us_per_packet: cpu.user_us,
            system_us_per_packet: cpu.system_us,
            cpu: cpu.percent,
            memory_before: before.memory,
            memory_peak: self.memory_peak,
            memory_per_participant: self.memory_per_participant(),
            descriptors_before: before.descriptors.unwrap_or(0),
            descriptors_peak: self.descriptors_peak,
            memory_slope,
            descriptor_slope,
        })
    }

    fn tester(&self) -> Tester {
        let window = self.steady.as_ref().unwrap_or(&self.whole);
        let packets = &self.findings.tally.packets;
        Tester {
            packets_received: packets.received + packets.repaired,
            us_per_packet: window.tester_us_per_packet(),
            cpu: window.tester_cpu(),
            lag: window.lags().distribution(),
            dropped: self.whole.last().dropped.saturating_sub(self.before.dropped),
            late_frames: self.findings.late_frames,
            overloaded: self.overloaded(window),
        }
    }

    /// A ramp goes on until something is the limit: it matters only whether that was the tester.
    fn overloaded(&self, window: &Window) -> Vec<String> {
        if self.plan.scenario != Scenario::Ramp {
            return window.overloaded(self.cores);
        }
        self.broken().iter().filter_map(|reason| reason.strip_prefix(TESTER)).map(str::to_owned).collect()
    }

    fn second(&mut self, peer: PeerId, second: &Second) {
        let Some(present) = self.peers.get_mut(&peer) else { return };
        present.connected = second.connected;
        let place = present.place;
        if self.ended.is_some_and(|ended| second.at > ended) || second.at < self.began {
            return;
        }
        let frames_due = if second.connected { self.frames_per_second(place) } else { 0.0 };
        for window in self.windows().filter(|window| second.at > window.began()) {
            window.second(second, frames_due);
        }
        let row = second.at.since(self.began).as_nanos().saturating_sub(1) / NANOS;
        self.row(row as usize).interval.merge(&second.interval);
    }

    fn gone(&mut self, peer: PeerId, outcome: &Outcome) -> Option<Place> {
        let present = self.peers.remove(&peer)?;
        if !present.joined {
            self.awaited = self.awaited.saturating_sub(1);
        }
        self.findings.add(outcome);
        let mut peer = outcome.report();
        if !present.joined && self.in_full && peer.failure.is_empty() {
            peer.failure = "it was not in yet when the run ended".to_owned();
        }
        self.outcomes.push(peer);
        Some(present.place)
    }

    fn frames_per_second(&self, place: Place) -> f64 {
        let (plan, role) = (&self.plan, place.index % self.plan.participants);
        let voice = if role < plan.microphones() { VOICE_FRAMES } else { 0.0 };
        let pictures = f64::from(plan.video.fps) * plan.video.layers.len() as f64;
        voice + if role < plan.cameras() { pictures } else { 0.0 }
    }

    fn connected(&mut self, peer: PeerId, connected: bool) {
        if let Some(present) = self.peers.get_mut(&peer) {
            present.connected = connected;
        }
        self.most_connected = self.most_connected.max(self.count_connected());
    }

    fn count_connected(&self) -> usize {
        self.peers.values().filter(|present| present.connected).count()
    }

    fn memory_per_participant(&self) -> f64 {
        let before = self.before.relay.map_or(0, |usage| usage.memory);
        self.memory_peak.saturating_sub(before) as f64 / self.most_connected.max(1) as f64
    }

    fn windows(&mut self) -> impl Iterator<Item = &mut Window> {
        std::iter::once(&mut self.whole).chain(self.steady.as_mut()).chain(self.step.as_mut())
    }

    fn row(&mut self, index: usize) -> &mut Row {
        if self.timeline.len() <= index {
            self.timeline.resize_with(index + 1, Row::default);
        }
        &mut self.timeline[index]
    }
}

impl Row {
    /// As it stands in a report; nothing where the run ended in the middle of it.
    fn second(&self, at: usize) -> Option<report::Second> {
        let packets = &self.interval;
        self.ended.then(|| report::Second {
            at: at as f64,
            peers: self.peers as u64,
            packets: packets.packets(),
            lost_before_repair: packets.lost_before_repair(),
            lost: packets.lost(),
            bitrate: packets.bytes as f64 * 8.0,
            latency: packets.latency.distribution(),
            frozen: packets.frozen.as_secs_f64() * 1e3,
            relay_cpu: self.relay_cpu,
            relay_memory: self.relay.map(|usage| usage.memory),
            relay_descriptors: self.relay.and_then(|usage| usage.descriptors),
            tester_cpu: self.tester_cpu,
        })
    }
}

/// How a step's reason begins that is about the tester.
const TESTER: &str = "the tester was the limit: ";
/// Opus frames of 20 ms.
const VOICE_FRAMES: f64 = 50.0;
const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests;
