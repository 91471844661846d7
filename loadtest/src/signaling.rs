//! The WebSocket to the relay's signaling (RFC 6455, subprotocol `sotto.v1`), with plain values on both sides.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::{ClientConfig, RootCertStore};
use sotto_signaling::message::{ClientMessage, ServerMessage};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

/// What comes from a connection.
pub enum Event {
    /// A message of the server.
    Message(ServerMessage),
    /// The connection is over, or never was. The last of a connection.
    Closed(Closed),
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// Nothing listens at the relay's address.
    #[error("the relay refuses connections")]
    Refused,
    /// It could not be opened for another reason.
    #[error("the relay cannot be reached: {0}")]
    Unreachable(&'static str),
    /// The server closed it, with the code of RFC 6455, section 7.4; 1005 where it gave none.
    #[error("the relay closed the connection with code {0}")]
    ByServer(u16),
    /// It broke.
    #[error("the connection broke")]
    Broken,
    /// An answer could not be changed as it was to be.
    #[error("{0}")]
    Rewrite(String),
}

/// Opens connections for one participant.
#[derive(Clone)]
pub struct Connector {
    runtime: Handle,
    url: Arc<str>,
    /// For `wss:`.
    tls: Option<Arc<ClientConfig>>,
    rewrite: Option<Rewrite>,
}

/// Changes the SDP of an answer, or says in words for the report why it cannot.
pub type Rewrite = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// The near end of a connection. It closes when dropped, after what was said has been written; what comes after that
/// is heard by nobody.
pub struct Connection {
    say: mpsc::UnboundedSender<ClientMessage>,
    dropped: Arc<AtomicBool>,
}

impl Connector {
    /// Connections will run on `runtime` and go to `url`, of `ws:` or `wss:`. For the latter the certificates that this
    /// machine trusts are read now, which takes a while.
    pub fn new(runtime: Handle, url: &str) -> Self {
        let tls = url.starts_with("wss:").then(|| Arc::new(trusting_this_machine()));
        Self { runtime, url: url.into(), tls, rewrite: None }
    }

    /// Passes every answer through `rewrite`, which may so lead media another way.
    pub fn with_rewrite(mut self, rewrite: Rewrite) -> Self {
        self.rewrite = Some(rewrite);
        self
    }

    /// Opens a connection. `hear` is called, from a thread of the runtime, with all that comes; nothing after
    /// [`Event::Closed`].
    pub fn connect(&self, mut hear: impl FnMut(Event) + Send + 'static) -> Connection {
        let (say, said) = mpsc::unbounded_channel();
        let connector = self.clone();
        let dropped = Arc::new(AtomicBool::new(false));
        let deaf = Arc::clone(&dropped);
        self.runtime.spawn(async move {
            let mut hear = |event| {
                if !deaf.load(Ordering::Relaxed) {
                    hear(event);
                }
            };
            if let Some(closed) = connector.run(said, &mut hear).await {
                hear(Event::Closed(closed));
            }
        });
        Connection { say, dropped }
    }

    /// Carries messages both ways until the end; `None` where that is ours.
    async fn run(
        &self,
        mut said: mpsc::UnboundedReceiver<ClientMessage>,
        hear: &mut impl FnMut(Event),
    ) -> Option<Closed> {
        let mut socket = match self.open().await {
            Ok(socket) => socket,
            Err(closed) => return Some(closed),
        };
        loop {
            tokio::select! {
                message = said.recv() => {
                    let Some(message) = message else {
                        // The server answers in its time; nobody waits for it.
                        let _ = timeout(CLOSING, socket.close(None)).await;
                        return None;
                    };
                    let text = serde_json::to_string(&message).expect("messages have string keys and finite numbers");
                    if socket.send(Message::text(text)).await.is_err() {
                        return Some(Closed::Broken);
                    }
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        // What is not of this protocol is nothing to act on, as for the page.
                        let Ok(message) = serde_json::from_str(&text) else { continue };
                        match self.rewritten(message) {
                            Ok(message) => hear(Event::Message(message)),
                            Err(reason) => return Some(Closed::Rewrite(reason)),
                        }
                    }
                    Some(Ok(Message::Close(frame))) => {
                        return Some(Closed::ByServer(frame.map_or(NO_CODE, |frame| frame.code.into())));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Some(Closed::Broken),
                },
            }
        }
    }

    async fn open(&self) -> Result<Socket, Closed> {
        let Ok(mut request) = self.url.into_client_request() else {
            return Err(Closed::Unreachable("its address is wrong"));
        };
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("sotto.v1"));
        let tls = self.tls.clone().map_or(tokio_tungstenite::Connector::Plain, tokio_tungstenite::Connector::Rustls);
        match timeout(OPENING, connect_async_tls_with_config(request, None, true, Some(tls))).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error)) => Err(unopened(&error)),
            Err(_) => Err(Closed::Unreachable("it does not answer")),
        }
    }

    fn rewritten(&self, message: ServerMessage) -> Result<ServerMessage, String> {
        match (message, &self.rewrite) {
            (ServerMessage::Answer { id, sdp }, Some(rewrite)) => Ok(ServerMessage::Answer { id, sdp: rewrite(&sdp)? }),
            (message, _) => Ok(message),
        }
    }
}

impl Connection {
    /// Sends a message; into the void once the connection is over.
    pub fn say(&self, message: ClientMessage) {
        let _ = self.say.send(message);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector(..)")
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A client that trusts whom this machine trusts.
fn trusting_this_machine() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    // What cannot be read is not trusted: a certificate that hangs on it is then refused, with that as the reason.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("the provider has the suites of both versions");
    builder.with_root_certificates(roots).with_no_client_auth()
}

fn unopened(error: &Error) -> Closed {
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => Closed::Refused,
        Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            Closed::Unreachable("its certificate is not one that this machine trusts")
        }
        Error::Io(_) => Closed::Unreachable("the network says no"),
        Error::Http(_) => Closed::Unreachable("it answers, but not as a relay does; check the address"),
        Error::Tls(_) => Closed::Unreachable("it does not speak TLS; check the address"),
        _ => Closed::Unreachable("it does not speak WebSocket; check the address"),
    }
}

/// Longer than a handshake through the worst network profile takes.
const OPENING: Duration = Duration::from_secs(8);

/// What a busy relay may take to read the last words.
const CLOSING: Duration = Duration::from_secs(2);

/// "No status received" (RFC 6455, section 7.4.1).
const NO_CODE: u16 = 1005;

#[cfg(test)]
mod tests;
