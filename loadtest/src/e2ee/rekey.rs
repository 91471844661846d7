//! When our sender key changes and who is sent what: a step for newcomers, a fresh generation when somebody left.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::derive::Secret;
use super::membership::{Membership, PeerId};
use super::roster::change_window;
use super::sender_key::{BaseKey, LAST_STEP, SenderKeys};
use crate::clock::Moment;

/// What is to be done about a change, in order.
pub enum Order {
    /// Send a key.
    Deliver {
        /// To whom.
        peer: PeerId,
        /// Of the key.
        generation: u32,
        /// Of the key.
        step: u8,
        /// The key.
        base: Secret<32>,
    },
    /// The key in use changed.
    Changed {
        /// To another generation.
        switched: bool,
    },
}

/// What a change is decided on.
pub struct Around<'a> {
    /// The time.
    pub now: Moment,
    /// Our keys.
    pub keys: &'a mut SenderKeys,
    /// The others.
    pub members: &'a Membership,
}

/// Changes that are due or under way.
#[derive(Default)]
pub struct Rekeying {
    /// On the roster, not yet sent a key.
    newcomers: BTreeSet<PeerId>,
    /// Somebody left since the last change.
    departed: bool,
    /// When those who left must be shut out.
    deadline: Option<Moment>,
    last_change: Option<Moment>,
    /// Until when those who were there first are waited for.
    settled: Option<Moment>,
    /// Who has yet to acknowledge the pending generation.
    waiting: BTreeSet<PeerId>,
    change_at: Option<Moment>,
    switch_at: Option<Moment>,
    orders: VecDeque<Order>,
}

impl Rekeying {
    /// After (re)joining, those who were there first are waited for a moment, so that they share one key message each.
    pub fn settle(&mut self, now: Moment) {
        self.settled = Some(now + SETTLE);
    }

    /// Everyone who was there has been met.
    pub fn settled_early(&mut self, around: &mut Around<'_>) {
        if self.settled.is_some_and(|settled| settled > around.now) {
            self.settled = None;
            if self.change_at.is_some() {
                self.schedule(around);
            }
        }
    }

    /// Somebody entered the roster.
    pub fn entered(&mut self, around: &mut Around<'_>, peer: PeerId) {
        match around.keys.pending() {
            Some(pending) => self.deliver_pending(peer, pending),
            None => {
                self.newcomers.insert(peer);
                self.schedule(around);
            }
        }
    }

    /// Somebody on the roster came back over a new connection: it is sent what the others have.
    pub fn returned(&mut self, around: &mut Around<'_>, peer: PeerId) {
        if self.newcomers.contains(&peer) {
            return;
        }
        if let Some(current) = around.keys.current() {
            self.deliver(peer, current);
        }
        if let Some(pending) = around.keys.pending() {
            self.deliver_pending(peer, pending);
        }
    }

    /// Somebody left the roster.
    pub fn departed(&mut self, around: &mut Around<'_>, peer: PeerId) {
        self.newcomers.remove(&peer);
        if around.keys.current().is_none() {
            return;
        }
        // Whoever left was sent what is pending: it is never switched to.
        around.keys.discard();
        self.cancel_switch();
        self.departed = true;
        let later = change_window(around.members.members()) + SWITCH - Duration::from_secs(1);
        self.deadline.get_or_insert(around.now + later.max(SWITCH));
        self.schedule(around);
    }

    /// Somebody has a key.
    pub fn acknowledged(&mut self, around: &mut Around<'_>, peer: PeerId, generation: u32, step: u8) {
        let pending = around.keys.pending().map(|pending| (pending.generation, pending.step));
        if pending == Some((generation, step)) {
            self.waiting.remove(&peer);
            if self.waiting.is_empty() {
                self.switch(around.keys);
            }
        }
    }

    /// We reconnected: nobody has the new generation, and everyone is sent it on coming back.
    pub fn restart(&mut self, keys: &mut SenderKeys) {
        *self = Self { settled: self.settled, orders: std::mem::take(&mut self.orders), ..Self::default() };
        keys.restart();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, around: &mut Around<'_>) {
        if self.change_at.is_some_and(|at| at <= around.now) {
            self.change_at = None;
            self.change(around);
        }
        if self.switch_at.is_some_and(|at| at <= around.now) {
            self.switch(around.keys);
        }
    }

    /// When something is due.
    pub fn next_timeout(&self) -> Option<Moment> {
        [self.change_at, self.switch_at].into_iter().flatten().min()
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    fn schedule(&mut self, around: &mut Around<'_>) {
        self.change_at = None;
        if self.newcomers.is_empty() && !self.departed {
            return;
        }
        let window = change_window(around.members.members());
        let mut due = self.last_change.map(|last| last + window).max(self.settled);
        if let (true, Some(deadline)) = (self.departed, self.deadline) {
            due = due.map(|due| due.min(deadline));
        }
        match due {
            Some(due) if due > around.now => self.change_at = Some(due),
            _ => self.change(around),
        }
    }

    fn change(&mut self, around: &mut Around<'_>) {
        self.last_change = Some(around.now);
        let spent = around.keys.current().is_some_and(|current| current.step >= LAST_STEP);
        if self.departed || spent { self.start_generation(around) } else { self.step(around) }
    }

    fn step(&mut self, around: &mut Around<'_>) {
        let keys = &mut *around.keys;
        let key = if keys.current().is_some() { keys.step() } else { keys.ensure() };
        for peer in std::mem::take(&mut self.newcomers) {
            self.deliver(peer, key);
        }
        self.orders.push_back(Order::Changed { switched: false });
    }

    fn start_generation(&mut self, around: &mut Around<'_>) {
        self.departed = false;
        self.newcomers.clear();
        let key = around.keys.prepare();
        self.waiting = around.members.roster().map(|(id, _)| id).collect();
        for &peer in &self.waiting {
            self.orders.push_back(delivery(peer, key));
        }
        let at = self.deadline.map_or(around.now + SWITCH, |deadline| deadline.min(around.now + SWITCH));
        if at <= around.now || self.waiting.is_empty() {
            self.switch(around.keys);
        } else {
            self.switch_at = Some(at);
        }
    }

    fn deliver(&mut self, peer: PeerId, key: &BaseKey) {
        self.orders.push_back(delivery(peer, key));
    }

    fn deliver_pending(&mut self, peer: PeerId, pending: &BaseKey) {
        self.waiting.insert(peer);
        self.deliver(peer, pending);
    }

    fn switch(&mut self, keys: &mut SenderKeys) {
        self.cancel_switch();
        self.deadline = None;
        keys.switch();
        self.orders.push_back(Order::Changed { switched: true });
    }

    fn cancel_switch(&mut self) {
        self.switch_at = None;
        self.waiting.clear();
    }
}

fn delivery(peer: PeerId, key: &BaseKey) -> Order {
    Order::Deliver { peer, generation: key.generation, step: key.step, base: key.base.clone() }
}

/// That a joiner gives those who were there before its first key goes out.
const SETTLE: Duration = Duration::from_millis(500);

/// After a departure, by which the fresh generation is used, whoever has not acknowledged it.
const SWITCH: Duration = Duration::from_secs(2);
