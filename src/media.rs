//! Carries signaling's calls on the workers: places each on the one with the least to do, answers offers, and brings
//! events of the media plane back to the call that they belong to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sotto_signaling::media::{self, Media, MediaCall, MediaError, MediaEvent, Negotiated, PublishedMid, TunnelLeg};
use tokio::sync::mpsc;

use crate::relay::command::{CallKey, Command, Event, LegKey, ParticipantKey, Source};
use crate::sdp::{Direction, Negotiation, candidates, fresh_ice};
use crate::session::{Kind, Mid};
use crate::worker::Handle;

/// The media plane as signaling sees it.
pub struct Carrier {
    homes: Vec<Home>,
    fingerprint: [u8; 32],
    most_calls: usize,
    next_key: AtomicU64,
    closed: AtomicBool,
    routes: Mutex<HashMap<CallKey, Route>>,
    events_lost: AtomicU64,
}

/// A worker, and where browsers reach it.
pub struct Home {
    /// The worker.
    pub worker: Handle,
    /// Its announced addresses, preferred first.
    pub addresses: Vec<SocketAddr>,
}

/// Where a call's events go, and what it weighs.
struct Route {
    home: usize,
    events: mpsc::Sender<MediaEvent>,
    participants: HashMap<ParticipantKey, media::ParticipantKey>,
}

/// One call, held by its signaling task.
struct Carried {
    carrier: Arc<Carrier>,
    call: CallKey,
    home: usize,
    participants: HashMap<media::ParticipantKey, Seat>,
}

struct Seat {
    key: ParticipantKey,
    negotiation: Negotiation,
}

impl Carrier {
    /// Calls are carried on these workers, all of which show the certificate with this SHA-256 fingerprint.
    pub fn new(homes: Vec<Home>, fingerprint: [u8; 32], most_calls: usize) -> Arc<Self> {
        Arc::new(Self {
            homes,
            fingerprint,
            most_calls,
            next_key: AtomicU64::new(1),
            closed: AtomicBool::new(false),
            routes: Mutex::default(),
            events_lost: AtomicU64::new(0),
        })
    }

    /// Takes no new calls from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Events that a call's task did not take in time.
    pub fn events_lost(&self) -> u64 {
        self.events_lost.load(Ordering::Relaxed)
    }

    /// Brings the workers' events to their calls, until every worker is gone.
    pub async fn route(self: Arc<Self>, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            // Of a call that has ended meanwhile nobody wants to know.
            let Some((to, event)) = self.translate(event) else { continue };
            // A call's task takes events as they come; one that does not may not hold up the others for long.
            if let Err(mpsc::error::SendTimeoutError::Timeout(_)) = to.send_timeout(event, LONGEST_HAND_OVER).await {
                self.events_lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn translate(&self, event: Event) -> Option<(mpsc::Sender<MediaEvent>, MediaEvent)> {
        let routes = self.routes();
        let route = |call| routes.get(&call);
        match event {
            Event::Connected { call, participant } => {
                let route = route(call)?;
                Some((route.events.clone(), MediaEvent::Connected(*route.participants.get(&participant)?)))
            }
            Event::Disconnected { call, participant, .. } => {
                let route = route(call)?;
                Some((route.events.clone(), MediaEvent::Disconnected(*route.participants.get(&participant)?)))
            }
            Event::Failed { call } => Some((route(call)?.events.clone(), MediaEvent::Failed)),
        }
    }

    fn routes(&self) -> MutexGuard<'_, HashMap<CallKey, Route>> {
        // Nothing between lock and unlock leaves the map half changed.
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker with the fewest participants, each call counting as one: it will have some soon.
    fn least_loaded(&self, routes: &HashMap<CallKey, Route>) -> Option<usize> {
        let mut loads = vec![0; self.homes.len()];
        for route in routes.values() {
            loads[route.home] += 1 + route.participants.len();
        }
        (0..loads.len()).min_by_key(|&home| loads[home])
    }

    fn key(&self) -> u64 {
        self.next_key.fetch_add(1, Ordering::Relaxed)
    }
}

/// The carrier as a service: its calls hold on to it.
#[derive(Clone)]
pub struct Service(pub Arc<Carrier>);

impl Media for Service {
    fn open(&self, events: mpsc::Sender<MediaEvent>) -> Result<Box<dyn MediaCall>, MediaError> {
        let carrier = self.0.clone();
        if carrier.closed.load(Ordering::Relaxed) {
            return Err(MediaError::Unavailable);
        }
        let call = CallKey(carrier.key());
        let mut routes = carrier.routes();
        if routes.len() >= carrier.most_calls {
            return Err(MediaError::Full);
        }
        let home = carrier.least_loaded(&routes).ok_or(MediaError::Unavailable)?;
        let opened = carrier.homes[home].worker.try_send(Command::Open { call });
        opened.map_err(|_| MediaError::Unavailable)?;
        routes.insert(call, Route { home, events, participants: HashMap::new() });
        drop(routes);
        Ok(Box::new(Carried { carrier, call, home, participants: HashMap::new() }))
    }
}

impl MediaCall for Carried {
    fn negotiate(&mut self, participant: media::ParticipantKey, offer: &str) -> Result<Negotiated, MediaError> {
        let home = &self.carrier.homes[self.home];
        let known = self.participants.contains_key(&participant);
        let seat = self.participants.entry(participant).or_insert_with(|| Seat {
            key: ParticipantKey(self.carrier.key()),
            negotiation: Negotiation::new(&home.addresses, self.carrier.fingerprint, rand::random()),
        });
        let answered = seat.negotiation.answer(offer);
        let key = seat.key;
        let answer = match answered {
            Ok(answer) => answer,
            Err(error) => {
                if !known {
                    self.participants.remove(&participant);
                }
                return Err(MediaError::Offer(error.to_string()));
            }
        };
        // Known before the worker can tell of it.
        if let Some(route) = self.carrier.routes().get_mut(&self.call) {
            route.participants.insert(key, participant);
        }
        let session = Box::new(answer.session);
        let command = Command::Negotiated { call: self.call, participant: key, session };
        home.worker.send(command).map_err(|_| MediaError::Unavailable)?;
        Ok(Negotiated { answer: answer.sdp, lines: answer.lines.into_iter().map(line).collect() })
    }

    fn bind(&mut self, receiver: media::ParticipantKey, slot: &str, source: Option<PublishedMid>) {
        let (Some(seat), Ok(slot)) = (self.participants.get(&receiver), Mid::from(slot)) else { return };
        // A publisher that has left meanwhile is the same as none.
        let source = source.and_then(|source| {
            let participant = self.participants.get(&source.participant)?.key;
            Some(Source { participant, mid: Mid::from(&source.mid).ok()? })
        });
        self.tell(Command::Bind { call: self.call, receiver: seat.key, slot, source });
    }

    fn leave(&mut self, participant: media::ParticipantKey) {
        let Some(seat) = self.participants.remove(&participant) else { return };
        if let Some(route) = self.carrier.routes().get_mut(&self.call) {
            route.participants.remove(&seat.key);
        }
        self.tell(Command::Leave { call: self.call, participant: seat.key });
    }

    fn tunnel(
        &mut self,
        participant: media::ParticipantKey,
        other: media::ParticipantKey,
    ) -> Result<TunnelLeg, MediaError> {
        let home = &self.carrier.homes[self.home];
        let ice = fresh_ice(&mut rand::rng(), None);
        let leg = TunnelLeg {
            ufrag: ice.local_ufrag.to_string(),
            pwd: ice.local_pwd.clone(),
            candidates: candidates(&home.addresses),
        };
        let (participant, other) = (leg_key(participant), leg_key(other));
        let command = Command::Tunnel { call: self.call, participant, other, ice };
        home.worker.send(command).map_err(|_| MediaError::Unavailable)?;
        Ok(leg)
    }

    fn end_tunnel(&mut self, participant: media::ParticipantKey) {
        self.tell(Command::EndTunnel { call: self.call, participant: leg_key(participant) });
    }
}

impl Carried {
    fn tell(&self, command: Command) {
        // A worker that is gone ends the process: there is nobody left to tell.
        let _ = self.carrier.homes[self.home].worker.send(command);
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.tell(Command::Close { call: self.call });
        self.carrier.routes().remove(&self.call);
    }
}

/// Legs are named by signaling's own numbers, which never change in a call: a participant that uses a tunnel may have no
/// session, and a new one each time it comes back to forwarding.
fn leg_key(participant: media::ParticipantKey) -> LegKey {
    LegKey(participant.0)
}

fn line(line: crate::sdp::Line) -> media::Line {
    media::Line {
        mid: line.mid.to_string(),
        kind: match line.kind {
            Kind::Audio => media::Kind::Audio,
            Kind::Video => media::Kind::Video,
        },
        direction: match line.direction {
            Direction::Sends => media::Direction::Sends,
            Direction::Receives => media::Direction::Receives,
        },
    }
}

/// A task that reads takes an event within a turn of its loop; the channel holds hundreds besides.
const LONGEST_HAND_OVER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
