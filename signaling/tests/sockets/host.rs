//! The host's word over real sockets: who waits, knocks, comes in and is removed; and forgeries of it.

use std::time::Duration;

use serde_json::{Value, json};
use sotto_signaling::counters::JoinOutcome;
use sotto_signaling::limits::Limits;

use crate::client::{Client, Link, Word, identity};
use crate::fake::{Running, start};

const HOST: u8 = 1;

/// A call in which the host (1) and another (2) are, locked with the counter 1.
async fn locked(running: &Running, link: &Link) -> (Client, Client) {
    let mut host = Client::join(running, link, HOST).await;
    let ben = Client::join(running, link, 2).await;
    host.expect("participant").await;
    host.send(link.word(Word { admitted: &[HOST, 2], ..Word::locked(1) })).await;
    host.hears_nothing().await;
    (host, ben)
}

/// One who comes to a locked call.
async fn wait(running: &Running, link: &Link, seed: u8) -> (Client, Value) {
    let mut client = Client::connect(running).await;
    let join = link.join(&client.nonce, &running.host, &[seed; 32]);
    client.send(join).await;
    let waiting = client.expect("waiting").await;
    client.id = waiting["participant"].as_str().unwrap().to_owned();
    (client, waiting)
}

#[tokio::test]
async fn a_locked_call_is_knocked_at_and_the_host_admits() {
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let (mut host, mut ben) = locked(&running, &link).await;
    let (mut cai, waiting) = wait(&running, &link, 3).await;
    assert_eq!((&waiting["state"]["counter"], &waiting["state"]["locked"]), (&json!(1), &json!(true)));
    cai.send(json!({"type": "knock", "data": "sealed"})).await;
    let knock = json!({"type": "knock", "id": cai.id, "data": "sealed"});
    assert_eq!(host.next().await, knock);
    assert_eq!(ben.next().await, knock);
    cai.hears_nothing().await;

    host.send(link.word(Word { admitted: &[HOST, 2, 3], ..Word::locked(2) })).await;
    let joined = cai.expect("joined").await;
    assert_eq!(joined["participant"], json!(cai.id), "the id stays");
    assert_eq!(joined["participants"].as_array().unwrap().len(), 2);
    cai.expect("slots").await;
    for member in [&mut host, &mut ben] {
        assert_eq!(member.next().await, json!({"type": "knock-end", "id": cai.id}));
        assert_eq!(member.next().await, json!({"type": "participant", "id": cai.id}));
    }
    cai.offer(1, "0:audio:sends").await;
    let counters = running.server.counters();
    assert_eq!((counters.participants, counters.waiting, counters.host_states), (3, 0, 2));
    let outcome = |outcome: JoinOutcome| counters.joins[outcome as usize].1;
    assert_eq!((outcome(JoinOutcome::Accepted), outcome(JoinOutcome::Waiting)), (3, 1));
}

#[tokio::test]
async fn who_is_removed_is_told_so_with_its_receipt_and_stays_out() {
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let (mut host, mut ben) = locked(&running, &link).await;
    let ben_id = ben.id.clone();
    host.send(link.word(Word { admitted: &[HOST], removed: &[2], ..Word::locked(2) })).await;
    let receipt = ben.expect("receipt").await;
    assert_eq!((&receipt["final"], &receipt["row"]["peak_participants"]), (&json!(false), &json!(2)));
    ben.ends_with("removed", 1008).await;
    assert_eq!(host.next().await, json!({"type": "left", "id": ben_id}));
    for _ in 0..3 {
        let mut again = Client::connect(&running).await;
        let join = link.join(&again.nonce, &running.host, &[2; 32]);
        again.send(join).await;
        again.ends_with("removed", 1008).await;
    }
    host.hears_nothing().await;
    assert_eq!(running.server.counters().joins[JoinOutcome::Removed as usize].1, 3);
}

#[tokio::test]
async fn who_knocks_and_is_denied_or_goes_is_taken_from_the_screen() {
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let (mut host, mut ben) = locked(&running, &link).await;
    let (mut cai, _) = wait(&running, &link, 3).await;
    cai.send(json!({"type": "knock", "data": "cai"})).await;
    host.expect("knock").await;
    ben.expect("knock").await;
    let (dee, _) = wait(&running, &link, 4).await;
    dee.leave().await; // without a receipt: nothing of it is ever stored
    drop(cai);
    let end = ben.expect("knock-end").await;
    host.expect("knock-end").await;
    let (mut eli, _) = wait(&running, &link, 5).await;
    assert_ne!(end["id"], json!(eli.id));
    eli.send(json!({"type": "knock", "data": "eli"})).await;
    ben.expect("knock").await;
    host.send(link.word(Word { admitted: &[HOST, 2], removed: &[5], ..Word::locked(2) })).await;
    eli.ends_with("removed", 1008).await;
    ben.expect("knock-end").await;
    ben.hears_nothing().await;
    running.until("nobody waits", |running| running.server.counters().waiting == 0).await;
    running.until("sockets are given back", |running| running.server.counters().sockets == 2).await;
}

#[tokio::test]
async fn forged_states_change_nothing() {
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let (mut host, mut ben) = locked(&running, &link).await;
    let old = link.word(Word { admitted: &[HOST, 2], ..Word::locked(1) });
    host.send(link.word(Word { admitted: &[HOST, 2], removed: &[4], ..Word::locked(5) })).await;
    let open = |counter| Word { locked: false, counter, ..Word::locked(0) };
    let changed = |change: fn(&mut Value)| {
        let mut word = link.word(open(9));
        change(&mut word["state"]);
        word
    };
    let many: Vec<u8> = (0..129).collect();
    for (what, word) in [
        ("another host's", Link::new(2).word(open(9))),
        (
            "another host's key, this one's name",
            changed(|state| state["key"] = json!(crate::client::encode(&identity(9)))),
        ),
        ("signed for another call", link.word_for(&Link::new(2).call(), open(9))),
        ("a bad signature", changed(|state| state["signature"] = json!(crate::client::encode(&[1; 64])))),
        ("another counter", changed(|state| state["counter"] = json!(10))),
        ("unlocked by hand", changed(|state| state["locked"] = json!(true))),
        ("the counter 0", link.word(open(0))),
        ("a counter beyond what JSON carries", link.word(open(1 << 53))),
        ("an old one", old),
        ("too many", link.word(Word { admitted: &many, ..Word::locked(9) })),
        (
            "out of order",
            changed(|state| {
                state["removed"] = json!([crate::client::encode(&[2; 32]), crate::client::encode(&[1; 32])])
            }),
        ),
    ] {
        ben.send(word).await;
        let error = ben.next().await;
        assert_eq!((&error["code"], &error["fatal"]), (&json!("host"), &json!(false)), "{what}: {error}");
    }
    host.hears_nothing().await;
    let (_cai, waiting) = wait(&running, &link, 3).await;
    assert_eq!(waiting["state"]["counter"], json!(5), "the lock holds");
    assert_eq!(running.server.counters().host_states, 2);
}

#[tokio::test]
async fn a_state_counts_whoever_hands_it_over() {
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let (host, mut ben) = locked(&running, &link).await;
    host.leave().await;
    ben.expect("left").await;
    let (mut again, waiting) = wait(&running, &link, 7).await; // the host, as another I
    let counter = waiting["state"]["counter"].as_u64().unwrap() + 1;
    again.send(link.word(Word { host: 7, admitted: &[2, 7], ..Word::locked(counter) })).await;
    again.expect("joined").await;
    ben.expect("participant").await;
    ben.send(link.word(Word { host: 7, locked: false, ..Word::locked(counter + 1) })).await; // it got it end to end
    ben.hears_nothing().await;
    Client::join(&running, &link, 3).await;
}

#[tokio::test]
async fn who_waits_may_say_little_and_hears_nothing_of_the_call() {
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let (mut host, mut ben) = locked(&running, &link).await;
    let (mut cai, _) = wait(&running, &link, 3).await;
    for message in [
        json!({"type": "offer", "id": 1, "sdp": "0:audio:sends"}),
        json!({"type": "relay", "data": "let me in"}),
        json!({"type": "relay", "to": host.id, "data": "let me in"}),
        json!({"type": "publish", "stream": "camera", "mid": "1"}),
        json!({"type": "subscribe", "participant": host.id, "stream": "camera"}),
        json!({"type": "tunnel", "peer": host.id}),
        json!({"type": "detach"}),
    ] {
        cai.send(message).await;
        let error = cai.expect("error").await;
        assert_eq!((&error["code"], &error["fatal"]), (&json!("waiting"), &json!(false)));
    }
    host.send(json!({"type": "relay", "data": "among us"})).await;
    host.send(json!({"type": "relay", "to": cai.id, "data": "to you"})).await;
    ben.expect("relay").await;
    cai.hears_nothing().await;
    ben.hears_nothing().await;
    assert!(running.notes.said.lock().unwrap().is_empty());
    cai.send(link.join(&[0; 32], &running.host, &[3; 32])).await;
    cai.ends_with("malformed", 1008).await;
}

#[tokio::test]
async fn a_flood_of_knocks_ends_the_one_who_knocks() {
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let (mut host, _ben) = locked(&running, &link).await;
    let (mut flooder, _) = wait(&running, &link, 3).await;
    for n in 0..50 {
        flooder.send(json!({"type": "knock", "data": n.to_string()})).await;
    }
    flooder.ends_with("too-fast", 1008).await;
    let mut knocks = 0;
    while host.next().await["type"] == "knock" {
        knocks += 1;
    }
    assert!((1..=5).contains(&knocks), "{knocks} of 50 reached the host");

    let (mut long, _) = wait(&running, &link, 4).await;
    long.send(json!({"type": "knock", "data": "x".repeat(2_048)})).await;
    assert_eq!(host.expect("knock").await["data"].as_str().unwrap().len(), 2_048);
    long.send(json!({"type": "knock", "data": "x".repeat(2_049)})).await;
    long.ends_with("too-large", 1008).await;
}

#[tokio::test]
async fn a_crowd_outside_is_bounded_and_does_not_keep_a_member_out() {
    let running = start(Limits { participants: 3, ..Limits::default() }).await;
    let link = Link::new(1);
    let (mut host, ben) = locked(&running, &link).await;
    let mut crowd = Vec::new();
    for seed in 10..26 {
        crowd.push(wait(&running, &link, seed).await.0);
    }
    for seed in 26..30 {
        let mut late = Client::connect(&running).await;
        let join = link.join(&late.nonce, &running.host, &[seed; 32]);
        late.send(join).await;
        late.ends_with("full", 1013).await;
    }
    assert_eq!(running.server.counters().waiting, 16);
    drop(ben);
    host.expect("left").await;
    Client::join(&running, &link, 2).await;
    host.expect("participant").await;
    host.expect("left").await;
    host.leave().await;
    for waiting in crowd {
        waiting.ends_with("ended", 1001).await;
    }
    running.until_empty().await;
    assert_eq!(running.server.counters().waiting, 0);
    assert_eq!(running.notes.rows.lock().unwrap().len(), 1, "who waits is no part of the call's row");
    Client::join(&running, &link, 40).await; // a new call, and open
}

#[tokio::test]
async fn a_silent_client_outside_is_closed_like_any_other() {
    let running = start(Limits { idle_timeout: Duration::from_millis(500), ..Limits::default() }).await;
    let link = Link::new(1);
    let mut host = Client::join(&running, &link, HOST).await;
    host.send(link.word(Word::locked(1))).await;
    let (mut cai, _) = wait(&running, &link, 3).await;
    for _ in 0..10 {
        host.hears_nothing().await;
        cai.send(json!({"type": "ping", "t": 1})).await;
        cai.expect("pong").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let watch = tokio::spawn(async move { cai.ends_with("timeout", 1008).await });
    while !watch.is_finished() {
        host.hears_nothing().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    watch.await.unwrap();
}

#[tokio::test]
async fn one_who_waits_twice_with_one_identity_waits_once() {
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let (mut host, _ben) = locked(&running, &link).await;
    let (mut first, _) = wait(&running, &link, 3).await;
    first.send(json!({"type": "knock", "data": "first"})).await;
    host.expect("knock").await;
    let (_second, _) = wait(&running, &link, 3).await;
    first.ends_with("replaced", 1008).await;
    host.expect("knock-end").await;
    assert_eq!(running.server.counters().waiting, 1);
}
