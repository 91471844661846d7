//! Whole participants of the `light` engine meet in calls on the relay's real binary.
#![allow(clippy::unwrap_used)] // a test that cannot go on says where
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use sotto_loadtest::clock::Moment;
use sotto_loadtest::e2ee::Link;
use sotto_loadtest::engine::light::Light;
use sotto_loadtest::fleet::{Fleet, PeerNetwork, RelayAddress};
use sotto_loadtest::participant::{Outcome, Spec, Update};
use sotto_loadtest::plan::{Audio, Impairment, Layer, Video};
use sotto_loadtest::relay_process::{RelayProcess, SpawnOptions};
use sotto_loadtest::report::Peer;
use tokio::time::timeout;

/// Longer than it takes to join on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_who_meet_receive_everything_from_everyone() {
    let peers = call(4, 8, |_| {}).await;
    for peer in &peers {
        assert_eq!(peer.failure, "");
        assert_eq!(peer.streams.len(), 6, "sound and picture of three others");
        let summary = &peer.summary;
        assert_eq!((summary.decrypt_failures, summary.mismatches, summary.frames_lost), (0, 0, 0));
        assert!(summary.packets_received > 1000 && summary.loss == 0.0, "{}", summary.packets_received);
        // Until a name is known it is not known whose frames these should be.
        let share = summary.frames_checked as f64 / summary.frames as f64;
        assert!(share > 0.8, "all are checked but the first, not {share}");
        assert!(summary.first_frame.count > 0 && summary.latency.p50 < 200.0);
        assert!(peer.streams.iter().all(|stream| stream.from.is_some() && stream.summary.frames > 50));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_outside_the_sample_is_counted_and_not_opened() {
    for peer in call(3, 6, |spec| spec.check_one_in = 5).await {
        let summary = &peer.summary;
        assert_eq!((summary.decrypt_failures, summary.mismatches, summary.frames_lost), (0, 0, 0));
        assert_eq!((peer.failure.as_str(), summary.loss), ("", 0.0));
        assert!(summary.frames > 500, "{}", summary.frames);
        let share = summary.frames_checked as f64 / summary.frames as f64;
        assert!((0.1..0.4).contains(&share), "about a fifth is checked, not {share}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_nothing_receives_all_the_same() {
    let peers = call(3, 3, |spec| {
        if spec.index > 0 {
            (spec.microphone, spec.camera) = (None, None);
        }
    });
    let peers = peers.await;
    assert!(peers[0].streams.is_empty(), "nobody else sends");
    for peer in &peers[1..] {
        assert_eq!((peer.failure.as_str(), peer.summary.loss, peer.summary.decrypt_failures), ("", 0.0, 0));
        assert!(peer.streams.len() == 2 && peer.summary.frames_checked > 100, "{}", peer.summary.frames_checked);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_survive_the_loss_of_a_packet_in_twenty_both_ways() {
    let run_start = Moment::now();
    let lossy = Impairment { loss: 0.05, delay_ms: 10.0, ..Impairment::default() };
    let network = PeerNetwork { up: lossy.clone(), down: lossy, outages: Vec::new(), run_start };
    for peer in call(3, 10, |spec| spec.network = Some(network.clone())).await {
        assert_eq!((peer.failure.as_str(), peer.summary.decrypt_failures, peer.summary.mismatches), ("", 0, 0));
        for stream in peer.streams.iter().filter(|stream| stream.stream == "camera") {
            let summary = &stream.summary;
            assert!((2.0..9.0).contains(&summary.loss_before_repair), "{} %", summary.loss_before_repair);
            assert!(summary.loss < 0.5 && summary.packets_repaired > 20, "{} % are lost", summary.loss);
        }
    }
}

/// Plays a call of so many for so many seconds and returns what they found, in their order.
async fn call(count: usize, seconds: u64, change: impl Fn(&mut Spec)) -> Vec<Peer> {
    let relay = RelayProcess::spawn(&SpawnOptions { workers: Some(1), ..Default::default() }).await.unwrap();
    let address = RelayAddress { url: relay.signaling(), host_name: relay.host_name() };
    let (mut fleet, mut updates) = Fleet::with_engine(Box::new(Light::start(1).unwrap()), address);
    let link = Arc::new(Link::host([7; 32]));
    for index in 0..count {
        let mut spec = spec(&link, index);
        change(&mut spec);
        fleet.join(spec).unwrap();
    }
    let mut joined = 0;
    while joined < count {
        let update = timeout(PATIENCE, updates.recv()).await.expect("all join in time").unwrap();
        joined += usize::from(matches!(update, Update::Joined { .. }));
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    fleet.stop().await;
    let mut found: Vec<Outcome> = Vec::new();
    while let Some(update) = updates.recv().await {
        if let Update::Gone { outcome, .. } = update {
            found.push(*outcome);
        }
    }
    found.sort_by_key(|outcome| outcome.index);
    assert_eq!(found.len(), count, "everyone tells how it was");
    found.iter().map(Outcome::report).collect()
}

fn spec(link: &Arc<Link>, index: usize) -> Spec {
    let layers = vec![Layer { height: 180, bitrate: 150_000 }, Layer { height: 360, bitrate: 500_000 }];
    Spec {
        call: 0,
        index,
        run: 1,
        link: Arc::clone(link),
        host_name: String::new(),
        microphone: Some(Audio::default()),
        camera: Some(Video { layers, ..Video::default() }),
        hints: true,
        watch: None,
        stage_height: 360,
        check_one_in: 1,
        network: None,
        seed: 100 + index as u64,
    }
}
