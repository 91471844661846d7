//! The last packets of a slot of sound just as they were sent, for receivers that negotiated NACK for it. Sound has no
//! retransmission stream, so a packet can go again only under its own number, and under AES-GCM a number must never
//! stand for two different packets (RFC 7714, section 15): what is kept is what left, and it is never protected anew.

use std::time::{Duration, Instant};

use super::reception::extend;

/// Packets kept: one second of 20 ms.
const PACKETS: usize = 50;
/// A packet older than this helps nobody.
const AGE: Duration = Duration::from_secs(1);

/// Packets of one slot as they were sent. Takes no memory until the first.
#[derive(Default)]
pub struct Sent {
    /// By the index, whose remainder is the place.
    packets: Vec<Option<Kept>>,
    highest: Option<u64>,
}

struct Kept {
    index: u64,
    at: Instant,
    datagram: Vec<u8>,
}

impl Sent {
    /// Keeps a packet that was sent under this index.
    pub fn keep(&mut self, index: u64, datagram: &[u8], now: Instant) {
        if self.packets.is_empty() {
            self.packets.resize_with(PACKETS, || None);
        }
        self.highest = self.highest.max(Some(index));
        match &mut self.packets[index as usize % PACKETS] {
            // One that came late does not push out what is newer.
            Some(kept) if kept.index > index => {}
            Some(kept) => {
                (kept.index, kept.at) = (index, now);
                kept.datagram.clear();
                kept.datagram.extend_from_slice(datagram);
            }
            empty => *empty = Some(Kept { index, at: now, datagram: datagram.to_vec() }),
        }
    }

    /// The packet that a receiver means by this sequence number.
    pub fn get(&self, sequence: u16, now: Instant) -> Option<&[u8]> {
        let index = extend(self.highest?, sequence)?;
        let kept = self.packets[index as usize % PACKETS].as_ref()?;
        (kept.index == index && now <= kept.at + AGE).then_some(&kept.datagram)
    }

    /// Forgets every packet: another sender's follow, or other keys.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_comes_back_as_it_left_for_a_second() {
        let (start, mut sent) = (Instant::now(), Sent::default());
        let at = |index: u64| start + Duration::from_millis(20) * (index - 65_500) as u32;
        for index in 65_500..65_600u64 {
            sent.keep(index, &index.to_be_bytes(), at(index));
        }
        let found = (65_500..65_600u64).filter(|&index| {
            let found = sent.get(index as u16, at(65_599));
            assert!(found.is_none_or(|datagram| datagram == index.to_be_bytes()));
            found.is_some()
        });
        assert_eq!(found.count(), PACKETS);
        assert!(sent.get(65_599u64 as u16, at(65_599) + AGE).is_some());
        assert!(sent.get(65_599u64 as u16, at(65_599) + AGE * 2).is_none());
        sent.clear();
        assert!(sent.get(65_599u64 as u16, at(65_599)).is_none());
    }

    #[test]
    fn a_packet_that_was_not_sent_is_none_even_where_its_place_is_taken() {
        let (start, mut sent) = (Instant::now(), Sent::default());
        assert!(sent.get(0, start).is_none());
        sent.keep(100, b"new", start);
        sent.keep(100 - PACKETS as u64, b"late", start);
        assert_eq!(sent.get(100, start), Some(&b"new"[..]));
        assert!(sent.get(100 - PACKETS as u16, start).is_none() && sent.get(100 + PACKETS as u16, start).is_none());
    }
}
