mod world;

use sotto_signaling::base64url::Base64Url;
use sotto_signaling::host::HostState;
use sotto_signaling::message::{ErrorCode, ServerMessage};
use world::{DTLS, ICE, SIGNALING, World};

use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A call of so many that has gone on for some seconds.
fn call(of: usize) -> World {
    let mut world = World::new();
    for index in 0..of {
        let spec = world.spec(index);
        world.join(spec);
        world.run(Duration::from_millis(300));
    }
    world.run(seconds(4));
    assert!(world.peers.iter().all(Peer::has_joined));
    world
}

use world::Peer;

/// Everyone leaves, and what they found is as it should be: every stream of every other received, checked and intact.
fn end(world: &mut World, streams: usize) {
    for peer in 0..world.peers.len() {
        world.order(peer, Order::Leave);
    }
    world.run(seconds(1));
    for peer in &world.peers {
        assert!(peer.is_over);
        let outcome = peer.outcome();
        assert_eq!(outcome.failure, "");
        assert_eq!(outcome.streams.len(), streams, "streams of {}", outcome.index);
        for stream in &outcome.streams {
            assert!(stream.tally.frames_checked > 0, "{} of {:?}", outcome.index, stream.from);
            assert_eq!((stream.tally.decrypt_failures, stream.tally.mismatches), (0, 0));
            assert!(stream.from.is_some_and(|from| from != outcome.index));
        }
    }
}

fn sum(outcome: &Outcome, figure: impl Fn(&StreamOutcome) -> u64) -> u64 {
    outcome.streams.iter().map(figure).sum()
}

#[test]
fn three_hear_and_see_each_other_whole_and_unaltered() {
    let mut world = call(3);
    world.run(seconds(10));
    end(&mut world, 4);
    for peer in &world.peers {
        let outcome = peer.outcome();
        assert_eq!(sum(outcome, |stream| stream.tally.frames_lost), 0);
        assert_eq!(sum(outcome, |stream| stream.tally.packets.lost), 0);
        let per_second = sum(outcome, |stream| stream.tally.frames_checked) as f64 / 14.0;
        assert!((130.0..170.0).contains(&per_second), "two voices of 50 and two pictures of 30: {per_second}");
    }
}

#[test]
fn joining_takes_what_signaling_and_the_handshake_take() {
    let mut world = call(2);
    end(&mut world, 2);
    let outcome = world.peers[0].outcome();
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    assert_eq!(outcome.ice.distribution().max.round(), ms(ICE).round());
    assert_eq!(outcome.dtls.distribution().max.round(), ms(DTLS).round());
    // Welcome after two ways, joined and answer after two each, a millisecond to describe the connection.
    let expected = ms(SIGNALING * 6 + ICE + DTLS) + 1.0;
    let join = outcome.join.distribution();
    assert_eq!(join.count, 1);
    assert!((join.max - expected).abs() < 1.0, "{join:?}, expected {expected}");
    let picture = outcome.streams.iter().find(|stream| stream.first_key_frame.count() > 0).unwrap();
    assert!(picture.first_frame.distribution().max <= picture.first_key_frame.distribution().max);
    assert!(picture.first_key_frame.distribution().max < 1_000.0);
}

#[test]
fn keys_change_within_the_protocols_time_after_someone_left_or_came() {
    let mut world = call(3);
    world.order(2, Order::Leave);
    world.run(seconds(5));
    let spec = world.spec(3);
    world.join(spec);
    world.run(seconds(5));
    for peer in [0, 1, 3] {
        world.order(peer, Order::Leave);
    }
    for peer in [0, 1] {
        let changes = world.peers[peer].outcome().key_change.distribution();
        assert!(changes.count >= 2, "{changes:?}");
        assert!(changes.max < 4_000.0, "{changes:?}");
        assert_eq!(sum(world.peers[peer].outcome(), |stream| stream.tally.decrypt_failures), 0);
    }
}

#[test]
fn slots_grow_with_the_call() {
    let mut world = call(7);
    assert!(world.peers.iter().all(|peer| peer.pairs() >= 6), "a pair for each other");
    end(&mut world, 12);
}

#[test]
fn the_speaker_is_asked_for_large() {
    let mut world = call(3);
    let speaker = world.peers[1].id();
    let quiet = world.peers[2].id();
    assert_eq!(world.peers[0].heights()[&speaker], 180);
    world.order(1, Order::Speak(true));
    world.run(seconds(2));
    assert_eq!(world.peers[0].heights()[&speaker], 360);
    assert_eq!(world.peers[2].heights()[&speaker], 360);
    assert_eq!(world.peers[0].heights()[&quiet], 180);
    world.order(1, Order::Speak(false));
    world.order(2, Order::Speak(true));
    world.run(seconds(2));
    assert_eq!((world.peers[0].heights()[&speaker], world.peers[0].heights()[&quiet]), (180, 360));
    end(&mut world, 4);
}

#[test]
fn who_watches_one_picture_gets_one_and_hears_all() {
    let mut world = World::new();
    for index in 0..3 {
        let spec = Spec { watch: Some(1), ..world.spec(index) };
        world.join(spec);
    }
    world.run(seconds(5));
    assert!(world.peers.iter().all(|peer| peer.heights().len() == 1));
    world.order(2, Order::Speak(true));
    world.run(seconds(2));
    let speaker = world.peers[2].id();
    assert_eq!(world.peers[0].heights().into_keys().collect::<Vec<_>>().len(), 1);
    assert!(world.peers[0].heights().contains_key(&speaker), "the one on stage");
    assert!(world.peers[1].heights().contains_key(&speaker));
    let microphones = |peer: &Peer| {
        let heard =
            |message: &&ClientMessage| matches!(message, ClientMessage::Subscribe { stream: Stream::Microphone, .. });
        peer.said.iter().filter(heard).count()
    };
    assert_eq!(microphones(&world.peers[0]), 2);
}

#[test]
fn who_loses_the_websocket_comes_back_and_counts_on() {
    let mut world = call(3);
    world.cut(1);
    world.run(seconds(6));
    let lost = |update: &Update| matches!(update, Update::Lost { signaling: true, .. });
    assert_eq!(world.peers[1].count(lost), 1);
    assert_eq!(world.peers[1].count(|update| matches!(update, Update::Rejoined { .. })), 1);
    assert_eq!(world.peers[0].count(lost), 0);
    end(&mut world, 4);
    let outcome = world.peers[1].outcome();
    assert_eq!((outcome.reconnects, outcome.join.count()), (1, 2));
    for stream in &outcome.streams {
        assert_eq!(stream.first_frame.count(), 2, "{:?} of {:?} was found again", stream.stream, stream.from);
    }
    for stream in &world.peers[0].outcome().streams {
        let found = if stream.from == Some(1) { 2 } else { 1 };
        assert_eq!(stream.first_frame.count(), found, "from {:?}", stream.from);
    }
}

#[test]
fn a_lost_path_is_made_anew_without_a_new_signaling_connection() {
    let mut world = call(2);
    world.lose_media(0);
    world.run(seconds(1));
    world.peers[0].media_is_up = true;
    world.run(seconds(5));
    let restarts = |message: &&ClientMessage| matches!(message, ClientMessage::Offer { sdp, .. } if sdp == "restart");
    let joins = |message: &&ClientMessage| matches!(message, ClientMessage::Join(_));
    assert_eq!(world.peers[0].said.iter().filter(joins).count(), 1);
    assert_eq!(world.peers[0].said.iter().filter(restarts).count(), 0, "packets came before it was given up");
    world.lose_media(0);
    world.run(seconds(4));
    world.peers[0].media_is_up = true;
    world.run(seconds(10));
    assert_eq!(world.peers[0].said.iter().filter(restarts).count(), 1);
    end(&mut world, 2);
}

#[test]
fn a_path_that_does_not_come_back_ends_the_connection_and_another_is_made() {
    let mut world = call(2);
    world.lose_media(0);
    world.run(seconds(20));
    world.peers[0].media_is_up = true;
    world.run(seconds(20));
    let joins = |message: &&ClientMessage| matches!(message, ClientMessage::Join(_));
    assert!(world.peers[0].said.iter().filter(joins).count() >= 2);
    assert_eq!(world.peers[0].count(|update| matches!(update, Update::Rejoined { .. })), 1);
    end(&mut world, 2);
    let freezes = sum(world.peers[0].outcome(), |stream| stream.tally.freezes.count);
    assert!(freezes > 0, "the outage shows");
}

#[test]
fn a_relay_that_is_gone_is_told_within_ten_seconds_and_who_is_ordered_to_leaves() {
    let mut world = call(2);
    world.kill_relay();
    let killed = world.now;
    world.run(seconds(9));
    for peer in &world.peers {
        let since = peer.updates.iter().find_map(|update| match update {
            Update::Unreachable { since, .. } => Some(*since),
            _ => None,
        });
        assert!(since.unwrap().since(killed) < seconds(2), "told, with when it began");
        assert_eq!(peer.count(|update| matches!(update, Update::Unreachable { .. })), 1);
    }
    world.relay_is_up = true;
    world.run(seconds(15));
    for peer in &world.peers {
        let frozen = |update: &Update| match update {
            Update::Second { second, .. } => second.interval.frozen,
            _ => Duration::ZERO,
        };
        let frozen: Duration = peer.updates.iter().map(frozen).sum();
        assert!((seconds(18)..seconds(48)).contains(&frozen), "two streams for at least nine seconds: {frozen:?}");
    }
    assert!(world.peers.iter().all(|peer| peer.count(|update| matches!(update, Update::Rejoined { .. })) == 1));
    end(&mut world, 2);
    for stream in &world.peers[0].outcome().streams {
        let freezes = stream.tally.freezes;
        assert!(freezes.longest >= seconds(9) && freezes.count == 1, "{freezes:?}");
    }
}

#[test]
fn who_finds_the_call_locked_says_what_to_do_and_does_not_come_back() {
    let mut world = call(2);
    let (key, signature) = (Base64Url([1; 32]), Base64Url([1; 64]));
    let (host, admitted, removed) = (key, vec![], vec![]);
    let state = HostState { key, host, counter: 1, locked: true, admitted, removed, signature };
    let participant = world.peers[0].id();
    world.hear(0, ServerMessage::Waiting { participant, state });
    let failure = &world.peers[0].outcome().failure;
    assert!(world.peers[0].is_over && failure.contains("locked: unlock it"), "{failure}");
}

#[test]
fn whom_the_host_removed_the_relay_is_not_asked_to_let_in_again() {
    let mut world = call(2);
    world.hear(1, ErrorCode::Removed.message());
    let failure = &world.peers[1].outcome().failure;
    assert!(world.peers[1].is_over && failure.contains("removed"), "{failure}");
}

#[test]
fn a_tester_goes_on_whatever_it_is_told_of_tunnels_knocks_and_receipts() {
    let mut world = call(2);
    let peer = world.peers[1].id();
    let id = peer;
    for message in [
        ServerMessage::Tunnel { peer, ufrag: "u".into(), pwd: "p".into(), candidates: vec![] },
        ServerMessage::Knock { id, data: "x".into() },
        ServerMessage::KnockEnd { id },
        ServerMessage::Receipt { r#final: false, retention_days: 7, row: None },
        ErrorCode::Tunnel.message(),
        ErrorCode::Host.message(),
    ] {
        world.hear(0, message);
    }
    let said = world.peers[0].said.len();
    world.run(seconds(5));
    assert!(!world.peers[0].is_over && world.peers[0].said.len() > said);
    end(&mut world, 2);
    assert_eq!(world.peers[0].outcome().reconnects, 0);
}

#[test]
fn who_finds_no_relay_for_three_minutes_gives_up() {
    let mut world = World::new();
    world.relay_is_up = false;
    let spec = world.spec(0);
    world.join(spec);
    world.run(seconds(200));
    assert!(world.peers[0].is_over);
    assert!(world.peers[0].outcome().failure.contains("refuses connections"), "{}", world.peers[0].outcome().failure);
}

#[test]
fn loss_shows_in_the_tally_as_loss() {
    let mut world = call(2);
    world.loss = 0.05;
    world.run(seconds(20));
    world.loss = 0.0;
    world.run(seconds(3));
    end(&mut world, 2);
    let lost = sum(world.peers[0].outcome(), |stream| stream.tally.packets.lost) as f64;
    let expected = sum(world.peers[0].outcome(), |stream| stream.tally.packets.expected()) as f64;
    assert!((0.02..0.07).contains(&(lost / expected)), "{lost} of {expected}");
    assert!(sum(world.peers[0].outcome(), |stream| stream.tally.key_frames_requested) > 0);
}

#[test]
fn every_second_is_told() {
    let mut world = call(2);
    world.run(seconds(10));
    end(&mut world, 2);
    for peer in &world.peers {
        let seconds: Vec<_> = peer
            .updates
            .iter()
            .filter_map(|update| match update {
                Update::Second { second, .. } => Some(second),
                _ => None,
            })
            .collect();
        assert!((14..=16).contains(&seconds.len()), "{}", seconds.len());
        let packets: u64 = seconds.iter().map(|second| second.interval.packets()).sum();
        let outcome = peer.outcome();
        assert_eq!(packets, sum(outcome, |stream| stream.tally.packets.received), "the seconds add up");
        assert_eq!(seconds.iter().map(|second| second.packets_sent).sum::<u64>(), outcome.packets_sent);
        assert!(outcome.packets_sent > 50 * 14);
    }
}

#[test]
fn a_loop_that_is_always_in_time_has_no_lag() {
    let mut world = call(2);
    world.run(seconds(5));
    end(&mut world, 2);
    let told = world.peers.iter().flat_map(|peer| &peer.updates);
    let seconds =
        told.filter_map(|update| if let Update::Second { second, .. } = update { Some(second) } else { None });
    let lags: Vec<u32> = seconds.flat_map(|second| second.lags.clone()).collect();
    assert!(lags.len() > 500, "{} wakings", lags.len());
    let longest = lags.iter().max();
    assert!(longest < Some(&1_500), "{longest:?} us: the world moves by the millisecond");
}

#[test]
fn a_seed_makes_the_same_participant_again() {
    let said = || {
        let world = call(2);
        world.peers[0].said.iter().map(|message| serde_json::to_string(message).unwrap().len()).collect::<Vec<_>>()
    };
    assert_eq!(said(), said());
}
