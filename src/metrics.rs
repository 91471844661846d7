//! Prometheus metrics and the health check, on a listener of their own. Fixed labels only: nothing here is per call or
//! per participant. Workers count absolutely; a scrape adds their numbers up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use sotto_signaling::counters::{HttpRefusal, JOIN_TIME_BOUNDS, JoinOutcome, SignalingCounters};

use crate::call_log::CallLog;
use crate::media::Carrier;
use crate::relay::command::Disconnect;
use crate::relay::counters::{Counters, Drop as DropReason, Protocol, Traffic};
use crate::worker::latency::{BOUNDS, Latency};
use crate::worker::{Handle, Report};

/// What a scrape asks.
pub struct Sources {
    /// Every worker.
    pub workers: Vec<Handle>,
    /// Signaling's totals.
    pub signaling: sotto_signaling::Server,
    /// Rows written and purged.
    pub call_log: Arc<CallLog>,
    /// What did not reach a call's task.
    pub media: Arc<Carrier>,
}

/// `/metrics` and `/healthz`; anything else is not found.
pub fn router(sources: Arc<Sources>) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(healthz)).with_state(sources)
}

/// Every number of one moment.
#[derive(Clone, Debug)]
struct Snapshot {
    workers: usize,
    media: Report,
    signaling: SignalingCounters,
    rows: [(&'static str, u64); 3],
    events_lost: u64,
}

async fn metrics(State(sources): State<Arc<Sources>>) -> Response {
    // A sum that lacks a worker would make counters run backwards: better no answer, which a scraper notes as well.
    let Some(media) = reports(&sources.workers).await else {
        return unhealthy();
    };
    let totals = sources.call_log.totals();
    let snapshot = Snapshot {
        workers: sources.workers.len(),
        media,
        signaling: sources.signaling.counters(),
        rows: [
            ("written", totals.written.load(Ordering::Relaxed)),
            ("purged", totals.purged.load(Ordering::Relaxed)),
            ("lost", totals.lost.load(Ordering::Relaxed)),
        ],
        events_lost: sources.media.events_lost(),
    };
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], encode(&snapshot)).into_response()
}

async fn healthz(State(sources): State<Arc<Sources>>) -> Response {
    match reports(&sources.workers).await {
        Some(_) => "ok\n".into_response(),
        None => unhealthy(),
    }
}

fn unhealthy() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "a media worker does not answer\n").into_response()
}

/// The workers' numbers together, or nothing where one does not answer.
async fn reports(workers: &[Handle]) -> Option<Report> {
    let mut total = Report::default();
    for worker in workers {
        let report = worker.report(PATIENCE).await?;
        merge(&mut total.counters, &report.counters);
        total.latency.merge(&report.latency);
        total.events_lost += report.events_lost;
    }
    Some(total)
}

fn merge(total: &mut Counters, other: &Counters) {
    // Named one by one, so that a counter that is added and forgotten here does not compile.
    let Counters {
        calls,
        participants,
        publications,
        subscriptions,
        tunnels,
        received,
        sent,
        drops,
        nacks_sent,
        nacks_received,
        retransmissions_sent,
        retransmissions_received,
        reported_lost,
        reported_expected,
        plis_sent,
        plis_received,
        handshakes_completed,
        disconnects,
        panics,
    } = other;
    total.calls += calls;
    total.participants += participants;
    total.publications += publications;
    total.subscriptions += subscriptions;
    total.tunnels += tunnels;
    merge_traffic(&mut total.received, received);
    merge_traffic(&mut total.sent, sent);
    merge_each(&mut total.drops, drops);
    total.nacks_sent += nacks_sent;
    total.nacks_received += nacks_received;
    total.retransmissions_sent += retransmissions_sent;
    total.retransmissions_received += retransmissions_received;
    total.reported_lost += reported_lost;
    total.reported_expected += reported_expected;
    total.plis_sent += plis_sent;
    total.plis_received += plis_received;
    total.handshakes_completed += handshakes_completed;
    merge_each(&mut total.disconnects, disconnects);
    total.panics += panics;
}

fn merge_each(total: &mut [u64], other: &[u64]) {
    total.iter_mut().zip(other).for_each(|(total, other)| *total += other);
}

fn merge_traffic(total: &mut [Traffic], other: &[Traffic]) {
    for (total, other) in total.iter_mut().zip(other) {
        total.packets += other.packets;
        total.bytes += other.bytes;
    }
}

fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let mut families = Families(Vec::new());
    families.gauge("sotto_workers", "Media threads", snapshot.workers as u64);
    families.media(&snapshot.media);
    families.signaling(&snapshot.signaling);
    families.counters("sotto_call_log_rows_total", "Rows of the call log", "outcome", snapshot.rows);
    let lost = snapshot.media.events_lost + snapshot.events_lost;
    families.counter("sotto_events_lost_total", "Media events that signaling did not take in time", lost);
    let mut text = Vec::new();
    TextEncoder::new().encode(&families.0, &mut text).expect("every family has a metric, and a buffer takes all");
    text
}

struct Families(Vec<MetricFamily>);

impl Families {
    fn media(&mut self, report: &Report) {
        let counted = &report.counters;
        self.gauge("sotto_calls", "Calls in the media plane", counted.calls);
        self.gauge("sotto_participants", "Participants in the media plane", counted.participants);
        self.gauge("sotto_publications", "Publications with a known SSRC", counted.publications);
        self.gauge("sotto_subscriptions", "Slots bound to a publication", counted.subscriptions);
        self.gauge("sotto_tunnels", "Tunnels that have both legs", counted.tunnels);
        self.traffic("received", "Received", &counted.received);
        self.traffic("sent", "Sent", &counted.sent);
        let drops = DropReason::ALL.map(|(reason, label)| (label, counted.drops[reason as usize]));
        self.counters("sotto_drops_total", "Datagrams and packets thrown away", "reason", drops);
        let nacks = [("sent", counted.nacks_sent), ("received", counted.nacks_received)];
        self.counters("sotto_nack_packets_total", "Packets asked for again", "direction", nacks);
        let rtx = [("sent", counted.retransmissions_sent), ("received", counted.retransmissions_received)];
        self.counters("sotto_rtx_packets_total", "Packets sent again", "direction", rtx);
        let reported = [("lost", counted.reported_lost), ("expected", counted.reported_expected)];
        self.counters("sotto_reported_packets_total", "Packets in receivers' reports", "outcome", reported);
        let plis = [("sent", counted.plis_sent), ("received", counted.plis_received)];
        self.counters("sotto_keyframe_requests_total", "Key-frame requests (PLI and FIR)", "direction", plis);
        let disconnects = Disconnect::ALL.map(|(reason, label)| (label, counted.disconnects[reason as usize]));
        let failed = |reason| counted.disconnects[reason as usize];
        let handshakes = [
            ("completed", counted.handshakes_completed),
            ("failed", failed(Disconnect::Handshake)),
            ("fingerprint", failed(Disconnect::Fingerprint)),
        ];
        self.counters("sotto_dtls_handshakes_total", "DTLS handshakes that ended", "outcome", handshakes);
        self.counters("sotto_disconnects_total", "Transports that ended", "reason", disconnects);
        self.counter("sotto_call_panics_total", "Calls ended by a defect", counted.panics);
        self.latency(&report.latency);
    }

    fn signaling(&mut self, counted: &SignalingCounters) {
        self.gauge("sotto_signaling_sockets", "Open WebSockets", counted.sockets);
        self.gauge("sotto_signaling_calls", "Calls in signaling", counted.calls);
        self.gauge("sotto_signaling_participants", "Participants in signaling", counted.participants);
        self.gauge("sotto_signaling_publications", "Publications in signaling", counted.publications);
        self.gauge("sotto_signaling_subscriptions", "Subscriptions, assigned or waiting", counted.subscriptions);
        self.gauge("sotto_signaling_waiting", "Clients waiting outside locked calls", counted.waiting);
        self.counter("sotto_tunnel_legs_total", "Legs of tunnels given, anew for each restart", counted.tunnel_legs);
        self.counter("sotto_host_states_total", "Host states put into force", counted.host_states);
        let label = |outcome: JoinOutcome| JoinOutcome::ALL[outcome as usize].1;
        let joins = counted.joins.map(|(outcome, count)| (label(outcome), count));
        self.counters("sotto_joins_total", "Joins", "outcome", joins);
        let errors = counted.errors.map(|(code, count)| (code.name(), count));
        self.counters("sotto_signaling_errors_total", "Error messages to clients", "code", errors);
        let label = |refusal: HttpRefusal| HttpRefusal::ALL[refusal as usize].1;
        let refusals = counted.http_refusals.map(|(refusal, count)| (label(refusal), count));
        self.counters("sotto_http_refusals_total", "Requests and connections turned away", "reason", refusals);
        let times = &counted.join_time;
        let help = "From a join until the participant's transport is up";
        self.histogram("sotto_join_time_seconds", help, &JOIN_TIME_BOUNDS, &times.buckets, times.sum);
    }

    fn traffic(&mut self, direction: &str, word: &str, traffic: &[Traffic; Protocol::ALL.len()]) {
        let packets = Protocol::ALL.map(|(protocol, label)| (label, traffic[protocol as usize].packets));
        let bytes = Protocol::ALL.map(|(protocol, label)| (label, traffic[protocol as usize].bytes));
        let name = |unit: &str| format!("sotto_{direction}_{unit}_total");
        self.counters(&name("packets"), &format!("{word} datagrams"), "protocol", packets);
        self.counters(&name("bytes"), &format!("{word} bytes of UDP payload"), "protocol", bytes);
    }

    fn latency(&mut self, latency: &Latency) {
        let bounds = BOUNDS.map(|micros| micros as f64 / 1e6);
        let help = "From a media packet's arrival in the kernel until it was forwarded";
        let sum = latency.sum.as_secs_f64();
        self.histogram("sotto_forward_latency_seconds", help, &bounds, &latency.buckets, sum);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value as f64);
        self.push(name, help, MetricType::GAUGE, vec![Metric::from_gauge(gauge)]);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.push(name, help, MetricType::COUNTER, vec![counter(Vec::new(), value)]);
    }

    fn counters<const N: usize>(&mut self, name: &str, help: &str, label: &str, values: [(&str, u64); N]) {
        let metrics = values.map(|(value, count)| {
            let mut pair = LabelPair::default();
            pair.set_name(label.to_owned());
            pair.set_value(value.to_owned());
            counter(vec![pair], count)
        });
        self.push(name, help, MetricType::COUNTER, metrics.into());
    }

    /// `counts` are per bucket, the last one beyond all bounds.
    fn histogram(&mut self, name: &str, help: &str, bounds: &[f64], counts: &[u64], sum: f64) {
        let mut total = 0;
        let buckets = bounds.iter().zip(counts).map(|(&bound, count)| {
            total += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(total);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.push(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    fn push(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

fn counter(labels: Vec<LabelPair>, value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

/// A worker answers within a turn of its loop; a second means that it hangs.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_parse::{Scrape, Value};

    fn snapshot() -> Snapshot {
        let mut media = Report::default();
        media.counters.sent[Protocol::Video as usize].add(1200);
        media.counters.received[Protocol::Tunnel as usize].add(900);
        media.counters.tunnels = 4;
        media.counters.drop(DropReason::Replay);
        media.latency.observe(Duration::from_micros(150));
        media.latency.observe(Duration::from_secs(1));
        let signaling = sotto_signaling::counters::Counters::default().snapshot();
        Snapshot { workers: 2, media, signaling, rows: [("written", 3), ("purged", 2), ("lost", 1)], events_lost: 0 }
    }

    fn scrape(snapshot: &Snapshot) -> Scrape {
        let text = String::from_utf8(encode(snapshot)).unwrap();
        Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap()
    }

    fn value(scrape: &Scrape, name: &str, label: Option<(&str, &str)>) -> Value {
        let is_it = |sample: &&prometheus_parse::Sample| {
            sample.metric == name && label.is_none_or(|(key, value)| sample.labels.get(key) == Some(value))
        };
        scrape.samples.iter().find(is_it).unwrap_or_else(|| panic!("{name} is missing")).value.clone()
    }

    #[test]
    fn a_prometheus_parser_reads_what_was_counted() {
        let scrape = scrape(&snapshot());
        assert_eq!(value(&scrape, "sotto_workers", None), Value::Gauge(2.0));
        assert_eq!(value(&scrape, "sotto_sent_bytes_total", Some(("protocol", "video"))), Value::Counter(1200.0));
        assert_eq!(value(&scrape, "sotto_received_packets_total", Some(("protocol", "tunnel"))), Value::Counter(1.0));
        assert_eq!(value(&scrape, "sotto_tunnels", None), Value::Gauge(4.0));
        assert_eq!(value(&scrape, "sotto_drops_total", Some(("reason", "replay"))), Value::Counter(1.0));
        assert_eq!(value(&scrape, "sotto_call_log_rows_total", Some(("outcome", "purged"))), Value::Counter(2.0));
        let Value::Histogram(buckets) = value(&scrape, "sotto_forward_latency_seconds", None) else {
            panic!("a histogram");
        };
        let cumulative: Vec<f64> = buckets.iter().map(|bucket| bucket.count).collect();
        assert_eq!(cumulative[..3], [0.0, 0.0, 1.0]);
        assert_eq!(cumulative.last(), Some(&2.0), "what passed every bound is in the last bucket");
    }

    #[test]
    fn labels_come_from_fixed_lists_alone() {
        let scrape = scrape(&snapshot());
        let allowed = ["protocol", "reason", "direction", "outcome", "code"];
        for sample in &scrape.samples {
            for (key, value) in sample.labels.iter() {
                assert!(allowed.contains(&key.as_str()), "{key}");
                assert!(value.bytes().all(|byte| byte.is_ascii_lowercase() || b"_-".contains(&byte)), "{value}");
            }
        }
        assert!(scrape.samples.len() > 60);
    }

    #[test]
    fn reports_of_workers_add_up() {
        let (mut total, one) = (Counters::default(), snapshot().media.counters);
        merge(&mut total, &one);
        merge(&mut total, &one);
        assert_eq!(total.sent[Protocol::Video as usize], Traffic { packets: 2, bytes: 2400 });
        assert_eq!((total.drops.iter().sum::<u64>(), total.tunnels), (2, 8));
    }
}
