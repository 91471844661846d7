//! Whole participants meet in calls on the relay's real binary.
#![allow(clippy::unwrap_used)] // a test that cannot go on says where
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use sotto_loadtest::clock::Moment;
use sotto_loadtest::e2ee::Link;
use sotto_loadtest::fleet::{Fleet, PeerNetwork, RelayAddress};
use sotto_loadtest::participant::{Findings, Order, Outcome, PeerId, Spec, Update};
use sotto_loadtest::plan::{Audio, EngineKind, Impairment, Layer, Outage, Video};
use sotto_loadtest::relay_process::{RelayProcess, SpawnOptions};
use sotto_loadtest::report::Summary;
use sotto_signaling::message::Stream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// A relay and a call of some participants in it.
struct World {
    relay: Option<RelayProcess>,
    fleet: Fleet,
    updates: mpsc::UnboundedReceiver<Update>,
    link: Arc<Link>,
    address: RelayAddress,
    told: Vec<Update>,
}

impl World {
    async fn new(kind: EngineKind) -> Self {
        let relay = RelayProcess::spawn(&SpawnOptions::default()).await.unwrap();
        let address = RelayAddress { url: relay.signaling(), host_name: relay.host_name() };
        let (fleet, updates) = Fleet::start(kind, address.clone()).unwrap();
        let link = Arc::new(Link::host([5; 32]));
        Self { relay: Some(relay), fleet, updates, link, address, told: Vec::new() }
    }

    fn spec(&self, index: usize) -> Spec {
        Spec {
            call: 0,
            index,
            run: 1,
            link: Arc::clone(&self.link),
            host_name: self.address.host_name.clone(),
            microphone: Some(Audio::default()),
            camera: Some(Video { layers: vec![Layer { height: 360, bitrate: 200_000 }], ..Video::default() }),
            hints: true,
            watch: None,
            stage_height: 360,
            check_one_in: 1,
            network: None,
            seed: 100 + index as u64,
        }
    }

    /// Lets so many join, and waits until all have.
    async fn join(&mut self, specs: impl IntoIterator<Item = Spec>) -> Vec<PeerId> {
        let peers: Vec<_> = specs.into_iter().map(|spec| self.fleet.join(spec).unwrap()).collect();
        for _ in &peers {
            self.until("a join", |update| matches!(update, Update::Joined { .. })).await;
        }
        peers
    }

    /// Waits for an update.
    async fn until(&mut self, what: &str, is_it: impl Fn(&Update) -> bool) {
        let wait = timeout(Duration::from_secs(30), async {
            loop {
                let update = self.updates.recv().await.expect("the fleet lives");
                let found = is_it(&update);
                self.told.push(update);
                if found {
                    return;
                }
            }
        });
        wait.await.unwrap_or_else(|_| panic!("{what} in time"));
    }

    /// Ends the call, with what each found.
    async fn stop(mut self) -> Vec<Outcome> {
        self.fleet.stop().await;
        while let Ok(update) = self.updates.try_recv() {
            self.told.push(update);
        }
        let gone = self.told.into_iter().filter_map(|update| match update {
            Update::Gone { outcome, .. } => Some(*outcome),
            _ => None,
        });
        gone.collect()
    }
}

fn summary(outcomes: &[Outcome]) -> Summary {
    let mut findings = Findings::default();
    outcomes.iter().for_each(|outcome| findings.add(outcome));
    findings.summary()
}

fn network(loss: f64, outages: Vec<Outage>) -> Option<PeerNetwork> {
    let both = Impairment { loss, ..Impairment::default() };
    Some(PeerNetwork { up: Impairment::default(), down: both, outages, run_start: Moment::now() })
}

/// Nothing was lost for good, or came otherwise than it was sent.
fn assert_clean(outcomes: &[Outcome], of: usize) {
    assert_eq!(outcomes.len(), of);
    for outcome in outcomes {
        assert_eq!(outcome.failure, "", "{} failed", outcome.index);
        for stream in &outcome.streams {
            let of = (outcome.index, stream.from, stream.stream);
            let tally = &stream.tally;
            assert!(tally.frames_checked > 20, "{of:?}: {} frames", tally.frames_checked);
            assert_eq!((tally.decrypt_failures, tally.mismatches), (0, 0), "{of:?}");
            assert_eq!((tally.packets.lost, tally.frames_lost), (0, 0), "{of:?}");
        }
    }
}

async fn four_hear_and_see_each_other_whole(kind: EngineKind) {
    let mut world = World::new(kind).await;
    let specs: Vec<_> = (0..4).map(|index| world.spec(index)).collect();
    world.join(specs).await;
    sleep(Duration::from_secs(4)).await;
    let outcomes = world.stop().await;
    assert!(outcomes.iter().all(|outcome| outcome.streams.len() == 6));
    assert_clean(&outcomes, 4);
    let summary = summary(&outcomes);
    assert_eq!((summary.join.count, summary.dtls.count, summary.first_frame.count), (4, 4, 24));
}

async fn who_comes_and_goes_changes_the_keys_of_those_who_stay(kind: EngineKind) {
    let mut world = World::new(kind).await;
    let specs: Vec<_> = (0..3).map(|index| world.spec(index)).collect();
    let peers = world.join(specs).await;
    sleep(Duration::from_secs(3)).await;
    world.fleet.order(peers[2], Order::Leave);
    sleep(Duration::from_secs(3)).await;
    let late = world.spec(3);
    world.join([late]).await;
    sleep(Duration::from_secs(3)).await;
    let outcomes = world.stop().await;
    assert_clean(&outcomes, 4);
    for outcome in outcomes.iter().filter(|outcome| outcome.index < 2) {
        let changes = outcome.key_change.distribution();
        assert!(changes.count >= 2 && changes.max < 5_000.0, "{} saw {changes:?}", outcome.index);
        assert_eq!(outcome.streams.len(), 6);
    }
}

async fn lost_packets_are_repaired_and_told_as_lost_at_first(kind: EngineKind) {
    let mut world = World::new(kind).await;
    let specs: Vec<_> = (0..2).map(|index| Spec { network: network(0.05, Vec::new()), ..world.spec(index) }).collect();
    world.join(specs).await;
    sleep(Duration::from_secs(8)).await;
    let outcomes = world.stop().await;
    assert!(outcomes.len() == 2 && outcomes.iter().all(|outcome| outcome.impaired));
    for stream in outcomes.iter().flat_map(|outcome| &outcome.streams) {
        let summary = stream.tally.summary();
        assert_eq!((summary.decrypt_failures, summary.mismatches), (0, 0));
        assert!(summary.loss < 1.0, "{:?} {summary:#?}", stream.stream);
        // Sound is repaired by the same packet again, which shows only to who asked for it.
        if stream.stream == Stream::Camera {
            assert!((1.5..10.0).contains(&summary.loss_before_repair) && summary.packets_repaired > 0, "{summary:#?}");
        }
    }
}

async fn an_outage_shows_as_a_freeze_and_ends(kind: EngineKind) {
    let mut world = World::new(kind).await;
    let outage = Outage { at: Duration::from_secs(3), lasts: Duration::from_secs(3) };
    let impaired = Spec { network: network(0.0, vec![outage]), ..world.spec(1) };
    let specs = [world.spec(0), impaired];
    world.join(specs).await;
    sleep(Duration::from_secs(9)).await;
    let outcomes = world.stop().await;
    for stream in outcomes.iter().filter(|outcome| outcome.index == 1).flat_map(|outcome| &outcome.streams) {
        let freezes = stream.tally.freezes;
        assert!((2.5..4.5).contains(&freezes.longest.as_secs_f64()), "{:?} {freezes:?}", stream.stream);
    }
    assert!(outcomes.len() == 2 && summary(&outcomes).decrypt_failures == 0);
}

async fn a_relay_that_dies_is_told_within_ten_seconds_with_all_that_was_found(kind: EngineKind) {
    let mut world = World::new(kind).await;
    let specs: Vec<_> = (0..2).map(|index| world.spec(index)).collect();
    world.join(specs).await;
    sleep(Duration::from_secs(3)).await;
    world.relay = None;
    let killed = Moment::now();
    world.until("the relay's end", |update| matches!(update, Update::RelayLost { .. })).await;
    let took = Moment::now().since(killed);
    assert!(took < Duration::from_secs(10), "{took:?}");
    let outcomes = world.stop().await;
    assert!(outcomes.len() == 2 && outcomes.iter().all(|outcome| outcome.streams.len() == 2));
    assert!(summary(&outcomes).frames_checked > 100);
}

macro_rules! with_each_engine {
    ($($name:ident),*) => {
        mod full {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(sotto_loadtest::plan::EngineKind::Full).await;
            })*
        }

        mod light {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(sotto_loadtest::plan::EngineKind::Light).await;
            })*
        }
    };
}

with_each_engine!(
    four_hear_and_see_each_other_whole,
    who_comes_and_goes_changes_the_keys_of_those_who_stay,
    lost_packets_are_repaired_and_told_as_lost_at_first,
    an_outage_shows_as_a_freeze_and_ends,
    a_relay_that_dies_is_told_within_ten_seconds_with_all_that_was_found
);
