use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::e2ee::Link;
use crate::participant::Output;

/// Plays participants as far as it must: they never reach a relay, and leave when they are told.
struct Idle {
    played: Arc<AtomicUsize>,
    /// Who is dropped at once, as by a thread that panicked.
    fails: Option<usize>,
}

impl Engine for Idle {
    fn play(&mut self, mut seat: Seat) {
        self.played.fetch_add(1, Ordering::Relaxed);
        if self.fails == Some(seat.participant.peer().0) {
            return;
        }
        tokio::spawn(async move {
            while let Some(order) = seat.orders.recv().await {
                seat.participant.handle_order(Moment(1), order);
                while let Some(output) = seat.participant.poll() {
                    match output {
                        Output::Tell(update) => seat.updates.send(update),
                        Output::Over => return,
                        _ => {}
                    }
                }
            }
        });
    }
}

fn address() -> RelayAddress {
    RelayAddress { url: "ws://127.0.0.1:1/v1/ws".into(), host_name: "127.0.0.1:1".into() }
}

fn spec(index: usize) -> Spec {
    Spec {
        call: 3,
        index,
        run: 1,
        link: Arc::new(Link::host([1; 32])),
        host_name: String::new(),
        microphone: None,
        camera: None,
        hints: false,
        watch: None,
        stage_height: 360,
        check_one_in: 1,
        network: None,
        seed: 1,
    }
}

fn fleet(fails: Option<usize>) -> (Fleet, mpsc::UnboundedReceiver<Update>, Arc<AtomicUsize>) {
    let played = Arc::default();
    let engine = Box::new(Idle { played: Arc::clone(&played), fails });
    let (fleet, updates) = Fleet::with_engine(engine, address());
    (fleet, updates, played)
}

fn gone(updates: &mut mpsc::UnboundedReceiver<Update>) -> Vec<(usize, String)> {
    let mut gone = Vec::new();
    while let Ok(update) = updates.try_recv() {
        if let Update::Gone { peer, outcome } = update {
            assert_eq!((outcome.call, outcome.index), (3, peer.0));
            gone.push((peer.0, outcome.failure));
        }
    }
    gone.sort();
    gone
}

#[tokio::test]
async fn all_that_joined_are_gone_when_a_fleet_has_stopped() {
    let (mut fleet, mut updates, played) = fleet(None);
    for index in 0..5 {
        assert_eq!(fleet.join(spec(index)).unwrap(), PeerId(index));
    }
    fleet.stop().await;
    assert_eq!(played.load(Ordering::Relaxed), 5);
    assert_eq!(gone(&mut updates), (0..5).map(|peer| (peer, String::new())).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_participant_whose_engine_fails_is_told_gone_with_that() {
    let (mut fleet, mut updates, _) = fleet(Some(1));
    for index in 0..3 {
        fleet.join(spec(index)).unwrap();
    }
    fleet.stop().await;
    let gone = gone(&mut updates);
    assert_eq!(gone.len(), 3);
    assert!(gone[1].1.contains("engine failed") && gone[0].1.is_empty() && gone[2].1.is_empty(), "{gone:?}");
}

#[tokio::test]
async fn orders_reach_the_one_they_are_for() {
    let (mut fleet, mut updates, _) = fleet(None);
    let peers: Vec<_> = (0..3).map(|index| fleet.join(spec(index)).unwrap()).collect();
    fleet.order(peers[1], Order::Leave);
    fleet.order(PeerId(99), Order::Leave);
    match updates.recv().await {
        Some(Update::Gone { peer, .. }) => assert_eq!(peer, peers[1]),
        _ => panic!("it left"),
    }
    assert!(gone(&mut updates).is_empty());
}

#[tokio::test]
async fn the_answers_of_one_participant_lead_to_one_detour() {
    let network = PeerNetwork {
        up: Impairment::default(),
        down: Impairment::default(),
        outages: Vec::new(),
        run_start: Moment(0),
    };
    let rewrite = detour(Arc::new(Proxy::start().unwrap()), network, 1);
    let answer = |port| format!("v=0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host\r\n");
    let first = rewrite(&answer(40_001)).unwrap();
    assert_ne!(first, answer(40_001));
    assert_eq!(rewrite(&answer(40_001)).unwrap(), first, "the same relay, the same way");
    assert_ne!(rewrite(&answer(40_002)).unwrap(), first, "a relay that came back elsewhere");
    assert!(rewrite("v=0\r\n").unwrap_err().contains("cannot be impaired"));
}
