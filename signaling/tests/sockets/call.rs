//! A call from the first join to the last leave.

use serde_json::json;
use sotto_signaling::call_log::EndReason;
use sotto_signaling::limits::Limits;
use sotto_signaling::media::MediaEvent;

use crate::client::{Client, Link};
use crate::fake::{Running, start};

pub const LINES: &str = "0:audio:sends 1:video:sends 2:audio:receives 3:video:receives";

pub async fn two(running: &Running) -> (Client, Client) {
    let link = Link::new(1);
    let mut ana = Client::join(running, &link, 1).await;
    let ben = Client::join(running, &link, 2).await;
    assert_eq!(ana.next().await, json!({"type": "participant", "id": ben.id}));
    (ana, ben)
}

#[tokio::test]
async fn a_stream_flows_from_publish_to_assigned_and_ends_with_a_release() {
    let running = start(Limits::default()).await;
    let (mut ana, mut ben) = two(&running).await;
    ana.offer(1, LINES).await;
    ben.offer(1, LINES).await;
    ana.send(json!({"type": "publish", "stream": "camera", "mid": "1"})).await;
    assert_eq!(ben.next().await, json!({"type": "published", "participant": ana.id, "stream": "camera"}));
    ben.send(json!({"type": "subscribe", "participant": ana.id, "stream": "camera", "height": 359.5})).await;
    let assign = ben.expect("assign").await;
    assert_eq!((&assign["slot"], &assign["participant"]), (&json!("3"), &json!(ana.id)));
    assert!(running.notes.said.lock().unwrap().is_empty(), "nothing is forwarded before the acknowledgement");
    ben.send(json!({"type": "assigned", "slot": "3", "epoch": assign["epoch"]})).await;
    ben.hears_nothing().await;
    assert_eq!(*running.notes.said.lock().unwrap(), ["3 carries 1"]);

    let mut cai = Client::connect(&running).await;
    let joined = cai.enter(&running, &Link::new(1), 3).await;
    let others = joined["participants"].as_array().unwrap();
    assert!(others.contains(&json!({"id": ana.id, "streams": ["camera"]})));
    assert!(others.contains(&json!({"id": ben.id, "streams": []})));
    ben.expect("participant").await;

    let left = ana.id.clone();
    ana.leave().await;
    assert_eq!(ben.next().await, json!({"type": "release", "slot": "3", "epoch": assign["epoch"]}));
    assert_eq!(ben.next().await, json!({"type": "left", "id": left}));
    ben.leave().await;
    cai.leave().await;
    running.until_empty().await;
    let rows = running.notes.rows.lock().unwrap().clone();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].peak_participants, rows[0].reason), (3, EndReason::Completed));
}

#[tokio::test]
async fn relayed_data_reaches_whom_it_is_for_in_order() {
    let running = start(Limits::default()).await;
    let (mut ana, mut ben) = two(&running).await;
    for (n, to) in [json!(ben.id), json!(null), json!(ben.id)].into_iter().enumerate() {
        ana.send(json!({"type": "relay", "to": to, "data": n.to_string()})).await;
    }
    for n in 0..3 {
        assert_eq!(ben.next().await, json!({"type": "relay", "from": ana.id, "data": n.to_string()}));
    }
    ana.hears_nothing().await;
}

#[tokio::test]
async fn two_calls_with_the_same_people_hear_nothing_of_each_other() {
    let running = start(Limits::default()).await;
    let (mut ana, mut ben) = two(&running).await;
    let other = Link::new(2);
    let mut stranger = Client::join(&running, &other, 1).await;
    let mut listener = Client::join(&running, &other, 2).await;
    stranger.expect("participant").await;
    stranger.offer(1, LINES).await;
    stranger.send(json!({"type": "publish", "stream": "camera", "mid": "1"})).await;
    listener.expect("published").await;
    for to in [json!(null), json!(ana.id), json!(ben.id)] {
        stranger.send(json!({"type": "relay", "to": to, "data": "across"})).await;
    }
    stranger.send(json!({"type": "subscribe", "participant": ana.id, "stream": "camera", "height": 1})).await;
    assert_eq!(stranger.expect("error").await["code"], "unknown");
    listener.expect("relay").await;
    listener.hears_nothing().await;
    ana.hears_nothing().await;
    ben.hears_nothing().await;
}

#[tokio::test]
async fn mistakes_that_can_be_mended_are_told_and_the_call_goes_on() {
    let running = start(Limits::default()).await;
    let mut ana = Client::join(&running, &Link::new(1), 1).await;
    ana.send(json!({"type": "offer", "id": 7, "sdp": "nonsense"})).await;
    let error = ana.expect("error").await;
    assert_eq!((&error["code"], &error["id"], &error["fatal"]), (&json!("offer"), &json!(7), &json!(false)));
    ana.offer(8, LINES).await;
    for (message, code) in [
        (json!({"type": "dance"}), "unknown-type"),
        (json!({"type": "publish", "stream": "camera", "mid": "0"}), "unknown"),
        (json!({"type": "assigned", "slot": "9", "epoch": 1}), "unknown"),
        (json!({"type": "unpublish", "stream": "screen"}), "unknown"),
    ] {
        ana.send(message).await;
        assert_eq!(ana.expect("error").await["code"], code);
    }
    ana.hears_nothing().await;
}

#[tokio::test]
async fn the_same_identity_replaces_its_older_connection_even_in_a_full_call() {
    let running = start(Limits { participants: 2, ..Limits::default() }).await;
    let (ana, mut ben) = two(&running).await;
    let older = ana.id.clone();
    let mut again = Client::connect(&running).await;
    let joined = again.enter(&running, &Link::new(1), 1).await;
    assert_eq!(joined["participants"].as_array().unwrap().len(), 1);
    ana.ends_with("replaced", 1008).await;
    assert_eq!(ben.next().await, json!({"type": "left", "id": older}));
    assert_eq!(ben.next().await, json!({"type": "participant", "id": again.id}));

    let mut third = Client::connect(&running).await;
    let join = Link::new(1).join(&third.nonce, &running.host, &[3; 32]);
    third.send(join).await;
    third.ends_with("full", 1013).await;
    ben.hears_nothing().await;
}

#[tokio::test]
async fn a_call_that_the_media_plane_lost_ends_for_all_and_can_begin_again() {
    let running = start(Limits::default()).await;
    let (ana, ben) = two(&running).await;
    let events = running.notes.events.lock().unwrap()[0].clone();
    events.send(MediaEvent::Failed).await.unwrap();
    ana.ends_with("ended", 1001).await;
    ben.ends_with("ended", 1001).await;
    let again = Client::join(&running, &Link::new(1), 1).await;
    again.leave().await;
    running.until_empty().await;
    let reasons: Vec<_> = running.notes.rows.lock().unwrap().iter().map(|row| row.reason).collect();
    assert_eq!(reasons, [EndReason::Failed, EndReason::Completed]);
}

#[tokio::test]
async fn the_join_time_is_observed_once_for_each_participant() {
    let running = start(Limits::default()).await;
    let mut ana = Client::join(&running, &Link::new(1), 1).await;
    ana.offer(1, LINES).await;
    let key = running.notes.joined.lock().unwrap()[0];
    let events = running.notes.events.lock().unwrap()[0].clone();
    for _ in 0..3 {
        events.send(MediaEvent::Connected(key)).await.unwrap();
    }
    running.until("it is observed", |running| running.server.counters().join_time.count > 0).await;
    ana.leave().await;
    running.until_empty().await;
    assert_eq!(running.server.counters().join_time.count, 1);
}

#[tokio::test]
async fn twenty_joins_and_leaves_leave_nothing_behind() {
    let running = start(Limits::default()).await;
    for round in 0..20 {
        let (mut ana, mut ben) = two(&running).await;
        ana.offer(1, LINES).await;
        ana.send(json!({"type": "publish", "stream": "camera", "mid": "1"})).await;
        ben.expect("published").await;
        ben.send(json!({"type": "subscribe", "participant": ana.id, "stream": "camera", "height": 1})).await;
        ben.hears_nothing().await;
        let counters = running.server.counters();
        assert_eq!((counters.participants, counters.publications, counters.subscriptions), (2, 1, 1));
        if round % 2 == 0 {
            drop(ana); // without a word
        } else {
            ana.leave().await;
        }
        ben.expect("left").await;
        ben.leave().await;
        running.until_empty().await;
    }
    assert_eq!(running.notes.rows.lock().unwrap().len(), 20);
}
