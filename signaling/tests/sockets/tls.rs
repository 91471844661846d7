//! The same server behind TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sotto_signaling::counters::HttpRefusal;
use sotto_signaling::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::fake::start_with;

/// A server's configuration with a certificate of its own, and a client's that trusts it.
fn configurations() -> (ServerConfig, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["sotto.example".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let server = server.unwrap().with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (server, client.with_root_certificates(roots).with_no_client_auth())
}

#[tokio::test]
async fn the_page_is_served_behind_tls_and_silent_handshakes_are_closed() {
    let (server, client) = configurations();
    let limits = Limits { header_timeout: Duration::from_secs(1), ..Limits::default() };
    let running = start_with(limits, Some(Arc::new(server))).await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();

    let stream = TcpStream::connect(running.address).await.unwrap();
    let name = "sotto.example".try_into().unwrap();
    let mut secure = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
    secure.write_all(b"GET / HTTP/1.1\r\nHost: sotto.example\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    secure.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));

    let mut nothing = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(5), silent.read_to_end(&mut nothing)).await;
    assert_eq!(closed.expect("closed in time").unwrap(), 0);
    running
        .until("both are counted", |running| {
            running.server.counters().http_refusals[HttpRefusal::Tls as usize] == (HttpRefusal::Tls, 2)
        })
        .await;
}
