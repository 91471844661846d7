//! RTCP of a connection (RFC 3550, 4585): what the relay asks and reports, what we ask and report.

use bytes::{Bytes, BytesMut};
use rtc_rtcp::packet::{Packet, marshal, unmarshal};
use rtc_rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};
use rtc_rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};

use super::{Connection, FEEDBACK, REPORTS, ROUND_TRIP, earliest};
use crate::clock::Moment;
use crate::engine::Event;
use crate::engine::light::description::CNAME;
use crate::engine::light::sending::Way;

impl Connection {
    /// Asks the relay for a key frame in a slot.
    pub(super) fn request_key_frame(&mut self, slot: usize) {
        let Some(slot) = self.slots.get(slot) else { return };
        self.say(&[Box::new(PictureLossIndication { sender_ssrc: self.ssrc, media_ssrc: slot.ssrc })]);
    }

    /// Takes an SRTCP packet.
    pub(super) fn handle_rtcp(&mut self, now: Moment, datagram: &mut [u8]) {
        let Some(keys) = &mut self.keys else { return self.counters.strange += 1 };
        let Ok(length) = keys.open.open_rtcp(datagram) else { return self.counters.forged += 1 };
        let mut rest = &datagram[..length];
        while let Some(&[first, kind, high, low]) = rest.first_chunk() {
            let length = 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
            let Some((mut packet, after)) = rest.split_at_checked(length) else { return self.counters.strange += 1 };
            rest = after;
            // Feedback on our own pace is for who adapts to it.
            if (kind, first & 0x1f) == TRANSPORT_WIDE {
                continue;
            }
            match unmarshal(&mut packet) {
                Ok(packets) => packets.iter().for_each(|packet| self.handle_control(now, packet.as_ref())),
                Err(_) => self.counters.strange += 1,
            }
        }
    }

    fn handle_control(&mut self, now: Moment, packet: &dyn Packet) {
        let packet = packet.as_any();
        if let Some(report) = packet.downcast_ref::<SenderReport>() {
            if let Some(slot) = self.slots.iter_mut().find(|slot| slot.ssrc == report.ssrc) {
                slot.sender_report(now, report.ntp_time);
            }
            self.note_blocks(&report.reports);
        } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            self.note_blocks(&report.reports);
        } else if let Some(loss) = packet.downcast_ref::<PictureLossIndication>() {
            self.want_key_frame(loss.media_ssrc);
        } else if let Some(request) = packet.downcast_ref::<FullIntraRequest>() {
            request.fir.iter().for_each(|entry| self.want_key_frame(entry.ssrc));
        } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            self.repeat(now, nack);
        }
    }

    fn note_blocks(&mut self, blocks: &[ReceptionReport]) {
        for block in blocks {
            self.tracks.iter_mut().for_each(|track| track.note_known(block.ssrc));
        }
    }

    fn want_key_frame(&mut self, ssrc: u32) {
        if let Some((stream, layer)) = self.lines.sent_under(ssrc) {
            self.events.push(Event::KeyFrameWanted { stream, layer: Some(layer) });
        }
    }

    fn repeat(&mut self, now: Moment, nack: &TransportLayerNack) {
        let Some(keys) = &self.keys else { return };
        let round_trip = self.ice.round_trip().unwrap_or(ROUND_TRIP);
        let sequences = nack.nacks.iter().flat_map(|pair| pair.into_iter()).take(REPEATS);
        let Some((stream, _)) = self.lines.sent_under(nack.media_ssrc) else { return };
        let Some(track) = self.tracks.iter_mut().find(|track| track.stream == stream) else { return };
        let mut way = Way { now, keys: &keys.seal, labels: &mut self.labels, outbox: &mut self.outbox };
        for sequence in sequences {
            track.repeat(nack.media_ssrc, sequence, round_trip, &mut way);
        }
    }

    /// Asks for what is missing.
    pub(super) fn ask_again(&mut self, now: Moment) {
        if self.next_nack.is_none_or(|next| now < next) {
            return;
        }
        self.next_nack = None;
        let round_trip = self.ice.round_trip().unwrap_or(ROUND_TRIP);
        let (mut ask, mut packets) = (Vec::new(), Vec::<Box<dyn Packet>>::new());
        for slot in &mut self.slots {
            slot.nacks.poll(now, round_trip, &mut ask);
            self.next_nack = earliest(self.next_nack, slot.nacks.next_timeout());
            if !ask.is_empty() {
                let nacks = nack_pairs_from_sequence_numbers(&ask);
                packets.push(Box::new(TransportLayerNack { sender_ssrc: self.ssrc, media_ssrc: slot.ssrc, nacks }));
                ask.clear();
            }
        }
        for packet in packets {
            self.say(&[packet]);
        }
    }

    /// Tells when the relay's packets came.
    pub(super) fn give_feedback(&mut self, now: Moment) {
        if self.arrivals.is_empty() || now < self.next_feedback {
            return;
        }
        self.next_feedback = now + FEEDBACK;
        let media = self.slots.first().map_or(0, |slot| slot.ssrc);
        if let Some(report) = self.arrivals.report(self.ssrc, media) {
            self.say(&[Box::new(report)]);
        }
    }

    /// Sender and receiver reports, each with our name.
    pub(super) fn give_reports(&mut self, now: Moment) {
        if now < self.next_report {
            return;
        }
        self.next_report = now + REPORTS;
        let mut blocks: Vec<ReceptionReport> = self.slots.iter_mut().filter_map(|slot| slot.report(now)).collect();
        let mut packets = Vec::<Box<dyn Packet>>::new();
        let mut sources = Vec::new();
        for report in self.tracks.iter().flat_map(|track| track.reports(now)) {
            sources.push(report.ssrc);
            packets.push(Box::new(report));
        }
        // The first block stands in every compound even where there is nothing to report (RFC 3550, section 6.1).
        while packets.is_empty() || !blocks.is_empty() {
            let reports = blocks.split_off(blocks.len().saturating_sub(BLOCKS_MAX));
            packets.push(Box::new(ReceiverReport { ssrc: self.ssrc, reports, profile_extensions: Bytes::new() }));
        }
        sources.push(self.ssrc);
        packets.push(Box::new(description(&sources)));
        self.say(&packets);
    }

    fn say(&mut self, packets: &[Box<dyn Packet>]) {
        let Some(keys) = &mut self.keys else { return };
        let bytes: BytesMut = marshal(packets).expect("reports are within the bounds of their fields");
        self.outbox.push_rtcp(&mut keys.seal, &bytes);
    }
}

fn description(sources: &[u32]) -> SourceDescription {
    let name = || SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: Bytes::from_static(CNAME.as_bytes()) };
    let chunk = |&source| SourceDescriptionChunk { source, items: vec![name()] };
    SourceDescription { chunks: sources.iter().map(chunk).collect() }
}

/// Transport layer feedback, format 15.
const TRANSPORT_WIDE: (u8, u8) = (205, 15);
/// Blocks in one receiver report: its count has five bits, and with 24 pairs a compound must still fit into a packet.
const BLOCKS_MAX: usize = 31;
/// Repetitions for one request: more than is kept of a stream.
const REPEATS: usize = 512;
