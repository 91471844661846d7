//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): when each packet of the relay came.

use rtc_rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc, SymbolTypeTcc,
    TransportLayerCc,
};

use super::srtp::Window;
use crate::clock::Moment;

/// Arrivals that were not reported yet.
#[derive(Default)]
pub struct Arrivals {
    extend: Option<Window>,
    arrived: Vec<(u64, Moment)>,
    /// The first number that no report covered.
    next: Option<u64>,
    reports: u8,
}

impl Arrivals {
    /// Notes a packet by its transport-wide number.
    pub fn note(&mut self, sequence: u16, arrived: Moment) {
        let window = self.extend.get_or_insert_with(|| Window::new(u64::from(sequence) + (1 << 16)));
        let index = window.extend(sequence);
        window.note(index);
        self.arrived.push((index, arrived));
    }

    /// Whether there is something to report.
    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty()
    }

    /// The report on all that came since the last one; `None` where nothing did.
    pub fn report(&mut self, sender_ssrc: u32, media_ssrc: u32) -> Option<TransportLayerCc> {
        self.arrived.sort_unstable_by_key(|&(index, _)| index);
        self.arrived.dedup_by_key(|&mut (index, _)| index);
        let &(first, begin) = self.arrived.first()?;
        let &(last, _) = self.arrived.last()?;
        // Numbers before the first that came and after the last report are reported as missing, within reason.
        let base = self.next.filter(|&next| next < first && first - next < GAP_MAX).unwrap_or(first);
        let count = (last + 1 - base).min(COUNT_MAX);
        let reference = begin.0 / REFERENCE;
        let mut report = TransportLayerCc {
            sender_ssrc,
            media_ssrc,
            base_sequence_number: base as u16,
            packet_status_count: count as u16,
            reference_time: (reference & 0xff_ffff) as u32,
            fb_pkt_count: self.reports,
            packet_chunks: Vec::new(),
            recv_deltas: Vec::new(),
        };
        self.reports = self.reports.wrapping_add(1);
        let (mut arrivals, mut ticks) = (self.arrived.iter().peekable(), reference * (REFERENCE / TICK));
        let mut symbols = Vec::with_capacity(count as usize);
        for index in base..base + count {
            let symbol = match arrivals.next_if(|&&(arrived, _)| arrived == index) {
                Some(&(_, at)) => {
                    let delta = (at.0 / TICK) as i64 - ticks as i64;
                    let clamped = delta.clamp(i64::from(i16::MIN), i64::from(i16::MAX));
                    ticks = ticks.saturating_add_signed(clamped);
                    let small = (0..256).contains(&clamped);
                    let symbol = if small { SMALL } else { LARGE };
                    let delta = RecvDelta { type_tcc_packet: symbol, delta: clamped * TICK_US };
                    report.recv_deltas.push(delta);
                    symbol
                }
                None => SymbolTypeTcc::PacketNotReceived,
            };
            symbols.push(symbol);
        }
        report.packet_chunks = symbols.chunks(SYMBOLS).map(chunk).collect();
        self.next = Some(base + count);
        self.arrived.clear();
        Some(report)
    }
}

/// Two bits for each packet: always right, and short enough for the few packets of a tenth of a second.
fn chunk(symbols: &[SymbolTypeTcc]) -> PacketStatusChunk {
    let mut list = symbols.to_vec();
    list.resize(SYMBOLS, SymbolTypeTcc::PacketNotReceived);
    PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
        type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
        symbol_size: SymbolSizeTypeTcc::TwoBit,
        symbol_list: list,
    })
}

const SMALL: SymbolTypeTcc = SymbolTypeTcc::PacketReceivedSmallDelta;
const LARGE: SymbolTypeTcc = SymbolTypeTcc::PacketReceivedLargeDelta;
/// Packets in a chunk.
const SYMBOLS: usize = 7;
/// The reference time counts 64 ms, in nanoseconds.
const REFERENCE: u64 = 64_000_000;
/// Deltas count 250 us, in nanoseconds and microseconds.
const TICK: u64 = 250_000;
const TICK_US: i64 = 250;
/// Numbers in one report at most, so that it fits into a packet.
const COUNT_MAX: u64 = 400;
/// A longer silence was an outage: its numbers are not worth reporting.
const GAP_MAX: u64 = 200;

#[cfg(test)]
mod tests {
    use rtc_shared::marshal::{Marshal, Unmarshal};

    use super::*;

    fn at(us: u64) -> Moment {
        Moment(5_000_000_000 + us * 1000)
    }

    #[test]
    fn each_arrival_and_each_gap_can_be_read_from_the_report() {
        let mut arrivals = Arrivals::default();
        for (sequence, us) in [(65_534_u16, 0), (65_535, 1000), (1, 9000), (0, 8000), (9, 200_000), (9, 200_001)] {
            arrivals.note(sequence, at(us));
        }
        let report = arrivals.report(1, 2).unwrap();
        let report = TransportLayerCc::unmarshal(&mut report.marshal().unwrap()).unwrap();
        assert_eq!((report.base_sequence_number, report.packet_status_count), (65_534, 12));
        let deltas: Vec<i64> = report.recv_deltas.iter().map(|delta| delta.delta).collect();
        assert_eq!(deltas[1..], [1000, 7000, 1000, 191_000]);
        let begin = i64::from(report.reference_time) * 64_000 + deltas[0];
        assert_eq!(begin, 5_000_000, "the first arrival, in microseconds");
    }

    #[test]
    fn what_is_lost_between_two_reports_is_reported_as_lost() {
        let mut arrivals = Arrivals::default();
        arrivals.note(10, at(0));
        assert_eq!(arrivals.report(1, 2).unwrap().packet_status_count, 1);
        assert!(arrivals.report(1, 2).is_none());
        arrivals.note(13, at(1000));
        let report = arrivals.report(1, 2).unwrap();
        assert_eq!((report.base_sequence_number, report.packet_status_count, report.fb_pkt_count), (11, 3, 1));
    }
}
