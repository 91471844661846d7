//! What the server says over plain HTTP.

use std::time::Duration;

use sotto_signaling::counters::HttpRefusal;
use sotto_signaling::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fake::{Running, start};

async fn exchange(running: &Running, request: String) -> String {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn request(running: &Running, method: &str, path: &str, headers: &str) -> String {
    let host = &running.host;
    exchange(running, format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n")).await
}

/// Asks for a WebSocket; answers what came instead.
pub async fn upgrade(running: &Running, protocol: &str, origin: Option<&str>) -> String {
    let origin = origin.map_or_else(String::new, |origin| format!("Origin: {origin}\r\n"));
    let host = &running.host;
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: {protocol}\r\n{origin}\r\n"
    );
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_the_page() {
    let running = start(Limits::default()).await;
    let answers = [
        ("200", request(&running, "GET", "/", "").await),
        ("200", request(&running, "GET", "/c", "").await),
        ("200", request(&running, "GET", "/transparency", "").await),
        ("200", request(&running, "GET", "/transparency", "Accept: text/html\r\n").await),
        ("200", request(&running, "GET", "/transparency.json", "").await),
        ("404", request(&running, "GET", "/page/no-such-file.js", "").await),
        ("404", request(&running, "GET", "/../Cargo.toml", "").await),
        ("404", request(&running, "GET", "/healthz", "").await),
        ("405", request(&running, "POST", "/", "Content-Length: 0\r\n").await),
        ("400", request(&running, "GET", "/v1/ws", "").await),
    ];
    for (status, answer) in &answers {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self';",
            "cross-origin-opener-policy: same-origin\r\n",
            "cross-origin-embedder-policy: require-corp\r\n",
            "cross-origin-resource-policy: same-origin\r\n",
            "referrer-policy: no-referrer\r\n",
            "permissions-policy: camera=(self)",
            "x-content-type-options: nosniff\r\n",
        ] {
            assert!(answer.contains(header), "{status} lacks {header}");
        }
        assert!(!answer.contains("unsafe-"));
    }
    let shared = request(&running, "GET", "/sdk/no-such-file.js", "").await;
    assert!(shared.contains("cross-origin-resource-policy: cross-origin\r\n"));
    assert!(shared.contains("access-control-allow-origin: *\r\n"));
}

#[tokio::test]
async fn everything_that_the_page_refers_to_is_served() {
    let running = start(Limits::default()).await;
    let page = request(&running, "GET", "/", "").await;
    let references = page.split("href=\"").chain(page.split("src=\"")).filter_map(|rest| rest.split('"').next());
    let files = references.filter(|path| path.starts_with('/') && path.contains('.'));
    let mut seen = 0;
    for file in files {
        let file = file.split('#').next().unwrap();
        let answer = request(&running, "GET", file, "").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{file}: {answer}");
        seen += 1;
    }
    assert!(seen > 0, "the page refers to nothing");
}

#[tokio::test]
async fn a_refusal_does_not_repeat_the_request() {
    let running = start(Limits::default()).await;
    for method in ["GET", "DELETE", "CANARY"] {
        let answer = request(&running, method, "/page/canary?canary=canary", "X-Canary: canary\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(!answer.to_lowercase().contains("canary"), "{answer}");
    }
    let refused = running.server.counters().http_refusals[HttpRefusal::NotFound as usize];
    assert_eq!(refused, (HttpRefusal::NotFound, 3));
}

#[tokio::test]
async fn no_refusal_whatever_its_reason_repeats_the_request() {
    let running = start(Limits { connections: 64, ..Limits::default() }).await;
    let tiny = start(Limits { sockets: 0, ..Limits::default() }).await;
    let headers = "X-Canary: canary\r\nCookie: canary\r\nUser-Agent: canary\r\n";
    let ask = |method: &'static str, path: &'static str, more: &'static str| {
        let headers = format!("{headers}{more}");
        let running = &running;
        async move { request(running, method, path, &headers).await }
    };
    let answers = [
        ("404", ask("GET", "/canary/%63anary?canary=1", "").await),
        ("404", ask("GET", "/sdk/canary.js?canary", "Accept: canary\r\n").await),
        ("405", ask("PUT", "/?canary", "Content-Length: 6\r\n").await),
        ("405", ask("CANARY", "/transparency?canary", "").await),
        ("405", ask("POST", "/transparency.json?canary", "Content-Length: 0\r\n").await),
        ("400", ask("GET", "/v1/ws?canary", "").await),
        ("400", upgrade(&running, "canary", None).await),
        ("403", upgrade(&running, "sotto.v1", Some("https://canary.example")).await),
        ("503", upgrade(&tiny, "sotto.v1", None).await),
        ("400", exchange(&running, "canary canary canary\r\n\r\n".to_owned()).await),
        ("400", exchange(&running, "GET /canary HTTP/1.1\r\ncanary\x01: canary\r\n\r\n".to_owned()).await),
        ("431", exchange(&running, format!("GET /canary HTTP/1.1\r\nX: {}\r\n\r\n", "canary".repeat(2_000))).await),
    ];
    for (status, answer) in answers {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        let answer = answer.to_lowercase();
        assert!(!answer.contains("canary") && !answer.contains("63anary"), "{answer}");
    }
}

#[tokio::test]
async fn an_unchanged_page_is_not_sent_twice() {
    let running = start(Limits::default()).await;
    let first = request(&running, "GET", "/", "").await;
    let tag = first.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag");
    assert!(first.contains("cache-control: no-cache\r\n") && first.contains("content-type: text/html"));
    let again = request(&running, "GET", "/c", &format!("If-None-Match: {tag}\r\n")).await;
    assert!(again.starts_with("HTTP/1.1 304"), "{again}");
    let other = request(&running, "GET", "/", "If-None-Match: \"other\"\r\n").await;
    assert!(other.starts_with("HTTP/1.1 200"), "{other}");
}

#[tokio::test]
async fn only_pages_of_our_hosts_may_open_a_websocket() {
    let running = start(Limits::default()).await;
    let ours = format!("http://{}", running.host);
    for (origin, status) in [
        (None, "101"),
        (Some(ours.as_str()), "101"),
        (Some("https://Sotto.Example"), "101"),
        (Some("https://evil.example"), "403"),
        (Some("https://sotto.example.evil.example"), "403"),
        (Some("https://sotto.example:444"), "403"),
        (Some("null"), "403"),
    ] {
        let answer = upgrade(&running, "sotto.v1", origin).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{origin:?}: {answer}");
    }
    assert!(upgrade(&running, "sotto.v2", None).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn programs_get_what_the_call_log_says_and_browsers_the_page_that_shows_it() {
    let running = start(Limits::default()).await;
    for (path, accept) in [
        ("/transparency", ""),
        ("/transparency", "Accept: */*\r\n"),
        ("/transparency", "Accept: application/json, text/htmlx\r\n"),
        ("/transparency.json", "Accept: text/html\r\n"),
    ] {
        let answer = request(&running, "GET", path, accept).await;
        assert!(answer.contains("content-type: application/json") && answer.contains("cache-control: no-store"));
        assert!(answer.ends_with("{\"rows\":0}"), "{path} {accept}: {answer}");
    }
    let browser = "Accept: text/plain;q=0.1, Text/HTML;q=0.9\r\n";
    let page = request(&running, "GET", "/transparency", browser).await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("vary: accept\r\n"), "{page}");
    assert!(page.contains("content-type: text/html") && page.contains("cache-control: no-cache"), "{page}");
}
