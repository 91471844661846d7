//! The encryption of one participant as a state machine: told what the server says, what others send and which frames
//! come, it answers with messages to send, frames and happenings. Time and randomness are given to it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use sotto_signaling::base64url::Base64Url;
use sotto_signaling::message::{Join, ParticipantId, Stream};

use super::bytes::{array_from_base64url, to_base64url};
use super::code::verification_code;
use super::conversation::{Authenticated, Conversation, Meaning, Trouble, send_ready};
use super::envelope::Envelope;
use super::frame::{Metadata, clear_bytes, stream_number};
use super::hint::Hints;
use super::host_state::HostState;
use super::link::Link;
use super::membership::{Membership, PeerId};
use super::messages::{Unsayable, check_message};
use super::presence::Presence;
use super::receiver_key::{Opened, Refusal, Shown};
use super::reception::{FIRST_KEY, Reception};
use super::rekey::{Around, Order, Rekeying};
use super::sender_key::SenderKeys;
use crate::clock::Moment;
use crate::engine::Codec;

/// What came of something that [`Encryption`] was told.
pub enum Happening {
    /// To be put into a `relay` message, in this order.
    Send {
        /// For whom; for everyone where absent.
        to: Option<ParticipantId>,
        /// What.
        data: String,
    },
    /// Somebody proved itself and is on the roster.
    Entered {
        /// Its connection.
        id: ParticipantId,
        /// What it is called.
        name: String,
    },
    /// Somebody is on the roster no longer, or under another connection.
    Left {
        /// The connection that it was there with.
        id: ParticipantId,
    },
    /// The host removed us: nothing more is said, sealed or opened.
    Removed,
    /// Our frames are of another generation from now on: make key frames.
    KeyFrame,
    /// Somebody's key came; frames that could not be opened until now may be.
    Keyed {
        /// Its connection.
        id: ParticipantId,
    },
    /// Somebody says something.
    Message {
        /// Its connection.
        from: ParticipantId,
        /// `chat`, `unsend`, `speaking`, `state`, or of the host `mute`.
        kind: String,
        /// An object of that kind's form.
        body: Value,
    },
    /// Something of theirs cannot be verified.
    Unverified {
        /// Their connection.
        id: ParticipantId,
        /// Of a connection: `silent` (no hello), `hello` (bad signature, MAC or key), `elsewhere` and `replay`
        /// (somebody's earlier hello), `identity` (a second one, or ours), `ready` (lacks the link's secret), `locked` and
        /// `removed` (by the host, though the server let it in), `host-state` (one that the host did not sign), `pair`
        /// (a message was dropped or forged), `key` (changes a known key), `message` and `bye` (bad signature),
        /// `disagreement` (sees another roster or host state); of frames the names of [`Refusal`].
        why: &'static str,
    },
}

/// One participant's end-to-end encryption.
pub struct Encryption {
    conversation: Conversation,
    members: Membership,
    keys: SenderKeys,
    rekeying: Rekeying,
    presence: Presence,
    hints: Hints,
    /// What newcomers must be told too.
    state: Option<Value>,
    /// Old keys, in the order in which they are to be erased.
    erasures: VecDeque<Erasure>,
    /// How the streams of those fare who are not on the roster.
    strangers: HashMap<(ParticipantId, Stream), Reception>,
    /// What was told already, of those who are present.
    told: HashSet<(ParticipantId, &'static str)>,
    refused: BTreeMap<&'static str, u64>,
    happenings: VecDeque<Happening>,
    closed: bool,
}

struct Erasure {
    at: Moment,
    peer: PeerId,
    /// The one that was shown.
    opened: Opened,
    shown: Shown,
}

impl Encryption {
    /// For a participant of that name with the call's link. Identity and keys come out of `rng`, so no two participants
    /// may be given the same.
    pub fn new(link: Arc<Link>, name: &str, mut rng: ChaCha20Rng) -> Self {
        let key_rng = ChaCha20Rng::from_rng(&mut rng);
        let conversation = Conversation::new(link, name, rng);
        let metadata = Metadata::new(conversation.link().call_bytes(), conversation.identity());
        Self {
            conversation,
            members: Membership::default(),
            keys: SenderKeys::new(metadata, key_rng),
            rekeying: Rekeying::default(),
            presence: Presence::default(),
            hints: Hints::default(),
            state: None,
            erasures: VecDeque::new(),
            strangers: HashMap::new(),
            told: HashSet::new(),
            refused: BTreeMap::new(),
            happenings: VecDeque::new(),
            closed: false,
        }
    }

    /// The request to enter the call, for the server's nonce. `host_name` is the one of the page that clients would be
    /// given, with its port where it has one.
    pub fn join(&self, nonce: &Base64Url<32>, host_name: &str) -> Join {
        self.conversation.join(&nonce.0, host_name)
    }

    /// We joined, or joined again over a new connection.
    pub fn joined(&mut self, now: Moment, me: ParticipantId, others: &[ParticipantId]) {
        if self.closed {
            return;
        }
        self.conversation.connect(me, others);
        self.told.clear();
        self.rekeying.restart(&mut self.keys);
        for gone in self.members.connections() {
            if !others.contains(&gone) {
                self.departed(now, gone);
            }
        }
        for &other in others {
            self.arrived(now, other);
        }
        self.members.peers_mut().for_each(|(_, peer)| peer.unpair());
        if !others.is_empty() {
            self.rekeying.settle(now);
        }
        self.presence.start(now);
        self.conversation.send_hello(None, &mut self.happenings);
    }

    /// The server says that somebody joined.
    pub fn arrived(&mut self, now: Moment, id: ParticipantId) {
        if self.members.announce(id) {
            self.presence.expect(id, now);
        } else {
            self.count("crowd");
        }
    }

    /// The server says that somebody left.
    pub fn departed(&mut self, now: Moment, id: ParticipantId) {
        self.members.withdraw(id);
        self.presence.dismiss(id);
        self.conversation.forget(id);
        self.told.retain(|&(told, _)| told != id);
        self.strangers.retain(|&(stranger, _), _| stranger != id);
        if let Some(peer) = self.members.of(id) {
            self.depart(now, peer, false);
        }
    }

    /// A message from another participant, as the server delivered it.
    pub fn receive(&mut self, now: Moment, from: ParticipantId, data: &str) {
        if self.closed {
            return;
        }
        let Some(message) = Envelope::read(data) else {
            self.count("malformed");
            return;
        };
        let (meaning, shown) = self.conversation.receive(from, &message, &mut self.members, &mut self.happenings);
        if let Some(Authenticated { peer, opened, shown }) = shown {
            self.erase_later(now, peer, opened, shown);
        }
        match meaning {
            Ok(Meaning::Nothing) => {}
            Ok(Meaning::Ready(peer, state)) => {
                if let Some(state) = state {
                    self.on_host_state(now, from, &state);
                }
                self.on_ready(now, peer);
            }
            Ok(Meaning::HostState(state)) => self.on_host_state(now, from, &state),
            Ok(Meaning::Keyed) => self.happenings.push_back(Happening::Keyed { id: from }),
            Ok(Meaning::Acknowledged(peer, generation, step)) => {
                self.rekey(now, |rekeying, around| rekeying.acknowledged(around, peer, generation, step));
            }
            Ok(Meaning::Said(peer, kind, body)) => self.on_said(now, from, peer, kind, body),
            Ok(Meaning::Bye(peer)) => self.depart(now, peer, true),
            Err(Trouble::Unverified(why)) => self.unverified(from, why),
            Err(Trouble::Refused(why)) => self.count(why),
        }
    }

    /// Says something to everyone on the roster: `chat` `{id, text}`, `unsend` `{id}`, `speaking` (up to 32 bytes of
    /// JSON; said again every 250 ms until 1.5 s after the last call) and `state` (kept, and told to newcomers too).
    ///
    /// # Errors
    /// Where the kind is unknown or the body is too large or of the wrong form.
    pub fn say(&mut self, now: Moment, kind: &str, body: Value) -> Result<(), Unsayable> {
        check_message(kind, &body)?;
        if self.closed {
            return Ok(());
        }
        if kind == "speaking" {
            self.hints.set(now, body);
            self.handle_timeout(now);
            return Ok(());
        }
        self.broadcast(kind, &body);
        if kind == "state" {
            self.state = Some(body);
        }
        Ok(())
    }

    /// Says goodbye, for good, and erases the keys. Told the time like everything else, though nothing hangs on it.
    pub fn bye(&mut self, _now: Moment) {
        if self.closed {
            return;
        }
        self.conversation.send_bye(&mut self.happenings);
        self.end();
    }

    /// Erases the keys; nothing more is said or opened.
    fn end(&mut self) {
        self.closed = true;
        self.conversation.disconnect();
        self.rekeying = Rekeying::default();
        self.keys.erase();
        self.erasures.clear();
        self.members = Membership::default();
    }

    /// Protects a frame of ours: `out` becomes what is sent. False where it must not be sent.
    pub fn protect(&mut self, stream: Stream, codec: Codec, frame: &[u8], out: &mut Vec<u8>) -> bool {
        let sealed = !self.closed && self.keys.protect(stream_number(stream), codec, frame, out);
        if !sealed {
            self.count("short");
        }
        sealed
    }

    /// Opens a frame that came in a slot assigned to that stream: `out` becomes the frame.
    ///
    /// # Errors
    /// Where it must not be rendered; `out` is then of no meaning.
    pub fn open(
        &mut self,
        from: ParticipantId,
        stream: Stream,
        codec: Codec,
        sealed: &[u8],
        out: &mut Vec<u8>,
        now: Moment,
    ) -> Result<Opened, Refusal> {
        let number = stream_number(stream);
        let Some((id, peer)) = self.members.of(from).and_then(|id| Some((id, self.members.peer_mut(id)?))) else {
            return Err(self.refuse_stranger(from, stream, now));
        };
        if !peer.on_roster() {
            return Err(self.refuse_stranger(from, stream, now));
        }
        let opened = match clear_bytes(codec, sealed) {
            Some(clear) => peer.receiving.open(number, sealed, clear, out),
            None => Err(Refusal::Malformed),
        };
        let reception = &mut peer.receptions[usize::from(number)];
        match opened {
            Ok((opened, shown)) => {
                reception.opened();
                self.erase_later(now, id, opened, shown);
                Ok(opened)
            }
            Err(refusal) => {
                let first_key_by = peer.receiving.is_empty().then(|| peer.entered_at + FIRST_KEY);
                let tell = reception.refused(now, refusal, first_key_by);
                self.refuse(from, refusal, tell);
                Err(refusal)
            }
        }
    }

    /// As if the host had said so, whoever did.
    #[cfg(test)]
    pub(super) fn hand_on(&mut self, state: HostState) {
        self.members.adopt(state);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Moment) {
        while self.next_timeout().is_some_and(|at| at <= now) {
            self.erase(now);
            self.rekey(now, |rekeying, around| rekeying.handle_timeout(around));
            if let Some(body) = self.hints.take_due(now) {
                self.broadcast("speaking", &body);
            }
            if self.presence.is_soon_due(now) {
                self.say_alive(now);
            }
            self.tick(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_timeout(&self) -> Option<Moment> {
        if self.closed {
            return None;
        }
        let erasure = self.erasures.front().map(|erasure| erasure.at);
        let timers = [self.rekeying.next_timeout(), self.presence.next_timeout(), self.hints.next_timeout(), erasure];
        timers.into_iter().flatten().min()
    }

    /// What happened, in order.
    pub fn poll(&mut self) -> Option<Happening> {
        self.happenings.pop_front()
    }

    /// Six groups of five digits, the same for all on the roster. Takes tens of milliseconds.
    pub fn verification_code(&self) -> String {
        let mut identities: Vec<_> = self.members.roster().map(|(_, peer)| peer.hello.identity).collect();
        identities.push(*self.conversation.identity());
        verification_code(self.conversation.link().call_bytes(), identities)
    }

    /// Who is on the roster, in the order of arrival.
    pub fn roster(&self) -> impl Iterator<Item = ParticipantId> {
        self.members.roster().filter_map(|(_, peer)| peer.listed)
    }

    /// Generation and step of the key that our frames are protected with, once there is one.
    pub fn sending(&self) -> Option<(u32, u8)> {
        self.keys.current().map(|key| (key.generation, key.step))
    }

    /// How many messages and frames were refused, by reason.
    pub fn refused(&self) -> &BTreeMap<&'static str, u64> {
        &self.refused
    }

    fn on_ready(&mut self, now: Moment, id: PeerId) {
        let is_admitted = self.members.refusal(id).is_none();
        let Some(peer) = self.members.peer_mut(id) else { return };
        peer.proved = true;
        if peer.paired || !is_admitted {
            return;
        }
        peer.paired = true;
        peer.heard_at = now;
        let (participant, name, before) = (peer.hello.participant, peer.hello.name.clone(), peer.listed);
        peer.listed = Some(participant);
        self.presence.dismiss(participant);
        if before != Some(participant) {
            self.happenings.extend(before.map(|id| Happening::Left { id }));
            self.happenings.push_back(Happening::Entered { id: participant, name });
        }
        if before.is_some() {
            self.rekey(now, |rekeying, around| rekeying.returned(around, id));
        } else {
            peer.entered_at = now;
            self.roster_changed(now);
            self.rekey(now, |rekeying, around| rekeying.entered(around, id));
        }
        if !self.presence.is_expecting() {
            self.rekey(now, |rekeying, around| rekeying.settled_early(around));
        }
    }

    fn on_said(&mut self, now: Moment, from: ParticipantId, id: PeerId, kind: String, body: Value) {
        if let Some(peer) = self.members.peer_mut(id) {
            peer.heard_at = now;
        }
        match kind.as_str() {
            "alive" => {
                let roster = body["roster"].as_str().and_then(array_from_base64url);
                self.presence.heard(now, id, roster, &mut self.members);
            }
            "mute" if !self.is_host(id) => self.count("host"),
            _ => self.happenings.push_back(Happening::Message { from, kind, body }),
        }
    }

    /// Somebody hands on what the host says, which counts if the host said so, and said nothing later.
    fn on_host_state(&mut self, now: Moment, from: ParticipantId, state: &Value) {
        let Some(state) = HostState::read(self.conversation.link(), state) else {
            return self.unverified(from, "host-state");
        };
        if !self.members.adopt(state) {
            return;
        }
        let removes = |state: &HostState| state.removes(self.conversation.identity());
        if self.members.host_state().is_some_and(removes) {
            self.end();
            self.happenings.push_back(Happening::Removed);
            return;
        }
        for id in self.members.removed() {
            self.depart(now, id, false);
        }
        for id in self.members.intruders(now - RECENT) {
            self.exclude(now, id);
        }
        for id in self.members.admissible() {
            if self.members.peer(id).is_some_and(|peer| !peer.greeted) {
                send_ready(&mut self.members, id, &mut self.happenings);
            }
            if self.members.peer(id).is_some_and(|peer| peer.proved) {
                self.on_ready(now, id);
            }
        }
        self.roster_changed(now);
    }

    /// Takes somebody off the roster until the host lets it in.
    fn exclude(&mut self, now: Moment, id: PeerId) {
        let Some(peer) = self.members.peer_mut(id) else { return };
        let (participant, listed) = (peer.hello.participant, peer.listed.take());
        peer.paired = false;
        self.happenings.extend(listed.map(|id| Happening::Left { id }));
        self.unverified(participant, "locked");
        self.roster_changed(now);
        self.rekey(now, |rekeying, around| rekeying.departed(around, id));
    }

    fn is_host(&self, id: PeerId) -> bool {
        let host = self.members.host_state().map(|state| state.said().host);
        self.members.peer(id).is_some_and(|peer| Some(peer.hello.identity) == host)
    }

    fn depart(&mut self, now: Moment, id: PeerId, is_final: bool) {
        let Some(listed) = self.members.forget(id, is_final).and_then(|peer| peer.listed) else { return };
        self.happenings.push_back(Happening::Left { id: listed });
        self.roster_changed(now);
        self.rekey(now, |rekeying, around| rekeying.departed(around, id));
    }

    fn roster_changed(&mut self, now: Moment) {
        let identity = *self.conversation.identity();
        self.presence.roster_changed(now, self.conversation.link().call_bytes(), identity, &mut self.members);
    }

    fn rekey(&mut self, now: Moment, change: impl FnOnce(&mut Rekeying, &mut Around<'_>)) {
        if self.closed {
            return;
        }
        change(&mut self.rekeying, &mut Around { now, keys: &mut self.keys, members: &self.members });
        while let Some(order) = self.rekeying.poll() {
            match order {
                Order::Deliver { peer, generation, step, base } => {
                    let key = (generation, step, &base);
                    self.conversation.send_key(&mut self.members, peer, key, &mut self.happenings);
                }
                Order::Changed { switched } => self.key_changed(now, switched),
            }
        }
    }

    fn key_changed(&mut self, now: Moment, switched: bool) {
        if switched {
            self.happenings.push_back(Happening::KeyFrame);
        }
        if let Some(state) = self.state.take() {
            self.broadcast("state", &state);
            self.state = Some(state);
        }
        self.say_alive(now);
    }

    fn say_alive(&mut self, now: Moment) {
        if let Some(digest) = self.presence.say(now) {
            self.broadcast("alive", &json!({ "roster": to_base64url(&digest) }));
        }
    }

    fn broadcast(&mut self, kind: &str, body: &Value) {
        self.conversation.broadcast(&self.members, &mut self.keys, kind, body, &mut self.happenings);
    }

    fn tick(&mut self, now: Moment) {
        let Some(found) = self.presence.tick(now, &mut self.members) else { return };
        for (id, why) in found.unproven {
            self.unverified(id, why);
        }
        for id in found.lost {
            self.depart(now, id, false);
        }
        for id in self.presence.newly_disagreeing(now, &self.members) {
            self.happenings.push_back(Happening::Unverified { id, why: "disagreement" });
        }
        if self.presence.is_alive_due(now, self.members.members()) {
            self.say_alive(now);
        }
    }

    fn erase_later(&mut self, now: Moment, peer: PeerId, opened: Opened, shown: Shown) {
        if shown != Shown::default() {
            self.erasures.push_back(Erasure { at: now + LINGER, peer, opened, shown });
        }
    }

    fn erase(&mut self, now: Moment) {
        while let Some(Erasure { peer, opened, shown, .. }) = self.erasures.pop_front_if(|next| next.at <= now) {
            let Some(peer) = self.members.peer_mut(peer) else { continue };
            if shown.step {
                peer.receiving.forget_steps(opened.generation, opened.step);
            }
            if shown.generation {
                peer.receiving.forget_generations(opened.generation);
            }
        }
    }

    fn refuse_stranger(&mut self, from: ParticipantId, stream: Stream, now: Moment) -> Refusal {
        // Told of connections that the server announced: others come and go with its words alone.
        let tell = self.members.is_present(from)
            && self.strangers.entry((from, stream)).or_default().refused(now, Refusal::Unknown, None);
        self.refuse(from, Refusal::Unknown, tell);
        Refusal::Unknown
    }

    fn refuse(&mut self, from: ParticipantId, refusal: Refusal, tell: bool) {
        self.count(refusal.name());
        if tell {
            self.happenings.push_back(Happening::Unverified { id: from, why: refusal.name() });
        }
    }

    /// Tells of something once, for as long as its sender is present.
    fn unverified(&mut self, id: ParticipantId, why: &'static str) {
        self.count(why);
        if self.told.insert((id, why)) {
            self.happenings.push_back(Happening::Unverified { id, why });
        }
    }

    fn count(&mut self, why: &'static str) {
        *self.refused.entry(why).or_default() += 1;
    }
}

/// Who came in so shortly before news of a lock may have done so only because the news had not come yet. Later, what
/// others see of the roster differs from ours, and that is shown.
const RECENT: Duration = Duration::from_secs(5);

/// That old keys are kept for frames that are still under way.
const LINGER: Duration = Duration::from_secs(2);
