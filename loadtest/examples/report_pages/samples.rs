//! Reports of runs that never were, made from a few figures each, for tests and pictures of what is drawn from reports.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sotto_loadtest::plan::{EngineKind, Impairment, Outage, Plan, Scenario};
use sotto_loadtest::report::{
    Bucket, Distribution, Outcome, Peer, Relay, Report, SCHEMA, Second, Step, StreamReport, Summary, Tester, Threshold,
};

/// Every sample with the name of its file.
pub fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("good", good()),
        ("lossy", lossy()),
        ("outage", outage()),
        ("killed", killed()),
        ("overloaded", overloaded()),
        ("ramp", ramp()),
        ("webinar", webinar()),
        ("soak", soak()),
        ("interrupted", interrupted()),
        ("empty", empty()),
    ]
}

/// One call of eight on a quiet machine; all thresholds hold.
pub fn good() -> Report {
    Run {
        thresholds: &[("loss>0.5%", 0.0), ("latency_p99>50ms", 0.0), ("decrypt_failures>0", 0.0)],
        ..Run::of(meeting(8, 20))
    }
    .report()
}

/// Five percent lost between relay and peers, and repaired.
pub fn lossy() -> Report {
    let mut plan = meeting(4, 30);
    plan.network.down = Impairment { loss: 0.05, delay_ms: 20.0, jitter_ms: 4.0, ..Impairment::default() };
    Run { latency: 21.0, loss: 5.0, left: 0.03, thresholds: &[("loss>0.5%", 0.0)], ..Run::of(plan) }.report()
}

/// Three seconds in which nothing passes, for one of four.
pub fn outage() -> Report {
    let mut plan = meeting(4, 30);
    plan.network.peers = Some(1);
    plan.network.outages = vec![Outage { at: Duration::from_secs(12), lasts: Duration::from_secs(3) }];
    Run { thresholds: &[("longest_freeze>1s", 1.0), ("loss>5%", 0.0)], left: 0.4, ..Run::of(plan) }.report()
}

/// The relay dies in the middle.
pub fn killed() -> Report {
    let outcome = Outcome::RelayLost { at: 13.2, reason: "its process ended by signal 9 (SIGKILL)".into() };
    Run { outcome, seconds: 13, ..Run::of(meeting(6, 30)) }.report()
}

/// A tester that cannot keep up.
pub fn overloaded() -> Report {
    let mut plan = meeting(25, 20);
    plan.calls = 4;
    const FAULTS: [&str; 2] = [
        "its loops woke 212 ms late (p99) where 10 ms is the limit",
        "the kernel dropped 18,204 packets that it did not read in time",
    ];
    Run {
        latency: 180.0,
        loss: 3.1,
        left: 2.9,
        faults: &FAULTS,
        tester_cpu: 197.0,
        thresholds: &[("loss>1%", 1.0), ("latency_p99>50ms", 1.0)],
        ..Run::of(plan)
    }
    .report()
}

/// Calls are added until the latency breaks.
pub fn ramp() -> Report {
    let plan = Plan { participants: 4, engine: EngineKind::Light, ..Plan::of(Scenario::Ramp) };
    let mut report = Run { seconds: 130, thresholds: &[("latency_p99>20ms", 1.0)], ..Run::of(plan) }.report();
    report.ramp = (1..=13)
        .map(|step| {
            let held = step < 13;
            let mut summary = report.overall.clone();
            summary.latency = spread(1000 * step, 0.3 * 1.3_f64.powi(step as i32));
            summary.loss = if held { 0.0 } else { 0.08 };
            summary.bitrate = 6e6 * step as f64;
            Step {
                participants: 4 * step as usize,
                calls: step as usize,
                held,
                broken: if held { vec![] } else { vec!["latency_p99>20ms".into()] },
                summary,
                relay_cpu: Some(7.4 * step as f64),
            }
        })
        .collect();
    for second in &mut report.timeline {
        let step = 1.0 + (second.at / 10.0).floor().min(12.0);
        second.peers = 4 * step as u64;
        second.bitrate = 6e6 * step;
        second.latency = spread(500 * step as u64, 0.3 * 1.3_f64.powf(step));
        second.relay_cpu = Some(7.4 * step);
    }
    report
}

/// One to a hundred, with thousands of streams and names that must not become markup.
pub fn webinar() -> Report {
    let mut plan = Plan {
        participants: 100,
        publishers: Some(20),
        engine: EngineKind::Light,
        check_one_in: 16,
        ..Plan::of(Scenario::Webinar)
    };
    plan.duration = Duration::from_secs(60);
    let mut report = Run { latency: 2.2, loss: 0.002, left: 0.0, ..Run::of(plan) }.report();
    report.peers[37].failure = "the relay closed the WebSocket: <script>alert(1)</script> & \"so on\"".into();
    report.peers[37].summary = Summary::default();
    report
}

/// Eight hours with slowly growing memory.
pub fn soak() -> Report {
    let mut plan = Plan { participants: 8, ..Plan::of(Scenario::Soak) };
    plan.duration = Duration::from_secs(8 * 3600);
    let mut report = Run { thresholds: &[("memory_per_participant>1000000", 0.0)], ..Run::of(plan) }.report();
    for second in &mut report.timeline {
        second.relay_memory = Some(14_000_000 + (second.at * 6.0) as u64);
    }
    report
}

/// Ctrl-C, with no threshold set, and a relay elsewhere.
pub fn interrupted() -> Report {
    let mut report = Run { outcome: Outcome::Interrupted { at: 8.4 }, seconds: 8, ..Run::of(meeting(3, 60)) }.report();
    report.relay = None;
    for second in &mut report.timeline {
        (second.relay_cpu, second.relay_memory, second.relay_descriptors) = (None, None, None);
    }
    report
}

/// A run that could not begin.
pub fn empty() -> Report {
    Report {
        outcome: Outcome::Failed {
            reason: "nothing listens at ws://127.0.0.1:8080; start a relay or pass --spawn".into(),
        },
        thresholds: vec![Threshold { expression: "loss>0.5%".into(), measured: None, broken: true }],
        overall: Summary::default(),
        timeline: vec![],
        latency_histogram: vec![],
        relay: None,
        tester: Tester::default(),
        peers: vec![],
        ..good()
    }
}

fn meeting(participants: usize, seconds: u64) -> Plan {
    Plan { participants, duration: Duration::from_secs(seconds), ..Plan::of(Scenario::Meeting) }
}

/// From which a report is made.
struct Run {
    plan: Plan,
    outcome: Outcome,
    seconds: u64,
    /// Milliseconds, the middle.
    latency: f64,
    /// Percent before repair.
    loss: f64,
    /// Percent after.
    left: f64,
    /// Expressions, each with 1 where it broke.
    thresholds: &'static [(&'static str, f64)],
    faults: &'static [&'static str],
    tester_cpu: f64,
}

impl Run {
    fn of(mut plan: Plan) -> Self {
        plan.fail_if = vec![];
        let seconds = plan.duration.as_secs();
        Self {
            plan,
            outcome: Outcome::Completed,
            seconds,
            latency: 0.42,
            loss: 0.0,
            left: 0.0,
            thresholds: &[],
            faults: &[],
            tester_cpu: 38.0,
        }
    }

    fn report(mut self) -> Report {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        self.plan.fail_if = self.thresholds.iter().map(|it| it.0.to_owned()).collect();
        let timeline: Vec<Second> = (1..=self.seconds).map(|at| self.second(at as f64, &mut rng)).collect();
        let peers: Vec<Peer> = (0..self.plan.calls)
            .flat_map(|call| (0..self.plan.participants).map(move |index| (call, index)))
            .map(|(call, index)| self.peer(call, index, &mut rng))
            .collect();
        let mut overall = Summary {
            packets_sent: 40 * self.seconds * peers.len() as u64,
            bitrate_sent: 540_000.0 * peers.len() as f64,
            ..Summary::default()
        };
        for peer in &peers {
            add(&mut overall, &peer.summary);
        }
        finish(&mut overall);
        overall.latency = spread(overall.frames, self.latency);
        let all = peers.len() as u64;
        overall.join = spread(all, 62.0);
        overall.ice = spread(all, 9.0);
        overall.dtls = spread(all, 31.0);
        overall.first_frame = spread(all, 140.0);
        overall.first_key_frame = spread(all, 160.0);
        overall.key_change = spread(all * 3, 48.0);
        Report {
            schema: SCHEMA,
            version: "0.1.0".into(),
            started: "2026-11-22T06:58:12Z".into(),
            machine: "AMD EPYC 7B13, 2 cores, Linux 6.12".into(),
            outcome: self.outcome.clone(),
            thresholds: self.judged(),
            relay: Some(relay(&overall, peers.len())),
            tester: self.tester(&overall),
            latency_histogram: histogram(overall.frames, self.latency),
            overall,
            timeline,
            ramp: vec![],
            peers,
            plan: self.plan,
        }
    }

    fn second(&self, at: f64, rng: &mut ChaCha8Rng) -> Second {
        let peers = (self.plan.calls * self.plan.participants) as f64;
        let joined = (at / 2.0).min(1.0);
        let near = self
            .plan
            .network
            .outages
            .iter()
            .any(|it| at > it.at.as_secs_f64() && at <= (it.at + it.lasts).as_secs_f64() + 1.0);
        let packets = (peers * 400.0 * joined * rng.random_range(0.95..1.05)) as u64;
        let latency = self.latency * rng.random_range(0.9..1.2) * if near { 40.0 } else { 1.0 };
        let lost = if near { packets / 9 } else { 0 };
        Second {
            at,
            peers: (peers * joined) as u64,
            packets,
            lost_before_repair: lost + (packets as f64 * self.loss / 100.0 * rng.random_range(0.8..1.2)) as u64,
            lost: lost / 3 + (packets as f64 * self.left / 100.0 * rng.random_range(0.5..1.5)) as u64,
            bitrate: packets as f64 * 900.0 * 8.0,
            latency: spread(packets / 4, latency),
            frozen: if near { 5200.0 } else { packets as f64 * self.left * 0.1 },
            relay_cpu: Some(3.2 * joined * peers.sqrt() * rng.random_range(0.9..1.1)),
            relay_memory: Some((9.0e6 + 240_000.0 * peers * joined) as u64),
            relay_descriptors: Some((21.0 + peers * joined) as u64),
            tester_cpu: self.tester_cpu * joined.max(0.3) * rng.random_range(0.95..1.02),
        }
    }

    fn peer(&self, call: usize, index: usize, rng: &mut ChaCha8Rng) -> Peer {
        let senders = self.plan.cameras();
        let streams: Vec<StreamReport> = (0..senders)
            .filter(|from| *from != index)
            .flat_map(|from| ["microphone", "camera"].map(|stream| (from, stream)))
            .map(|(from, stream)| self.stream(from, stream, index, rng))
            .collect();
        let mut summary = Summary::default();
        for stream in &streams {
            add(&mut summary, &stream.summary);
        }
        finish(&mut summary);
        summary.latency = spread(summary.frames, self.latency * rng.random_range(0.9..1.3));
        summary.first_frame = spread(streams.len() as u64, 130.0 * rng.random_range(0.8..1.4));
        summary.join = spread(1, 62.0 * rng.random_range(0.8..1.4));
        Peer { call, index, failure: String::new(), impaired: self.plan.is_impaired(index), summary, streams }
    }

    fn stream(&self, from: usize, stream: &str, index: usize, rng: &mut ChaCha8Rng) -> StreamReport {
        let camera = stream == "camera";
        let packets = self.seconds * if camera { 62 } else { 50 };
        let share = |percent: f64, rng: &mut ChaCha8Rng| {
            (packets as f64 * percent / 100.0 * rng.random_range(0.6..1.4)).round() as u64
        };
        let (missing, lost) = (share(self.loss, rng), share(self.left, rng));
        let missing = missing.max(lost);
        let frames = self.seconds * if camera { 30 } else { 50 };
        let frozen = if self.plan.is_impaired(index) && !self.plan.network.outages.is_empty() {
            3140.0
        } else {
            lost as f64 * 31.0
        };
        let mut summary = Summary {
            packets_expected: packets,
            packets_received: packets - missing,
            packets_repaired: missing - lost,
            packets_duplicate: missing / 40,
            bytes: packets * if camera { 1010 } else { 92 },
            frames: frames - lost.min(frames),
            frames_checked: (frames - lost.min(frames)) / u64::from(self.plan.check_one_in),
            frames_lost: lost,
            jitter: 0.11,
            freezes: u64::from(frozen > 0.0),
            frozen,
            longest_freeze: frozen.min(3140.0),
            bitrate: if camera { 500_000.0 } else { 32_000.0 },
            key_frames_requested: u64::from(camera),
            latency: spread(frames, self.latency * rng.random_range(0.8..1.3)),
            first_frame: spread(1, 130.0 * rng.random_range(0.8..1.4)),
            ..Summary::default()
        };
        finish(&mut summary);
        StreamReport { from: Some(from), stream: stream.into(), summary }
    }

    fn judged(&self) -> Vec<Threshold> {
        let threshold = |&(expression, broken): &(&str, f64)| Threshold {
            expression: expression.into(),
            measured: Some(match expression.split_once('>').map_or(expression, |it| it.0) {
                "longest_freeze" => 3140.0,
                "latency_p99" => 3.6 * self.latency,
                "memory_per_participant" => 240_000.0,
                "decrypt_failures" => 0.0,
                _ => self.left,
            }),
            broken: broken > 0.0,
        };
        self.thresholds.iter().map(threshold).collect()
    }

    fn tester(&self, overall: &Summary) -> Tester {
        let slow = if self.faults.is_empty() { 1.0 } else { 90.0 };
        Tester {
            packets_received: overall.packets_received + overall.packets_repaired,
            us_per_packet: 12.4,
            cpu: self.tester_cpu,
            lag: spread(self.seconds * 100, 0.2 * slow),
            dropped: if self.faults.is_empty() { 0 } else { 18_204 },
            late_frames: if self.faults.is_empty() { 0 } else { 9_120 },
            overloaded: self.faults.iter().map(|&fault| fault.to_owned()).collect(),
        }
    }
}

fn relay(overall: &Summary, peers: usize) -> Relay {
    Relay {
        packets_forwarded: overall.packets_received + overall.packets_repaired,
        user_us_per_packet: 0.71,
        system_us_per_packet: 1.32,
        cpu: 8.9,
        memory_before: 9_000_000,
        memory_peak: 9_000_000 + 240_000 * peers as u64,
        memory_per_participant: 240_000.0,
        descriptors_before: 21,
        descriptors_peak: 21 + peers as u64,
        memory_slope: Some(21_600.0),
        descriptor_slope: Some(0.0),
    }
}

fn add(whole: &mut Summary, part: &Summary) {
    whole.packets_expected += part.packets_expected;
    whole.packets_received += part.packets_received;
    whole.packets_repaired += part.packets_repaired;
    whole.packets_duplicate += part.packets_duplicate;
    whole.bytes += part.bytes;
    whole.frames += part.frames;
    whole.frames_checked += part.frames_checked;
    whole.frames_lost += part.frames_lost;
    whole.freezes += part.freezes;
    whole.frozen += part.frozen;
    whole.longest_freeze = whole.longest_freeze.max(part.longest_freeze);
    whole.bitrate += part.bitrate;
    whole.jitter = part.jitter;
    whole.key_frames_requested += part.key_frames_requested;
}

fn finish(summary: &mut Summary) {
    let due = summary.packets_expected.max(1) as f64;
    summary.loss_before_repair = (summary.packets_expected - summary.packets_received) as f64 * 100.0 / due;
    summary.loss =
        (summary.packets_expected - summary.packets_received - summary.packets_repaired) as f64 * 100.0 / due;
}

fn spread(count: u64, middle: f64) -> Distribution {
    if count == 0 {
        return Distribution::default();
    }
    if count == 1 {
        return Distribution { count, min: middle, mean: middle, p50: middle, p95: middle, p99: middle, max: middle };
    }
    let times = |factor: f64| middle * factor;
    Distribution {
        count,
        min: times(0.5),
        mean: times(1.1),
        p50: middle,
        p95: times(2.1),
        p99: times(3.6),
        max: times(9.0),
    }
}

fn histogram(frames: u64, middle: f64) -> Vec<Bucket> {
    if frames == 0 {
        return vec![];
    }
    let edges: Vec<f64> = (0..=48).map(|place| middle * 0.4 * 1.07_f64.powi(place)).collect();
    let weight = |value: f64| {
        let distance = (value / middle).ln() / if value < middle { 0.25 } else { 0.55 };
        (-distance * distance / 2.0).exp() + 0.002
    };
    let all: f64 = edges.windows(2).map(|edge| weight(edge[0])).sum();
    let bucket =
        |edge: &[f64]| Bucket { from: edge[0], to: edge[1], count: (weight(edge[0]) / all * frames as f64) as u64 };
    edges.windows(2).map(bucket).collect()
}
