//! Recent packets of one layer, kept once however many receivers there are, so that losses on the way down can be
//! repaired without asking the publisher.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::packet::Head;

/// A packet older than this helps nobody: players wait for less.
const AGE: Duration = Duration::from_secs(1);
/// Bytes kept at most: one second of 8 Mbit/s, above what a browser sends in one layer.
const CAPACITY: usize = 1 << 20;
/// Bytes at the beginning: one second of 250 kbit/s. The buffer doubles where a second needs more.
const INITIAL: usize = 32 << 10;
/// Packets kept at most, which bounds the search.
const PACKETS: usize = 1024;

/// A ring of packets.
#[derive(Default)]
pub struct Cache {
    bytes: Vec<u8>,
    entries: VecDeque<Entry>,
}

struct Entry {
    head: Head,
    arrived: Instant,
    offset: usize,
    length: usize,
}

impl Cache {
    /// Keeps a packet, and forgets the oldest where room is needed.
    pub fn insert(&mut self, head: Head, payload: &[u8], now: Instant) {
        if payload.len() > CAPACITY / 4 {
            return;
        }
        while self.entries.len() >= PACKETS || self.entries.front().is_some_and(|entry| now > entry.arrived + AGE) {
            self.entries.pop_front();
        }
        let offset = loop {
            match self.place(payload.len()) {
                Some(offset) => break offset,
                None if self.bytes.len() < CAPACITY => self.grow(),
                None => drop(self.entries.pop_front()),
            }
        };
        self.bytes[offset..offset + payload.len()].copy_from_slice(payload);
        self.entries.push_back(Entry { head, arrived: now, offset, length: payload.len() });
    }

    /// The packet with this index, unless it is too old: a stream that stopped pushes nothing out any more. Its payload
    /// may be rewritten: the head keeps what the publisher wrote.
    pub fn get(&mut self, index: u64, now: Instant) -> Option<(Head, &mut [u8])> {
        let entry = self.entries.iter().rev().find(|entry| entry.head.index == index)?;
        if now > entry.arrived + AGE {
            return None;
        }
        Some((entry.head, &mut self.bytes[entry.offset..entry.offset + entry.length]))
    }

    /// Forgets every packet; the memory stays.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Where the next `length` bytes fit behind the newest entry without touching the oldest.
    fn place(&self, length: usize) -> Option<usize> {
        let (Some(oldest), Some(newest)) = (self.entries.front(), self.entries.back()) else {
            return (length <= self.bytes.len()).then_some(0);
        };
        let end = newest.offset + newest.length;
        if newest.offset >= oldest.offset {
            if end + length <= self.bytes.len() {
                return Some(end);
            }
            return (length < oldest.offset).then_some(0);
        }
        (end + length < oldest.offset).then_some(end)
    }

    /// Doubles the buffer and lays the packets out from its beginning, oldest first.
    fn grow(&mut self) {
        let mut larger = Vec::with_capacity((self.bytes.len() * 2).max(INITIAL));
        for entry in &mut self.entries {
            let at = larger.len();
            larger.extend_from_slice(&self.bytes[entry.offset..entry.offset + entry.length]);
            entry.offset = at;
        }
        larger.resize(larger.capacity().min(CAPACITY), 0);
        self.bytes = larger;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(cache: &mut Cache, start: Instant, indices: std::ops::Range<u64>, spacing: Duration) {
        for index in indices {
            let payload = vec![index as u8; 700 + (index as usize * 37) % 500];
            cache.insert(Head::test(index), &payload, start + spacing * index as u32);
        }
    }

    #[test]
    fn packets_come_back_as_they_went_in() {
        let (start, mut cache) = (Instant::now(), Cache::default());
        fill(&mut cache, start, 0..2_000, Duration::from_millis(2));
        let mut found = 0;
        for index in 0..2_000u64 {
            if let Some((head, payload)) = cache.get(index, start + Duration::from_millis(2) * 1_999) {
                assert_eq!(head.index, index);
                assert_eq!(payload.len(), 700 + (index as usize * 37) % 500);
                assert!(payload.iter().all(|&byte| byte == index as u8));
                found += 1;
            }
        }
        assert_eq!(found, 501, "one second of packets, 2 ms apart");
    }

    #[test]
    fn memory_and_packets_are_bounded_at_any_rate() {
        let (start, mut cache) = (Instant::now(), Cache::default());
        fill(&mut cache, start, 0..50_000, Duration::from_micros(1));
        let now = start + Duration::from_millis(50);
        assert!(cache.bytes.len() <= CAPACITY);
        assert!(cache.entries.len() <= PACKETS);
        assert!(cache.get(49_999, now).is_some());
        assert!(cache.get(0, now).is_none());
        let capacity = cache.bytes.capacity();
        fill(&mut cache, start, 50_000..60_000, Duration::from_micros(1));
        assert_eq!(cache.bytes.capacity(), capacity, "no allocation after warm-up");
    }

    #[test]
    fn what_a_stream_left_behind_when_it_stopped_is_soon_too_old() {
        let (start, mut cache) = (Instant::now(), Cache::default());
        fill(&mut cache, start, 0..10, Duration::ZERO);
        assert!(cache.get(9, start + AGE).is_some());
        assert!(cache.get(9, start + AGE + Duration::from_millis(1)).is_none());
    }

    #[test]
    fn a_slow_stream_keeps_a_small_buffer() {
        let (start, mut cache) = (Instant::now(), Cache::default());
        fill(&mut cache, start, 0..1_000, Duration::from_millis(50));
        assert!(cache.bytes.len() <= 2 * INITIAL);
    }

    #[test]
    fn a_packet_too_large_for_the_ring_is_not_kept() {
        let (now, mut cache) = (Instant::now(), Cache::default());
        cache.insert(Head::test(1), &vec![0; CAPACITY], now);
        assert!(cache.get(1, now).is_none());
    }
}
