//! What a request meets: the page, the WebSocket, the transparency page; and how the server is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use crate::call_log::{CallLog, TransparencyError};
use crate::counters::{Counters, HttpRefusal, SignalingCounters};
use crate::directory::Directory;
use crate::limits::Limits;
use crate::media::Media;
use crate::pages;
use crate::session::Session;

/// What the server is built upon.
pub struct Services {
    /// Where calls are carried.
    pub media: Arc<dyn Media>,
    /// Where finished calls are counted.
    pub call_log: Arc<dyn CallLog>,
    /// The names under which the page is opened, as in `location.host`: `calls.example.org`, `127.0.0.1:8080`.
    pub hosts: Vec<String>,
    /// Every cap.
    pub limits: Limits,
}

/// The signaling server. Clones are the same server.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

/// What requests, sessions and calls share.
pub(crate) struct Shared {
    pub(crate) media: Arc<dyn Media>,
    pub(crate) call_log: Arc<dyn CallLog>,
    pub(crate) hosts: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    pub(crate) directory: Directory,
    pub(crate) phase: watch::Sender<Phase>,
    transparency: Mutex<Option<(Instant, String)>>,
}

/// How far the server's life has gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Calls begin and end.
    Open,
    /// None begins; those that run are told how long they have.
    Draining { seconds: u32 },
    /// Everything ends.
    Over,
}

impl Server {
    /// A server without a listener.
    pub fn new(services: Services) -> Self {
        let Services { media, call_log, hosts, limits } = services;
        let shared = Shared {
            media,
            call_log,
            // Browsers write `location.host` in lower case.
            hosts: hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect(),
            limits,
            counters: Counters::default(),
            directory: Directory::default(),
            phase: watch::Sender::new(Phase::Open),
            transparency: Mutex::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Every route. [`crate::listener::serve`] serves it with the limits that a router cannot enforce.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(index))
            .route("/c", get(index))
            .route("/v1/ws", get(web_socket))
            .route("/transparency", get(transparency))
            .route("/transparency.json", get(transparency_json))
            .method_not_allowed_fallback(method_not_allowed)
            .fallback(other)
            .layer(middleware::from_fn(async |uri: Uri, request, next: middleware::Next| {
                pages::protect(uri, next.run(request).await).await
            }))
            .with_state(Arc::clone(&self.shared))
    }

    /// The totals now.
    pub fn counters(&self) -> SignalingCounters {
        self.shared.counters.snapshot()
    }

    /// Begins no call any more, tells those that run, and ends what is left after so many seconds. Returns when every
    /// call has ended and its row is handed to the call log. A second drain shortens the first.
    pub async fn drain(&self, seconds: u32) {
        self.shared.phase.send_replace(Phase::Draining { seconds });
        let deadline = Instant::now() + Duration::from_secs(u64::from(seconds));
        while self.shared.directory.len() > 0 && Instant::now() < deadline {
            tokio::time::sleep(DRAIN_CHECK.min(deadline - Instant::now())).await;
        }
        self.shared.phase.send_replace(Phase::Over);
        // Each call and session holds a receiver until it is done.
        let _ = timeout(LAST_WORDS, self.shared.phase.closed()).await;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// Counts an open WebSocket while it lives.
struct OpenSocket(Arc<Shared>);

impl OpenSocket {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let open: &AtomicI64 = shared.counters.sockets();
        let before = open.fetch_add(1, Relaxed);
        let taken = Self(Arc::clone(shared));
        let room = usize::try_from(before).is_ok_and(|before| before < shared.limits.sockets);
        room.then_some(taken)
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.counters.sockets().fetch_sub(1, Relaxed);
    }
}

async fn index(headers: HeaderMap) -> Response {
    pages::index(&headers)
}

async fn other(State(shared): State<Arc<Shared>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    pages::other(&method, &uri, &headers, &shared.counters)
}

async fn method_not_allowed(State(shared): State<Arc<Shared>>) -> Response {
    pages::method_not_allowed(&shared.counters)
}

async fn web_socket(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let refuse = |refusal, status: StatusCode, text: &'static str| {
        shared.counters.count_http(refusal);
        (status, text).into_response()
    };
    if !headers.get(header::ORIGIN).is_none_or(|origin| is_ours(origin, &shared.hosts)) {
        return refuse(HttpRefusal::Origin, StatusCode::FORBIDDEN, "this page may not call here\n");
    }
    let Ok(upgrade) = upgrade.map(|upgrade| upgrade.protocols([SUBPROTOCOL])) else {
        return refuse(HttpRefusal::NoWebSocket, StatusCode::BAD_REQUEST, "a WebSocket is spoken here\n");
    };
    if upgrade.selected_protocol().is_none() {
        return refuse(HttpRefusal::NoWebSocket, StatusCode::BAD_REQUEST, "the subprotocol is sotto.v1\n");
    }
    let over = *shared.phase.borrow() == Phase::Over;
    let Some(open) = OpenSocket::take(&shared).filter(|_| !over) else {
        return refuse(HttpRefusal::Busy, StatusCode::SERVICE_UNAVAILABLE, "try again later\n");
    };
    let largest = shared.limits.message_bytes;
    upgrade
        .max_message_size(largest)
        .max_frame_size(largest)
        .read_buffer_size(SOCKET_BUFFER)
        .write_buffer_size(0) // each message is flushed, so that what waits, waits where it is counted
        .on_upgrade(async move |socket| {
            Session::new(socket, shared).run().await;
            drop(open);
        })
}

async fn transparency(shared: State<Arc<Shared>>, headers: HeaderMap) -> Response {
    match pages::transparency(&headers) {
        Some(page) => page,
        None => transparency_json(shared).await,
    }
}

/// The call log as it stands, from the store at most once a second: nobody can make it work harder by asking.
async fn transparency_json(State(shared): State<Arc<Shared>>) -> Response {
    let mut cached = shared.transparency.lock().await;
    let fresh = cached.as_ref().filter(|(read, _)| read.elapsed() < TRANSPARENCY_AGE).map(|(_, text)| text.clone());
    let text = match fresh {
        Some(text) => Ok(text),
        None => shared.call_log.transparency().await.map(|value| {
            let text = value.to_string();
            *cached = Some((Instant::now(), text.clone()));
            text
        }),
    };
    let plain = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_TYPE, "application/json"),
        (header::VARY, "accept"), // at the same path there is a page
    ];
    match text {
        Ok(text) => (plain, text).into_response(),
        Err(TransparencyError) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the call log cannot be read now\n").into_response()
        }
    }
}

/// Whether a page of this origin is one of ours: scheme apart, its host is among those that we answer for.
fn is_ours(origin: &HeaderValue, hosts: &[String]) -> bool {
    let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    host.is_some_and(|host| hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host)))
}

/// The protocol and its version, so that another version can be spoken on the same path.
const SUBPROTOCOL: &str = "sotto.v1";

/// Held by every open socket, so small: most messages fit, larger ones grow it.
const SOCKET_BUFFER: usize = 4 * 1024;

/// Often enough that a drained relay stops soon after its last call.
const DRAIN_CHECK: Duration = Duration::from_millis(50);

/// For rows to be handed over and farewells to be said.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A page that is reloaded shows a row that is at most this old.
const TRANSPARENCY_AGE: Duration = Duration::from_secs(1);
