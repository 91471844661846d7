//! What a participant receives: frames put together in each slot, opened, compared, and counted by sender and stream.

use std::time::Duration;

use sotto_signaling::media::Kind;
use sotto_signaling::message::{ParticipantId, Stream};

use super::outcome::StreamOutcome;
use super::roster::Roster;
use super::slots::{Slots, Tenant};
use crate::clock::Moment;
use crate::e2ee::{Encryption, Opened, Refusal};
use crate::engine::{Codec, Received};
use crate::measure::{Durations, Interval};
use crate::media::{Inbound, Origin};

/// What was received.
pub struct Reception {
    check_one_in: u32,
    streams: Vec<StreamOutcome>,
    key_change: Durations,
    /// Of slots that ended within this second.
    interval: Interval,
}

/// What opens frames, and knows whose they are.
pub struct Keys<'a> {
    /// The keys.
    pub encryption: &'a mut Encryption,
    /// The senders.
    pub roster: &'a mut Roster,
}

impl Reception {
    /// Nothing received yet.
    pub fn new(check_one_in: u32) -> Self {
        Self { check_one_in, streams: Vec::new(), key_change: Durations::default(), interval: Interval::default() }
    }

    /// A slot was assigned, of which the subscription was asked for at `since`.
    pub fn begin(
        &mut self,
        now: Moment,
        (participant, stream): (ParticipantId, Stream),
        origin: Option<Origin>,
        since: Moment,
    ) -> Tenant {
        let inbound = Inbound::new(now, stream, origin, self.check_one_in);
        let key_awaited = (stream.kind() == Kind::Video).then_some(since);
        Tenant { participant, stream, origin, inbound, awaited: Some(since), key_awaited, strange: None }
    }

    /// Slots are no longer theirs: what they received is counted.
    pub fn end(&mut self, now: Moment, tenants: impl IntoIterator<Item = Tenant>) {
        for mut tenant in tenants {
            self.interval.merge(&tenant.inbound.take_interval(now));
            stream(&mut self.streams, &tenant).tally.merge(&tenant.inbound.tally(now));
        }
    }

    /// A packet came. Tells whether a key frame should be asked for.
    pub fn handle_packet(&mut self, now: Moment, packet: &Received<'_>, slots: &mut Slots, keys: Keys<'_>) -> bool {
        let Some(tenant) = slots.tenant(packet.slot) else { return false };
        let Keys { encryption, roster } = keys;
        let (participant, name) = (tenant.participant, tenant.stream);
        let may_be_strange = tenant.may_be_strange(packet.arrived);
        let mut strange = false;
        let mut open = |codec: Codec, sealed: &[u8], out: &mut Vec<u8>| {
            let opened = encryption.open(participant, name, codec, sealed, out, now);
            match &opened {
                Ok(Opened { generation, step, .. }) => {
                    let other = roster.get(participant);
                    let took = other.and_then(|o| o.key_change.authenticated(packet.arrived, *generation, *step));
                    took.into_iter().for_each(|took| self.key_change.record(took));
                }
                // What came before its key is known as that.
                Err(Refusal::Key | Refusal::Unknown) => {}
                Err(_) => strange |= may_be_strange,
            }
            opened
        };
        let wants_key_frame = tenant.inbound.handle_packet(packet, &mut open);
        if strange {
            tenant.strange = tenant.strange.or(Some(packet.arrived));
            tenant.inbound = Inbound::new(now, name, tenant.origin, self.check_one_in);
            return name.kind() == Kind::Video;
        }
        self.note_first(tenant);
        wants_key_frame
    }

    /// Gives up what waited long enough. Answers with the slots in which a key frame should be asked for.
    pub fn handle_timeout(&mut self, now: Moment, slots: &mut Slots) -> Vec<usize> {
        let due = slots.tenants().filter(|(_, tenant)| tenant.inbound.next_timeout().is_some_and(|at| at <= now));
        due.filter_map(|(place, tenant)| tenant.inbound.handle_timeout(now).then_some(place)).collect()
    }

    /// What came since the last call.
    pub fn take_interval(&mut self, now: Moment, slots: Option<&mut Slots>) -> Interval {
        let mut interval = std::mem::take(&mut self.interval);
        for (_, tenant) in slots.into_iter().flat_map(Slots::tenants) {
            interval.merge(&tenant.inbound.take_interval(now));
        }
        interval
    }

    /// All that was received in slots that have ended, and how long keys took to change.
    pub fn take_findings(&mut self) -> (Vec<StreamOutcome>, Durations) {
        (std::mem::take(&mut self.streams), std::mem::take(&mut self.key_change))
    }

    fn note_first(&mut self, tenant: &mut Tenant) {
        if let Some(at) = tenant.inbound.first_frame()
            && let Some(since) = tenant.awaited.take()
        {
            stream(&mut self.streams, tenant).first_frame.record(at.since(since));
        }
        if let Some(at) = tenant.inbound.first_key_frame()
            && let Some(since) = tenant.key_awaited.take()
        {
            stream(&mut self.streams, tenant).first_key_frame.record(at.since(since));
        }
    }
}

impl Tenant {
    /// Whether what does not authenticate at this moment may be the last of the slot's tenant before, which the page
    /// drops without a word.
    fn may_be_strange(&self, at: Moment) -> bool {
        self.inbound.first_frame().is_none() && self.strange.is_none_or(|first| at.since(first) < PATIENCE)
    }
}

/// The outcome of what a slot carries.
fn stream<'a>(streams: &'a mut Vec<StreamOutcome>, tenant: &Tenant) -> &'a mut StreamOutcome {
    let from = tenant.origin.map(|origin| origin.index as usize);
    let place = streams.iter().position(|each| each.from == from && each.stream == tenant.stream);
    let place = place.unwrap_or_else(|| {
        streams.push(StreamOutcome::new(from, tenant.stream));
        streams.len() - 1
    });
    &mut streams[place]
}

/// The page says that somebody cannot be verified after as long of nothing else (e2ee.md, rule 20).
const PATIENCE: Duration = Duration::from_secs(1);
