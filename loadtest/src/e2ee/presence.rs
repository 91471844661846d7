//! Who is still there, and whether all see the same roster: `alive` messages, connections that never prove themselves,
//! and members that fall silent.

use std::time::Duration;

use sotto_signaling::message::ParticipantId;

use super::membership::{Membership, PeerId};
use super::roster::{alive_interval, roster_digest, soon};
use crate::clock::Moment;

/// What a look at the clock found.
#[derive(Default)]
pub struct Found {
    /// Connections that did not prove themselves in time, and in which way.
    pub unproven: Vec<(ParticipantId, &'static str)>,
    /// Peers that are as good as gone.
    pub lost: Vec<PeerId>,
}

/// What was said and heard about the roster.
#[derive(Default)]
pub struct Presence {
    /// Connections that have yet to prove themselves, since when.
    expected: Vec<(ParticipantId, Moment)>,
    /// Of our roster.
    digest: Option<[u8; 32]>,
    said_at: Option<Moment>,
    disagreeing: Vec<ParticipantId>,
    tick_at: Option<Moment>,
    soon_at: Option<Moment>,
}

impl Presence {
    /// Looks at the clock from now on.
    pub fn start(&mut self, now: Moment) {
        self.tick_at.get_or_insert(now + TICK);
    }

    /// A connection must prove itself from now on.
    pub fn expect(&mut self, participant: ParticipantId, now: Moment) {
        self.dismiss(participant);
        self.expected.push((participant, now));
    }

    /// It did, or is gone.
    pub fn dismiss(&mut self, participant: ParticipantId) {
        self.expected.retain(|&(expected, _)| expected != participant);
    }

    /// Whether any connection has yet to prove itself.
    pub fn is_expecting(&self) -> bool {
        !self.expected.is_empty()
    }

    /// The roster, of which we are `identity`, is another than before, or the host state is.
    pub fn roster_changed(&mut self, now: Moment, call: &[u8; 16], identity: [u8; 32], members: &mut Membership) {
        let mut identities: Vec<_> = members.roster().map(|(_, peer)| peer.hello.identity).collect();
        identities.push(identity);
        self.soon_at.get_or_insert(now + soon(identities.len()));
        let counter = members.host_state().map_or(0, |state| state.said().counter);
        self.digest = Some(roster_digest(call, identities, counter));
        self.compare(now, members);
    }

    /// A member told its roster; one that tells none agrees with nobody.
    pub fn heard(&mut self, now: Moment, peer: PeerId, roster: Option<[u8; 32]>, members: &mut Membership) {
        if let Some(peer) = members.peer_mut(peer) {
            peer.digest = Some(roster.unwrap_or_default());
        }
        self.compare(now, members);
    }

    /// The others are told our roster now: its digest, once there is a roster.
    pub fn say(&mut self, now: Moment) -> Option<[u8; 32]> {
        self.soon_at = None;
        self.said_at = Some(now);
        self.digest
    }

    /// Whether a change of the roster is to be told now.
    pub fn is_soon_due(&self, now: Moment) -> bool {
        self.soon_at.is_some_and(|at| at <= now)
    }

    /// Whether it is time for another `alive`.
    pub fn is_alive_due(&self, now: Moment, members: usize) -> bool {
        self.said_at.is_none_or(|said| now.since(said) >= alive_interval(members))
    }

    /// Looks at the clock, if it is time to; whoever is found lost is still to be removed.
    pub fn tick(&mut self, now: Moment, members: &mut Membership) -> Option<Found> {
        self.tick_at.filter(|&at| at <= now)?;
        self.tick_at = Some(now + TICK);
        let mut found = Found { lost: lost(now, members), ..Found::default() };
        self.expected.retain(|&(participant, since)| {
            let waiting = now.since(since) < PROOF;
            if !waiting {
                found.unproven.push((participant, unproven(participant, members)));
            }
            waiting
        });
        Some(found)
    }

    /// Members that have told another roster for too long, and were not found so before.
    pub fn newly_disagreeing(&mut self, now: Moment, members: &Membership) -> Vec<ParticipantId> {
        let differ = members
            .roster()
            .filter(|(_, peer)| peer.differs_since.is_some_and(|since| now.since(since) >= DISAGREEMENT));
        let all: Vec<_> = differ.map(|(_, peer)| peer.hello.participant).collect();
        let new = all.iter().copied().filter(|id| !self.disagreeing.contains(id)).collect();
        self.disagreeing = all;
        new
    }

    /// When something is due.
    pub fn next_timeout(&self) -> Option<Moment> {
        [self.tick_at, self.soon_at].into_iter().flatten().min()
    }

    /// Notes for each peer since when it tells another roster than ours.
    fn compare(&mut self, now: Moment, members: &mut Membership) {
        let Some(ours) = self.digest else { return };
        for (_, peer) in members.peers_mut() {
            let same = peer.digest.is_none_or(|theirs| theirs == ours);
            peer.differs_since = if same { None } else { peer.differs_since.or(Some(now)) };
        }
    }
}

/// What is wrong with a connection that did not enter the roster.
fn unproven(participant: ParticipantId, members: &Membership) -> &'static str {
    match members.of(participant) {
        None => "silent",
        Some(peer) => members.refusal(peer).unwrap_or("ready"),
    }
}

/// Those on the roster from whom nothing came for three intervals, or who did not prove themselves again in time.
fn lost(now: Moment, members: &mut Membership) -> Vec<PeerId> {
    let silence = alive_interval(members.members()) * SILENT_INTERVALS;
    let mut lost = Vec::new();
    for (id, peer) in members.peers_mut().filter(|(_, peer)| peer.on_roster()) {
        peer.unpaired_since = if peer.paired { None } else { peer.unpaired_since.or(Some(now)) };
        let unproven = peer.unpaired_since.is_some_and(|since| now.since(since) >= RETURN);
        if unproven || now.since(peer.heard_at) > silence {
            lost.push(id);
        }
    }
    lost
}

/// Between two looks at the clock: what must be seen within seconds is seen within one more.
const TICK: Duration = Duration::from_secs(1);

/// In which a connection must prove itself before it is shown as one that cannot be verified.
const PROOF: Duration = Duration::from_secs(5);

/// In which a member must prove itself again after either side reconnected.
const RETURN: Duration = Duration::from_secs(10);

/// For which rosters may differ while news of one change is under way.
const DISAGREEMENT: Duration = Duration::from_secs(5);

/// Intervals without a message after which a member has left.
const SILENT_INTERVALS: u32 = 3;
