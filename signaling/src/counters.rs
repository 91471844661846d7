//! What signaling counted since the process began: plain totals for the relay's metrics, never per call or person.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::message::ErrorCode;

/// Upper bounds of the join-time buckets in seconds: around the aims of 0.8 s and 1.5 s, up to a hopeless network.
pub const JOIN_TIME_BOUNDS: [f64; 10] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 5.0, 10.0, 30.0];

/// Running totals. The control plane is shared by threads, hence atomics; the media plane has its own counters.
#[derive(Default)]
pub struct Counters {
    joins: [AtomicU64; JoinOutcome::ALL.len()],
    errors: [AtomicU64; ErrorCode::ALL.len()],
    http: [AtomicU64; HttpRefusal::ALL.len()],
    join_time_buckets: [AtomicU64; JOIN_TIME_BOUNDS.len() + 1],
    join_time_micros: AtomicU64,
    sockets: AtomicI64,
    calls: AtomicI64,
    participants: AtomicI64,
    publications: AtomicI64,
    subscriptions: AtomicI64,
    waiting: AtomicI64,
    tunnel_legs: AtomicU64,
    host_states: AtomicU64,
}

/// A copy of the totals at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalingCounters {
    /// Joins by outcome.
    pub joins: [(JoinOutcome, u64); JoinOutcome::ALL.len()],
    /// `error` messages sent, by code.
    pub errors: [(ErrorCode, u64); ErrorCode::ALL.len()],
    /// HTTP requests and connections refused.
    pub http_refusals: [(HttpRefusal, u64); HttpRefusal::ALL.len()],
    /// From `joined` until the participant's transport was up.
    pub join_time: Histogram,
    /// Open WebSockets.
    pub sockets: u64,
    /// Running calls.
    pub calls: u64,
    /// Participants in them.
    pub participants: u64,
    /// Publications in them.
    pub publications: u64,
    /// Subscriptions in them, assigned or waiting.
    pub subscriptions: u64,
    /// Clients that wait outside locked ones.
    pub waiting: u64,
    /// Legs of tunnels given to clients, new credentials counted again.
    pub tunnel_legs: u64,
    /// Host states taken into force.
    pub host_states: u64,
}

/// Observations in fixed buckets.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Per bucket, not cumulative: one for each of [`JOIN_TIME_BOUNDS`], and a last one beyond them.
    pub buckets: [u64; JOIN_TIME_BOUNDS.len() + 1],
    /// Sum in seconds.
    pub sum: f64,
    /// How many.
    pub count: u64,
}

/// How a join ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum JoinOutcome {
    /// Let in.
    Accepted,
    /// Not admitted.
    Refused,
    /// The call or the relay was full.
    Full,
    /// The relay is draining or overloaded.
    Unavailable,
    /// Another version, or no well-formed join.
    Malformed,
    /// None within the time.
    Timeout,
    /// The call is locked: waits outside. Counted as let in later, when it is.
    Waiting,
    /// The host removed it.
    Removed,
}

impl JoinOutcome {
    /// Every outcome with its metric label.
    pub const ALL: [(JoinOutcome, &'static str); 8] = [
        (JoinOutcome::Accepted, "accepted"),
        (JoinOutcome::Refused, "refused"),
        (JoinOutcome::Full, "full"),
        (JoinOutcome::Unavailable, "unavailable"),
        (JoinOutcome::Malformed, "malformed"),
        (JoinOutcome::Timeout, "timeout"),
        (JoinOutcome::Waiting, "waiting"),
        (JoinOutcome::Removed, "removed"),
    ];
}

/// Why a request or a connection was turned away before any message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum HttpRefusal {
    /// 404.
    NotFound,
    /// 405.
    Method,
    /// 403: a page of another host.
    Origin,
    /// 400: no WebSocket request, or another subprotocol.
    NoWebSocket,
    /// 503: too many WebSockets, or draining.
    Busy,
    /// The connection was over the cap.
    Connections,
    /// The TLS handshake failed or took too long.
    Tls,
    /// The header came too slowly, was too large or malformed.
    Header,
}

impl HttpRefusal {
    /// Every reason with its metric label.
    pub const ALL: [(HttpRefusal, &'static str); 8] = [
        (HttpRefusal::NotFound, "not_found"),
        (HttpRefusal::Method, "method"),
        (HttpRefusal::Origin, "origin"),
        (HttpRefusal::NoWebSocket, "no_websocket"),
        (HttpRefusal::Busy, "busy"),
        (HttpRefusal::Connections, "connections"),
        (HttpRefusal::Tls, "tls"),
        (HttpRefusal::Header, "header"),
    ];
}

/// What a room holds, for the gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomSize {
    /// Participants.
    pub participants: usize,
    /// Publications.
    pub publications: usize,
    /// Subscriptions, assigned or waiting.
    pub subscriptions: usize,
    /// Clients outside.
    pub waiting: usize,
}

impl Counters {
    /// The totals now.
    pub fn snapshot(&self) -> SignalingCounters {
        let gauge = |value: &AtomicI64| u64::try_from(value.load(Relaxed)).unwrap_or(0);
        let buckets = std::array::from_fn(|i| self.join_time_buckets[i].load(Relaxed));
        SignalingCounters {
            joins: std::array::from_fn(|i| (JoinOutcome::ALL[i].0, self.joins[i].load(Relaxed))),
            errors: std::array::from_fn(|i| (ErrorCode::ALL[i].0, self.errors[i].load(Relaxed))),
            http_refusals: std::array::from_fn(|i| (HttpRefusal::ALL[i].0, self.http[i].load(Relaxed))),
            join_time: Histogram {
                count: buckets.iter().sum(),
                sum: self.join_time_micros.load(Relaxed) as f64 / 1e6,
                buckets,
            },
            sockets: gauge(&self.sockets),
            calls: gauge(&self.calls),
            participants: gauge(&self.participants),
            publications: gauge(&self.publications),
            subscriptions: gauge(&self.subscriptions),
            waiting: gauge(&self.waiting),
            tunnel_legs: self.tunnel_legs.load(Relaxed),
            host_states: self.host_states.load(Relaxed),
        }
    }

    pub(crate) fn count_join(&self, outcome: JoinOutcome) {
        self.joins[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn count_tunnel_leg(&self) {
        self.tunnel_legs.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_host_state(&self) {
        self.host_states.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_error(&self, code: ErrorCode) {
        self.errors[code as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn count_http(&self, refusal: HttpRefusal) {
        self.http[refusal as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn observe_join_time(&self, took: Duration) {
        let bucket = JOIN_TIME_BOUNDS.partition_point(|bound| *bound < took.as_secs_f64());
        self.join_time_buckets[bucket].fetch_add(1, Relaxed);
        self.join_time_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn sockets(&self) -> &AtomicI64 {
        &self.sockets
    }

    pub(crate) fn count_calls(&self, change: i64) {
        self.calls.fetch_add(change, Relaxed);
    }

    pub(crate) fn resize_room(&self, before: RoomSize, after: RoomSize) {
        let change = |gauge: &AtomicI64, before: usize, after: usize| {
            gauge.fetch_add(after as i64 - before as i64, Relaxed);
        };
        change(&self.participants, before.participants, after.participants);
        change(&self.publications, before.publications, after.publications);
        change(&self.subscriptions, before.subscriptions, after.subscriptions);
        change(&self.waiting, before.waiting, after.waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_lands_in_the_bucket_whose_bound_it_does_not_pass() {
        let counters = Counters::default();
        for millis in [50, 51, 1_500, 60_000] {
            counters.observe_join_time(Duration::from_millis(millis));
        }
        let told = counters.snapshot().join_time;
        assert_eq!(told.buckets, [1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
        assert_eq!((told.count, told.sum), (4, 61.601));
    }

    #[test]
    fn labels_stand_at_the_index_of_their_value() {
        assert!(JoinOutcome::ALL.iter().enumerate().all(|(i, (outcome, _))| *outcome as usize == i));
        assert!(HttpRefusal::ALL.iter().enumerate().all(|(i, (refusal, _))| *refusal as usize == i));
        assert!(ErrorCode::ALL.iter().enumerate().all(|(i, (code, _))| *code as usize == i));
    }
}
