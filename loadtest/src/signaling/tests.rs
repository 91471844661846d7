use futures_util::{SinkExt, StreamExt};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;

/// A server for one connection, and what the client hears of it.
struct Line {
    server: WebSocketStream<TcpStream>,
    connection: Connection,
    heard: mpsc::UnboundedReceiver<Event>,
}

impl Line {
    async fn open(rewrite: Option<Rewrite>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut connector = Connector::new(Handle::current(), &url(&listener));
        connector.rewrite = rewrite;
        let (hear, heard) = mpsc::unbounded_channel();
        let connection = connector.connect(move |event| drop(hear.send(event)));
        let (stream, _) = listener.accept().await.unwrap();
        let server = tokio_tungstenite::accept_hdr_async(stream, agree).await.unwrap();
        Self { server, connection, heard }
    }

    async fn closed(&mut self) -> Closed {
        match self.heard.recv().await {
            Some(Event::Closed(closed)) => closed,
            _ => panic!("the connection is over"),
        }
    }
}

/// Takes the subprotocol, which must be ours.
#[allow(clippy::result_large_err, reason = "the crate's callback has this form")]
fn agree(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let protocol = request.headers()["sec-websocket-protocol"].clone();
    assert_eq!(protocol, "sotto.v1");
    response.headers_mut().insert("sec-websocket-protocol", protocol);
    Ok(response)
}

fn url(listener: &TcpListener) -> String {
    format!("ws://{}/v1/ws", listener.local_addr().unwrap())
}

fn answer(sdp: &str) -> Message {
    Message::text(serde_json::to_string(&ServerMessage::Answer { id: 1, sdp: sdp.into() }).unwrap())
}

#[tokio::test]
async fn messages_pass_both_ways_and_what_is_of_no_protocol_is_passed_over() {
    let mut line = Line::open(None).await;
    for text in ["no JSON", r#"{"type":"of another version"}"#, r#"{"type":"pong","t":7}"#] {
        line.server.send(Message::text(text)).await.unwrap();
    }
    assert!(matches!(line.heard.recv().await, Some(Event::Message(ServerMessage::Pong { t: Some(_) }))));
    line.connection.say(ClientMessage::Ping { t: Some(7.into()) });
    assert_eq!(line.server.next().await.unwrap().unwrap(), Message::text(r#"{"type":"ping","t":7}"#));
}

#[tokio::test]
async fn the_last_words_of_a_dropped_connection_are_said_and_nothing_is_heard_after() {
    let mut line = Line::open(None).await;
    line.connection.say(ClientMessage::Leave);
    drop(line.connection);
    assert_eq!(line.server.next().await.unwrap().unwrap(), Message::text(r#"{"type":"leave"}"#));
    assert!(matches!(line.server.next().await, Some(Ok(Message::Close(_)))));
    assert!(line.heard.recv().await.is_none());
}

#[tokio::test]
async fn the_code_with_which_the_server_closes_is_told() {
    let mut line = Line::open(None).await;
    let frame = CloseFrame { code: 1013.into(), reason: "full".into() };
    line.server.close(Some(frame)).await.unwrap();
    assert_eq!(line.closed().await, Closed::ByServer(1013));
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_as_that() {
    let mut line = Line::open(None).await;
    line.server.get_mut().set_zero_linger().unwrap();
    drop(std::mem::replace(&mut line.server, unconnected().await));
    assert_eq!(line.closed().await, Closed::Broken);
}

#[tokio::test]
async fn who_refuses_and_who_is_no_relay_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connector = Connector::new(Handle::current(), &url(&listener));
    drop(listener);
    assert_eq!(reached(&connector).await, Closed::Refused);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connector = Connector::new(Handle::current(), &url(&listener));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await
    });
    assert!(matches!(reached(&connector).await, Closed::Unreachable(_)));
    server.await.unwrap().unwrap();
    assert!(matches!(reached(&Connector::new(Handle::current(), "nonsense")).await, Closed::Unreachable(_)));
}

#[tokio::test]
async fn answers_are_changed_on_their_way_or_end_the_connection() {
    let rewrite: Rewrite = Arc::new(|sdp| sdp.strip_prefix("v=0").map(|rest| format!("v=1{rest}")).ok_or("no".into()));
    let mut line = Line::open(Some(rewrite)).await;
    line.server.send(answer("v=0\r\n")).await.unwrap();
    assert!(matches!(
        line.heard.recv().await,
        Some(Event::Message(ServerMessage::Answer { sdp, .. })) if sdp == "v=1\r\n"
    ));
    line.server.send(answer("")).await.unwrap();
    assert_eq!(line.closed().await, Closed::Rewrite("no".into()));
}

async fn reached(connector: &Connector) -> Closed {
    let (hear, mut heard) = mpsc::unbounded_channel();
    let _connection = connector.connect(move |event| drop(hear.send(event)));
    match heard.recv().await {
        Some(Event::Closed(closed)) => closed,
        _ => panic!("nothing was opened"),
    }
}

/// A socket to put in the place of one that is dropped.
async fn unconnected() -> WebSocketStream<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    WebSocketStream::from_raw_socket(stream, tokio_tungstenite::tungstenite::protocol::Role::Server, None).await
}

#[tokio::test]
async fn a_certificate_must_be_one_that_is_trusted() {
    let (certificate, server) = certified();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}/v1/ws", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(server));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let mut socket = tokio_tungstenite::accept_hdr_async(stream, agree).await.unwrap();
            socket.send(Message::text(r#"{"type":"pong","t":1}"#)).await.unwrap();
        }
    });
    let mut connector = Connector::new(Handle::current(), &url);
    assert_eq!(reached(&connector).await, Closed::Unreachable("its certificate is not one that this machine trusts"));
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let trusting = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    connector.tls = Some(Arc::new(trusting.with_root_certificates(roots).with_no_client_auth()));
    let (hear, mut heard) = mpsc::unbounded_channel();
    let _connection = connector.connect(move |event| drop(hear.send(event)));
    assert!(matches!(heard.recv().await, Some(Event::Message(ServerMessage::Pong { .. }))));
}

/// A certificate for `localhost` that nobody trusts yet, and a server that has it.
fn certified() -> (CertificateDer<'static>, ServerConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (certificate.clone(), server.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
}
