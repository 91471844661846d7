//! Slots: the m-lines on which a participant receives, whose sender a message changes.

use sotto_signaling::message::{ParticipantId, Stream};

use crate::clock::Moment;
use crate::media::{Inbound, Origin};

/// All slots of a connection, in the engine's order.
#[derive(Default)]
pub struct Slots {
    slots: Vec<Slot>,
}

struct Slot {
    mid: String,
    /// Of the last assignment or release that was heard of; 0 before the first.
    epoch: u32,
    tenant: Option<Tenant>,
}

/// What a slot carries.
pub struct Tenant {
    /// Whose publication.
    pub participant: ParticipantId,
    /// Which of theirs.
    pub stream: Stream,
    /// Where its frames come from, where they are of this tester.
    pub origin: Option<Origin>,
    /// What puts its frames together and checks them.
    pub inbound: Inbound,
    /// When it was asked for; absent once a frame has authenticated.
    pub awaited: Option<Moment>,
    /// When it was asked for; absent once a key frame has authenticated, and for sound.
    pub key_awaited: Option<Moment>,
    /// When a frame that may be of the slot's tenant before was first refused.
    pub strange: Option<Moment>,
}

impl Slots {
    /// The MIDs of the m-lines that receive, of which there may be more now.
    pub fn described(&mut self, mids: Vec<String>) {
        for mid in mids.into_iter().skip(self.slots.len()) {
            self.slots.push(Slot { mid, epoch: 0, tenant: None });
        }
    }

    /// Takes over an assignment. Answers with the one whom it ends, if it is not out of date; the caller then moves the
    /// new tenant in.
    pub fn assign(&mut self, mid: &str, epoch: u32) -> Option<(usize, Option<Tenant>)> {
        let place = self.slots.iter().position(|slot| slot.mid == mid)?;
        let slot = &mut self.slots[place];
        if epoch <= slot.epoch {
            return None;
        }
        slot.epoch = epoch;
        Some((place, slot.tenant.take()))
    }

    /// Fills a slot that was just assigned.
    pub fn move_in(&mut self, place: usize, tenant: Tenant) {
        self.slots[place].tenant = Some(tenant);
    }

    /// Ends an assignment; a release may carry the epoch that it ends, or a later one.
    pub fn release(&mut self, mid: &str, epoch: u32) -> Option<Tenant> {
        let slot = self.slots.iter_mut().find(|slot| slot.mid == mid)?;
        if epoch < slot.epoch {
            return None;
        }
        slot.epoch = epoch;
        slot.tenant.take()
    }

    /// Someone left, or stopped publishing a stream: what carries it is empty at once, whatever the relay says later.
    pub fn forget(&mut self, participant: ParticipantId, stream: Option<Stream>) -> Vec<Tenant> {
        let theirs = |tenant: &mut Tenant| {
            tenant.participant == participant && stream.is_none_or(|stream| tenant.stream == stream)
        };
        self.slots.iter_mut().filter_map(|slot| slot.tenant.take_if(theirs)).collect()
    }

    /// Empties all.
    pub fn clear(&mut self) -> Vec<Tenant> {
        self.slots.iter_mut().filter_map(|slot| slot.tenant.take()).collect()
    }

    /// What a slot carries, by its place.
    pub fn tenant(&mut self, place: usize) -> Option<&mut Tenant> {
        self.slots.get_mut(place)?.tenant.as_mut()
    }

    /// All that are carried, with their places.
    pub fn tenants(&mut self) -> impl Iterator<Item = (usize, &mut Tenant)> {
        let numbered = self.slots.iter_mut().enumerate();
        numbered.filter_map(|(place, slot)| Some((place, slot.tenant.as_mut()?)))
    }

    /// When one of them has something to do.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.slots.iter().filter_map(|slot| slot.tenant.as_ref()?.inbound.next_timeout()).min()
    }
}
