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
use crate::measure::playback::Freezes;
use crate::measure::{Durations, Interval};
use crate::media::{Inbound, Origin};

/// What was received.
pub struct Reception {
    check_one_in: u32,
    streams: Vec<StreamOutcome>,
    key_change: Durations,
    /// Of slots that ended within this second.
    interval: Interval,
    dark: Vec<Dark>,
}

/// A stream that is not received because our own connection was lost.
struct Dark {
    from: Option<usize>,
    stream: Stream,
    since: Moment,
    /// Until when intervals hold it.
    told: Moment,
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
        let (key_change, interval) = Default::default();
        Self { check_one_in, streams: Vec::new(), key_change, interval, dark: Vec::new() }
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
            let outcome = find(&mut self.streams, tenant.from(), tenant.stream);
            outcome.tally.merge(&tenant.inbound.tally(now));
        }
    }

    /// Our connection is lost: what was received in its slots is frozen until it is received again.
    pub fn lose(&mut self, now: Moment, tenants: Vec<Tenant>) {
        let live = tenants.iter().filter(|tenant| tenant.awaited.is_none());
        let dark = live.map(|tenant| Dark { from: tenant.from(), stream: tenant.stream, since: now, told: now });
        self.dark.extend(dark);
        self.end(now, tenants);
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

    /// What came since the last call. What is still dark once we are connected again may have ended meanwhile.
    pub fn take_interval(&mut self, now: Moment, slots: Option<&mut Slots>, is_connected: bool) -> Interval {
        let mut interval = std::mem::take(&mut self.interval);
        for dark in self.dark.iter_mut().filter(|_| !is_connected) {
            interval.frozen += now.since(std::mem::replace(&mut dark.told, now));
        }
        for (_, tenant) in slots.into_iter().flat_map(Slots::tenants) {
            interval.merge(&tenant.inbound.take_interval(now));
        }
        interval
    }

    /// All that was received in slots that have ended, and how long keys took to change. What is dark stays so to the end
    /// where `is_lost`; otherwise its sender went meanwhile.
    pub fn take_findings(&mut self, now: Moment, is_lost: bool) -> (Vec<StreamOutcome>, Durations) {
        for dark in std::mem::take(&mut self.dark).into_iter().filter(|_| is_lost) {
            find(&mut self.streams, dark.from, dark.stream).tally.freezes.merge(&dark.until(now));
        }
        (std::mem::take(&mut self.streams), std::mem::take(&mut self.key_change))
    }

    fn note_first(&mut self, tenant: &mut Tenant) {
        if let Some(at) = tenant.inbound.first_frame()
            && let Some(since) = tenant.awaited.take()
        {
            let (from, name) = (tenant.from(), tenant.stream);
            find(&mut self.streams, from, name).first_frame.record(at.since(since));
            let again = |dark: &mut Dark| dark.from == from && dark.stream == name;
            for dark in self.dark.extract_if(.., again) {
                find(&mut self.streams, from, name).tally.freezes.merge(&dark.until(at));
                self.interval.frozen += at.since(dark.told);
            }
        }
        if let Some(at) = tenant.inbound.first_key_frame()
            && let Some(since) = tenant.key_awaited.take()
        {
            find(&mut self.streams, tenant.from(), tenant.stream).first_key_frame.record(at.since(since));
        }
    }
}

impl Dark {
    fn until(&self, at: Moment) -> Freezes {
        let lasted = at.since(self.since);
        Freezes { count: 1, total: lasted, longest: lasted }
    }
}

impl Tenant {
    /// The sender's place in the call.
    fn from(&self) -> Option<usize> {
        self.origin.map(|origin| origin.index as usize)
    }

    /// Whether what does not authenticate at this moment may be the last of the slot's tenant before, which the page
    /// drops without a word.
    fn may_be_strange(&self, at: Moment) -> bool {
        self.inbound.first_frame().is_none() && self.strange.is_none_or(|first| at.since(first) < PATIENCE)
    }
}

/// The outcome of a stream, which may be its first.
fn find(streams: &mut Vec<StreamOutcome>, from: Option<usize>, stream: Stream) -> &mut StreamOutcome {
    let place = streams.iter().position(|each| each.from == from && each.stream == stream);
    let place = place.unwrap_or_else(|| {
        streams.push(StreamOutcome::new(from, stream));
        streams.len() - 1
    });
    &mut streams[place]
}

/// The page says that somebody cannot be verified after as long of nothing else (e2ee.md, rule 20).
const PATIENCE: Duration = Duration::from_secs(1);
