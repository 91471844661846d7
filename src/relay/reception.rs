//! What the relay knows of one incoming stream: order, loss and jitter for receiver reports (RFC 3550, appendix A).

use std::time::{Duration, Instant};

use crate::rtp::rtcp::report::ReportBlock;
use crate::session::Ssrc;

use super::window::Window;

/// Reception of one SSRC.
pub struct Reception {
    clock_rate: u32,
    window: Window,
    first: u64,
    received: u64,
    repaired: u64,
    last_arrival: Option<Instant>,
    transit: Option<(Instant, u32)>,
    jitter_16: u32,
    prior: (u64, u64),
    last_report: Option<(u32, Instant)>,
}

impl Reception {
    /// Knows nothing yet; `clock_rate` in Hz.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            window: Window::new(),
            first: u64::MAX,
            received: 0,
            repaired: 0,
            last_arrival: None,
            transit: None,
            jitter_16: 0,
            prior: (0, 0),
            last_report: None,
        }
    }

    /// Notes a packet; `false` where it came before, or is too old to tell.
    pub fn receive(&mut self, index: u64, timestamp: u32, arrived: Instant) -> bool {
        if !self.window.insert(index) {
            return false;
        }
        self.first = self.first.min(index);
        self.received += 1;
        self.last_arrival = Some(self.last_arrival.map_or(arrived, |last| last.max(arrived)));
        self.update_jitter(timestamp, arrived);
        true
    }

    /// Notes a packet that came by retransmission: it fills the window, yet says nothing of the network's loss or
    /// jitter (RFC 4588, section 4: the streams are reported apart).
    pub fn repair(&mut self, index: u64) -> bool {
        let first = self.window.highest().is_some() && self.window.insert(index);
        if first {
            self.repaired += 1;
        }
        first
    }

    /// The extended number that `sequence` most likely stands for; `None` before the first packet.
    pub fn extend(&self, sequence: u16) -> Option<u64> {
        extend(self.window.highest()?, sequence)
    }

    /// When the latest packet arrived.
    pub fn last_arrival(&self) -> Option<Instant> {
        self.last_arrival
    }

    /// Notes a sender report by the middle 32 bits of its NTP time.
    pub fn sender_report(&mut self, ntp_middle: u32, arrived: Instant) {
        self.last_report = Some((ntp_middle, arrived));
    }

    /// The next report block; `None` before the first packet.
    pub fn report(&mut self, ssrc: Ssrc, now: Instant) -> Option<ReportBlock> {
        let highest = self.window.highest()?;
        let expected = highest - self.first + 1;
        let lost = expected.saturating_sub(self.received);
        let expected_now = expected - self.prior.0;
        let lost_now = expected_now.saturating_sub(self.received - self.prior.1);
        self.prior = (expected, self.received);
        let (last_sr, delay_since_last_sr) = match self.last_report {
            Some((ntp, arrived)) => (ntp, units_of_65536(now.saturating_duration_since(arrived))),
            None => (0, 0),
        };
        Some(ReportBlock {
            fraction_lost: (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8,
            ssrc,
            lost: lost.min(0x7f_ffff) as i32,
            highest_sequence: highest as u32,
            jitter: self.jitter_16 >> 4,
            last_sr,
            delay_since_last_sr,
        })
    }

    fn update_jitter(&mut self, timestamp: u32, arrived: Instant) {
        if let Some((last_arrived, last_timestamp)) = self.transit
            && last_timestamp != timestamp
        {
            let elapsed = arrived.saturating_duration_since(last_arrived).as_secs_f64() * f64::from(self.clock_rate);
            let advance = f64::from(timestamp.wrapping_sub(last_timestamp) as i32);
            // A leap of the timestamps (another track under the same SSRC) is no jitter.
            let difference = (elapsed - advance).abs().min(f64::from(self.clock_rate)) as u32;
            self.jitter_16 = self.jitter_16 + difference - ((self.jitter_16 + 8) >> 4);
        }
        self.transit = Some((arrived, timestamp));
    }
}

/// The number nearest to `reference` whose lower 16 bits are `sequence`; `None` where it would lie before zero.
pub fn extend(reference: u64, sequence: u16) -> Option<u64> {
    let difference = i64::from(sequence.wrapping_sub(reference as u16) as i16);
    reference.checked_add_signed(difference)
}

/// A duration in 1/65,536 s, as report blocks carry it.
pub fn units_of_65536(duration: Duration) -> u32 {
    (duration.as_micros().saturating_mul(65_536) / 1_000_000).min(u128::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_the_loss_since_the_last_one() {
        let start = Instant::now();
        let mut reception = Reception::new(90_000);
        for index in (100..200).filter(|index| index % 4 != 1) {
            assert!(reception.receive(index, (index * 3000) as u32, start + Duration::from_micros(index * 33_333)));
        }
        let block = reception.report(Ssrc(1), start + Duration::from_secs(4)).expect("packets came");
        assert_eq!((block.fraction_lost, block.lost, block.highest_sequence), (64, 25, 199));
        assert!(block.jitter < 10, "evenly spaced packets have next to no jitter: {}", block.jitter);
        for index in 200..300 {
            reception.receive(index, (index * 3000) as u32, start + Duration::from_micros(index * 33_333));
        }
        let block = reception.report(Ssrc(1), start + Duration::from_secs(8)).expect("packets came");
        assert_eq!((block.fraction_lost, block.lost), (0, 25));
    }

    #[test]
    fn a_repaired_packet_is_new_once_and_changes_no_loss() {
        let start = Instant::now();
        let mut reception = Reception::new(90_000);
        assert!(!reception.repair(9), "nothing is known of the stream yet");
        reception.receive(10, 0, start);
        reception.receive(12, 6000, start);
        assert!(reception.repair(11));
        assert!(!reception.repair(11));
        assert!(!reception.receive(11, 3000, start));
        assert_eq!(reception.report(Ssrc(1), start).map(|block| block.lost), Some(1));
    }

    #[test]
    fn sequence_numbers_extend_to_the_nearest() {
        assert_eq!(extend(65_535, 0), Some(65_536));
        assert_eq!(extend(65_536, 65_535), Some(65_535));
        assert_eq!(extend(3, 65_535), None);
        assert_eq!(extend(100_000, 34_464), Some(100_000));
    }

    #[test]
    fn the_delay_since_a_sender_report_counts_in_65536ths() {
        let start = Instant::now();
        let mut reception = Reception::new(48_000);
        reception.receive(1, 0, start);
        reception.sender_report(0xabcd_1234, start);
        let block = reception.report(Ssrc(1), start + Duration::from_millis(500)).expect("a packet came");
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0xabcd_1234, 32_768));
    }
}
