//! The receive log behind transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): which packets
//! of a participant arrived and when, since the last feedback.

use std::time::{Duration, Instant};

use crate::rtp::rtcp::transport_feedback::{FeedbackHead, write_transport_feedback};
use crate::rtp::sequence::nearest_sequence;
use crate::session::Ssrc;

/// Arrivals that were not reported yet.
pub struct Arrivals {
    epoch: Instant,
    /// Extended number and arrival in microseconds after the epoch, in the order of the numbers.
    pending: Vec<(u64, u64)>,
    /// The first number to report on.
    base: u64,
    highest: Option<u64>,
    since: Option<Instant>,
    count: u8,
}

impl Arrivals {
    /// An empty log; `epoch` lies before every arrival.
    pub fn new(epoch: Instant) -> Self {
        Self { epoch, pending: Vec::new(), base: 0, highest: None, since: None, count: 0 }
    }

    /// Logs an arrival.
    pub fn record(&mut self, sequence: u16, arrived: Instant, now: Instant) {
        // One cycle of head start leaves room for numbers from before the first.
        let mut number =
            self.highest.map_or(65_536 + u64::from(sequence), |highest| nearest_sequence(highest, sequence));
        if self.highest.is_some_and(|highest| number.abs_diff(highest) > LEAP) {
            self.pending.clear();
            self.highest = None;
            number = 65_536 + u64::from(sequence);
        }
        if self.highest.is_none() {
            self.base = number;
        }
        if self.pending.len() >= CAPACITY {
            return;
        }
        let micros = arrived.saturating_duration_since(self.epoch).as_micros() as u64;
        match self.pending.iter().rposition(|&(earlier, _)| earlier <= number) {
            Some(place) if self.pending[place].0 == number => return,
            Some(place) => self.pending.insert(place + 1, (number, micros)),
            None => self.pending.insert(0, (number, micros)),
        }
        self.base = self.base.min(number);
        self.highest = self.highest.max(Some(number));
        self.since.get_or_insert(now);
    }

    /// When the next feedback is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| if self.pending.len() >= EARLY { since } else { since + INTERVAL })
    }

    /// Appends the next feedback to `out`; `false` where nothing is left to report. `media` is any stream of the
    /// participant.
    pub fn write(&mut self, sender: Ssrc, media: Ssrc, out: &mut Vec<u8>) -> bool {
        self.since = None;
        let head = FeedbackHead { sender, media, feedback_count: self.count, base_sequence: self.base };
        let reported = write_transport_feedback(&head, &self.pending, out);
        if reported == 0 {
            self.pending.clear();
            return false;
        }
        self.count = self.count.wrapping_add(1);
        self.base = self.pending[reported - 1].0 + 1;
        self.pending.drain(..reported);
        true
    }
}

/// Time from the first unreported arrival to its feedback: browsers adapt within about 50 to 250 ms, and 50 ms costs
/// under 1 % of a video's rate.
const INTERVAL: Duration = Duration::from_millis(50);
/// Arrivals that fill a feedback: it leaves at once.
const EARLY: usize = 300;
/// Arrivals kept at most; more than one drain of the socket brings from one participant.
const CAPACITY: usize = 1024;
/// A leap beyond this is a sender that began anew, not loss.
const LEAP: u64 = 3000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::rtcp::{Compound, Packet};

    fn reported(arrivals: &mut Arrivals) -> Vec<(u16, u16, Vec<u16>)> {
        let (mut all, mut bytes) = (Vec::new(), Vec::new());
        while arrivals.write(Ssrc(1), Ssrc(2), &mut bytes) {}
        for packet in Compound::parse(&bytes).expect("a compound") {
            let Ok(Packet::TransportFeedback(feedback)) = packet else { panic!("feedback alone was written") };
            let sequences = feedback.arrivals().map(|arrival| arrival.sequence).collect();
            all.push((feedback.base_sequence, feedback.status_count, sequences));
        }
        all
    }

    #[test]
    fn what_arrived_and_what_is_missing_is_reported_once() {
        let now = Instant::now();
        let mut arrivals = Arrivals::new(now);
        for sequence in [65_534, 65_535, 1, 2] {
            arrivals.record(sequence, now, now);
        }
        assert_eq!(arrivals.deadline(), Some(now + INTERVAL));
        assert_eq!(reported(&mut arrivals), [(65_534, 5, vec![65_534, 65_535, 1, 2])]);
        assert_eq!(arrivals.deadline(), None);
        arrivals.record(5, now, now);
        assert_eq!(reported(&mut arrivals), [(3, 3, vec![5])], "losses between two feedbacks are told, too");
    }

    #[test]
    fn a_late_packet_is_reported_in_the_next_feedback() {
        let now = Instant::now();
        let mut arrivals = Arrivals::new(now);
        for sequence in [10, 12] {
            arrivals.record(sequence, now, now);
        }
        reported(&mut arrivals);
        arrivals.record(13, now, now);
        arrivals.record(11, now, now);
        assert_eq!(reported(&mut arrivals), [(11, 3, vec![11, 13])]);
    }

    #[test]
    fn a_leap_or_a_flood_stays_bounded() {
        let now = Instant::now();
        let mut arrivals = Arrivals::new(now);
        for step in 0..20_000u32 {
            arrivals.record((step.wrapping_mul(2_654_435_761) >> 7) as u16, now, now);
            arrivals.record((step / 2) as u16, now, now);
            assert!(arrivals.pending.len() <= CAPACITY);
        }
    }
}
