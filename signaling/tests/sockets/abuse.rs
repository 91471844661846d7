//! Clients that send too much, read too little, or nonsense.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use sotto_signaling::limits::Limits;
use sotto_signaling::message::ErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, Link, Word};
use crate::fake::start;

#[tokio::test]
async fn a_flood_of_messages_ends_the_connection_that_sends_it() {
    let running = start(Limits::default()).await;
    let mut canary = Client::join(&running, &Link::new(1), 1).await;
    let mut flooder = Client::join(&running, &Link::new(1), 2).await;
    canary.expect("participant").await;
    for _ in 0..10_000 {
        if flooder.socket.send(Message::text(r#"{"type":"ping","t":1}"#)).await.is_err() {
            break;
        }
    }
    flooder.ends_with("too-fast", 1008).await;
    canary.expect("left").await;
    canary.hears_nothing().await;
}

#[tokio::test]
async fn a_flood_of_any_kind_costs_the_flooder_its_connection_and_the_others_no_time() {
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let mut canary = Client::join(&running, &link, 1).await;
    let forged = {
        let many: Vec<u8> = (0..128).collect();
        let mut word = link.word(Word { admitted: &many, removed: &many, ..Word::locked(9) });
        word["state"]["signature"] = json!(crate::client::encode(&[1; 64]));
        word // the most that can be asked to be verified
    };
    for flood in [
        json!({"type": "tunnel", "peer": canary.id}),
        json!({"type": "tunnel-end"}),
        json!({"type": "detach"}),
        json!({"type": "knock", "data": "x"}),
        link.word(Word { locked: false, ..Word::locked(3) }),
        forged,
    ] {
        let mut flooder = Client::join(&running, &link, 2).await;
        canary.expect("participant").await;
        let text = Message::text(flood.to_string());
        let began = Instant::now();
        while flooder.socket.send(text.clone()).await.is_ok() && began.elapsed() < Duration::from_secs(10) {}
        let asked = Instant::now();
        canary.send(json!({"type": "ping", "t": 7})).await;
        while canary.next().await["type"] != "pong" {}
        assert!(asked.elapsed() < Duration::from_secs(1), "{flood} holds up the call");
        running.until("the flooder is gone", |running| running.server.counters().participants == 1).await;
        canary.send(json!({"type": "ping", "t": 8})).await;
        while canary.next().await != json!({"type": "pong", "t": 8}) {}
    }
    let too_fast = running.server.counters().errors[ErrorCode::TooFast as usize];
    assert_eq!(too_fast, (ErrorCode::TooFast, 6));
}

#[tokio::test]
async fn who_does_not_read_is_closed_and_costs_the_others_nothing() {
    let limits = Limits {
        messages_per_second: 100_000,
        bytes_per_second: u32::MAX,
        queued_messages: 64,
        idle_timeout: Duration::from_secs(120),
        ..Limits::default()
    };
    let running = start(limits).await;
    let mut sender = Client::join(&running, &Link::new(1), 1).await;
    let mut sleeper = Client::connect_with(&running, Some(8 * 1024)).await;
    sleeper.enter(&running, &Link::new(1), 2).await;
    sender.expect("participant").await;
    let data = "x".repeat(16 * 1024);
    let relay = Message::text(json!({"type": "relay", "data": data}).to_string());
    let mut sent = 0;
    let left = loop {
        sender.socket.send(relay.clone()).await.unwrap();
        sent += 1;
        if let Ok(message) = tokio::time::timeout(Duration::from_millis(1), sender.next()).await {
            break message;
        }
        assert!(sent < 5_000, "80 MB wait for one client");
    };
    assert_eq!(left["type"], "left");
    sleeper.ends_with("too-slow", 1008).await;
    sender.hears_nothing().await;
}

#[tokio::test]
async fn messages_above_the_caps_end_the_connection() {
    let running = start(Limits::default()).await;
    for relay in [false, true] {
        let mut client = Client::join(&running, &Link::new(1), 1).await;
        let message = match relay {
            true => json!({"type": "relay", "data": "x".repeat(24 * 1024 + 1)}),
            false => json!({"type": "offer", "id": 1, "sdp": "x".repeat(300 * 1024)}),
        };
        // The server may close while the rest is under way.
        let _ = client.socket.send(Message::text(message.to_string())).await;
        client.ends_with("too-large", 1008).await;
    }
    running.until_empty().await;
}

#[tokio::test]
async fn what_is_not_a_message_ends_the_connection() {
    let running = start(Limits::default()).await;
    for nonsense in [Message::text("{"), Message::text("[1]"), Message::binary(vec![1, 2]), Message::text("")] {
        let mut before = Client::connect(&running).await;
        before.socket.send(nonsense.clone()).await.unwrap();
        before.ends_with("malformed", 1008).await;
        let mut inside = Client::join(&running, &Link::new(1), 1).await;
        inside.socket.send(nonsense).await.unwrap();
        inside.ends_with("malformed", 1008).await;
    }
    let mut early = Client::connect(&running).await;
    early.send(json!({"type": "relay", "data": "let me in"})).await;
    early.ends_with("malformed", 1008).await;
    running.until_empty().await;
}

#[tokio::test]
async fn no_error_repeats_what_was_sent() {
    let running = start(Limits::default()).await;
    let link = Link::new(1);
    let mut heard = Vec::new();
    let before: [fn(&mut serde_json::Value); 5] = [
        |join| join["type"] = json!("canary"),
        |join| join["call"] = json!("canary"),
        |join| join["identity"] = json!({"canary": "canary"}),
        |join| join["v"] = json!("canary"),
        |join| join["signature"] = json!("canarycanarycanary"),
    ];
    for change in before {
        let mut client = Client::connect(&running).await;
        let mut join = link.join(&client.nonce, &running.host, &[1; 32]);
        change(&mut join);
        client.send(join).await;
        heard.push(client.end().await.0.expect("a reason"));
    }
    let mut inside = Client::join(&running, &link, 1).await;
    for mendable in [
        json!({"type": "canary", "canary": "canary"}),
        json!({"type": "offer", "id": 1, "sdp": "v=0\r\no=canary\r\na=ice-ufrag:canary\r\n"}),
        json!({"type": "publish", "stream": "camera", "mid": "canary"}),
        json!({"type": "assigned", "slot": "canary", "epoch": 1}),
        json!({"type": "subscribe", "participant": "AAAAAAAAAAA", "stream": "camera", "canary": "canary"}),
        json!({"type": "tunnel", "peer": "AAAAAAAAAAA", "canary": "canary"}),
    ] {
        inside.send(mendable).await;
        heard.push(inside.expect("error").await.to_string());
    }
    for fatal in [
        json!({"type": "publish", "stream": "canary", "mid": "1"}),
        json!({"type": "tunnel", "peer": "canary"}),
        json!({"type": "host", "state": {"canary": "canary"}}),
        json!({"type": "host", "state": "canary"}),
        json!({"type": "knock", "data": "canary".repeat(500)}),
        json!({"type": "relay", "to": "canary", "data": "canary"}),
        json!({"type": "relay", "data": "canary".repeat(5_000)}),
    ] {
        let mut client = Client::join(&running, &link, 2).await;
        client.send(fatal).await;
        heard.push(client.end().await.0.expect("a reason"));
    }
    for text in heard {
        assert!(text.contains("\"error\"") && !text.to_lowercase().contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn a_silent_client_is_closed() {
    let limits = Limits { idle_timeout: Duration::from_millis(300), ..Limits::default() };
    let running = start(limits).await;
    let client = Client::join(&running, &Link::new(1), 1).await;
    client.ends_with("timeout", 1008).await;
}

#[tokio::test]
async fn half_open_connections_are_closed_in_time_and_joins_go_on() {
    let limits = Limits { header_timeout: Duration::from_secs(2), ..Limits::default() };
    let running = start(limits).await;
    let mut open = Vec::new();
    for n in 0..400 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        if n % 2 == 0 {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
        }
        open.push(stream);
    }
    let began = Instant::now();
    Client::join(&running, &Link::new(1), 1).await;
    assert!(began.elapsed() < Duration::from_secs(1), "a join waits for the half-open");
    for mut stream in open {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        closed.expect("closed in time").ok();
    }
    assert!(began.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn no_more_than_eight_kilobytes_of_a_header_are_read() {
    let running = start(Limits::default()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /v1/ws HTTP/1.1\r\nHost: sotto.example\r\nX: ").await.unwrap();
    let piece = vec![b'x'; 64 * 1024];
    let mut taken = 0;
    while taken < 20_000_000 && stream.write_all(&piece).await.is_ok() {
        taken += piece.len();
    }
    // What the kernel's buffers took before the reset came; the server itself stopped at 8 KiB.
    assert!(taken < 12_000_000, "{taken} bytes of a header were taken");
}

#[tokio::test]
async fn connections_and_sockets_are_capped() {
    let running = start(Limits { sockets: 1, ..Limits::default() }).await;
    let first = Client::connect(&running).await;
    let refused = crate::http::upgrade(&running, "sotto.v1", None).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    drop(first);
    running.until_empty().await;
    Client::connect(&running).await;
}
