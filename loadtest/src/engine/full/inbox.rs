//! What a connection's parts in the `webrtc` crate hand to the participant. It is unbounded: nothing is dropped here,
//! and how long things waited shows in the time between [`Packet::at`] and their handling.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::clock::Moment;
use crate::engine::{Codec, Event, Received};

/// From a connection to its participant.
pub enum Arrival {
    /// Something happened to the connection.
    Event(Event),
    /// A packet.
    Packet(Packet),
}

/// A received packet; what [`Received`] borrows.
pub struct Packet {
    /// Place of the slot.
    pub slot: usize,
    /// When the kernel had it.
    pub at: Moment,
    /// By its payload type.
    pub codec: Codec,
    /// The last of a frame.
    pub marker: bool,
    /// Of the original.
    pub sequence: u16,
    /// In ticks of the codec's clock.
    pub timestamp: u32,
    /// Whether it came because it was asked for again.
    pub repaired: bool,
    /// Payload descriptor and a piece of a protected frame.
    pub payload: Bytes,
}

impl Packet {
    /// As a participant takes it.
    pub fn received(&self) -> Received<'_> {
        Received {
            slot: self.slot,
            arrived: self.at,
            codec: self.codec,
            marker: self.marker,
            sequence: self.sequence,
            timestamp: self.timestamp,
            repaired: self.repaired,
            size: self.payload.len(),
            payload: Some(&self.payload),
        }
    }
}

/// Filled by the driver of a connection, emptied by its participant.
#[derive(Default)]
pub struct Inbox {
    waiting: Mutex<VecDeque<Arrival>>,
    filled: Notify,
    /// Nanoseconds of the kernel's time of the datagrams that are being handled, see [`Inbox::set_arrival`].
    arrival: AtomicU64,
}

impl Inbox {
    /// Adds something and wakes whoever waits.
    pub fn push(&self, arrival: Arrival) {
        self.lock().push_back(arrival);
        self.filled.notify_one();
    }

    /// Waits until something is there and takes all of it, in order.
    pub async fn take(&self) -> VecDeque<Arrival> {
        loop {
            let waiting = std::mem::take(&mut *self.lock());
            if !waiting.is_empty() {
                return waiting;
            }
            self.filled.notified().await;
        }
    }

    /// The socket has handed datagrams to the driver that came at this time; it handles them before it reads again.
    pub fn set_arrival(&self, at: Moment) {
        self.arrival.store(at.0, Ordering::Relaxed);
    }

    /// When the datagram that is being handled came.
    pub fn arrival(&self) -> Moment {
        Moment(self.arrival.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arrival>> {
        self.waiting.lock().expect("nobody panics while holding it")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn packet(sequence: u16) -> Arrival {
        Arrival::Packet(Packet {
            slot: 0,
            at: Moment(1),
            codec: Codec::Opus,
            marker: false,
            sequence,
            timestamp: 0,
            repaired: false,
            payload: Bytes::new(),
        })
    }

    fn sequences(arrivals: VecDeque<Arrival>) -> Vec<u16> {
        let sequence = |arrival| if let Arrival::Packet(packet) = arrival { packet.sequence } else { 0 };
        arrivals.into_iter().map(sequence).collect()
    }

    #[tokio::test]
    async fn all_that_was_put_in_is_taken_out_in_order_however_much_it_is() {
        let inbox = Inbox::default();
        (1..=10_000).for_each(|sequence| inbox.push(packet(sequence)));
        assert_eq!(sequences(inbox.take().await), (1..=10_000).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn who_waits_is_woken_and_who_gave_up_waiting_loses_nothing() {
        let inbox = Arc::new(Inbox::default());
        let gave_up = tokio::select! {
            biased;
            _ = inbox.take() => false,
            () = std::future::ready(()) => true,
        };
        assert!(gave_up);
        let waiter = tokio::spawn({
            let inbox = Arc::clone(&inbox);
            async move { sequences(inbox.take().await) }
        });
        tokio::task::yield_now().await;
        inbox.push(packet(7));
        assert_eq!(waiter.await.expect("it does not panic"), [7]);
    }
}
