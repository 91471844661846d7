//! One participant of a call, as the page is one: signaling as PROTOCOL.md says it, keys and frames as e2ee.md does,
//! media to send and to check. Sans-IO: an engine hands in what comes and the time, and drains [`Participant::poll`].

mod key_change;
mod outbox;
mod outcome;
mod reception;
mod roster;
mod sending;
mod session;
mod signals;
mod slots;
mod speaking;
mod spec;
mod update;

pub use outcome::{Findings, Outcome, StreamOutcome};
pub use spec::Spec;
pub use update::{Order, PeerId, Second, Update};

use std::collections::VecDeque;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sotto_signaling::message::{ClientMessage, Stream};

use crate::clock::Moment;
use crate::e2ee::{Encryption, Happening};
use crate::engine::{self, Command};
use crate::signaling::{Closed, Event};
use reception::{Keys, Reception};
use roster::{Roster, View};
use sending::Sending;
use session::{Loss, Session, Wanted};
use speaking::{Hints, INTERVAL};

/// A participant. After each call of a `handle_` method the engine drains [`Participant::poll`] and does what it says,
/// and calls [`Participant::handle_timeout`] at [`Participant::next_timeout`].
pub struct Participant {
    peer: PeerId,
    spec: Spec,
    rng: ChaCha20Rng,
    encryption: Encryption,
    session: Option<Session>,
    roster: Roster,
    sending: Sending,
    reception: Reception,
    hints: Hints,
    outage: Option<Outage>,
    /// When to open a WebSocket next.
    connect_at: Option<Moment>,
    /// When media and signaling were first up.
    joined_at: Option<Moment>,
    second_at: Option<Moment>,
    second: Second,
    outcome: Outcome,
    over: bool,
    outputs: VecDeque<Output>,
}

/// What the engine has to do.
pub enum Output {
    /// Open a WebSocket, by [`crate::signaling::Connector::connect`], and begin with a new media connection. Those of
    /// before, if there were, are over: they are closed, and nothing that still comes of them is handed in.
    Connect,
    /// Say this on the WebSocket.
    Say(ClientMessage),
    /// Do this with the media connection.
    Do(Command),
    /// Tell this to whoever runs the participants.
    Tell(Update),
    /// Close everything; nothing follows.
    Over,
}

/// Since when nothing got through, and what was tried.
struct Outage {
    since: Moment,
    attempt: u32,
    /// Since when the relay's address refuses.
    refused: Option<Moment>,
    /// Whether it was told that the relay is gone.
    told: bool,
}

impl Participant {
    /// A participant that will connect once [`Participant::handle_timeout`] is called. Making one encodes what it will
    /// say, which takes a while.
    pub fn new(peer: PeerId, spec: Spec, now: Moment) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(spec.seed);
        let keys = ChaCha20Rng::from_seed(rng.random());
        let outcome =
            Outcome { call: spec.call, index: spec.index, impaired: spec.network.is_some(), ..Outcome::default() };
        Self {
            peer,
            encryption: Encryption::new(spec.link.clone(), &spec.name(), keys),
            sending: Sending::new(&spec, now),
            reception: Reception::new(spec.check_one_in),
            rng,
            spec,
            session: None,
            roster: Roster::default(),
            hints: Hints::new(),
            outage: None,
            connect_at: Some(now),
            joined_at: None,
            second_at: None,
            second: Second::default(),
            outcome,
            over: false,
            outputs: VecDeque::new(),
        }
    }

    /// Who it is among the tester's participants.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// What it was made from.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Something came on the WebSocket.
    pub fn handle_signaling(&mut self, now: Moment, event: Event) {
        if self.over || self.session.is_none() {
            return;
        }
        match event {
            Event::Message(message) => self.handle_message(now, message),
            Event::Closed(closed) => self.lose(now, &Loss::Socket(closed)),
        }
        self.settle(now);
    }

    /// The media connection tells something.
    pub fn handle_event(&mut self, now: Moment, event: engine::Event) {
        let Some(session) = self.session.as_mut().filter(|_| !self.over) else { return };
        match event {
            engine::Event::Offered { sdp, sending, slots } => {
                session.slots.described(slots);
                self.sending.described(sending);
                if let Some(offer) = session.negotiation.offered(now, sdp) {
                    session.say(offer);
                }
            }
            engine::Event::IceConnected { at } => {
                let silent = session.path.silent_since();
                if let Some(took) = session.path.nominated(at) {
                    self.outcome.ice.record(took);
                }
                self.recovered(now, silent, true);
            }
            engine::Event::DtlsConnected { at } => {
                if let Some(took) = session.path.keyed(at) {
                    self.outcome.dtls.record(took);
                }
                self.up(now);
            }
            engine::Event::Lost { reason } => {
                session.path.lost(now);
                self.tell(Update::Lost { peer: self.peer, at: now, signaling: false, reason });
            }
            engine::Event::KeyFrameWanted { stream, layer } => self.sending.request_key_frame(stream, layer),
        }
        self.settle(now);
    }

    /// A packet came in a slot.
    pub fn handle_packet(&mut self, now: Moment, packet: engine::Received<'_>) {
        let Some(session) = self.session.as_mut().filter(|_| !self.over) else { return };
        let healed = session.path.heard();
        let keys = Keys { encryption: &mut self.encryption, roster: &mut self.roster };
        if self.reception.handle_packet(now, &packet, &mut session.slots, keys) {
            self.outputs.push_back(Output::Do(Command::RequestKeyFrame { slot: packet.slot }));
        }
        if healed.is_some() {
            self.recovered(now, healed, false);
        }
    }

    /// Someone wants something.
    pub fn handle_order(&mut self, now: Moment, order: Order) {
        if self.over {
            return;
        }
        match order {
            Order::Leave => self.leave(now),
            Order::Speak(speaking) => self.hints.speak(speaking),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Moment) {
        if self.over {
            return;
        }
        self.note_lag(now);
        if self.connect_at.is_some_and(|at| at <= now) {
            self.connect(now);
        }
        if let Some(Err(loss)) = self.session.as_mut().map(|session| session.handle_timeout(now)) {
            self.lose(now, &loss);
        }
        self.watch_outage(now);
        self.encryption.handle_timeout(now);
        self.hint(now);
        if let Some(session) = &mut self.session {
            self.sending.produce(now, session, &mut self.encryption, &mut self.outputs);
            for slot in self.reception.handle_timeout(now, &mut session.slots) {
                self.outputs.push_back(Output::Do(Command::RequestKeyFrame { slot }));
            }
        }
        if self.second_at.is_some_and(|at| at <= now) {
            self.end_second(now);
        }
        self.settle(now);
    }

    /// When to call [`Participant::handle_timeout`] at the latest.
    pub fn next_timeout(&self) -> Option<Moment> {
        if self.over {
            return None;
        }
        let session = self.session.as_ref();
        [
            self.connect_at,
            session.and_then(Session::next_timeout),
            session.and_then(|session| session.slots.next_timeout()),
            session.and_then(|session| self.sending.next_timeout(session)),
            self.outage.as_ref().and_then(Outage::next_timeout),
            self.encryption.next_timeout(),
            self.hints.next_timeout(),
            self.second_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What the engine has to do next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn connect(&mut self, now: Moment) {
        self.connect_at = None;
        self.session = Some(Session::new(now));
        self.sending.begin();
        self.outputs.push_back(Output::Connect);
    }

    /// Media can flow.
    fn up(&mut self, now: Moment) {
        let Some(session) = self.session.as_ref().filter(|session| session.is_up()) else { return };
        if self.joined_at.is_none() {
            let took = now.since(session.begun);
            self.joined_at = Some(now);
            self.second_at = Some(now + SECOND);
            self.outage = None;
            self.outcome.join.record(took);
            self.tell(Update::Joined { peer: self.peer, at: now, took });
        } else if let Some(outage) = self.outage.take() {
            let took = now.since(session.begun);
            self.outcome.join.record(took);
            self.recovered(now, Some(outage.since), true);
        }
    }

    /// What had been silent since then is heard again.
    fn recovered(&mut self, now: Moment, silent: Option<Moment>, anew: bool) {
        let (Some(since), true) = (silent, self.session.as_ref().is_some_and(Session::is_up)) else { return };
        self.outcome.reconnects += u64::from(anew);
        self.tell(Update::Rejoined { peer: self.peer, at: now, after: now.since(since) });
    }

    /// The connection is over; another is made unless that would be answered alike.
    fn lose(&mut self, now: Moment, loss: &Loss) {
        let Some(mut session) = self.session.take() else { return };
        self.reception.lose(now, session.slots.clear());
        self.hints.stop();
        if session.joined.is_some() && self.outage.is_none() {
            let signaling = *loss != Loss::Media;
            self.tell(Update::Lost { peer: self.peer, at: now, signaling, reason: loss.to_string() });
        }
        let since = session.path.silent_since().unwrap_or(now);
        let outage = self.outage.get_or_insert(Outage { since, attempt: 0, refused: None, told: false });
        let refused = *loss == Loss::Socket(Closed::Refused);
        outage.refused = if refused { outage.refused.or(Some(now)) } else { None };
        if now.since(outage.since) >= GIVE_UP {
            return self.finish(now, &format!("gave up after {} s without a connection: {loss}", GIVE_UP.as_secs()));
        }
        let ceiling = LONGEST_RETRY.min(FIRST_RETRY * 2u32.pow(outage.attempt.min(10)));
        outage.attempt += 1;
        // Jitter, so that the members of a call do not return in one burst.
        self.connect_at = Some(now + ceiling.mul_f64(0.5 + self.rng.random::<f64>() / 2.0));
    }

    fn watch_outage(&mut self, now: Moment) {
        let Some(outage) = self.outage.as_mut().filter(|outage| !outage.told) else { return };
        let Some(since) = outage.refused.filter(|since| now >= *since + RELAY_GONE) else { return };
        outage.told = true;
        let reason = "nothing listens at the relay's address any more".to_owned();
        self.tell(Update::Unreachable { peer: self.peer, since, reason });
    }

    fn leave(&mut self, now: Moment) {
        if self.session.as_ref().is_some_and(|session| session.joined.is_some()) {
            // Past the queue, whose other messages nobody needs now.
            self.encryption.bye(now);
            while let Some(happening) = self.encryption.poll() {
                if let Happening::Send { to, data } = happening {
                    self.outputs.push_back(Output::Say(ClientMessage::Relay { to, data }));
                }
            }
            self.outputs.push_back(Output::Say(ClientMessage::Leave));
        }
        self.finish(now, "");
    }

    /// The end, with what went wrong, if anything did.
    fn finish(&mut self, now: Moment, failure: &str) {
        let is_lost = self.outage.is_some();
        if let Some(mut session) = self.session.take() {
            self.reception.end(now, session.slots.clear());
        }
        if self.second_at.is_some() {
            self.end_second(now);
        }
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.failure = failure.to_owned();
        outcome.lasted = self.joined_at.map_or(Duration::ZERO, |at| now.since(at));
        (outcome.streams, outcome.key_change) = self.reception.take_findings(now, is_lost);
        self.tell(Update::Gone { peer: self.peer, outcome: Box::new(outcome) });
        self.outputs.push_back(Output::Over);
        self.over = true;
    }

    fn hint(&mut self, now: Moment) {
        let Some(level) = self.hints.poll(now) else { return };
        let Some(joined) = self.session.as_ref().and_then(|session| session.joined.as_ref()) else { return };
        // Behind many messages it would only arrive late.
        if joined.outbox.backlog() < HINT_BACKLOG {
            self.say(now, "speaking", serde_json::json!({ "level": level }));
        }
    }

    /// Brings everything into step after something happened: what the encryption says, what we want of the others,
    /// what is to be negotiated, and what may be said by now.
    fn settle(&mut self, now: Moment) {
        while let Some(happening) = self.encryption.poll() {
            self.handle_happening(now, happening);
        }
        if self.over {
            return;
        }
        self.subscribe(now);
        let Some(session) = &mut self.session else { return };
        let Some(joined) = &mut session.joined else { return };
        if let Some(command) = session.negotiation.poll(self.sending.lines()) {
            self.outputs.push_back(Output::Do(command));
        }
        while let Some(message) = joined.outbox.poll(now) {
            self.outputs.push_back(Output::Say(message));
        }
    }

    fn handle_happening(&mut self, now: Moment, happening: Happening) {
        match happening {
            Happening::Send { to, data } => {
                if let Some(session) = &mut self.session {
                    session.say(ClientMessage::Relay { to, data });
                }
            }
            Happening::Entered { id, name } => {
                self.roster.entered(id, self.spec.origin_of(&name));
                // As the page does when it changes; who enters later would not know.
                let body = serde_json::json!({ "microphone": self.spec.microphone.is_some() });
                self.say(now, "state", body);
            }
            Happening::Left { id } => self.roster.doubted(now, id),
            Happening::Removed => self.finish(now, REMOVED),
            Happening::KeyFrame => self.sending.request_key_frame(Stream::Camera, None),
            Happening::Message { from, kind, body } if kind == "speaking" => {
                self.roster.heard(now, from, &body["level"]);
            }
            Happening::Keyed { id } => self.roster.keyed(id),
            // What a `mute` of the host asks of people is not asked of a load.
            Happening::Message { .. } | Happening::Unverified { .. } => {}
        }
    }

    fn say(&mut self, now: Moment, kind: &str, body: serde_json::Value) {
        self.encryption.say(now, kind, body).expect("hints and states have the form that the protocol gives them");
    }

    /// Tells the relay what has changed of what we want.
    fn subscribe(&mut self, now: Moment) {
        let Some(session) = self.session.as_mut().filter(|session| session.joined.is_some()) else { return };
        if !self.roster.take_changed() {
            return;
        }
        let view = View { watch: self.spec.watch, stage_height: self.spec.stage_height };
        let wanted = self.roster.wanted(view);
        let mut before = std::mem::take(&mut session.wanted);
        for (participant, stream, height) in wanted {
            let known = before.iter().position(|each| each.participant == participant && each.stream == stream);
            let known = known.map(|place| before.swap_remove(place));
            if known.as_ref().is_none_or(|known| known.height != height) {
                session.say(ClientMessage::Subscribe { participant, stream, height });
            }
            let since = known.map_or(now, |known| known.since);
            session.wanted.push(Wanted { participant, stream, height, since });
        }
        for Wanted { participant, stream, .. } in before {
            // Nothing is left to end of who has left, or no longer publishes it.
            if self.roster.get(participant).is_some_and(|other| other.streams.contains(&stream)) {
                session.say(ClientMessage::Unsubscribe { participant, stream });
            }
        }
    }

    fn note_lag(&mut self, now: Moment) {
        // Before the first connection the engine was not waiting for us.
        if self.session.is_none() || self.second.lags.len() >= LAGS {
            return;
        }
        // What may begin at once was due at no time that one could be late for.
        let Some(due) = self.next_timeout().filter(|due| *due <= now && *due != Moment(0)) else { return };
        self.second.lags.push(now.since(due).as_micros() as u32);
    }

    fn end_second(&mut self, now: Moment) {
        let mut second = std::mem::take(&mut self.second);
        second.at = now;
        second.connected = self.session.as_ref().is_some_and(Session::is_up);
        let slots = self.session.as_mut().map(|session| &mut session.slots);
        second.interval = self.reception.take_interval(now, slots, second.connected);
        let sent = self.sending.take_counts();
        (second.packets_sent, second.bytes_sent, second.late_frames) = (sent.packets, sent.bytes, sent.late_frames);
        self.outcome.packets_sent += sent.packets;
        self.outcome.bytes_sent += sent.bytes;
        self.outcome.late_frames += sent.late_frames;
        self.tell(Update::Second { peer: self.peer, second: Box::new(second) });
        // In step with its own clock, but a loop that was late does not tell the seconds that it missed.
        self.second_at = self.second_at.map(|at| (at + SECOND).max(now + SECOND / 2));
    }

    fn begin_hints(&mut self, now: Moment) {
        if self.spec.hints && self.spec.microphone.is_some() {
            let phase = INTERVAL.mul_f64(self.rng.random::<f64>());
            self.hints.begin(now, phase);
        }
    }

    fn tell(&mut self, update: Update) {
        self.outputs.push_back(Output::Tell(update));
    }
}

impl Outage {
    fn next_timeout(&self) -> Option<Moment> {
        self.refused.filter(|_| !self.told).map(|since| since + RELAY_GONE)
    }
}

/// How often figures are told.
const SECOND: Duration = Duration::from_secs(1);

/// Waiting before the first attempt to connect again doubles from the one to the other, as on the page.
const FIRST_RETRY: Duration = Duration::from_millis(300);
const LONGEST_RETRY: Duration = Duration::from_secs(8);

/// Without success for so long, one gives up; as on the page.
const GIVE_UP: Duration = Duration::from_secs(180);

/// A relay that restarts is back before; one that is gone must be told within 10 s.
const RELAY_GONE: Duration = Duration::from_secs(5);

/// Joining again would be answered alike.
const REMOVED: &str = "the host of the call removed this participant";

/// Hints that wait behind this many messages would only arrive late; as on the page.
const HINT_BACKLOG: usize = 20;

/// Wakings noted in one second: a loop wakes some hundred times; a spinning one must not fill memory.
const LAGS: usize = 1_000;

#[cfg(test)]
mod tests;
