//! Who is in the call as far as we could verify: connections that the server announces, peers whose hello held, and
//! among them the roster, whose pairwise `ready` opened.

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::signature::ParsedPublicKey;
use sotto_signaling::message::ParticipantId;

use super::frame::Metadata;
use super::hello::Hello;
use super::host_state::HostState;
use super::pairwise::Pair;
use super::receiver_key::ReceiverKeys;
use super::reception::Reception;
use crate::clock::Moment;

/// Names a peer for as long as it is known; counts up, so that walks over peers follow their arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u64);

/// Another participant, by identity; it may come with several connections in turn.
pub struct Peer {
    /// How it introduced its latest connection.
    pub hello: Hello,
    /// Checks what it signs.
    pub verifying: ParsedPublicKey,
    /// What its frames are opened with.
    pub receiving: ReceiverKeys,
    /// What it and we say to one another alone.
    pub pair: Option<Pair>,
    /// Whether it was sent a `ready` of our connection.
    pub greeted: bool,
    /// Whether a `ready` of its connection opened: it has the link's secret.
    pub proved: bool,
    /// Whether it may be sent keys: it proved itself, and the host lets it in.
    pub paired: bool,
    /// The connection under which it is on the roster: shown, and part of the verification code.
    pub listed: Option<ParticipantId>,
    /// When it entered the roster.
    pub entered_at: Moment,
    /// When it last said something.
    pub heard_at: Moment,
    /// The roster that it last told.
    pub digest: Option<[u8; 32]>,
    /// Since when that differs from ours.
    pub differs_since: Option<Moment>,
    /// Since when it has had to prove itself again.
    pub unpaired_since: Option<Moment>,
    /// How its streams fare, by number.
    pub receptions: [Reception; 4],
}

impl Peer {
    /// Its connection, or ours, is another: both sides have to prove themselves anew.
    pub fn unpair(&mut self) {
        self.pair = None;
        (self.greeted, self.proved, self.paired) = (false, false, false);
    }

    /// Whether it is on the roster.
    pub fn on_roster(&self) -> bool {
        self.listed.is_some()
    }

    /// Whether keys may be sent to it.
    pub fn takes_keys(&self) -> bool {
        self.paired && self.on_roster()
    }
}

/// An authentic hello, held against what came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To be met.
    New,
    /// The one that we know.
    Same(PeerId),
    /// It must be shown, with this word.
    Wrong(&'static str),
}

/// Connections, peers and roster.
#[derive(Default)]
pub struct Membership {
    /// Connections that the server says are in the call, in the order in which it did.
    present: Vec<ParticipantId>,
    peers: BTreeMap<PeerId, Peer>,
    by_identity: HashMap<[u8; 32], PeerId>,
    by_connection: HashMap<ParticipantId, PeerId>,
    /// By identity, those who left included.
    seen: HashMap<[u8; 32], Seen>,
    /// The latest.
    host_state: Option<HostState>,
    met: u64,
    remembered: u64,
}

struct Seen {
    seq: u64,
    is_final: bool,
    /// Counts up, to find the oldest.
    at: u64,
}

impl Membership {
    /// The server says that a connection is there; false where there are too many.
    pub fn announce(&mut self, participant: ParticipantId) -> bool {
        if self.is_present(participant) {
            return true;
        }
        let room = self.present.len() < MAX_PARTICIPANTS;
        if room {
            self.present.push(participant);
        }
        room
    }

    /// The server says that a connection is gone.
    pub fn withdraw(&mut self, participant: ParticipantId) {
        self.present.retain(|&present| present != participant);
    }

    /// Whether the server says that it is there.
    pub fn is_present(&self, participant: ParticipantId) -> bool {
        self.present.contains(&participant)
    }

    /// All that the server says are there.
    pub fn connections(&self) -> Vec<ParticipantId> {
        self.present.clone()
    }

    /// Judges an authentic hello that came over the connection `from`.
    pub fn judge(&self, from: ParticipantId, hello: &Hello) -> Verdict {
        if hello.participant != from {
            return Verdict::Wrong("elsewhere");
        }
        let known = self.by_identity.get(&hello.identity).copied();
        let holder = self.by_connection.get(&from).copied();
        if holder.is_some() && holder != known {
            return Verdict::Wrong("identity");
        }
        if let Some((id, peer)) = known.and_then(|id| self.peers.get(&id).map(|peer| (id, peer)))
            && peer.hello.participant == from
            && (peer.hello.seq, peer.hello.key) == (hello.seq, hello.key)
        {
            return Verdict::Same(id);
        }
        match self.seen.get(&hello.identity) {
            Some(seen) if seen.is_final || hello.seq <= seen.seq => Verdict::Wrong("replay"),
            _ => Verdict::New,
        }
    }

    /// Takes in a hello that was judged new.
    pub fn meet(&mut self, call: &[u8; 16], hello: Hello, verifying: ParsedPublicKey) -> PeerId {
        let (identity, participant, seq) = (hello.identity, hello.participant, hello.seq);
        let known = self.by_identity.get(&identity).copied();
        let id = known.unwrap_or_else(|| {
            self.met += 1;
            PeerId(self.met)
        });
        match self.peers.get_mut(&id) {
            Some(peer) => {
                self.by_connection.remove(&peer.hello.participant);
                peer.hello = hello;
                peer.unpair();
            }
            None => {
                let metadata = Metadata::new(call, &identity);
                self.peers.insert(id, Peer::new(hello, verifying, metadata));
                self.by_identity.insert(identity, id);
            }
        }
        self.by_connection.insert(participant, id);
        self.remember(identity, seq, false);
        id
    }

    /// Forgets a peer and erases its keys; `is_final` where its identity may never come back.
    pub fn forget(&mut self, id: PeerId, is_final: bool) -> Option<Peer> {
        let peer = self.peers.remove(&id)?;
        self.by_identity.remove(&peer.hello.identity);
        if self.by_connection.get(&peer.hello.participant) == Some(&id) {
            self.by_connection.remove(&peer.hello.participant);
        }
        self.remember(peer.hello.identity, peer.hello.seq, is_final);
        Some(peer)
    }

    /// The peer behind a connection.
    pub fn of(&self, participant: ParticipantId) -> Option<PeerId> {
        self.by_connection.get(&participant).copied()
    }

    /// A peer.
    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    /// A peer, to be changed.
    pub fn peer_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(&id)
    }

    /// Every peer, in the order of arrival.
    pub fn peers_mut(&mut self) -> impl Iterator<Item = (PeerId, &mut Peer)> {
        self.peers.iter_mut().map(|(&id, peer)| (id, peer))
    }

    /// Those on the roster, in the order of arrival.
    pub fn roster(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers.iter().filter(|(_, peer)| peer.on_roster()).map(|(&id, peer)| (id, peer))
    }

    /// Takes in a host state; false where that changes nothing.
    pub fn adopt(&mut self, state: HostState) -> bool {
        let is_new = self.host_state.as_ref().is_none_or(|held| state.supersedes(held));
        if is_new {
            self.host_state = Some(state);
        }
        is_new
    }

    /// What the host last said.
    pub fn host_state(&self) -> Option<&HostState> {
        self.host_state.as_ref()
    }

    /// Why a peer must not be keyed by the host's word: it was removed, or the call is locked and it is neither on the
    /// roster nor admitted.
    pub fn refusal(&self, id: PeerId) -> Option<&'static str> {
        let (state, peer) = (self.host_state.as_ref()?, self.peers.get(&id)?);
        let identity = &peer.hello.identity;
        if state.removes(identity) {
            return Some("removed");
        }
        (!state.admits(identity) && !peer.on_roster()).then_some("locked")
    }

    /// Those on the roster whom the host has removed.
    pub fn removed(&self) -> Vec<PeerId> {
        let Some(state) = &self.host_state else { return Vec::new() };
        let removed = self.roster().filter(|(_, peer)| state.removes(&peer.hello.identity));
        removed.map(|(id, _)| id).collect()
    }

    /// Those who came in after `since` and whom the host would not have let in.
    pub fn intruders(&self, since: Moment) -> Vec<PeerId> {
        let Some(state) = &self.host_state else { return Vec::new() };
        let late = self.roster().filter(|(_, peer)| peer.entered_at > since && !state.admits(&peer.hello.identity));
        late.map(|(id, _)| id).collect()
    }

    /// Those whom the host lets in, and who have yet to be sent a `ready`, or sent one that did not count.
    pub fn admissible(&self) -> Vec<PeerId> {
        let kept_out = |peer: &Peer| !peer.greeted || (peer.proved && !peer.paired);
        let waiting = self.peers.iter().filter(|(_, peer)| peer.pair.is_some() && kept_out(peer));
        waiting.map(|(&id, _)| id).filter(|&id| self.refusal(id).is_none()).collect()
    }

    /// How many are in the call so far as we could verify, ourselves included.
    pub fn members(&self) -> usize {
        self.roster().count() + 1
    }

    fn remember(&mut self, identity: [u8; 32], seq: u64, is_final: bool) {
        self.remembered += 1;
        self.seen.insert(identity, Seen { seq, is_final, at: self.remembered });
        if self.seen.len() <= MAX_SEEN {
            return;
        }
        let gone = self.seen.iter().filter(|(identity, _)| !self.by_identity.contains_key(*identity));
        if let Some(oldest) = gone.min_by_key(|(_, seen)| seen.at).map(|(&identity, _)| identity) {
            self.seen.remove(&oldest);
        }
    }
}

impl Peer {
    fn new(hello: Hello, verifying: ParsedPublicKey, metadata: Metadata) -> Self {
        Self {
            hello,
            verifying,
            receiving: ReceiverKeys::new(metadata),
            pair: None,
            greeted: false,
            proved: false,
            paired: false,
            listed: None,
            entered_at: Moment::default(),
            heard_at: Moment::default(),
            digest: None,
            differs_since: None,
            unpaired_since: None,
            receptions: Default::default(),
        }
    }
}

/// Connections in one call: several times what a relay admits.
const MAX_PARTICIPANTS: usize = 1_024;

/// Identities that are remembered, so that an old hello is known again. Only holders of the link can add one; a hello
/// older than the memory is of no use either, since nobody has its key.
const MAX_SEEN: usize = 4_096;
