//! The running calls by id, and who holds a seat in them. A call is found by one lookup and forgotten with its last
//! seat.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::call::{Call, Input};
use crate::media::{MediaError, ParticipantKey};
use crate::message::{CallId, ErrorCode};
use crate::server::{Phase, Shared};

/// Every running call.
#[derive(Default)]
pub(crate) struct Directory {
    entries: Mutex<HashMap<CallId, Entry>>,
    /// Numbers participants and calls; a participant's number is never used twice in a process.
    numbers: AtomicU64,
}

struct Entry {
    inbox: mpsc::Sender<Input>,
    seats: usize,
    number: u64,
}

/// One connection's hold on a call. While it exists the call does; dropping the last one ends the call.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    call: CallId,
    /// Which call of this id: one that failed may have a successor while its seats still exist.
    number: u64,
    pub(crate) key: ParticipantKey,
    pub(crate) inbox: mpsc::Sender<Input>,
}

impl Directory {
    /// Takes a seat in the call, which begins when nobody is in it.
    pub(crate) fn enter(&self, shared: &Arc<Shared>, call: CallId) -> Result<Seat, ErrorCode> {
        let mut entries = self.lock();
        if !entries.contains_key(&call) {
            let entry = self.begin(shared, call, entries.len())?;
            entries.insert(call, entry);
        }
        let entry = entries.get_mut(&call).expect("it was there or has begun");
        // The room counts participants; seats also hold those who wait outside, or
        // are about to be replaced by their own reconnection.
        if entry.seats >= 2 * shared.limits.participants + shared.limits.waiting {
            return Err(ErrorCode::Full);
        }
        entry.seats += 1;
        let key = ParticipantKey(self.numbers.fetch_add(1, Relaxed));
        Ok(Seat { shared: Arc::clone(shared), call, number: entry.number, key, inbox: entry.inbox.clone() })
    }

    /// Forgets a call that failed, so that its members' next join begins another.
    pub(crate) fn retire(&self, call: CallId, number: u64) {
        let mut entries = self.lock();
        if entries.get(&call).is_some_and(|entry| entry.number == number) {
            entries.remove(&call);
        }
    }

    /// How many calls there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn begin(&self, shared: &Arc<Shared>, call: CallId, running: usize) -> Result<Entry, ErrorCode> {
        if *shared.phase.borrow() != Phase::Open {
            return Err(ErrorCode::Unavailable);
        }
        if running >= shared.limits.calls {
            return Err(ErrorCode::Full);
        }
        let (sender, events) = mpsc::channel(EVENTS);
        let media = shared.media.open(sender).map_err(|error| match error {
            MediaError::Full => ErrorCode::Full,
            MediaError::Unavailable | MediaError::Offer(_) => ErrorCode::Unavailable,
        })?;
        let (inbox, inputs) = mpsc::channel(INPUTS);
        let number = self.numbers.fetch_add(1, Relaxed);
        tokio::spawn(Call::new(Arc::clone(shared), call, number, media).run(inputs, events));
        Ok(Entry { inbox, seats: 0, number })
    }

    fn leave(&self, call: CallId, number: u64) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&call).filter(|entry| entry.number == number) else { return };
        entry.seats -= 1;
        if entry.seats == 0 {
            entries.remove(&call);
            entries.shrink_to_fit();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, Entry>> {
        // Nothing between lock and unlock leaves an entry half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.directory.leave(self.call, self.number);
    }
}

/// Messages from clients that wait for the call; a session that finds no room waits and reads no further.
const INPUTS: usize = 64;

/// Events that wait for the call: one each time a transport comes up or goes.
const EVENTS: usize = 256;
