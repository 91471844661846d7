//! RTCP that participants send: sender reports of what they publish, and what receivers say and ask of their slots.

use std::time::{Duration, Instant};

use crate::rtp::rtcp::report::{ReportBlock, SenderReport};
use crate::rtp::rtcp::{Compound, Packet};
use crate::session::{Kind, Ssrc};

use super::call::Call;
use super::clock::{Ntp, StreamClock};
use super::context::Context;
use super::counters::{Drop, Protocol};
use super::forward::drop_reason;

/// Requests answered of one NACK at most: more than a receiver can have lost within the cache's second.
const NACKS: usize = 512;

/// Weight of a new round trip in its average, as 1 / n.
const RTT_WEIGHT: u32 = 4;

impl Call {
    /// Takes an SRTCP packet from participant `from`.
    pub fn handle_rtcp(&mut self, from: usize, bytes: &mut [u8], arrived: Instant, context: &mut Context<'_>) {
        let Some(inbound) = &mut self.participants[from].inbound else { return context.drop(Drop::Early) };
        let size = bytes.len();
        let len = match inbound.unprotect_rtcp(bytes) {
            Ok(len) => len,
            Err(error) => return context.drop(drop_reason(error)),
        };
        context.counters.received[Protocol::Rtcp as usize].add(size);
        let Ok(compound) = Compound::parse(&bytes[..len]) else { return context.drop(Drop::Malformed) };
        for packet in compound {
            match packet {
                Ok(packet) => self.handle_rtcp_packet(from, packet, arrived, context),
                Err(_) => context.drop(Drop::Malformed),
            }
        }
    }

    fn handle_rtcp_packet(&mut self, from: usize, packet: Packet<'_>, arrived: Instant, context: &mut Context<'_>) {
        match packet {
            Packet::SenderReport(report) => {
                self.handle_sender_report(from, &report, arrived, context);
                report.blocks.for_each(|block| self.handle_report_block(from, &block, context));
            }
            Packet::ReceiverReport(report) => {
                report.blocks.for_each(|block| self.handle_report_block(from, &block, context));
            }
            Packet::Nack(nack) => {
                let Some(slot) = self.slot_of(from, nack.media) else { return };
                for sequence in nack.sequences().take(NACKS) {
                    self.repeat(from, slot, sequence, context);
                }
            }
            Packet::PictureLoss(loss) => self.handle_key_frame_request(from, loss.media, context),
            Packet::FullIntraRequest(request) => {
                for (media, _) in request.entries() {
                    self.handle_key_frame_request(from, media, context);
                }
            }
            // A paused sender says goodbye in some browsers and goes on under the same SSRC: nothing to do. Feedback
            // on what the relay sends is read once it paces.
            Packet::Goodbye(_) | Packet::TransportFeedback(_) | Packet::Other => {}
        }
    }

    fn handle_sender_report(
        &mut self,
        from: usize,
        report: &SenderReport<'_>,
        arrived: Instant,
        context: &mut Context<'_>,
    ) {
        let participant = &mut self.participants[from];
        let Some(stream) = participant.latches.known(report.sender).filter(|stream| !stream.repair) else { return };
        let ntp = Ntp(report.info.ntp);
        participant.clock.report(ntp, context.clock.at(arrived));
        let publication = &mut self.publications[stream.publication];
        let layer = &mut publication.layers[stream.layer];
        layer.reception.sender_report(ntp.middle(), arrived);
        let clock = StreamClock { ntp, timestamp: report.info.rtp_timestamp, rate: layer.clock_rate };
        if layer.clock.replace(clock).is_some() {
            return;
        }
        for &(receiver, slot) in &publication.subscribers {
            let receiver = &mut self.participants[receiver];
            receiver.slots[slot].report_due = true;
            receiver.link.arm(context.now, context);
        }
    }

    fn handle_report_block(&mut self, from: usize, block: &ReportBlock, context: &mut Context<'_>) {
        if self.slot_of(from, block.ssrc).is_none() {
            return;
        }
        let now = context.ntp().middle();
        let Some(downlink) = &mut self.participants[from].downlink else { return };
        if block.last_sr != 0 {
            let units = now.wrapping_sub(block.last_sr).wrapping_sub(block.delay_since_last_sr);
            let rtt = Duration::from_secs_f64(f64::from(units) / 65_536.0);
            // A negative one wraps to hours: clocks that round differently.
            if rtt < Duration::from_secs(10) {
                downlink.rtt = (downlink.rtt * (RTT_WEIGHT - 1) + rtt) / RTT_WEIGHT;
            }
        }
        self.count_loss(from, block, context);
    }

    fn count_loss(&mut self, from: usize, block: &ReportBlock, context: &mut Context<'_>) {
        let slot = self.participants[from].slots.iter_mut().find(|slot| slot.slot.ssrc == block.ssrc);
        let Some(slot) = slot else { return };
        let lost = i64::from(block.lost) - i64::from(slot.reported.0);
        let expected = block.highest_sequence.wrapping_sub(slot.reported.1);
        let first = slot.reported == (0, 0);
        slot.reported = (block.lost, block.highest_sequence);
        // The first block begins at a random number, and a leap is a receiver that began anew.
        if !first && expected < 1 << 16 {
            context.counters.reported_lost += lost.clamp(0, expected.into()) as u64;
            context.counters.reported_expected += u64::from(expected);
        }
    }

    fn handle_key_frame_request(&mut self, from: usize, media: Ssrc, context: &mut Context<'_>) {
        context.counters.plis_received += 1;
        let Some(slot) = self.slot_of(from, media) else { return };
        let subscription = &self.participants[from].slots[slot];
        match (subscription.publication, subscription.rewriter.origin()) {
            (Some(publication), Some(origin)) => self.want_key_frame(publication, origin.layer, context),
            _ => self.want_slot_key_frame(from, slot, context),
        }
    }

    /// Sends a packet again that a receiver misses, if it is kept.
    fn repeat(&mut self, receiver: usize, slot: usize, sequence: u16, context: &mut Context<'_>) {
        context.counters.nacks_received += 1;
        let receiver = &mut self.participants[receiver];
        let Some(downlink) = receiver.downlink.as_mut().filter(|_| receiver.live) else { return };
        let slot = &mut receiver.slots[slot];
        if slot.slot.kind == Kind::Audio {
            return slot.repeat_sound(sequence, downlink, context.now, context.out, context.counters);
        }
        let Some((origin, index)) = slot.rewriter.locate(sequence) else { return };
        let publication = slot.publication.and_then(|index| self.publications.get_mut(index));
        let layer = publication.and_then(|publication| publication.layers.get_mut(origin.layer));
        let Some(layer) = layer.filter(|layer| layer.serial == origin.serial) else { return };
        let Some((head, payload)) = layer.cache.get(index, context.now) else { return };
        let now = (context.now, context.ntp());
        slot.repeat(sequence, &head, payload, downlink, now, context.out, context.counters);
    }

    fn slot_of(&self, receiver: usize, ssrc: Ssrc) -> Option<usize> {
        self.participants[receiver].slots.iter().position(|slot| slot.slot.ssrc == ssrc)
    }
}
