//! Participants of the `full` engine meet on the relay's real binary: signaling, keys, media and its checks, all as in a
//! run.
#![allow(clippy::unwrap_used)] // a test that cannot go on says where
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use sotto_loadtest::clock::Moment;
use sotto_loadtest::e2ee::Link;
use sotto_loadtest::engine::full::play::Full;
use sotto_loadtest::fleet::{Fleet, PeerNetwork, RelayAddress};
use sotto_loadtest::participant::{Order, Outcome, PeerId, Spec, Update};
use sotto_loadtest::plan::{Audio, Impairment, Layer, Video};
use sotto_loadtest::relay_process::{RelayProcess, SpawnOptions};
use sotto_loadtest::report::{Peer, StreamReport};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// From the smallest.
const LAYERS: [Layer; 3] = [
    Layer { height: 180, bitrate: 120_000 },
    Layer { height: 360, bitrate: 350_000 },
    Layer { height: 720, bitrate: 900_000 },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_participants_find_each_others_sound_and_picture_whole() {
    let peers = meet(None, Duration::from_secs(6)).await;
    for peer in &peers {
        for stream in two_streams(peer) {
            let summary = &stream.summary;
            let name = &stream.stream;
            assert!(summary.frames_checked > 60, "{name}: {} frames were checked", summary.frames_checked);
            assert_eq!((summary.decrypt_failures, summary.mismatches), (0, 0), "{name}");
            assert_eq!((summary.frames_lost, summary.packets_repaired), (0, 0), "{name}");
            assert!(summary.loss == 0.0 && summary.loss_before_repair == 0.0, "{name}: {}", summary.loss);
            assert!(summary.latency.count > 60 && summary.latency.p50 < 500.0, "{name}: {:?}", summary.latency);
            assert_eq!(summary.first_frame.count, 1, "{name}");
        }
        assert!(peer.summary.packets_sent > 500 && peer.summary.join.count == 1);
        assert!(peer.summary.ice.count == 1 && peer.summary.dtls.count == 1);
        assert_eq!(peer.summary.reconnects, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lossy_network_shows_in_what_was_missing_at_first_and_hardly_in_what_never_came() {
    let lossy = Impairment { loss: 0.05, delay_ms: 10.0, ..Impairment::default() };
    let network = PeerNetwork { up: Impairment::default(), down: lossy, outages: Vec::new(), run_start: Moment::now() };
    let peers = meet(Some(network), Duration::from_secs(15)).await;
    let impaired = peers.iter().find(|peer| peer.impaired).expect("one of them is");
    let [_, camera] = two_streams(impaired);
    let summary = &camera.summary;
    assert!((2.0..8.0).contains(&summary.loss_before_repair), "{} of 5 %", summary.loss_before_repair);
    assert!(summary.loss < 0.5, "{} % after repair", summary.loss);
    assert!(summary.packets_repaired > 20, "{} packets were repaired", summary.packets_repaired);
    assert_eq!((impaired.summary.decrypt_failures, impaired.summary.mismatches), (0, 0));
    let other = peers.iter().find(|peer| !peer.impaired).expect("the other is not");
    assert!(other.summary.loss == 0.0 && other.summary.packets_repaired == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_watches_sees_and_hears() {
    let (sends, watches) = (spec, |link: &Arc<Link>, index, network| Spec {
        microphone: None,
        camera: None,
        ..spec(link, index, network)
    });
    let peers = meet_as([&sends, &watches], None, Duration::from_secs(5)).await;
    let viewer = peers.iter().find(|peer| peer.index == 1).expect("the second");
    for stream in two_streams(viewer) {
        assert!(stream.summary.frames_checked > 60, "{}: {}", stream.stream, stream.summary.frames_checked);
        assert_eq!((stream.summary.decrypt_failures, stream.summary.frames_lost), (0, 0));
    }
    assert_eq!(viewer.summary.packets_sent, 0);
}

/// How a participant of a place and a network is made.
type Make<'a> = &'a (dyn Fn(&Arc<Link>, usize, Option<PeerNetwork>) -> Spec + Sync);

/// Two in a call for so long after both have joined; the second is on that network.
async fn meet(network: Option<PeerNetwork>, lasts: Duration) -> Vec<Peer> {
    meet_as([&spec, &spec], network, lasts).await
}

async fn meet_as(made: [Make<'_>; 2], network: Option<PeerNetwork>, lasts: Duration) -> Vec<Peer> {
    let relay = RelayProcess::spawn(&SpawnOptions { workers: Some(1), ..Default::default() }).await.unwrap();
    let address = RelayAddress { url: relay.signaling(), host_name: relay.host_name() };
    let (mut fleet, mut updates) = Fleet::with_engine(Box::new(Full::new(Handle::current())), address);
    let link = Arc::new(Link::host([7; 32]));
    let first = fleet.join(made[0](&link, 0, None)).unwrap();
    fleet.join(made[1](&link, 1, network)).unwrap();
    fleet.order(first, Order::Speak(true));
    let mut joined = 0;
    while joined < 2 {
        let update = timeout(PATIENCE, updates.recv()).await.expect("they join in time").unwrap();
        if let Update::Lost { reason, .. } = &update {
            panic!("a connection was lost: {reason}");
        }
        joined += usize::from(matches!(update, Update::Joined { .. }));
    }
    sleep(lasts).await;
    fleet.stop().await;
    let mut outcomes: Vec<(PeerId, Outcome)> = Vec::new();
    while let Ok(update) = updates.try_recv() {
        if let Update::Gone { peer, outcome } = update {
            outcomes.push((peer, *outcome));
        }
    }
    assert_eq!(outcomes.len(), 2, "both are gone");
    for (_, outcome) in &outcomes {
        assert_eq!(outcome.failure, "");
    }
    outcomes.iter().map(|(_, outcome)| outcome.report()).collect()
}

fn spec(link: &Arc<Link>, index: usize, network: Option<PeerNetwork>) -> Spec {
    Spec {
        call: 0,
        index,
        run: 1,
        link: Arc::clone(link),
        host_name: String::new(), // the fleet knows it
        microphone: Some(Audio::default()),
        camera: Some(Video { layers: LAYERS.to_vec(), ..Video::default() }),
        hints: true,
        watch: None,
        stage_height: LAYERS[2].height,
        check_one_in: 1,
        network,
        seed: 40 + index as u64,
    }
}

/// The other's sound, and the other's picture.
fn two_streams(peer: &Peer) -> [&StreamReport; 2] {
    ["microphone", "camera"].map(|name| {
        let stream = peer.streams.iter().find(|stream| stream.stream == name);
        let stream = stream.unwrap_or_else(|| panic!("{} receives the other's {name}", peer.index));
        assert_eq!(stream.from, Some(1 - peer.index));
        stream
    })
}
