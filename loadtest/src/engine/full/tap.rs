//! Stands between the `webrtc` crate's transport and its tracks, as an interceptor: packets in clear, before and after
//! repair, go to the participant from here, and the crate's own bounded queues, which drop, never see them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use rtc::interceptor::{Attribute, AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;
use rtc::{rtcp, rtp};

use super::gaps::Gaps;
use super::inbox::{Arrival, Inbox, Packet as Arrived};
use super::slots::{Source, Streams, codec_of};
use crate::clock::Moment;
use crate::engine::Event;

/// The one at the transport: takes packets off, asks for those that are missing, and names what is sent.
pub struct Tap {
    inbox: Arc<Inbox>,
    streams: Arc<Mutex<Streams>>,
    gaps: HashMap<u32, Gaps>,
    ids: Identifiers,
    /// The same instant on both clocks.
    epoch: (Instant, Moment),
    /// In the name of whom feedback is sent.
    ssrc: u32,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

/// Ids of header extensions (RFC 8285) that were agreed on.
#[derive(Default)]
struct Identifiers {
    mid: Option<u8>,
    rid: Option<u8>,
    repaired_rid: Option<u8>,
}

/// The one behind all others: ends the way of RTP that the participant already has.
#[derive(Default)]
pub struct End {
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Tap {
    /// `epoch` is one instant on both clocks; `ssrc` the sender of its feedback.
    pub fn new(inbox: Arc<Inbox>, streams: Arc<Mutex<Streams>>, epoch: (Instant, Moment), ssrc: u32) -> Self {
        let (gaps, ids) = (HashMap::new(), Identifiers::default());
        Self { inbox, streams, gaps, ids, epoch, ssrc, reads: VecDeque::new(), writes: VecDeque::new() }
    }

    fn receive(&mut self, packet: &rtp::Packet) {
        let rtp::Header { ssrc, payload_type, sequence_number, timestamp, marker, .. } = packet.header;
        let at = self.inbox.arrival();
        let source = self.streams.lock().expect(UNPOISONED).source(ssrc);
        let (Some(source), Some(codec)) = (source, codec_of(payload_type)) else { return };
        let mut payload = packet.payload.clone();
        let (slot, sequence, repaired) = match source {
            Source::Media { slot } => {
                let gaps = self.gaps.entry(ssrc).or_default();
                (slot, sequence_number, gaps.receive(at, sequence_number))
            }
            // An empty one probes the path (RFC 4588, section 4, says nothing of it).
            Source::Repair { .. } if payload.len() <= 2 => return,
            Source::Repair { slot, of } => {
                let original = payload.get_u16();
                self.gaps.entry(of).or_default().repair(at, original);
                (slot, original, true)
            }
        };
        self.inbox.push(Arrival::Packet(Arrived { slot, at, codec, marker, sequence, timestamp, repaired, payload }));
    }

    fn feedback(&self, packets: &[Box<dyn rtcp::Packet>]) {
        for packet in packets {
            let packet = packet.as_any();
            if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
                self.key_frame_wanted(pli.media_ssrc);
            } else if let Some(fir) = packet.downcast_ref::<FullIntraRequest>() {
                fir.fir.iter().for_each(|entry| self.key_frame_wanted(entry.ssrc));
            }
        }
    }

    fn key_frame_wanted(&self, ssrc: u32) {
        let streams = self.streams.lock().expect(UNPOISONED);
        if let Some(target) = streams.target(ssrc) {
            let (stream, layer) = (target.stream, target.layer);
            self.inbox.push(Arrival::Event(Event::KeyFrameWanted { stream, layer }));
        }
    }

    /// Says in the packet which m-line and which encoding it is of (RFC 9143 section 15, RFC 8852).
    fn name(&self, packet: &mut rtp::Packet) -> Result<(), Error> {
        let streams = self.streams.lock().expect(UNPOISONED);
        let Some(target) = streams.target(packet.header.ssrc) else { return Ok(()) };
        if let Some(id) = self.ids.mid.filter(|_| !target.mid.is_empty()) {
            packet.header.set_extension(id, Bytes::copy_from_slice(target.mid.as_bytes()))?;
        }
        let id = if target.repair { self.ids.repaired_rid } else { self.ids.rid };
        if let Some(id) = id.filter(|_| !target.rid.is_empty()) {
            packet.header.set_extension(id, Bytes::from_static(target.rid.as_bytes()))?;
        }
        Ok(())
    }

    fn learn(&mut self, info: &StreamInfo) {
        for extension in &info.rtp_header_extensions {
            let id = u8::try_from(extension.id).ok();
            match extension.uri.as_str() {
                MID => self.ids.mid = id,
                RID => self.ids.rid = id,
                REPAIRED_RID => self.ids.repaired_rid = id,
                _ => {}
            }
        }
    }

    fn moment(&self, instant: Instant) -> Moment {
        self.epoch.1 + instant.saturating_duration_since(self.epoch.0)
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        match &packet.message.packet {
            Packet::Rtp(rtp) => self.receive(rtp),
            Packet::Rtcp(rtcp) => self.feedback(rtcp),
            _ => {}
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(rtp) = &mut packet.message.packet {
            self.name(rtp)?;
        }
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        let at = self.moment(now);
        for (&media_ssrc, gaps) in &mut self.gaps {
            if gaps.deadline().is_none_or(|deadline| deadline > at) {
                continue;
            }
            let missing = gaps.poll(at);
            if missing.is_empty() {
                continue;
            }
            let nacks = nack_pairs_from_sequence_numbers(&missing);
            let nack = TransportLayerNack { sender_ssrc: self.ssrc, media_ssrc, nacks };
            let message = AttributedPacket::new(Packet::Rtcp(vec![Box::new(nack)]));
            self.writes.push_back(TaggedPacket { now, transport: TransportContext::default(), message });
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let deadline = self.gaps.values().filter_map(Gaps::deadline).min()?;
        // The driver sleeps for whole milliseconds and would wake a little early.
        Some(self.epoch.0 + deadline.since(self.epoch.1) + Duration::from_micros(100))
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.learn(info);
    }

    fn unbind_local_stream(&mut self, _: &StreamInfo) {}

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.learn(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.gaps.remove(&info.ssrc);
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for End {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if !matches!(packet.message.packet, Packet::Rtp(_)) && packet.message.has(&Attribute::DeliverToApplication) {
            self.reads.push_back(packet);
        }
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for End {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

const UNPOISONED: &str = "nobody panics while holding it";
/// Header extensions that the relay knows streams by.
pub const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// See [`MID`].
pub const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
/// See [`MID`].
pub const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
