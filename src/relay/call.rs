//! A call: who is in it, what is published, and which slot carries what.

use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use slab::Slab;

use crate::session::{IceParameters, Incoming, Mid, Session, Slot};

use super::command::{CallKey, LegKey, ParticipantKey, Source};
use super::context::Context;
use super::link::Link;
use super::participant::Participant;
use super::publication::Publication;
use super::rewrite::Numbers;
use super::subscription::Subscription;
use super::timers::{End, Place};
use super::tunnel::Tunnel;

/// One call.
pub struct Call {
    /// What the control plane calls it.
    pub key: CallKey,
    pub(super) participants: Slab<Participant>,
    pub(super) publications: Slab<Publication>,
    pub(super) tunnel: Tunnel,
    pub(super) ask: Vec<u16>,
    keys: HashMap<ParticipantKey, usize, RandomState>,
    index: usize,
    /// The next datagram or command panics: how tests see what a defect costs.
    #[cfg(any(test, feature = "probe"))]
    pub(super) doomed: bool,
    /// Forwards by what the payload says: how tests see that such a thing would be noticed.
    #[cfg(any(test, feature = "probe"))]
    pub(super) curious: bool,
}

impl Call {
    /// An empty call at `index` of its worker.
    pub fn new(key: CallKey, index: usize) -> Self {
        Self {
            key,
            participants: Slab::new(),
            publications: Slab::new(),
            tunnel: Tunnel::default(),
            ask: Vec::new(),
            keys: HashMap::default(),
            index,
            #[cfg(any(test, feature = "probe"))]
            doomed: false,
            #[cfg(any(test, feature = "probe"))]
            curious: false,
        }
    }

    /// Whether the entry that fired is the live one of a link that is still there.
    pub fn alarm_fired(&mut self, place: Place, at: Instant) -> bool {
        let link = match place.end {
            End::Session(index) => self.participants.get_mut(index).map(|participant| &mut participant.link),
            End::Leg(side) => self.tunnel.link_mut(side),
        };
        link.filter(|link| link.place == place).is_some_and(|link| link.alarm.fired(at))
    }

    /// Takes a participant's session: its first, or that of a renegotiation.
    pub fn negotiated(&mut self, key: ParticipantKey, session: Session, context: &mut Context<'_>) {
        let index = match self.keys.get(&key) {
            Some(&index) => {
                self.renew(index, &session);
                index
            }
            None => self.join(key, &session, context),
        };
        self.participants[index].link.publish_ufrags(context);
        self.update_publications(index, session.incoming, context);
        self.update_slots(index, session.slots, context);
        self.attach_waiting(context);
    }

    /// Points a slot at a publication, or at nothing. What it carried stops with this call.
    pub fn bind(&mut self, receiver: ParticipantKey, mid: Mid, source: Option<Source>, context: &mut Context<'_>) {
        let Some(&index) = self.keys.get(&receiver) else { return };
        let slots = &self.participants[index].slots;
        let Some(slot) = slots.iter().position(|slot| slot.slot.mid == mid) else { return };
        self.detach(index, slot, context);
        self.participants[index].slots[slot].source = source;
        self.attach(index, slot, context);
    }

    /// Removes a participant with everything that it sends and receives.
    pub fn leave(&mut self, key: ParticipantKey, context: &mut Context<'_>) {
        let Some(index) = self.keys.remove(&key) else { return };
        for slot in 0..self.participants[index].slots.len() {
            self.detach(index, slot, context);
        }
        for publication in std::mem::take(&mut self.participants[index].publications) {
            self.remove_publication(publication, context);
        }
        self.participants.remove(index).link.release(context);
        context.counters.participants -= 1;
    }

    /// Makes a participant's leg of the tunnel, or gives it new credentials.
    pub fn connect_tunnel(&mut self, pair: (LegKey, LegKey), ice: &IceParameters, context: &mut Context<'_>) {
        self.tunnel.connect(self.index, pair, ice, context);
    }

    /// Removes everybody.
    pub fn close(&mut self, context: &mut Context<'_>) {
        let keys: Vec<_> = self.keys.keys().copied().collect();
        for key in keys {
            self.leave(key, context);
        }
        self.tunnel.end(context);
    }

    /// After a panic nothing here can be trusted to be consistent: gives back what the worker lent, and no more.
    pub fn abandon(&mut self, context: &mut Context<'_>) {
        context.routes.forget_call(self.index);
        for (_, participant) in &self.participants {
            context.out.close(participant.link.run);
        }
        for link in self.tunnel.links() {
            context.out.close(link.run);
        }
        let bound = self.participants.iter().flat_map(|(_, participant)| &participant.slots);
        let bound = bound.filter(|slot| slot.publication.is_some()).count() as u64;
        let live = self.publications.iter().filter(|(_, publication)| publication.is_live()).count() as u64;
        let counters = &mut *context.counters;
        counters.tunnels = counters.tunnels.saturating_sub(u64::from(self.tunnel.is_whole()));
        counters.subscriptions = counters.subscriptions.saturating_sub(bound);
        counters.publications = counters.publications.saturating_sub(live);
        counters.participants = counters.participants.saturating_sub(self.participants.len() as u64);
    }

    /// A receiver's slots need key frames: it has just become reachable.
    pub fn want_all_key_frames(&mut self, receiver: usize, context: &mut Context<'_>) {
        for slot in 0..self.participants[receiver].slots.len() {
            self.want_slot_key_frame(receiver, slot, context);
        }
    }

    /// A slot needs a key frame of the layer that it should get.
    pub fn want_slot_key_frame(&mut self, receiver: usize, slot: usize, context: &mut Context<'_>) {
        let slot = &self.participants[receiver].slots[slot];
        let Some(index) = slot.publication else { return };
        let publication = &self.publications[index];
        let layer = publication.wanted_layer(slot.rewriter.origin(), context.now);
        // Of a publication that has not sent yet, whatever layer has an SSRC may begin.
        let layer = layer.or_else(|| publication.layers.iter().rposition(|layer| layer.ssrc.is_some()));
        if let Some(layer) = layer {
            self.want_key_frame(index, layer, context);
        }
    }

    fn join(&mut self, key: ParticipantKey, session: &Session, context: &mut Context<'_>) -> usize {
        let entry = self.participants.vacant_entry();
        let index = entry.key();
        let link = Link::new(self.index, End::Session(index), &session.ice, context);
        entry.insert(Participant::new(link, key, session, context));
        self.keys.insert(key, index);
        context.counters.participants += 1;
        index
    }

    fn renew(&mut self, index: usize, session: &Session) {
        let participant = &mut self.participants[index];
        participant.link.ice.update(&session.ice);
        participant.spent = false;
        participant.extensions = session.extensions;
        if let Some(downlink) = &mut participant.downlink {
            downlink.extensions = session.extensions;
        }
        if participant.fingerprint != session.fingerprint {
            participant.fingerprint = session.fingerprint;
            participant.forget_keys();
        }
    }

    fn update_publications(&mut self, owner: usize, lines: Vec<Incoming>, context: &mut Context<'_>) {
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.participants[owner].publications)
            .into_iter()
            .partition(|&index| lines.iter().any(|line| line.mid == self.publications[index].line.mid));
        for index in gone {
            self.remove_publication(index, context);
        }
        self.participants[owner].publications = kept;
        for line in lines {
            let known = &self.participants[owner].publications;
            let known = known.iter().copied().find(|&index| self.publications[index].line.mid == line.mid);
            let Some(index) = known else {
                let index = self.publications.insert(Publication::new(owner, line));
                self.participants[owner].publications.push(index);
                continue;
            };
            let was_live = self.publications[index].is_live();
            if !self.publications[index].update(line) {
                self.participants[owner].latches.forget(index);
                context.counters.publications -= u64::from(was_live);
            }
        }
    }

    fn update_slots(&mut self, index: usize, slots: Vec<Slot>, context: &mut Context<'_>) {
        for gone in 0..self.participants[index].slots.len() {
            if !slots.iter().any(|slot| slot.mid == self.participants[index].slots[gone].slot.mid) {
                self.detach(index, gone, context);
                self.participants[index].slots[gone].source = None;
            }
        }
        for slot in slots {
            let known = self.participants[index].slots.iter_mut().find(|known| known.slot.mid == slot.mid);
            match known {
                Some(known) => known.slot = slot,
                None => {
                    let subscription =
                        Subscription::new(slot, first_numbers(context), first_index(context), context.now);
                    self.participants[index].slots.push(subscription);
                }
            }
        }
    }

    /// Connects slots whose publication was not there when they were bound.
    fn attach_waiting(&mut self, context: &mut Context<'_>) {
        let waiting: Vec<_> = self
            .participants
            .iter()
            .flat_map(|(index, participant)| {
                let waits = |slot: &Subscription| slot.source.is_some() && slot.publication.is_none();
                let slots = participant.slots.iter().enumerate();
                slots.filter(move |(_, slot)| waits(slot)).map(move |(slot, _)| (index, slot))
            })
            .collect();
        for (index, slot) in waiting {
            self.attach(index, slot, context);
        }
    }

    fn attach(&mut self, receiver: usize, slot: usize, context: &mut Context<'_>) {
        let subscription = &self.participants[receiver].slots[slot];
        let Some(source) = subscription.source else { return };
        let Some(&owner) = self.keys.get(&source.participant) else { return };
        let mut candidates = self.participants[owner].publications.iter().copied();
        let Some(index) = candidates.find(|&index| self.publications[index].line.mid == source.mid) else { return };
        if self.publications[index].kind() != subscription.slot.kind {
            return;
        }
        self.publications[index].subscribers.push((receiver, slot));
        self.participants[receiver].slots[slot].publication = Some(index);
        context.counters.subscriptions += 1;
        self.want_slot_key_frame(receiver, slot, context);
    }

    fn detach(&mut self, receiver: usize, slot: usize, context: &mut Context<'_>) {
        let subscription = &mut self.participants[receiver].slots[slot];
        let Some(index) = subscription.publication else { return };
        subscription.cut();
        context.counters.subscriptions -= 1;
        let publication = &mut self.publications[index];
        publication.subscribers.retain(|&subscriber| subscriber != (receiver, slot));
        if publication.subscribers.is_empty() {
            for layer in &mut publication.layers {
                layer.key_frames.cancel();
                layer.cache.clear();
            }
        }
    }

    fn remove_publication(&mut self, index: usize, context: &mut Context<'_>) {
        for (receiver, slot) in self.publications[index].subscribers.clone() {
            self.detach(receiver, slot, context);
        }
        let publication = self.publications.remove(index);
        context.counters.publications -= u64::from(publication.is_live());
        if let Some(owner) = self.participants.get_mut(publication.owner) {
            owner.latches.forget(index);
        }
    }
}

/// Random numbers for a slot to begin with.
fn first_numbers(context: &mut Context<'_>) -> Numbers {
    let random = context.random();
    let (picture_id, tl0_index) = (random as u16 & 0x7fff, (random >> 16) as u8);
    Numbers { index: first_index(context), timestamp: context.random(), picture_id, tl0_index }
}

/// RFC 3711, section 3.3.1: a first sequence number below 2^15, so that losing the first packets leaves no doubt about
/// the rollover counter.
fn first_index(context: &mut Context<'_>) -> u64 {
    u64::from(context.random() & 0x7fff)
}
