//! One connection of a participant, from its WebSocket to its media: it lives until the call is left or the connection
//! is lost, and is then replaced as a whole, with new keys and a new participant id.

use std::time::Duration;

use sotto_signaling::message::{ClientMessage, ParticipantId, Stream};

use super::outbox::Outbox;
use super::slots::Slots;
use crate::clock::Moment;
use crate::engine::{Command, Sending};
use crate::signaling::Closed;

/// A connection that was begun and is not lost.
pub struct Session {
    /// When its WebSocket was opened.
    pub begun: Moment,
    /// What the server admitted us as; absent before.
    pub joined: Option<Joined>,
    /// Offers and answers.
    pub negotiation: Negotiation,
    /// The way of media.
    pub path: Path,
    /// What we receive on.
    pub slots: Slots,
    /// What the relay was last told that we want.
    pub wanted: Vec<Wanted>,
}

/// Why a connection counts as lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The WebSocket is over.
    #[error(transparent)]
    Socket(#[from] Closed),
    /// No `joined`.
    #[error("the relay did not let us in in time")]
    Join,
    /// No `pong`.
    #[error("the relay no longer answers on the signaling connection")]
    Ping,
    /// No `answer`.
    #[error("the relay did not answer an offer in time")]
    Answer,
    /// ICE or DTLS did not come to an end.
    #[error("no media path to the relay opened in time")]
    Media,
    /// The server says that it is over.
    #[error("the relay says `{0}`: {1}")]
    Told(&'static str, String),
}

/// What being in the call brings.
pub struct Joined {
    /// What waits to be said.
    pub outbox: Outbox,
    /// Streams that were published.
    pub published: Vec<Stream>,
    pinged: Moment,
    /// When the oldest unanswered ping was sent.
    asked: Option<Moment>,
}

/// A subscription.
pub struct Wanted {
    /// Whose.
    pub participant: ParticipantId,
    /// Which of theirs.
    pub stream: Stream,
    /// Lines at which it is shown; 1 for sound.
    pub height: u32,
    /// When it was asked for.
    pub since: Moment,
}

impl Session {
    /// A WebSocket is being opened.
    pub fn new(now: Moment) -> Self {
        Self {
            begun: now,
            joined: None,
            negotiation: Negotiation::default(),
            path: Path::default(),
            slots: Slots::default(),
            wanted: Vec::new(),
        }
    }

    /// The server has admitted us and takes so many messages per second.
    pub fn join(&mut self, now: Moment, rate: u32) {
        let outbox = Outbox::new(now, rate);
        self.joined = Some(Joined { outbox, published: Vec::new(), pinged: now, asked: None });
    }

    /// Says something in its turn. Before the server has admitted us there is nothing to say, and nothing is.
    pub fn say(&mut self, message: ClientMessage) {
        if let Some(joined) = &mut self.joined {
            joined.outbox.push(message);
        }
    }

    /// Something came from the server.
    pub fn heard(&mut self) {
        if let Some(joined) = &mut self.joined {
            joined.asked = None;
        }
    }

    /// Whether signaling and media are up.
    pub fn is_up(&self) -> bool {
        self.joined.is_some() && self.path.is_up()
    }

    /// Whether frames can be sent.
    pub fn carries(&self, stream: Stream) -> bool {
        self.path.is_open() && self.joined.as_ref().is_some_and(|joined| joined.published.contains(&stream))
    }

    /// Does what is due. Fails with what was waited for in vain.
    pub fn handle_timeout(&mut self, now: Moment) -> Result<(), Loss> {
        match &mut self.joined {
            None if now >= self.begun + JOIN => return Err(Loss::Join),
            None => {}
            Some(joined) if now >= joined.pinged + PING => {
                if joined.asked.is_some() {
                    return Err(Loss::Ping);
                }
                joined.pinged = now;
                joined.asked = Some(now);
                joined.outbox.push(ClientMessage::Ping { t: Some((now.0 / 1_000_000).into()) });
            }
            Some(_) => {}
        }
        if self.negotiation.until().is_some_and(|until| now >= until) {
            return Err(Loss::Answer);
        }
        if self.path.handle_timeout(now)? {
            self.negotiation.restart();
        }
        Ok(())
    }

    /// When something is due.
    pub fn next_timeout(&self) -> Option<Moment> {
        let signaling = match &self.joined {
            None => Some(self.begun + JOIN),
            Some(joined) => [Some(joined.pinged + PING), joined.outbox.next_timeout()].into_iter().flatten().min(),
        };
        [signaling, self.negotiation.until(), self.path.next_timeout()].into_iter().flatten().min()
    }
}

/// Offers, one at a time: the next waits for the answer to the one before.
#[derive(Default)]
pub struct Negotiation {
    wanted: u32,
    described: Option<u32>,
    restart: bool,
    id: u64,
    step: Step,
}

#[derive(Default, PartialEq)]
enum Step {
    #[default]
    Idle,
    /// The engine writes an offer.
    Describing,
    /// The relay reads it.
    Answering { until: Moment },
}

impl Negotiation {
    /// There should be so many slot pairs; the number never shrinks.
    pub fn receive(&mut self, pairs: u32) {
        self.wanted = self.wanted.max(pairs);
    }

    /// ICE should begin anew.
    pub fn restart(&mut self) {
        self.restart = self.described.is_some();
    }

    /// What the engine should describe, where something is to be and nothing is on its way.
    pub fn poll(&mut self, send: &[Sending]) -> Option<Command> {
        // Who sends nothing has no other m-line, and an offer without any is none.
        let pairs = self.wanted.max(u32::from(send.is_empty()));
        let is_due = self.restart || self.described.is_none_or(|described| described < pairs);
        if self.step != Step::Idle || !is_due {
            return None;
        }
        self.step = Step::Describing;
        self.described = Some(pairs);
        let restart_ice = std::mem::take(&mut self.restart);
        Some(Command::Offer { send: send.to_vec(), pairs, restart_ice })
    }

    /// The engine has described the connection.
    pub fn offered(&mut self, now: Moment, sdp: String) -> Option<ClientMessage> {
        if self.step != Step::Describing {
            return None;
        }
        self.step = Step::Answering { until: now + ANSWER };
        self.id += 1;
        Some(ClientMessage::Offer { id: self.id, sdp })
    }

    /// Whether an answer is the one that is waited for.
    pub fn answered(&mut self, id: u64) -> bool {
        let is_ours = matches!(self.step, Step::Answering { .. }) && id == self.id;
        if is_ours {
            self.step = Step::Idle;
        }
        is_ours
    }

    fn until(&self) -> Option<Moment> {
        match self.step {
            Step::Answering { until } => Some(until),
            _ => None,
        }
    }
}

/// The way of media: ICE, then DTLS; lost and found again.
#[derive(Default)]
pub struct Path {
    /// When an answer was handed to the engine, while no path has come of it.
    answered: Option<Moment>,
    /// The latest nominated pair.
    nominated: Option<Moment>,
    has_keys: bool,
    trouble: Option<Trouble>,
    /// When it is given up.
    until: Option<Moment>,
}

#[derive(Clone, Copy)]
enum Trouble {
    /// It fell silent, and may heal by itself.
    Silent { since: Moment },
    /// It is being made anew.
    Restarting { since: Moment },
}

impl Path {
    /// The relay's answer goes to the engine, to be connected by it.
    pub fn answered(&mut self, now: Moment) {
        if self.nominated.is_none() || matches!(self.trouble, Some(Trouble::Restarting { .. })) {
            self.answered = Some(now);
            self.until = Some(now + CONNECT);
        }
    }

    /// A pair was nominated. Answers with the time since the answer.
    pub fn nominated(&mut self, at: Moment) -> Option<Duration> {
        self.nominated = Some(at);
        self.settle();
        self.answered.take().map(|answered| at.since(answered))
    }

    /// There are keys. Answers with the time since the pair was nominated, with the first.
    pub fn keyed(&mut self, at: Moment) -> Option<Duration> {
        let first = !std::mem::replace(&mut self.has_keys, true);
        self.settle();
        self.nominated.filter(|_| first).map(|nominated| at.since(nominated))
    }

    /// The engine hears nothing any more.
    pub fn lost(&mut self, now: Moment) {
        if self.is_open() && self.trouble.is_none() {
            self.trouble = Some(Trouble::Silent { since: now });
            self.until = Some(now + HEAL);
        }
    }

    /// A packet came; a path that had fallen silent is well again. Answers with when it fell silent.
    pub fn heard(&mut self) -> Option<Moment> {
        let Some(Trouble::Silent { since }) = self.trouble else { return None };
        (self.trouble, self.until) = (None, None);
        Some(since)
    }

    /// When the trouble began, where there is some.
    pub fn silent_since(&self) -> Option<Moment> {
        self.trouble.map(|(Trouble::Silent { since } | Trouble::Restarting { since })| since)
    }

    /// Whether it could ever send.
    fn is_open(&self) -> bool {
        self.has_keys && self.nominated.is_some()
    }

    fn is_up(&self) -> bool {
        self.is_open() && self.trouble.is_none()
    }

    fn settle(&mut self) {
        if self.is_open() {
            (self.trouble, self.until) = (None, None);
        }
    }

    /// Whether ICE should begin anew; fails where that did not help, or nothing was ever connected.
    fn handle_timeout(&mut self, now: Moment) -> Result<bool, Loss> {
        if self.until.is_none_or(|until| now < until) {
            return Ok(false);
        }
        let Some(Trouble::Silent { since }) = self.trouble else { return Err(Loss::Media) };
        self.trouble = Some(Trouble::Restarting { since });
        self.until = Some(now + CONNECT);
        Ok(true)
    }

    fn next_timeout(&self) -> Option<Moment> {
        self.until
    }
}

/// From opening the WebSocket to `joined`. This and the figures below are the page's.
const JOIN: Duration = Duration::from_secs(12);

/// Between pings; a path whose ping stays unanswered for as long is dead. The server waits 45 s.
const PING: Duration = Duration::from_secs(8);

/// What an answer may take before the connection counts as lost.
const ANSWER: Duration = Duration::from_secs(10);

/// What a silent path may take to heal by itself before ICE begins anew.
const HEAL: Duration = Duration::from_secs(2);

/// What the first connection, or a restart, may take.
const CONNECT: Duration = Duration::from_secs(10);
