//! Legs of a tunnel, leaving the forwarded connection, and receipts, over real sockets.

use serde_json::json;
use sotto_signaling::limits::Limits;

use crate::call::{LINES, two};
use crate::client::{Client, Link};
use crate::fake::start;

#[tokio::test]
async fn a_leg_is_told_to_its_asker_alone_and_ends_on_request_or_with_either_of_the_two() {
    let running = start(Limits::default()).await;
    let (mut ana, mut ben) = two(&running).await;
    let said = || std::mem::take(&mut *running.notes.said.lock().unwrap());
    ana.send(json!({"type": "tunnel", "peer": ben.id})).await;
    let leg = json!({
        "type": "tunnel", "peer": ben.id, "ufrag": "relayuf1", "pwd": "relaypassword0123456789a",
        "candidates": ["1 1 udp 2130706431 192.0.2.1 3478 typ host"],
    });
    assert_eq!(ana.next().await, leg);
    ben.hears_nothing().await;
    assert_eq!(said(), ["tunnel"]);
    ana.send(json!({"type": "tunnel-end"})).await;
    ana.send(json!({"type": "tunnel-end"})).await;
    ana.hears_nothing().await;
    assert_eq!(said(), ["end tunnel"]);
    let ana_id = ana.id.clone();
    ben.send(json!({"type": "tunnel", "peer": ana_id})).await;
    ben.expect("tunnel").await;
    ana.send(json!({"type": "tunnel", "peer": ben.id})).await;
    ana.expect("tunnel").await;
    drop(ana); // without a word
    ben.expect("left").await;
    ben.hears_nothing().await;
    assert_eq!(said(), ["tunnel", "tunnel", "leave", "end tunnel", "end tunnel"]);
    assert_eq!(running.server.counters().tunnel_legs, 3);
}

#[tokio::test]
async fn nobody_gets_a_leg_to_a_stranger_to_itself_alone_by_three_or_across_calls() {
    let running = start(Limits::default()).await;
    let (mut ana, mut ben) = two(&running).await;
    let elsewhere = Client::join(&running, &Link::new(2), 9).await;
    for peer in [ana.id.clone(), elsewhere.id.clone(), "AAAAAAAAAAA".to_owned()] {
        ana.send(json!({"type": "tunnel", "peer": peer})).await;
        let error = ana.expect("error").await;
        assert_eq!((&error["code"], &error["fatal"]), (&json!("tunnel"), &json!(false)));
    }
    let mut cai = Client::join(&running, &Link::new(1), 3).await;
    ana.expect("participant").await;
    ben.expect("participant").await;
    for (client, peer) in [(&mut ana, ben.id.clone()), (&mut cai, ben.id.clone())] {
        client.send(json!({"type": "tunnel", "peer": peer})).await;
        assert_eq!(client.expect("error").await["code"], "tunnel");
    }
    assert!(running.notes.said.lock().unwrap().is_empty(), "the media plane hears of none");
    assert_eq!(running.server.counters().tunnel_legs, 0);
}

#[tokio::test]
async fn an_operator_who_turns_the_tunnel_off_is_heard_in_the_limits() {
    for tunnel in [true, false] {
        let running = start(Limits { tunnel, ..Limits::default() }).await;
        let mut ana = Client::connect(&running).await;
        assert_eq!(ana.enter(&running, &Link::new(1), 1).await["limits"]["tunnel"], json!(tunnel));
        let ben = Client::join(&running, &Link::new(1), 2).await;
        ana.expect("participant").await;
        ana.send(json!({"type": "tunnel", "peer": ben.id})).await;
        ana.expect(if tunnel { "tunnel" } else { "error" }).await;
    }
}

#[tokio::test]
async fn who_detaches_ends_its_media_once_and_offers_anew_when_a_third_comes() {
    let running = start(Limits::default()).await;
    let (mut ana, mut ben) = two(&running).await;
    ana.offer(1, LINES).await;
    ben.offer(1, LINES).await;
    ana.send(json!({"type": "publish", "stream": "camera", "mid": "1"})).await;
    ben.expect("published").await;
    ben.send(json!({"type": "publish", "stream": "camera", "mid": "1"})).await;
    ana.expect("published").await;
    ana.send(json!({"type": "subscribe", "participant": ben.id, "stream": "camera", "height": 1})).await;
    let assign = ana.expect("assign").await;
    ana.send(json!({"type": "assigned", "slot": assign["slot"], "epoch": assign["epoch"]})).await;
    ana.hears_nothing().await;
    running.notes.said.lock().unwrap().clear();

    ana.send(json!({"type": "detach"})).await;
    ana.expect("release").await;
    ana.send(json!({"type": "detach"})).await;
    ana.hears_nothing().await;
    assert_eq!(ben.next().await, json!({"type": "unpublished", "participant": ana.id, "stream": "camera"}));
    assert_eq!(running.notes.said.lock().unwrap()[..2], ["3 carries nothing", "leave"]);
    let counters = running.server.counters();
    assert_eq!((counters.participants, counters.publications, counters.subscriptions), (2, 1, 0));

    ana.send(json!({"type": "publish", "stream": "camera", "mid": "1"})).await;
    assert_eq!(ana.expect("error").await["code"], "unknown");
    ana.offer(2, LINES).await;
    ana.send(json!({"type": "subscribe", "participant": ben.id, "stream": "camera", "height": 1})).await;
    assert!(ana.expect("assign").await["epoch"].as_u64() > assign["epoch"].as_u64());
    ana.send(json!({"type": "publish", "stream": "camera", "mid": "1"})).await;
    ben.expect("published").await;
}

#[tokio::test]
async fn who_leaves_is_told_what_is_stored_and_the_last_one_the_very_row() {
    let running = start(Limits::default()).await;
    let (mut ana, mut ben) = two(&running).await;
    ana.send(json!({"type": "leave"})).await;
    let early = ana.expect("receipt").await;
    let row = json!({
        "ended_day": "2026-11-22", "duration_minutes": 1, "peak_participants": 2, "end_reason": "completed",
        "expires_at": 1_764_417_600,
    });
    assert_eq!(early, json!({"type": "receipt", "final": false, "retention_days": 7, "row": row}));
    assert!(running.notes.rows.lock().unwrap().is_empty());
    assert_eq!(ana.end().await, (None, 1000, "left".into()), "nothing comes after it");
    ben.expect("left").await;
    ben.send(json!({"type": "leave"})).await;
    assert_eq!(ben.expect("receipt").await["final"], json!(true));
    ben.end().await;
    running.until_empty().await;
    assert_eq!(running.notes.rows.lock().unwrap().len(), 1);
}
