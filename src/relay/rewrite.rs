//! The numbers of one slot's stream: sequence numbers, timestamps and picture identifiers go on without a break while
//! publications and layers come and go beneath.

use std::time::Instant;

use arrayvec::ArrayVec;

use super::clock::Ntp;
use super::packet::Head;
use super::reception::extend;
use super::window::Window;

/// Feeds remembered for retransmissions: layers switch seldom, and a cache holds one second.
const FEEDS: usize = 4;

/// A timestamp moves on by this share of a second at least when the source changes: ten milliseconds are less than a
/// frame of any video and more than none, so the player sees another picture, not a second part of the same one.
const LEAST_ADVANCE: u32 = 100;

/// A longer pause counts as this many seconds: players only need to see that there was one, and the timestamps' range
/// stays far.
const LONGEST_PAUSE: f64 = 3600.0;

/// Which stream feeds a slot: a layer, and a serial that changes with its SSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The layer, worst 0.
    pub layer: usize,
    /// Counts streams; none has the number of another.
    pub serial: u64,
}

/// A packet's numbers as one receiver sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Extended sequence number, also the SRTP packet index; never given out twice.
    pub index: u64,
    /// The timestamp.
    pub timestamp: u32,
    /// The picture identifier, for codecs that have one.
    pub picture_id: u16,
    /// TL0PICIDX, likewise.
    pub tl0_index: u8,
}

/// The numbering of one slot.
pub struct Rewriter {
    feeds: ArrayVec<Feed, FEEDS>,
    flowing: bool,
    next: Numbers,
    sent: Window,
    latest: Option<Latest>,
}

#[derive(Clone, Copy)]
struct Feed {
    origin: Origin,
    first_source: u64,
    first: u64,
    timestamp: u32,
    picture_id: u16,
    tl0_index: u8,
}

#[derive(Clone, Copy)]
struct Latest {
    timestamp: u32,
    captured: Option<Ntp>,
    arrived: Instant,
}

impl Rewriter {
    /// Begins at `first`, whose members should be random: RFC 3550 asks for it, so that the text known to an attacker
    /// stays short. The index must leave room in the first cycle of 65,536.
    pub fn new(first: Numbers) -> Self {
        Self { feeds: ArrayVec::new(), flowing: false, next: first, sent: Window::new(), latest: None }
    }

    /// The stream that feeds the slot now.
    pub fn origin(&self) -> Option<Origin> {
        self.feeds.last().filter(|_| self.flowing).map(|feed| feed.origin)
    }

    /// Cuts the feed and forgets what it sent: nothing of it is ever sent again.
    pub fn cut(&mut self) {
        self.feeds.clear();
        self.flowing = false;
    }

    /// Connects another stream, from this packet on; `rate` is the timestamps' clock in Hz.
    pub fn connect(&mut self, origin: Origin, head: &Head, rate: u32) {
        if self.feeds.is_full() {
            self.feeds.remove(0);
        }
        let timestamp = self.latest.map_or(self.next.timestamp, |latest| latest.advanced_to(head, rate));
        let picture_id = head.media.picture_id().map_or(0, |picture| picture.value);
        let tl0_index = head.media.tl0_index().unwrap_or(0);
        self.feeds.push(Feed {
            origin,
            first_source: head.index,
            first: self.next.index,
            timestamp: timestamp.wrapping_sub(head.timestamp),
            picture_id: self.next.picture_id.wrapping_sub(picture_id),
            tl0_index: self.next.tl0_index.wrapping_sub(tl0_index),
        });
        self.flowing = true;
    }

    /// Numbers a packet of the connected stream; `None` where it is from before the switch or was sent already.
    pub fn number(&mut self, head: &Head) -> Option<Numbers> {
        let feed = self.feeds.last().filter(|_| self.flowing)?;
        let numbers = feed.number(head)?;
        if !self.sent.insert(numbers.index) {
            return None;
        }
        self.next.index = self.next.index.max(numbers.index + 1);
        if let Some(picture) = head.media.picture_id() {
            // The publisher's identifier wraps at 7 or 15 bits, so only as many tell how far it is ahead.
            let mask = if picture.wide { 0x7fff } else { 0x7f };
            let ahead = numbers.picture_id.wrapping_sub(self.next.picture_id) & mask;
            if ahead <= mask / 2 {
                self.next.picture_id = self.next.picture_id.wrapping_add(ahead + 1);
            }
        }
        if head.media.tl0_index().is_some() && (numbers.tl0_index.wrapping_sub(self.next.tl0_index) as i8) >= 0 {
            self.next.tl0_index = numbers.tl0_index.wrapping_add(1);
        }
        if self.latest.is_none_or(|latest| (numbers.timestamp.wrapping_sub(latest.timestamp) as i32) > 0) {
            let Head { captured, arrived, .. } = *head;
            self.latest = Some(Latest { timestamp: numbers.timestamp, captured, arrived });
        }
        Some(numbers)
    }

    /// Which stream's packet a receiver means by a sequence number that it was sent.
    pub fn locate(&self, sequence: u16) -> Option<(Origin, u64)> {
        let index = extend(self.sent.highest()?, sequence)?;
        let feed = self.feeds.iter().rev().find(|feed| index >= feed.first)?;
        Some((feed.origin, index - feed.first + feed.first_source))
    }

    /// The numbers of a packet that was sent, or should have been, under `sequence`.
    pub fn numbers_again(&self, sequence: u16, head: &Head) -> Option<Numbers> {
        let index = extend(self.sent.highest()?, sequence)?;
        self.feeds.iter().rev().find(|feed| index >= feed.first)?.number(head)
    }

    /// The receiver's timestamp for the connected stream's `timestamp`.
    pub fn timestamp(&self, timestamp: u32) -> Option<u32> {
        let feed = self.feeds.last().filter(|_| self.flowing)?;
        Some(timestamp.wrapping_add(feed.timestamp))
    }
}

impl Feed {
    fn number(&self, head: &Head) -> Option<Numbers> {
        let distance = head.index.checked_sub(self.first_source)?;
        Some(Numbers {
            index: self.first + distance,
            timestamp: head.timestamp.wrapping_add(self.timestamp),
            picture_id: head.media.picture_id().map_or(0, |picture| picture.value).wrapping_add(self.picture_id),
            tl0_index: head.media.tl0_index().unwrap_or(0).wrapping_add(self.tl0_index),
        })
    }
}

impl Latest {
    /// The timestamp for the first packet of another stream: as much later as it was captured later, or arrived later
    /// where a capture time is unknown.
    fn advanced_to(&self, head: &Head, rate: u32) -> u32 {
        let elapsed = match (self.captured, head.captured) {
            (Some(before), Some(after)) => after.seconds_since(before),
            _ => head.arrived.saturating_duration_since(self.arrived).as_secs_f64(),
        };
        let advance = (elapsed.clamp(0.0, LONGEST_PAUSE) * f64::from(rate)) as u32;
        self.timestamp.wrapping_add(advance.max(rate / LEAST_ADVANCE))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FIRST: Numbers = Numbers { index: 65_530, timestamp: u32::MAX - 100, picture_id: 0x7fff, tl0_index: 255 };

    fn origin(layer: usize) -> Origin {
        Origin { layer, serial: layer as u64 }
    }

    fn head(index: u64, timestamp: u32, picture: u16, arrived: Instant) -> Head {
        let payload = [0x90, 0xe0, 0x80 | (picture >> 8) as u8, picture as u8, picture as u8, 0, 0x50, 1];
        let media = super::super::packet::Media::parse(crate::session::CodecName::Vp8, &payload).expect("whole");
        Head { timestamp, media, arrived, ..Head::test(index) }
    }

    #[test]
    fn a_switch_leaves_no_gap_in_any_number() {
        let start = Instant::now();
        let mut rewriter = Rewriter::new(FIRST);
        let mut all = Vec::new();
        let before = head(100, 5_000, 77, start);
        rewriter.connect(origin(0), &before, 90_000);
        all.push(rewriter.number(&before).expect("first"));
        all.push(rewriter.number(&head(101, 8_000, 78, start + Duration::from_millis(33))).expect("next"));
        let after = head(9_000, 123_456, 4_000, start + Duration::from_millis(66));
        rewriter.connect(origin(1), &after, 90_000);
        all.push(rewriter.number(&after).expect("the first of the new feed"));
        let steps: Vec<_> = all.iter().map(|numbers| numbers.index - FIRST.index).collect();
        assert_eq!(steps, [0, 1, 2]);
        let pictures: Vec<_> = all.iter().map(|numbers| numbers.picture_id & 0x7fff).collect();
        assert_eq!(pictures, [0x7fff, 0, 1]);
        assert_eq!(all[2].timestamp.wrapping_sub(all[1].timestamp), 2_970, "33 ms of wall time");
        assert_eq!(all.iter().map(|numbers| numbers.tl0_index).collect::<Vec<_>>(), [255, 0, 1]);
    }

    #[test]
    fn late_packets_get_consistent_numbers_and_those_before_the_switch_none() {
        let start = Instant::now();
        let mut rewriter = Rewriter::new(FIRST);
        rewriter.connect(origin(0), &head(50, 0, 1, start), 90_000);
        assert_eq!(rewriter.number(&head(50, 0, 1, start)).map(|n| n.index), Some(65_530));
        assert_eq!(rewriter.number(&head(53, 0, 1, start)).map(|n| n.index), Some(65_533));
        assert_eq!(rewriter.number(&head(51, 0, 1, start)).map(|n| n.index), Some(65_531));
        assert_eq!(rewriter.number(&head(49, 0, 1, start)), None);
        assert_eq!(rewriter.number(&head(51, 0, 1, start)), None, "an index is never used twice");
    }

    #[test]
    fn a_lost_packet_is_located_over_a_switch_until_the_feed_is_cut() {
        let start = Instant::now();
        let mut rewriter = Rewriter::new(FIRST);
        rewriter.connect(origin(0), &head(50, 0, 1, start), 90_000);
        rewriter.number(&head(50, 0, 1, start));
        rewriter.number(&head(52, 0, 1, start));
        rewriter.connect(origin(1), &head(700, 0, 1, start), 90_000);
        rewriter.number(&head(700, 0, 1, start));
        assert_eq!(rewriter.locate(65_531), Some((origin(0), 51)));
        assert_eq!(rewriter.locate(65_533), Some((origin(1), 700)));
        assert_eq!(rewriter.numbers_again(65_531, &head(51, 0, 1, start)).map(|n| n.index), Some(65_531));
        rewriter.cut();
        assert_eq!(rewriter.locate(65_531), None);
        assert_eq!(rewriter.origin(), None);
    }

    #[test]
    fn pictures_go_on_over_a_switch_after_the_publishers_identifier_wrapped() {
        let start = Instant::now();
        let mut rewriter = Rewriter::new(FIRST);
        let first = head(1, 0, 0x7ffd, start);
        rewriter.connect(origin(0), &first, 90_000);
        for step in 0..6u16 {
            rewriter.number(&head(1 + u64::from(step), u32::from(step) * 3_000, (0x7ffd + step) & 0x7fff, start));
        }
        let after = head(50, 0, 1234, start);
        rewriter.connect(origin(1), &after, 90_000);
        let picture = rewriter.number(&after).expect("the first of the new feed").picture_id & 0x7fff;
        assert_eq!(picture, (FIRST.picture_id + 6) & 0x7fff);
    }

    #[test]
    fn capture_times_carry_the_timestamps_over_a_switch() {
        let start = Instant::now();
        let mut rewriter = Rewriter::new(FIRST);
        let at = |seconds: f64| Some(Ntp(1 << 40).plus(seconds));
        let before = Head { captured: at(0.0), ..head(1, 0, 1, start) };
        rewriter.connect(origin(0), &before, 90_000);
        let first = rewriter.number(&before).expect("first");
        let after = Head { captured: at(0.5), ..head(1, 777, 1, start + Duration::from_millis(900)) };
        rewriter.connect(origin(1), &after, 90_000);
        let second = rewriter.number(&after).expect("second");
        assert!(second.timestamp.wrapping_sub(first.timestamp).abs_diff(45_000) <= 1);
    }
}
