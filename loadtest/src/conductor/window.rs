//! A stretch of a run in which the load stays as it is: what it took of the relay and of the tester, and whether the
//! tester was the limit in it.

use std::time::Duration;

use crate::clock::Moment;
use crate::measure::{Durations, Interval};
use crate::participant::Second;
use crate::process::Usage;
use crate::report::Summary;

/// What relay and tester had taken at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// When.
    pub at: Moment,
    /// The relay, where its process can be seen.
    pub relay: Option<Usage>,
    /// The tester.
    pub tester: Usage,
    /// Datagrams that the kernel dropped at the tester's sockets, since it began.
    pub dropped: u64,
    /// Media packets that the relay says it sent, where it was asked.
    pub forwarded: Option<u64>,
}

/// A stretch of a run.
#[derive(Clone, Debug)]
pub struct Window {
    first: Sample,
    last: Sample,
    interval: Interval,
    lags: Durations,
    joins: Durations,
    reconnects: u64,
    late_frames: u64,
    /// Frames that were to be sent.
    frames_due: f64,
    packets_sent: u64,
    bytes_sent: u64,
    /// Seconds in, bytes of memory and descriptors of the relay.
    growth: Vec<(f64, f64, Option<f64>)>,
}

/// CPU of the relay in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RelayCpu {
    /// Microseconds in user mode per forwarded packet.
    pub user_us: f64,
    /// Microseconds in the kernel per forwarded packet.
    pub system_us: f64,
    /// Percent of one core.
    pub percent: f64,
}

impl Window {
    /// Begins with this sample.
    pub fn begin(first: Sample) -> Self {
        let (interval, lags, joins) = Default::default();
        Self {
            first,
            last: first,
            interval,
            lags,
            joins,
            reconnects: 0,
            late_frames: 0,
            frames_due: 0.0,
            packets_sent: 0,
            bytes_sent: 0,
            growth: Vec::new(),
        }
    }

    /// When it began.
    pub fn began(&self) -> Moment {
        self.first.at
    }

    /// The last sample.
    pub fn last(&self) -> Sample {
        self.last
    }

    /// A second of a participant that was to send so many frames in it.
    pub fn second(&mut self, second: &Second, frames_due: f64) {
        self.interval.merge(&second.interval);
        self.packets_sent += second.packets_sent;
        self.bytes_sent += second.bytes_sent;
        // Packets that were received before the window began are as many as those that are told after its end. How late
        // the tester was while somebody still joined is not what is asked of it.
        if second.at < self.first.at + SECOND {
            return;
        }
        second.lags.iter().for_each(|&lag| self.lags.record(Duration::from_micros(lag.into())));
        self.late_frames += second.late_frames;
        self.frames_due += frames_due;
    }

    /// Somebody came in, so long after it began to.
    pub fn joined(&mut self, took: Duration) {
        self.joins.record(took);
    }

    /// Somebody lost the connection and has it again.
    pub fn rejoined(&mut self) {
        self.reconnects += 1;
    }

    /// What relay and tester have taken by now.
    pub fn sample(&mut self, sample: Sample) {
        if let Some(usage) = sample.relay {
            let at = sample.at.since(self.first.at).as_secs_f64();
            self.growth.push((at, usage.memory as f64, usage.descriptors.map(|count| count as f64)));
        }
        // A relay that is gone took what it had taken when it was last seen.
        let (relay, forwarded) = (sample.relay.or(self.last.relay), sample.forwarded.or(self.last.forwarded));
        self.last = Sample { relay, forwarded, ..sample };
    }

    /// Packets received.
    pub fn packets(&self) -> u64 {
        self.interval.packets()
    }

    /// Media packets that the relay says it sent meanwhile.
    pub fn forwarded(&self) -> Option<u64> {
        self.last.forwarded?.checked_sub(self.first.forwarded?).filter(|&packets| packets > 0)
    }

    /// What the relay took for each packet: of those that it says it sent, or else of those that were received.
    pub fn relay_cpu(&self) -> Option<RelayCpu> {
        let (before, after) = (self.first.relay?, self.last.relay?);
        let (user, system) = (after.user.saturating_sub(before.user), after.system.saturating_sub(before.system));
        let packets = self.forwarded().unwrap_or(self.packets()) as f64;
        let each = |time: Duration| if packets > 0.0 { time.as_secs_f64() * 1e6 / packets } else { 0.0 };
        Some(RelayCpu { user_us: each(user), system_us: each(system), percent: self.percent(user + system) })
    }

    /// The tester's CPU, percent of one core.
    pub fn tester_cpu(&self) -> f64 {
        self.percent(self.last.tester.cpu().saturating_sub(self.first.tester.cpu()))
    }

    /// Microseconds of the tester's CPU per received packet.
    pub fn tester_us_per_packet(&self) -> f64 {
        let time = self.last.tester.cpu().saturating_sub(self.first.tester.cpu());
        if self.packets() > 0 { time.as_secs_f64() * 1e6 / self.packets() as f64 } else { 0.0 }
    }

    /// How late the tester's loops woke.
    pub fn lags(&self) -> &Durations {
        &self.lags
    }

    /// By how much the relay's memory, in bytes, and its descriptors grew in an hour. `None` in less than a minute,
    /// in which what grows is what was just begun.
    pub fn slopes(&self) -> (Option<f64>, Option<f64>) {
        if self.last.at.since(self.first.at) < SHORTEST_SLOPE {
            return (None, None);
        }
        let memory = self.growth.iter().map(|&(at, memory, _)| (at, memory));
        let descriptors = self.growth.iter().filter_map(|&(at, _, descriptors)| Some((at, descriptors?)));
        (slope(memory).map(|slope| slope * HOUR), slope(descriptors).map(|slope| slope * HOUR))
    }

    /// Why what was measured is the tester's own limit, on so many cores; empty where it is not.
    pub fn overloaded(&self, cores: usize) -> Vec<String> {
        let mut reasons = Vec::new();
        let dropped = self.last.dropped.saturating_sub(self.first.dropped);
        let packets = self.packets();
        if dropped > 0 {
            reasons.push(format!(
                "the kernel dropped {dropped} packets at the tester's own sockets, which it did not read in time \
                 ({packets} were received): that loss is the tester's, not the relay's"
            ));
        }
        let lag = self.lags.distribution().p99;
        if lag > LATE_LOOP_MS {
            reasons.push(format!(
                "its loops woke {lag:.0} ms late (one wake in a hundred, or later), so latency, and loss of packets \
                 that came too late, are the tester's"
            ));
        }
        let late = self.late_frames as f64 / self.frames_due.max(1.0) * 100.0;
        if late > LATE_FRAMES_PERCENT {
            reasons.push(format!("{late:.1} % of its frames were sent late or not at all"));
        }
        let (cpu, all) = (self.tester_cpu(), cores as f64 * 100.0);
        if cpu > all * FULL_SHARE {
            reasons.push(format!("it used {cpu:.0} % of the {all:.0} % CPU that it can have"));
        }
        reasons
    }

    /// Figures of the window alone, as far as seconds tell: what needs whole streams (jitter, freezes, first frames, key
    /// changes) stays empty.
    pub fn summary(&self) -> Summary {
        let packets = &self.interval.packets;
        let percent = |part: u64| part as f64 / packets.expected().max(1) as f64 * 100.0;
        let seconds = self.last.at.since(self.first.at).as_secs_f64().max(f64::EPSILON);
        Summary {
            packets_expected: packets.expected(),
            packets_received: packets.received,
            packets_repaired: packets.repaired,
            packets_duplicate: packets.duplicate,
            bytes: self.interval.bytes,
            loss_before_repair: percent(self.interval.lost_before_repair()),
            loss: percent(packets.lost),
            frames: self.interval.frames,
            frames_lost: self.interval.frames_lost,
            decrypt_failures: self.interval.decrypt_failures,
            mismatches: self.interval.mismatches,
            latency: self.interval.latency.distribution(),
            frozen: self.interval.frozen.as_secs_f64() * 1e3,
            bitrate: self.interval.bytes as f64 * 8.0 / seconds,
            join: self.joins.distribution(),
            reconnects: self.reconnects,
            packets_sent: self.packets_sent,
            bitrate_sent: self.bytes_sent as f64 * 8.0 / seconds,
            ..Summary::default()
        }
    }

    fn percent(&self, time: Duration) -> f64 {
        let elapsed = self.last.at.since(self.first.at).as_secs_f64();
        if elapsed > 0.0 { time.as_secs_f64() / elapsed * 100.0 } else { 0.0 }
    }
}

/// The slope of the straight line with the least squares, per unit of the first.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let count = points.clone().count() as f64;
    let (mean_x, mean_y) =
        (points.clone().map(|(x, _)| x).sum::<f64>() / count, points.clone().map(|(_, y)| y).sum::<f64>() / count);
    let (above, below) = points
        .fold((0.0, 0.0), |(above, below), (x, y)| (above + (x - mean_x) * (y - mean_y), below + (x - mean_x).powi(2)));
    (below > 0.0).then(|| above / below)
}

/// An interval of Opus: a loop that is later than that sends voice in clumps.
const LATE_LOOP_MS: f64 = 20.0;
/// Below this, late frames are a moment's stutter of the machine.
const LATE_FRAMES_PERCENT: f64 = 1.0;
/// Beyond this share of all its cores a program waits for them.
const FULL_SHARE: f64 = 0.95;
/// In less than a minute memory grows by what was just begun.
const SHORTEST_SLOPE: Duration = Duration::from_secs(60);
/// What a participant tells of at once.
const SECOND: Duration = Duration::from_secs(1);
/// Seconds of one.
const HOUR: f64 = 3600.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sequences::Counts;

    fn sample(seconds: u64, relay_ms: (u64, u64), tester_ms: u64) -> Sample {
        let usage = |user, system| Usage {
            user: Duration::from_millis(user),
            system: Duration::from_millis(system),
            memory: 10_000_000 + seconds * 1_000,
            descriptors: Some(20),
        };
        Sample {
            at: Moment(seconds * 1_000_000_000),
            relay: Some(usage(relay_ms.0, relay_ms.1)),
            tester: usage(tester_ms, 0),
            ..Sample::default()
        }
    }

    fn second(received: u64, lost: u64) -> Second {
        let packets = Counts { received, lost, ..Counts::default() };
        let interval = Interval { packets, bytes: received * 1_000, ..Interval::default() };
        Second { at: Moment(5_000_000_000), interval, ..Second::default() }
    }

    #[test]
    fn cpu_per_packet_is_what_the_window_took_and_not_what_was_before() {
        let mut window = Window::begin(sample(10, (5_000, 7_000), 1_000));
        (0..10).for_each(|_| window.second(&second(1_000, 0), 0.0));
        window.sample(sample(20, (5_100, 7_300), 6_000));
        let cpu = window.relay_cpu().unwrap();
        assert!((cpu.user_us - 10.0).abs() < 1e-9 && (cpu.system_us - 30.0).abs() < 1e-9, "{cpu:?}");
        assert!((cpu.percent - 4.0).abs() < 1e-9, "0.4 s in 10 s");
        assert!((window.tester_cpu() - 50.0).abs() < 1e-9);
        assert!((window.tester_us_per_packet() - 500.0).abs() < 1e-9);
    }

    #[test]
    fn packets_that_the_relay_says_it_sent_count_where_a_network_lost_some() {
        let mut window = Window::begin(Sample { forwarded: Some(1_000), ..sample(0, (0, 0), 0) });
        window.second(&second(500, 500), 0.0);
        window.sample(Sample { forwarded: Some(2_000), ..sample(1, (10, 0), 0) });
        assert_eq!(window.forwarded(), Some(1_000));
        assert!((window.relay_cpu().unwrap().user_us - 10.0).abs() < 1e-9);
    }

    #[test]
    fn a_relay_that_is_gone_keeps_its_last_figures() {
        let mut window = Window::begin(sample(0, (0, 0), 0));
        window.second(&second(1_000, 0), 0.0);
        window.sample(sample(1, (10, 10), 0));
        window.sample(Sample { relay: None, ..sample(2, (0, 0), 0) });
        assert!((window.relay_cpu().unwrap().user_us - 10.0).abs() < 1e-9);
        assert_eq!(Window::begin(Sample::default()).relay_cpu(), None, "what was never seen has no CPU");
    }

    #[test]
    fn slopes_are_per_hour_and_not_told_of_less_than_a_minute() {
        let mut window = Window::begin(sample(0, (0, 0), 0));
        (1..=59).for_each(|at| window.sample(sample(at, (0, 0), 0)));
        assert_eq!(window.slopes(), (None, None));
        window.sample(sample(60, (0, 0), 0));
        let (memory, descriptors) = window.slopes();
        assert!((memory.unwrap() - 3_600_000.0).abs() < 1.0, "1,000 bytes a second: {memory:?}");
        assert_eq!(descriptors, Some(0.0));
    }

    #[test]
    fn a_tester_that_keeps_up_is_not_the_limit() {
        let mut window = Window::begin(sample(0, (0, 0), 0));
        let lags = vec![100; 1_000];
        window.second(&Second { lags, late_frames: 1, ..second(1_000, 0) }, 500.0);
        let joining = Second { at: Moment(900_000_000), lags: vec![90_000; 500], late_frames: 50, ..second(0, 0) };
        window.second(&joining, 50.0);
        window.sample(sample(10, (0, 0), 15_000));
        assert_eq!(window.overloaded(2), Vec::<String>::new());
    }

    #[test]
    fn each_sign_of_an_overloaded_tester_is_told_in_words() {
        let mut window = Window::begin(Sample { dropped: 5, ..sample(0, (0, 0), 0) });
        window.second(&Second { lags: vec![30_000; 10], late_frames: 10, ..second(1_000, 12) }, 500.0);
        window.sample(Sample { dropped: 17, ..sample(10, (0, 0), 19_900) });
        let reasons = window.overloaded(2);
        assert_eq!(reasons.len(), 4, "{reasons:?}");
        for words in ["dropped 12 packets", "woke 30 ms late", "2.0 % of its frames", "199 % of the 200 %"] {
            assert!(reasons.iter().any(|reason| reason.contains(words)), "{words}: {reasons:?}");
        }
    }

    #[test]
    fn the_summary_of_a_window_counts_its_own_packets() {
        let mut window = Window::begin(sample(0, (0, 0), 0));
        window.second(&second(990, 10), 0.0);
        window.joined(Duration::from_millis(300));
        window.rejoined();
        window.sample(sample(2, (0, 0), 0));
        let summary = window.summary();
        assert_eq!((summary.packets_expected, summary.loss, summary.reconnects), (1_000, 1.0, 1));
        assert_eq!((summary.bitrate, summary.join.count), (990.0 * 8_000.0 / 2.0, 1));
    }
}
