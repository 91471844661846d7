//! Who is let in, and what the others learn: nothing.

use std::time::Duration;

use serde_json::{Value, json};
use sotto_signaling::counters::JoinOutcome;
use sotto_signaling::limits::Limits;
use tokio::time::Instant;

use crate::client::{Client, Link, encode, identity};
use crate::fake::{Running, start};

async fn answer_to(running: &Running, make: impl Fn(&[u8]) -> Value) -> (Option<String>, u16, String) {
    let mut client = Client::connect(running).await;
    let join = make(&client.nonce);
    client.send(join).await;
    client.end().await
}

#[tokio::test]
async fn every_refusal_is_the_same_answer() {
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let mut inside_already = Client::join(&running, &link, 1).await;
    let old = Client::connect(&running).await;
    let join = |nonce: &[u8]| link.join(nonce, &running.host, &[2; 32]);
    let changed = |field: &'static str, value: String| {
        move |nonce: &[u8]| {
            let mut changed = join(nonce);
            changed[field] = json!(value);
            changed
        }
    };
    let mut answers = vec![
        answer_to(&running, |_| join(&old.nonce)).await,
        answer_to(&running, |nonce| link.join(nonce, "other.example", &[2; 32])).await,
        answer_to(&running, changed("call", encode(&Link::new(2).call()))).await,
        answer_to(&running, changed("identity", encode(&[3; 32]))).await,
        answer_to(&running, changed("signature", encode(&[0; 64]))).await,
        answer_to(&running, changed("proof", encode(&[0; 64]))).await,
        answer_to(&running, changed("admission", encode(&[0xff; 32]))).await,
        answer_to(&running, changed("host", encode(&[0; 16]))).await,
    ];
    let forged = Link::new(3);
    answers.push(
        answer_to(&running, |nonce| {
            let mut forged = forged.join(nonce, &running.host, &[2; 32]);
            forged["call"] = json!(encode(&link.call())); // a call that runs
            forged
        })
        .await,
    );
    let inside = identity(1);
    answers.push(
        answer_to(&running, |nonce| {
            let mut as_another = join(nonce);
            as_another["identity"] = json!(encode(&inside)); // of one who would be replaced
            as_another["signature"] = json!(link.signature(nonce, &running.host, &inside));
            as_another
        })
        .await,
    );
    assert!(answers[0].0.as_ref().is_some_and(|text| text.contains("\"refused\"")));
    assert_eq!(answers[0].1, 1008);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    inside_already.hears_nothing().await;
    assert_eq!(running.server.counters().participants, 1);
    let refused = running.server.counters().joins[JoinOutcome::Refused as usize];
    assert_eq!(refused, (JoinOutcome::Refused, answers.len() as u64));
}

#[tokio::test]
async fn a_nonce_is_good_for_one_attempt() {
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let mut client = Client::connect(&running).await;
    let wrong = link.join(&[0; 32], &running.host, &[1; 32]);
    let right = link.join(&client.nonce, &running.host, &[1; 32]);
    client.send(wrong).await;
    client.send(right).await;
    client.ends_with("refused", 1008).await;
    assert_eq!(running.server.counters().participants, 0);
}

#[tokio::test]
async fn running_calls_cannot_be_told_from_others_by_answer_or_time() {
    const TRIES: u32 = 1_000;
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let _inside = Client::join(&running, &link, 1).await;
    let mut times = [Vec::new(), Vec::new()];
    let mut answers = Vec::new();
    for n in 0..TRIES {
        let exists = n % 2 == 0;
        let mut client = Client::connect(&running).await;
        let mut join = Link::new(9).join(&client.nonce, &running.host, &[2; 32]);
        let random = [&n.to_be_bytes()[..], &[0xab; 12]].concat();
        join["call"] = json!(if exists { encode(&link.call()) } else { encode(&random) });
        let sent = Instant::now();
        client.send(join).await;
        answers.push(client.end().await);
        times[usize::from(exists)].push(sent.elapsed());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let [absent, running_call] = times.map(median);
    let apart = absent.abs_diff(running_call);
    // Half of one signature check in this build: a lookup that came first would save a whole one.
    assert!(apart < Duration::from_micros(150), "{absent:?} and {running_call:?}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn who_does_not_join_in_time_is_closed() {
    let running = start(Limits { join_timeout: Duration::from_millis(300), ..Limits::default() }).await;
    Client::connect(&running).await.ends_with("timeout", 1008).await;
}

#[tokio::test]
async fn another_version_is_told() {
    let running = start(Limits::default()).await;
    let mut client = Client::connect(&running).await;
    let mut join = Link::new(1).join(&client.nonce, &running.host, &[1; 32]);
    join["v"] = json!(2);
    client.send(join).await;
    client.ends_with("version", 1008).await;
}

#[tokio::test]
async fn the_relay_holds_as_many_calls_as_it_may() {
    let running = start(Limits { calls: 1, ..Limits::default() }).await;
    let first = Client::join(&running, &Link::new(1), 1).await;
    let mut second = Client::connect(&running).await;
    let join = Link::new(2).join(&second.nonce, &running.host, &[1; 32]);
    second.send(join).await;
    second.ends_with("full", 1013).await;
    first.leave().await;
    running.until_empty().await;
    Client::join(&running, &Link::new(2), 1).await;
}
