//! All participants of a run: each in an engine, on its network, told what to do and telling what it sees.

mod relay_watch;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::clock::Moment;
use crate::engine::full::play::Full;
use crate::engine::light::Light;
use crate::impair::candidate::detour_answer;
use crate::impair::{Detour, Proxy, ProxyError};
use crate::participant::{Order, Outcome, Participant, PeerId, Spec, Update};
use crate::plan::{EngineKind, Impairment, Outage};
use crate::signaling::{Connector, Rewrite};
use relay_watch::RelayWatch;

/// The participants of a run.
pub struct Fleet {
    runtime: Handle,
    engine: Arc<Mutex<Box<dyn Engine>>>,
    connector: Connector,
    host_name: String,
    proxy: Option<Arc<Proxy>>,
    orders: Vec<mpsc::UnboundedSender<Order>>,
    updates: mpsc::UnboundedSender<Update>,
    /// How many are gone.
    gone: watch::Receiver<usize>,
}

/// What plays participants: carries their media and their messages until they are over.
pub trait Engine: Send {
    /// Plays one, from now on and in the background: calls [`Participant::handle_timeout`], opens what it asks for, and
    /// goes on until it is over.
    fn play(&mut self, seat: Seat);
}

/// All that an engine needs to play one participant.
pub struct Seat {
    /// The participant, which has not been called yet.
    pub participant: Participant,
    /// Opens its WebSockets.
    pub connector: Connector,
    /// What it is told to do.
    pub orders: mpsc::UnboundedReceiver<Order>,
    /// What it tells goes here. Dropped before [`Update::Gone`] went through, it tells that the engine failed.
    pub updates: Updates,
}

/// Where an engine hands in what a participant tells.
pub struct Updates {
    peer: PeerId,
    place: (usize, usize),
    sender: mpsc::UnboundedSender<Update>,
    is_gone: bool,
}

/// Where the relay is.
#[derive(Clone)]
pub struct RelayAddress {
    /// Of its signaling: `ws://host:port/v1/ws`, or `wss:`.
    pub url: String,
    /// The host that joins are signed for, with the port where its pages show one.
    pub host_name: String,
}

/// One participant's network.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerNetwork {
    /// From peer to relay.
    pub up: Impairment,
    /// From relay to peer.
    pub down: Impairment,
    /// Times in which nothing passes, from the start of the run.
    pub outages: Vec<Outage>,
    /// When the run started.
    pub run_start: Moment,
}

/// Why participants cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The network.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The engine.
    #[error("the engine cannot be started: {0}; raise the limit of open files (`ulimit -n`) or of threads")]
    Engine(#[from] std::io::Error),
}

impl Fleet {
    /// Participants in an engine of that kind, at that relay; what they tell comes on the returned channel. Call it
    /// within a tokio runtime, which carries signaling and, with [`EngineKind::Full`], media.
    ///
    /// # Errors
    /// Where the engine cannot be started.
    pub fn start(kind: EngineKind, relay: RelayAddress) -> Result<(Self, mpsc::UnboundedReceiver<Update>), FleetError> {
        let engine: Box<dyn Engine> = match kind {
            EngineKind::Full => Box::new(Full::new(Handle::current())),
            EngineKind::Light => Box::new(Light::start(threads())?),
        };
        Ok(Self::with_engine(engine, relay))
    }

    /// The same in any engine.
    pub fn with_engine(engine: Box<dyn Engine>, relay: RelayAddress) -> (Self, mpsc::UnboundedReceiver<Update>) {
        let runtime = Handle::current();
        let (updates, told) = mpsc::unbounded_channel();
        let (forward, receiver) = mpsc::unbounded_channel();
        let (count, gone) = watch::channel(0);
        runtime.spawn(pass_on(told, forward, count));
        let engine = Arc::new(Mutex::new(engine));
        let connector = Connector::new(runtime.clone(), &relay.url);
        let host_name = relay.host_name;
        (Self { runtime, engine, connector, host_name, proxy: None, orders: Vec::new(), updates, gone }, receiver)
    }

    /// Has someone join. It begins at once; [`Update::Joined`] tells when it is in the call.
    ///
    /// # Errors
    /// Where its network cannot be impaired.
    pub fn join(&mut self, mut spec: Spec) -> Result<PeerId, FleetError> {
        let peer = PeerId(self.orders.len());
        spec.host_name.clone_from(&self.host_name);
        let mut connector = self.connector.clone();
        if let Some(network) = &spec.network {
            connector = connector.with_rewrite(detour(self.proxy()?, network.clone(), spec.seed));
        }
        let (sender, orders) = mpsc::unbounded_channel();
        self.orders.push(sender);
        let updates = Updates { peer, place: (spec.call, spec.index), sender: self.updates.clone(), is_gone: false };
        let engine = Arc::clone(&self.engine);
        // The first of its voice encodes it, which would hold up everything else on this thread.
        self.runtime.spawn_blocking(move || {
            let participant = Participant::new(peer, spec, Moment::now());
            let seat = Seat { participant, connector, orders, updates };
            engine.lock().unwrap_or_else(PoisonError::into_inner).play(seat);
        });
        Ok(peer)
    }

    /// Tells one of them what to do. Whoever is gone does nothing.
    pub fn order(&self, peer: PeerId, order: Order) {
        if let Some(orders) = self.orders.get(peer.0) {
            let _ = orders.send(order); // fails where they are gone
        }
    }

    /// Has all leave, and waits until they are gone, but not for long. Everything they told is on the channel then.
    pub async fn stop(mut self) {
        for orders in &self.orders {
            let _ = orders.send(Order::Leave);
        }
        let all = self.orders.len();
        let _ = timeout(GOODBYES, self.gone.wait_for(|gone| *gone == all)).await;
    }

    fn proxy(&mut self) -> Result<Arc<Proxy>, ProxyError> {
        if self.proxy.is_none() {
            self.proxy = Some(Arc::new(Proxy::start()?));
        }
        Ok(Arc::clone(self.proxy.as_ref().expect("it was just started")))
    }
}

impl Updates {
    /// Hands in an update.
    pub fn send(&mut self, update: Update) {
        self.is_gone |= matches!(update, Update::Gone { .. });
        let _ = self.sender.send(update); // fails where nobody wants to know
    }
}

impl Drop for Updates {
    fn drop(&mut self) {
        if !self.is_gone {
            let (call, index) = self.place;
            let failure = "the engine failed, which is a defect of this program".to_owned();
            let outcome = Box::new(Outcome { call, index, failure, ..Outcome::default() });
            let _ = self.sender.send(Update::Gone { peer: self.peer, outcome });
        }
    }
}

impl fmt::Debug for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayAddress(..)")
    }
}

/// Of the machine's cores all but one, which is the relay's where that runs here.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1))
}

/// Leads the answers of one participant through an impaired network, which is opened with the first.
fn detour(proxy: Arc<Proxy>, network: PeerNetwork, seed: u64) -> Rewrite {
    let opened: Mutex<Option<Detour>> = Mutex::new(None);
    Arc::new(move |sdp| {
        let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = |relay: SocketAddr| {
            if let Some(detour) = opened.as_ref().filter(|detour| detour.relay() == relay) {
                return Ok(detour.address);
            }
            let PeerNetwork { up, down, outages, run_start } = &network;
            let detour = proxy.open(relay, up, down, outages, seed, *run_start)?;
            Ok::<_, ProxyError>(opened.insert(detour).address)
        };
        detour_answer(sdp, &mut open).map_err(|error| error.to_string())
    })
}

/// Passes on what participants tell, counts who is gone, and notices when the relay is.
async fn pass_on(
    mut told: mpsc::UnboundedReceiver<Update>,
    forward: mpsc::UnboundedSender<Update>,
    gone: watch::Sender<usize>,
) {
    let mut relay = RelayWatch::default();
    loop {
        let wait = relay.next_timeout().map(|at| at.since(Moment::now()));
        let update = match wait {
            Some(wait) => timeout(wait, told.recv()).await.ok(),
            None => Some(told.recv().await),
        };
        let lost = match update {
            Some(None) => return,
            Some(Some(update)) => {
                let lost = relay.handle_update(&update);
                let is_gone = matches!(update, Update::Gone { .. });
                let _ = forward.send(update);
                if is_gone {
                    gone.send_modify(|gone| *gone += 1);
                }
                lost
            }
            None => relay.handle_timeout(Moment::now()),
        };
        if let Some(lost) = lost {
            let _ = forward.send(lost);
        }
    }
}

/// Goodbyes take some milliseconds; a thread that hangs must not hang the report.
const GOODBYES: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
