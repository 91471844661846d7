//! A client written from PROTOCOL.md, on JSON alone, so that it shares no types with the server.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::fake::Running;

/// What a link's holder knows.
pub struct Link {
    key: Ed25519KeyPair,
    host_key: Ed25519KeyPair,
    host: [u8; 16],
}

/// What a host may say. Its lists are of the seeds of participants.
pub struct Word<'a> {
    pub host: u8,
    pub counter: u64,
    pub locked: bool,
    pub admitted: &'a [u8],
    pub removed: &'a [u8],
}

impl Word<'_> {
    pub fn locked(counter: u64) -> Self {
        Word { host: 1, counter, locked: true, admitted: &[], removed: &[] }
    }
}

pub struct Client {
    pub socket: WebSocketStream<TcpStream>,
    pub nonce: Vec<u8>,
    pub id: String,
}

impl Link {
    pub fn new(seed: u8) -> Self {
        let host_key = key(&[seed ^ 0xff; 32]);
        let host = digest(&SHA256, host_key.public_key().as_ref()).as_ref()[..16].try_into().unwrap();
        Self { key: key(&[seed; 32]), host_key, host }
    }

    pub fn call(&self) -> Vec<u8> {
        let hash = digest(&SHA256, &fields(&[b"sotto/1 call", self.key.public_key().as_ref(), &self.host]));
        hash.as_ref()[..16].to_vec()
    }

    /// Joins with the identity that has this seed.
    pub fn join(&self, nonce: &[u8], host_name: &str, seed: &[u8; 32]) -> Value {
        let (call, own) = (self.call(), key(seed));
        let (admission, identity) = (self.key.public_key().as_ref(), own.public_key().as_ref());
        let proven = fields(&[b"sotto/1 proof", &[0], &call, nonce, host_name.as_bytes(), admission]);
        json!({
            "type": "join", "v": 1, "call": encode(&call), "admission": encode(admission),
            "host": encode(&self.host), "identity": encode(identity),
            "signature": self.signature(nonce, host_name, identity),
            "proof": encode(own.sign(&proven).as_ref()),
        })
    }

    /// The `host` message in which this link's host says so.
    pub fn word(&self, word: Word<'_>) -> Value {
        self.word_for(&self.call(), word)
    }

    pub fn word_for(&self, call: &[u8], word: Word<'_>) -> Value {
        let identities = |seeds: &[u8]| {
            let mut list: Vec<[u8; 32]> = seeds.iter().map(|seed| identity(*seed)).collect();
            list.sort();
            list
        };
        let (host, admitted, removed) = (identity(word.host), identities(word.admitted), identities(word.removed));
        let (counter, locked) = (word.counter.to_be_bytes(), [u8::from(word.locked)]);
        let lists = [admitted.concat(), removed.concat()];
        let covered = [b"sotto/1 host-state", &[0][..], call, &host, &counter, &locked, &lists[0], &lists[1]];
        let texts = |list: &[[u8; 32]]| list.iter().map(|identity| encode(identity)).collect::<Vec<_>>();
        json!({"type": "host", "state": {
            "key": encode(self.host_key.public_key().as_ref()), "host": encode(&host), "counter": word.counter,
            "locked": word.locked, "admitted": texts(&admitted), "removed": texts(&removed),
            "signature": encode(self.host_key.sign(&fields(&covered)).as_ref()),
        }})
    }

    /// That of the link, which any of its holders can make for any identity.
    pub fn signature(&self, nonce: &[u8], host_name: &str, identity: &[u8]) -> String {
        let signed = fields(&[b"sotto/1 join", &[0], &self.call(), nonce, host_name.as_bytes(), identity]);
        encode(self.key.sign(&signed).as_ref())
    }
}

impl Client {
    pub async fn connect(running: &Running) -> Self {
        Self::connect_with(running, None).await
    }

    /// With a receive buffer of so many bytes, for a client that is to fall behind.
    pub async fn connect_with(running: &Running, buffer: Option<u32>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(buffer) = buffer {
            socket.set_recv_buffer_size(buffer).unwrap();
        }
        let stream = socket.connect(running.address).await.unwrap();
        let mut request = format!("ws://{}/v1/ws", running.host).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "sotto.v1".parse().unwrap());
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let mut client = Self { socket, nonce: Vec::new(), id: String::new() };
        let welcome = client.next().await;
        assert_eq!((&welcome["type"], &welcome["v"]), (&json!("welcome"), &json!(1)));
        client.nonce = URL_SAFE_NO_PAD.decode(welcome["nonce"].as_str().unwrap()).unwrap();
        client
    }

    /// In the call, with `slots` heard.
    pub async fn join(running: &Running, link: &Link, identity: u8) -> Self {
        let mut client = Self::connect(running).await;
        client.enter(running, link, identity).await;
        client
    }

    pub async fn enter(&mut self, running: &Running, link: &Link, identity: u8) -> Value {
        let join = link.join(&self.nonce, &running.host, &[identity; 32]);
        self.send(join).await;
        let joined = self.expect("joined").await;
        self.id = joined["participant"].as_str().unwrap().to_owned();
        self.expect("slots").await;
        joined
    }

    pub async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    pub async fn next(&mut self) -> Value {
        let wait = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                match self.socket.next().await.expect("a message before the end").unwrap() {
                    Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                    Message::Ping(_) | Message::Pong(_) => {}
                    other => panic!("not a message: {other:?}"),
                }
            }
        });
        wait.await.expect("a message within ten seconds")
    }

    pub async fn expect(&mut self, kind: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// Everything up to the close frame: the last message, the code and the reason.
    pub async fn end(mut self) -> (Option<String>, u16, String) {
        let mut last = None;
        let wait = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => last = Some(text.to_string()),
                    Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
                    Some(Ok(_)) => {}
                    Some(Err(Error::ConnectionClosed)) | None => panic!("closed without a word"),
                    Some(Err(error)) => panic!("cut: {error}"),
                }
            }
        });
        let (code, reason) = wait.await.expect("the end within ten seconds");
        (last, code, reason)
    }

    /// Ends with this error.
    pub async fn ends_with(self, expected: &str, expected_code: u16) {
        let (last, code, reason) = self.end().await;
        let last: Value = serde_json::from_str(&last.expect("an error before the end")).unwrap();
        assert_eq!((&last["type"], &last["code"], &last["fatal"]), (&json!("error"), &json!(expected), &json!(true)));
        assert_eq!((code, reason.as_str()), (expected_code, expected));
    }

    /// Hears nothing but the answer to its own ping: all that was for it has come.
    pub async fn hears_nothing(&mut self) {
        self.send(json!({"type": "ping", "t": 41})).await;
        assert_eq!(self.next().await, json!({"type": "pong", "t": 41}));
    }

    pub async fn offer(&mut self, id: u64, lines: &str) {
        self.send(json!({"type": "offer", "id": id, "sdp": lines})).await;
        assert_eq!(self.next().await, json!({"type": "answer", "id": id, "sdp": lines}));
    }

    pub async fn leave(mut self) {
        self.send(json!({"type": "leave"})).await;
        let (_, code, reason) = self.end().await;
        assert_eq!((code, reason.as_str()), (1000, "left"));
    }
}

fn key(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).unwrap()
}

/// The public key of the participant that joins with this seed.
pub fn identity(seed: u8) -> [u8; 32] {
    key(&[seed; 32]).public_key().as_ref().try_into().unwrap()
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn fields(fields: &[&[u8]]) -> Vec<u8> {
    fields.iter().flat_map(|field| [&(field.len() as u16).to_be_bytes()[..], field].concat()).collect()
}
