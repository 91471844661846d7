//! The state of one call without sockets or clocks: who is there, publishes, wants what, and which slot carries it.
//!
//! Each operation appends what must follow to a list of [`Effect`]s. Operations of participants that are not (or no
//! longer) in the room do nothing.

mod door;
mod slots;
mod tunnel;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use crate::base64url::Base64Url;
use crate::counters::RoomSize;
use crate::media::{Direction, Kind, Line, ParticipantKey, PublishedMid};
use crate::message::{ErrorCode, ParticipantId, RosterEntry, ServerMessage, Stream};
use door::Door;
pub use door::Ruled;
use slots::{Publication, Released, Slots};
use tunnel::Legs;

/// The participants of one call and what they send each other.
pub struct Room {
    caps: Caps,
    members: BTreeMap<ParticipantKey, Member>,
    keys: HashMap<ParticipantId, ParticipantKey>,
    door: Door,
    legs: Legs,
    /// Counts subscriptions: tells which waits longest.
    subscribed: u64,
}

/// What one room holds at most.
#[derive(Clone, Copy)]
pub struct Caps {
    /// Participants.
    pub participants: usize,
    /// Publications of all together.
    pub publications: usize,
    /// Slot pairs of one participant.
    pub pairs: usize,
    /// Clients that wait outside.
    pub waiting: usize,
    /// Whether two may have a tunnel.
    pub tunnel: bool,
}

/// How a newcomer is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// In the room.
    Enters,
    /// The call is locked: it waits outside.
    Waits,
}

/// What must follow an operation, in this order.
pub enum Effect {
    /// Tell one participant.
    Send(ParticipantKey, ServerMessage),
    /// Tell all participants but this one; who waits outside is none.
    Tell(ParticipantKey, ServerMessage),
    /// Tell a newcomer that it is in the room.
    Enter {
        /// Who.
        key: ParticipantKey,
        /// Its id.
        participant: ParticipantId,
        /// The others.
        participants: Vec<RosterEntry>,
        /// How many slot pairs to ask for.
        pairs: u32,
    },
    /// End the connection of one who is no longer in the room, nor waits outside.
    End(ParticipantKey, ErrorCode),
    /// Have the media plane forget what the participant negotiated.
    Detach(ParticipantKey),
    /// Have the media plane make one's leg of a tunnel to another, and tell its credentials.
    Tunnel {
        /// Whose leg.
        participant: ParticipantKey,
        /// Who is at the other end.
        other: ParticipantKey,
        /// The id of the other.
        peer: ParticipantId,
    },
    /// Have the media plane take a leg away.
    EndTunnel(ParticipantKey),
    /// Have the media plane forward a publication into a receiver's slot, or nothing.
    Bind {
        /// Whose slot.
        receiver: ParticipantKey,
        /// Its MID.
        slot: String,
        /// From which m-line.
        source: Option<PublishedMid>,
    },
}

/// Why an operation was not done; the room is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// The room holds as many participants as it may.
    #[error("the call is full")]
    Full,
    /// It names a stream, slot, m-line or participant that is not there, or the participant itself.
    #[error("no such stream, slot, m-line or participant")]
    Unknown,
    /// The m-line carries another stream.
    #[error("the m-line carries another stream")]
    Conflict,
    /// The room holds as many publications as it may.
    #[error("the call holds as many streams as it may")]
    Limit,
    /// The host removed this identity.
    #[error("the host does not let this participant in")]
    Removed,
    /// The host state in force is newer.
    #[error("a newer host state is in force")]
    Host,
    /// Tunnels are turned off, or there are not exactly these two.
    #[error("no tunnel between these now")]
    Tunnel,
}

struct Member {
    id: ParticipantId,
    identity: Base64Url<32>,
    /// m-lines on which the participant sends, as last negotiated.
    sending: Vec<(String, Kind)>,
    published: BTreeMap<Stream, String>,
    subscriptions: BTreeMap<Publication, Subscription>,
    slots: Slots,
    /// Slot pairs that the client was asked for.
    pairs: usize,
}

#[derive(Clone, Copy)]
struct Subscription {
    /// Height in device pixels at which it is shown.
    height: u32,
    /// Its place in the order of subscribing.
    since: u64,
}

impl RoomError {
    /// The code that tells it.
    pub fn code(self) -> ErrorCode {
        match self {
            RoomError::Full => ErrorCode::Full,
            RoomError::Unknown => ErrorCode::Unknown,
            RoomError::Conflict => ErrorCode::Conflict,
            RoomError::Limit => ErrorCode::Limit,
            RoomError::Removed => ErrorCode::Removed,
            RoomError::Host => ErrorCode::Host,
            RoomError::Tunnel => ErrorCode::Tunnel,
        }
    }
}

impl Room {
    /// An empty room, open to all.
    pub fn new(caps: Caps) -> Self {
        let (members, keys) = (BTreeMap::new(), HashMap::new());
        Self { caps, members, keys, door: Door::default(), legs: Legs::default(), subscribed: 0 }
    }

    /// Receives a newcomer: as a participant, or outside while the room is locked to it. It replaces an older
    /// connection with the same identity, inside or outside.
    pub fn join(
        &mut self,
        key: ParticipantKey,
        id: ParticipantId,
        identity: Base64Url<32>,
        effects: &mut Vec<Effect>,
    ) -> Result<Entry, RoomError> {
        if let Some(older) = self.holder(&identity) {
            self.go(older, effects);
            self.stop_waiting(older, effects);
            effects.push(Effect::End(older, ErrorCode::Replaced));
        }
        if let Some(state) = self.closed_to(&identity)? {
            self.door.wait(key, id, identity, self.caps.waiting)?;
            effects.push(Effect::Send(key, ServerMessage::Waiting { participant: id, state }));
            return Ok(Entry::Waits);
        }
        self.enter(key, id, identity, effects)?;
        Ok(Entry::Enters)
    }

    /// Removes a participant, what it publishes and what it receives, and tells the others; or one who waits. The last
    /// one to leave takes the host state along, and who waits outside is told that the call ended.
    pub fn leave(&mut self, key: ParticipantKey, effects: &mut Vec<Effect>) {
        self.go(key, effects);
        self.stop_waiting(key, effects);
        self.close_when_empty(effects);
    }

    /// The participant closed its forwarded connection: what it sends and receives there is over. It stays in the room.
    pub fn detach(&mut self, key: ParticipantKey, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get(&key) else { return };
        let published: Vec<Stream> = member.published.keys().copied().collect();
        let wanted: Vec<Publication> = member.subscriptions.keys().copied().collect();
        for stream in published {
            self.unpublish(key, stream, effects).expect("the stream was published a moment ago");
        }
        self.end_subscriptions(key, &wanted, effects);
        self.negotiated(key, &[], effects);
        effects.push(Effect::Detach(key));
    }

    /// Takes over the m-lines of an answered offer. A stream whose m-line no longer sends is unpublished.
    pub fn negotiated(&mut self, key: ParticipantKey, lines: &[Line], effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(&key) else { return };
        let sends = lines.iter().filter(|line| line.direction == Direction::Sends);
        member.sending = sends.map(|line| (line.mid.clone(), line.kind)).collect();
        let silent = |(stream, mid): (&Stream, &String)| (!member.can_send(*stream, mid)).then_some(*stream);
        let ended: Vec<Stream> = member.published.iter().filter_map(silent).collect();
        let lost = member.slots.renegotiate(lines);
        for released in lost {
            tell_release(key, released, effects);
        }
        for stream in ended {
            self.unpublish(key, stream, effects).expect("the stream was published a moment ago");
        }
        self.settle(key, effects);
    }

    /// The participant's m-line carries a stream from now on.
    pub fn publish(
        &mut self,
        key: ParticipantKey,
        stream: Stream,
        mid: String,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RoomError> {
        let publications = self.size().publications;
        let Some(member) = self.members.get_mut(&key) else { return Ok(()) };
        if !member.can_send(stream, &mid) {
            return Err(RoomError::Unknown);
        }
        if member.published.iter().any(|(other, taken)| *other != stream && *taken == mid) {
            return Err(RoomError::Conflict);
        }
        match member.published.get_mut(&stream) {
            Some(current) if *current == mid => {}
            Some(current) => {
                *current = mid;
                self.rebind(Publication { participant: key, stream }, effects);
            }
            None if publications >= self.caps.publications => return Err(RoomError::Limit),
            None => {
                member.published.insert(stream, mid);
                effects.push(Effect::Tell(key, ServerMessage::Published { participant: member.id, stream }));
            }
        }
        Ok(())
    }

    /// The participant no longer publishes a stream; subscriptions to it end.
    pub fn unpublish(
        &mut self,
        key: ParticipantKey,
        stream: Stream,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RoomError> {
        let Some(member) = self.members.get_mut(&key) else { return Ok(()) };
        let participant = member.id;
        member.published.remove(&stream).ok_or(RoomError::Unknown)?;
        self.withdraw(&[Publication { participant: key, stream }], effects);
        effects.push(Effect::Tell(key, ServerMessage::Unpublished { participant, stream }));
        Ok(())
    }

    /// The participant wants a publication, or wants it at another height.
    pub fn subscribe(
        &mut self,
        key: ParticipantKey,
        participant: ParticipantId,
        stream: Stream,
        height: u32,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RoomError> {
        let source = self.publication(key, participant, stream).ok_or(RoomError::Unknown)?;
        let Some(member) = self.members.get_mut(&key) else { return Ok(()) };
        self.subscribed += 1;
        let fresh = Subscription { height, since: self.subscribed };
        member.subscriptions.entry(source).and_modify(|known| known.height = height).or_insert(fresh);
        self.settle(key, effects);
        Ok(())
    }

    /// The participant no longer wants a publication. Nothing happens when it is gone already: the two race.
    pub fn unsubscribe(
        &mut self,
        key: ParticipantKey,
        participant: ParticipantId,
        stream: Stream,
        effects: &mut Vec<Effect>,
    ) {
        let Some(source) = self.publication(key, participant, stream) else { return };
        self.end_subscriptions(key, &[source], effects);
    }

    /// The client has pointed a slot at what was assigned at that epoch; what is out of date is ignored.
    pub fn assigned(
        &mut self,
        key: ParticipantKey,
        slot: &str,
        epoch: u32,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RoomError> {
        let Some(member) = self.members.get_mut(&key) else { return Ok(()) };
        let acknowledged = member.slots.acknowledge(slot, epoch).map_err(|_| RoomError::Unknown)?;
        if let Some(publication) = acknowledged {
            let source = self.source(publication);
            effects.push(Effect::Bind { receiver: key, slot: slot.to_owned(), source });
        }
        Ok(())
    }

    /// The participant says something to another, or to all others. What is for somebody who left is dropped.
    pub fn relay(&self, key: ParticipantKey, to: Option<ParticipantId>, data: String, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get(&key) else { return };
        let message = ServerMessage::Relay { from: member.id, data };
        match to {
            None => effects.push(Effect::Tell(key, message)),
            Some(to) => {
                if let Some(to) = self.keys.get(&to).filter(|to| **to != key) {
                    effects.push(Effect::Send(*to, message));
                }
            }
        }
    }

    /// Everyone in the room, without those who wait outside.
    pub fn participants(&self) -> impl Iterator<Item = ParticipantKey> {
        self.members.keys().copied()
    }

    /// How much it holds.
    pub fn size(&self) -> RoomSize {
        RoomSize {
            participants: self.members.len(),
            publications: self.members.values().map(|member| member.published.len()).sum(),
            subscriptions: self.members.values().map(|member| member.subscriptions.len()).sum(),
            waiting: self.door.waiting(),
        }
    }

    fn holder(&self, identity: &Base64Url<32>) -> Option<ParticipantKey> {
        let inside = self.members.iter().find(|(_, member)| member.identity == *identity).map(|(key, _)| *key);
        inside.or_else(|| self.door.holder(identity))
    }

    /// Adds a participant, tells it who is there and who knocks, and tells the others of it.
    fn enter(
        &mut self,
        key: ParticipantKey,
        id: ParticipantId,
        identity: Base64Url<32>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RoomError> {
        if self.members.len() >= self.caps.participants {
            return Err(RoomError::Full);
        }
        let pairs = self.first_pairs();
        let entry =
            |member: &Member| RosterEntry { id: member.id, streams: member.published.keys().copied().collect() };
        let participants = self.members.values().map(entry).collect();
        self.keys.insert(id, key);
        self.members.insert(key, Member::new(id, identity, pairs));
        effects.push(Effect::Enter { key, participant: id, participants, pairs: pairs as u32 });
        let knocks = self.door.knocks().map(|(id, data)| ServerMessage::Knock { id, data: data.to_owned() });
        effects.extend(knocks.map(|knock| Effect::Send(key, knock)));
        effects.push(Effect::Tell(key, ServerMessage::Participant { id }));
        Ok(())
    }

    /// Removes a participant; whether that leaves the room empty is for the caller to see.
    fn go(&mut self, key: ParticipantKey, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.remove(&key) else { return };
        self.keys.remove(&member.id);
        self.end_legs_with(key, effects);
        let publications: Vec<Publication> =
            member.published.into_keys().map(|stream| Publication { participant: key, stream }).collect();
        self.withdraw(&publications, effects);
        effects.push(Effect::Tell(key, ServerMessage::Left { id: member.id }));
    }

    /// Pairs for a newcomer: what is published now, so that the first offer already has them.
    fn first_pairs(&self) -> usize {
        let groups = self.members.iter().flat_map(|(key, member)| {
            member.published.keys().map(|stream| Publication { participant: *key, stream: *stream }.group())
        });
        rounded(distinct(groups)).clamp(FEWEST_PAIRS, MOST_FIRST_PAIRS).min(self.caps.pairs)
    }

    fn publication(&self, of: ParticipantKey, id: ParticipantId, stream: Stream) -> Option<Publication> {
        let participant = *self.keys.get(&id).filter(|key| **key != of)?;
        self.members[&participant].published.contains_key(&stream).then_some(Publication { participant, stream })
    }

    fn source(&self, publication: Publication) -> Option<PublishedMid> {
        let Publication { participant, stream } = publication;
        let mid = self.members.get(&participant)?.published.get(&stream)?.clone();
        Some(PublishedMid { participant, mid })
    }

    /// Ends every subscription to publications that are no more, all of them before a freed slot is given away.
    fn withdraw(&mut self, publications: &[Publication], effects: &mut Vec<Effect>) {
        let receivers: Vec<ParticipantKey> = self.members.keys().copied().collect();
        for receiver in receivers {
            self.end_subscriptions(receiver, publications, effects);
        }
    }

    fn end_subscriptions(&mut self, receiver: ParticipantKey, ended: &[Publication], effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(&receiver) else { return };
        let mut freed = false;
        for publication in ended {
            member.subscriptions.remove(publication);
            if let Some(released) = member.slots.release(*publication) {
                freed = true;
                tell_release(receiver, released, effects);
            }
        }
        if freed {
            self.settle(receiver, effects);
        }
    }

    /// A publication moved to another m-line: what is forwarded follows it.
    fn rebind(&self, publication: Publication, effects: &mut Vec<Effect>) {
        for (receiver, member) in &self.members {
            if let Some(slot) = member.slots.bound(publication) {
                let (receiver, slot) = (*receiver, slot.to_owned());
                effects.push(Effect::Bind { receiver, slot, source: self.source(publication) });
            }
        }
    }

    /// Gives free slots to subscriptions that wait: sound first, then what is shown largest, then who waits longest.
    /// What finds none asks the client for more pairs, while it may have more.
    fn settle(&mut self, receiver: ParticipantKey, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get(&receiver) else { return };
        let waits = |(publication, _): &(&Publication, &Subscription)| !member.slots.holds(**publication);
        let mut waiting: Vec<_> = member.subscriptions.iter().filter(waits).map(|(p, s)| (*p, *s)).collect();
        waiting.sort_by_key(|(publication, subscription)| match publication.stream.kind() {
            Kind::Audio => (0, Reverse(0), subscription.since),
            Kind::Video => (1, Reverse(subscription.height), subscription.since),
        });
        for (publication, _) in waiting {
            let participant = self.members[&publication.participant].id;
            let member = self.members.get_mut(&receiver).expect("the receiver is a member");
            if let Some(place) = member.slots.place(publication) {
                let (slot, epoch, stream) = (place.slot, place.epoch, publication.stream);
                effects.push(Effect::Send(receiver, ServerMessage::Assign { slot, epoch, participant, stream }));
            }
        }
        self.ask_for_pairs(receiver, effects);
    }

    fn ask_for_pairs(&mut self, receiver: ParticipantKey, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(&receiver) else { return };
        let groups = distinct(member.subscriptions.keys().map(|publication| publication.group()));
        let wanted = rounded(groups).min(self.caps.pairs);
        if wanted > member.pairs {
            member.pairs = wanted;
            effects.push(Effect::Send(receiver, ServerMessage::Slots { pairs: wanted as u32 }));
        }
    }
}

impl Member {
    fn new(id: ParticipantId, identity: Base64Url<32>, pairs: usize) -> Self {
        let (sending, slots) = (Vec::new(), Slots::default());
        Self { id, identity, sending, published: BTreeMap::new(), subscriptions: BTreeMap::new(), slots, pairs }
    }

    fn can_send(&self, stream: Stream, mid: &str) -> bool {
        self.sending.iter().any(|(line, kind)| line == mid && *kind == stream.kind())
    }
}

fn tell_release(receiver: ParticipantKey, released: Released, effects: &mut Vec<Effect>) {
    let Released { place, bound } = released;
    if bound {
        effects.push(Effect::Bind { receiver, slot: place.slot.clone(), source: None });
    }
    effects.push(Effect::Send(receiver, ServerMessage::Release { slot: place.slot, epoch: place.epoch }));
}

fn distinct<T: Ord>(items: impl Iterator<Item = T>) -> usize {
    let mut items: Vec<T> = items.collect();
    items.sort();
    items.dedup();
    items.len()
}

/// Pairs are asked for two at a time, which halves the renegotiations while a call fills.
fn rounded(pairs: usize) -> usize {
    pairs.next_multiple_of(2)
}

/// Enough for a call of three without a second negotiation, or for one other person and a screen.
const FEWEST_PAIRS: usize = 2;

/// A newcomer to a large call may not show them all; eight fill a first screen, more follow what is subscribed.
const MOST_FIRST_PAIRS: usize = 8;

#[cfg(test)]
mod tests;
