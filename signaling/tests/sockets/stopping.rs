//! Draining: nothing begins, what runs is told, and at the deadline everything ends with its row written.

use std::time::Duration;

use serde_json::json;
use sotto_signaling::call_log::EndReason;
use sotto_signaling::limits::Limits;
use tokio::time::Instant;

use crate::client::{Client, Link};
use crate::fake::start;

#[tokio::test]
async fn a_drain_tells_running_calls_refuses_new_ones_and_ends_at_its_deadline() {
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let mut ana = Client::join(&running, &link, 1).await;
    let server = running.server.clone();
    let began = Instant::now();
    let drain = tokio::spawn(async move { server.drain(1).await });
    assert_eq!(ana.next().await, json!({"type": "closing", "reason": "draining", "seconds": 1}));

    let mut new = Client::connect(&running).await;
    let join = Link::new(2).join(&new.nonce, &running.host, &[1; 32]);
    new.send(join).await;
    new.ends_with("unavailable", 1013).await;
    let mut late = Client::connect(&running).await;
    late.enter(&running, &link, 2).await; // a running call takes its people, who may be reconnecting
    assert_eq!(late.expect("closing").await["seconds"], 1);
    ana.expect("participant").await;
    ana.hears_nothing().await;

    ana.ends_with("ended", 1001).await;
    late.ends_with("ended", 1001).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    drain.await.unwrap();
    running.until_empty().await;
    let rows = running.notes.rows.lock().unwrap().clone();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].peak_participants, rows[0].reason), (2, EndReason::Drained));
    assert!(crate::http::upgrade(&running, "sotto.v1", None).await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn a_drain_ends_as_soon_as_the_last_call_does() {
    let running = start(Limits::default()).await;
    let mut ana = Client::join(&running, &Link::new(1), 1).await;
    let server = running.server.clone();
    let began = Instant::now();
    let drain = tokio::spawn(async move { server.drain(60).await });
    ana.expect("closing").await;
    ana.leave().await;
    drain.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(running.notes.rows.lock().unwrap()[0].reason, EndReason::Completed);
}

#[tokio::test]
async fn a_client_that_never_joined_is_told_when_the_server_stops() {
    let running = start(Limits::default()).await;
    let waiting = Client::connect(&running).await;
    let server = running.server.clone();
    tokio::spawn(async move { server.drain(0).await });
    waiting.ends_with("unavailable", 1013).await;
}
