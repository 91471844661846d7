//! The WebSocket to the relay's signaling (RFC 6455, subprotocol `sotto.v1`), with plain values on both sides.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sotto_signaling::message::{ClientMessage, ServerMessage};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

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
    /// Connections will run on `runtime` and go to `url`, a `ws:` address.
    pub fn new(runtime: Handle, url: &str) -> Self {
        Self { runtime, url: url.into(), rewrite: None }
    }

    /// Passes every answer through `rewrite`, which may so lead media another way.
    pub fn with_rewrite(mut self, rewrite: Rewrite) -> Self {
        self.rewrite = Some(rewrite);
        self
    }

    /// Opens a connection. `hear` is called, from a thread of the runtime, with all that comes; nothing after
    /// [`Event::Closed`].
    pub fn connect(&self, hear: impl FnMut(Event) + Send + 'static) -> Connection {
        connect(&self.runtime, &self.url, self.rewrite.clone(), hear)
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

fn connect(
    runtime: &Handle,
    url: &Arc<str>,
    rewrite: Option<Rewrite>,
    mut hear: impl FnMut(Event) + Send + 'static,
) -> Connection {
    let (say, said) = mpsc::unbounded_channel();
    let url = Arc::clone(url);
    let dropped = Arc::new(AtomicBool::new(false));
    let deaf = Arc::clone(&dropped);
    runtime.spawn(async move {
        let mut hear = |event| {
            if !deaf.load(Ordering::Relaxed) {
                hear(event);
            }
        };
        if let Some(closed) = run(&url, rewrite, said, &mut hear).await {
            hear(Event::Closed(closed));
        }
    });
    Connection { say, dropped }
}

/// Carries messages both ways until the end; `None` where that is ours.
async fn run(
    url: &str,
    rewrite: Option<Rewrite>,
    mut said: mpsc::UnboundedReceiver<ClientMessage>,
    hear: &mut impl FnMut(Event),
) -> Option<Closed> {
    let Ok(mut request) = url.into_client_request() else { return Some(Closed::Unreachable("its address is wrong")) };
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("sotto.v1"));
    let opening = timeout(OPENING, connect_async(request));
    let (socket, _) = match opening.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return Some(unopened(&error)),
        Err(_) => return Some(Closed::Unreachable("it does not answer")),
    };
    let (mut sink, mut stream) = socket.split();
    loop {
        tokio::select! {
            message = said.recv() => {
                let Some(message) = message else {
                    // The server answers in its time; nobody waits for it.
                    let _ = timeout(CLOSING, sink.close()).await;
                    return None;
                };
                let text = serde_json::to_string(&message).expect("messages have string keys and finite numbers");
                if sink.send(Message::text(text)).await.is_err() {
                    return Some(Closed::Broken);
                }
            }
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    // What is not of this protocol is nothing to act on, as for the page.
                    let Ok(message) = serde_json::from_str(&text) else { continue };
                    match rewritten(message, rewrite.as_ref()) {
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

fn rewritten(message: ServerMessage, rewrite: Option<&Rewrite>) -> Result<ServerMessage, String> {
    match (message, rewrite) {
        (ServerMessage::Answer { id, sdp }, Some(rewrite)) => Ok(ServerMessage::Answer { id, sdp: rewrite(&sdp)? }),
        (message, _) => Ok(message),
    }
}

fn unopened(error: &Error) -> Closed {
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => Closed::Refused,
        Error::Io(_) => Closed::Unreachable("the network says no"),
        Error::Http(_) => Closed::Unreachable("it answers, but not as a relay does; check the address"),
        Error::Tls(_) => Closed::Unreachable("its certificate is not accepted"),
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
