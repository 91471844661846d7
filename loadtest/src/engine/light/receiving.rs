//! A slot as its packets come: order, loss, jitter and clock for its reports (RFC 3550, section 6.4), what to ask for
//! again.

use std::time::Duration;

use rtc_rtcp::reception_report::ReceptionReport;

use super::nack::Nacks;
use super::srtp::Window;
use crate::clock::Moment;
use crate::engine::Codec;

/// One slot.
pub struct Slot {
    /// Source of its media.
    pub ssrc: u32,
    /// What is missing.
    pub nacks: Nacks,
    /// Extended sequence numbers of its media, once it began.
    media: Option<Media>,
    /// Those of its retransmissions.
    repairs: Option<Window>,
    /// Middle of the last sender report's time, and its arrival.
    last_report: Option<(u32, Moment)>,
}

struct Media {
    window: Window,
    /// Extended sequence number of the first packet.
    base: u64,
    received: u64,
    /// Expected and received at the last report.
    reported: (u64, u64),
    /// In ticks.
    jitter: f64,
    /// Arrival in ticks less timestamp, of the last packet.
    transit: Option<i64>,
}

impl Slot {
    /// A slot on which nothing came.
    pub fn new(ssrc: u32) -> Self {
        Self { ssrc, nacks: Nacks::default(), media: None, repairs: None, last_report: None }
    }

    /// The extended sequence number of a media packet, and whether it is the first with it.
    pub fn place(&mut self, sequence: u16) -> (u64, bool) {
        let media = self.media.get_or_insert_with(|| Media::begin(sequence));
        let index = media.window.extend(sequence);
        (index, media.window.is_new(index))
    }

    /// The extended sequence number of a retransmission in its own stream, and whether it is the first with it.
    pub fn place_repair(&mut self, sequence: u16) -> (u64, bool) {
        let window = self.repairs.get_or_insert_with(|| Window::new(u64::from(sequence)));
        let index = window.extend(sequence);
        (index, window.is_new(index))
    }

    /// Notes an authentic retransmission as received in its own stream.
    pub fn note_repair(&mut self, index: u64) {
        if let Some(window) = &mut self.repairs {
            window.note(index);
        }
    }

    /// Notes a media packet that is to be handed on; returns when it was last asked for, if it was.
    pub fn note(
        &mut self,
        arrived: Moment,
        index: u64,
        codec: Codec,
        timestamp: u32,
        repaired: bool,
    ) -> Option<Moment> {
        let media = self.media.as_mut()?;
        let newest = index >= media.window.highest();
        media.window.note(index);
        media.received += 1;
        if newest && !repaired {
            media.time(arrived, codec, timestamp);
        }
        self.nacks.receive(arrived, index)
    }

    /// Notes a sender report of the relay.
    pub fn sender_report(&mut self, now: Moment, ntp: u64) {
        self.last_report = Some(((ntp >> 16) as u32, now));
    }

    /// What to report of it; `None` before anything came.
    pub fn report(&mut self, now: Moment) -> Option<ReceptionReport> {
        let media = self.media.as_mut()?;
        let highest = media.window.highest();
        let expected = (highest + 1).saturating_sub(media.base);
        let (expected_before, received_before) = std::mem::replace(&mut media.reported, (expected, media.received));
        let recent = expected.saturating_sub(expected_before);
        let lost = recent.saturating_sub(media.received - received_before);
        let fraction = (lost * 256).checked_div(recent).unwrap_or(0).min(255) as u8;
        let (last_sender_report, delay) =
            self.last_report.map_or((0, 0), |(middle, at)| (middle, ticks(now.since(at))));
        Some(ReceptionReport {
            ssrc: self.ssrc,
            fraction_lost: fraction,
            total_lost: expected.saturating_sub(media.received).min(LOST_MAX) as u32,
            last_sequence_number: highest as u32,
            jitter: media.jitter as u32,
            last_sender_report,
            delay,
        })
    }
}

impl Media {
    fn begin(sequence: u16) -> Self {
        let base = u64::from(sequence);
        Self { window: Window::new(base), base, received: 0, reported: (0, 0), jitter: 0.0, transit: None }
    }

    fn time(&mut self, arrived: Moment, codec: Codec, timestamp: u32) {
        let arrival = (u128::from(arrived.0) * u128::from(clock_rate(codec)) / 1_000_000_000) as i64;
        let transit = arrival - i64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let step = (transit - before).unsigned_abs() & u64::from(u32::MAX); // timestamps wrap
            if step < u64::from(clock_rate(codec)) {
                self.jitter += (step as f64 - self.jitter) / 16.0;
            }
        }
    }
}

/// Ticks per second of a codec's clock.
pub fn clock_rate(codec: Codec) -> u32 {
    match codec {
        Codec::Opus => 48_000,
        Codec::Vp8 | Codec::Vp9 => 90_000,
    }
}

/// In 65,536ths of a second.
fn ticks(duration: Duration) -> u32 {
    (duration.as_nanos() * 65_536 / 1_000_000_000) as u32
}

/// The field has 24 bits, one of them for the sign.
const LOST_MAX: u64 = 0x7f_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment(1_000_000_000 + ms * 1_000_000)
    }

    fn receive(slot: &mut Slot, ms: u64, sequence: u16) -> bool {
        let (index, new) = slot.place(sequence);
        if new {
            slot.note(at(ms), index, Codec::Vp8, ms as u32 * 90, false);
        }
        new
    }

    #[test]
    fn a_report_tells_loss_since_the_last_one_and_in_all() {
        let mut slot = Slot::new(9);
        for count in 0..100_u16 {
            if count % 4 != 3 {
                assert!(receive(&mut slot, u64::from(count) * 10, 65_500_u16.wrapping_add(count)));
            }
        }
        let report = slot.report(at(1000)).unwrap();
        assert_eq!((report.fraction_lost, report.total_lost), ((24_u32 * 256 / 99) as u8, 24));
        assert_eq!(report.last_sequence_number, 65_500 + 98);
        assert_eq!(report.jitter, 0, "what comes as it was sent has none");
        assert_eq!(slot.report(at(2000)).unwrap().fraction_lost, 0);
    }

    #[test]
    fn a_packet_that_comes_twice_is_new_once() {
        let mut slot = Slot::new(9);
        assert!(receive(&mut slot, 0, 5));
        assert!(!receive(&mut slot, 1, 5));
        assert!(receive(&mut slot, 2, 4));
    }

    #[test]
    fn the_round_trip_can_be_computed_from_what_is_reported() {
        let mut slot = Slot::new(9);
        receive(&mut slot, 0, 1);
        slot.sender_report(at(0), 0x1111_2222_3333_4444);
        let report = slot.report(at(500)).unwrap();
        assert_eq!((report.last_sender_report, report.delay), (0x2222_3333, 32_768));
    }
}
