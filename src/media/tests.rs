//! Calls over workers whose core only writes down what it is told.

use std::collections::HashMap as Seen;
use std::time::Instant;

use super::*;
use crate::relay::command::Disconnect;
use crate::relay::counters::Counters;
use crate::relay::outbox::{Outbox, Path};
use crate::udp::Socket;
use crate::worker::{Core, Worker};

/// Answers the first session of a participant with `Connected`, and `Leave` with `Disconnected`. Counts the legs from one
/// to the other.
#[derive(Default)]
struct Recorder {
    counters: Counters,
    sessions: Seen<(CallKey, ParticipantKey), usize>,
}

impl Core for Recorder {
    fn handle_datagram(&mut self, _: Instant, _: Path, _: Instant, _: &mut [u8], _: &mut Outbox) {}

    fn handle_command(&mut self, _: Instant, command: Command, out: &mut Outbox) {
        match command {
            Command::Open { .. } => self.counters.calls += 1,
            Command::Close { .. } => self.counters.calls -= 1,
            Command::Negotiated { call, participant, .. } => {
                *self.sessions.entry((call, participant)).or_default() += 1;
                out.events.push(Event::Connected { call, participant });
            }
            Command::Bind { source, .. } => self.counters.subscriptions += u64::from(source.is_some()),
            Command::Leave { call, participant } => {
                let reason = Disconnect::Closed;
                out.events.push(Event::Disconnected { call, participant, reason });
            }
            Command::Tunnel { participant, other, .. } => {
                self.counters.tunnels += u64::from((participant, other) == (LegKey(ANA.0), LegKey(BEN.0)));
            }
            Command::EndTunnel { participant, .. } => {
                self.counters.tunnels -= u64::from(participant == LegKey(ANA.0));
            }
        }
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut Outbox) {}

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

struct Plane {
    workers: Vec<Worker>,
    service: Service,
}

impl Plane {
    fn new(workers: usize, most_calls: usize) -> Self {
        let (events, inbox) = mpsc::channel(64);
        let (failed, _) = mpsc::channel(1);
        let start = |index| {
            let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            Worker::start(index, socket, |_| Recorder::default(), events.clone(), failed.clone()).unwrap()
        };
        let workers: Vec<Worker> = (0..workers).map(start).collect();
        let home =
            |worker: &Worker| Home { worker: worker.handle().clone(), addresses: vec![worker.handle().address()] };
        let carrier = Carrier::new(workers.iter().map(home).collect(), [7; 32], most_calls);
        tokio::spawn(carrier.clone().route(inbox));
        Self { workers, service: Service(carrier) }
    }

    fn open(&self) -> (Box<dyn MediaCall>, mpsc::Receiver<MediaEvent>) {
        let (events, inbox) = mpsc::channel(16);
        (self.service.open(events).unwrap(), inbox)
    }

    async fn calls(&self) -> Vec<u64> {
        let mut calls = Vec::new();
        for worker in &self.workers {
            calls.push(worker.handle().report(Duration::from_secs(5)).await.unwrap().counters.calls);
        }
        calls
    }
}

const ANA: media::ParticipantKey = media::ParticipantKey(1);
const BEN: media::ParticipantKey = media::ParticipantKey(2);
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\n\
a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
a=setup:actpass\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:1 cname:x\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\n\
a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
a=setup:actpass\r\na=mid:1\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n";

#[tokio::test]
async fn calls_spread_over_the_workers_and_end_with_their_owner() {
    let plane = Plane::new(2, 10);
    let calls: Vec<_> = (0..4).map(|_| plane.open()).collect();
    assert_eq!(plane.calls().await, [2, 2]);
    drop(calls);
    assert_eq!(plane.calls().await, [0, 0]);
    assert!(plane.service.0.routes().is_empty());
}

#[tokio::test]
async fn a_new_call_goes_where_the_fewest_participants_are() {
    let plane = Plane::new(2, 10);
    let (mut first, _events) = plane.open();
    for key in 0..3 {
        first.negotiate(media::ParticipantKey(key), OFFER).unwrap();
    }
    let _others: Vec<_> = (0..3).map(|_| plane.open()).collect();
    assert_eq!(plane.calls().await, [1, 3]);
}

#[tokio::test]
async fn no_more_calls_than_allowed_and_none_after_closing() {
    let plane = Plane::new(1, 1);
    let (call, _events) = plane.open();
    assert!(matches!(plane.service.open(mpsc::channel(1).0), Err(MediaError::Full)));
    drop(call);
    let _again = plane.open();
    plane.service.0.close();
    assert!(matches!(plane.service.open(mpsc::channel(1).0), Err(MediaError::Unavailable)));
}

#[tokio::test]
async fn events_reach_their_own_call_under_signalings_names() {
    let plane = Plane::new(1, 10);
    let ((mut one, mut one_events), (mut two, mut two_events)) = (plane.open(), plane.open());
    let answer = one.negotiate(ANA, OFFER).unwrap();
    assert!(answer.answer.contains("a=ice-lite"));
    assert_eq!(answer.lines.len(), 2);
    assert_eq!(answer.lines[1].direction, media::Direction::Receives);
    assert_eq!(one_events.recv().await, Some(MediaEvent::Connected(ANA)));
    two.negotiate(BEN, OFFER).unwrap();
    assert_eq!(two_events.recv().await, Some(MediaEvent::Connected(BEN)));
    assert!(one_events.try_recv().is_err());
}

#[tokio::test]
async fn who_has_left_causes_no_event_and_publishes_nothing() {
    let plane = Plane::new(1, 10);
    let (mut call, mut events) = plane.open();
    call.negotiate(ANA, OFFER).unwrap();
    call.negotiate(BEN, OFFER).unwrap();
    for key in [ANA, BEN] {
        assert_eq!(events.recv().await, Some(MediaEvent::Connected(key)));
    }
    let source = PublishedMid { participant: ANA, mid: "0".to_owned() };
    call.bind(BEN, "1", Some(source.clone()));
    call.leave(ANA);
    call.bind(BEN, "1", Some(source));
    let report = plane.workers[0].handle().report(Duration::from_secs(5)).await.unwrap();
    assert_eq!(report.counters.subscriptions, 1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(events.try_recv().is_err(), "the disconnection of one who left is no news");
}

#[tokio::test]
async fn an_offer_that_cannot_be_answered_leaves_nothing_behind() {
    let plane = Plane::new(1, 10);
    let (mut call, mut events) = plane.open();
    let Err(MediaError::Offer(text)) = call.negotiate(ANA, "v=0\r\nsecret\r\n") else { panic!("refused") };
    assert!(!text.contains("secret"));
    assert!(plane.service.0.routes().values().all(|route| route.participants.is_empty()));
    call.negotiate(ANA, OFFER).unwrap();
    assert_eq!(events.recv().await, Some(MediaEvent::Connected(ANA)));
}

#[tokio::test]
async fn a_leg_goes_by_signalings_number_whatever_sessions_come_and_go() {
    let plane = Plane::new(1, 10);
    let (mut call, _events) = plane.open();
    let tunnels = async || plane.workers[0].handle().report(Duration::from_secs(5)).await.unwrap().counters.tunnels;
    let leg = call.tunnel(ANA, BEN).unwrap();
    assert_eq!((leg.ufrag.len(), tunnels().await), (8, 1), "without any session");
    let port = plane.workers[0].handle().address().port().to_string();
    assert!(leg.candidates.iter().all(|candidate| candidate.split(' ').any(|word| word == port)));
    assert!(!leg.candidates.is_empty());
    call.negotiate(ANA, OFFER).unwrap();
    let again = call.tunnel(ANA, BEN).unwrap();
    assert!(again.ufrag != leg.ufrag && again.pwd != leg.pwd, "asking again is an ICE restart");
    call.leave(ANA);
    assert_eq!(tunnels().await, 2, "the same number before and after");
    call.end_tunnel(BEN);
    call.end_tunnel(ANA);
    assert_eq!(tunnels().await, 1);
}
