//! A media packet's way through a call: opened, told apart, counted, rewritten for each receiver.

use std::ops::Range;
use std::time::Instant;

use crate::rtp::extension::transport_sequence;
use crate::rtp::header::Packet;
use crate::session::{CodecName, Kind};
use crate::transport::srtp::{Inbound, SrtpError};

use super::call::Call;
use super::context::Context;
use super::counters::{Drop, Protocol};
use super::latch::Stream;
use super::packet::{Carried, Head, Media};
use super::rewrite::Origin;
use super::subscription::Feeding;

/// What was read of a packet before its stream is looked at.
struct Incoming {
    payload_type: u8,
    index: u64,
    timestamp: u32,
    marker: bool,
    carried: Carried,
    payload: Range<usize>,
    size: usize,
    arrived: Instant,
}

impl Call {
    /// Takes an SRTP packet from participant `from`.
    pub fn handle_rtp(&mut self, from: usize, bytes: &mut [u8], arrived: Instant, context: &mut Context<'_>) {
        let Some(inbound) = &mut self.participants[from].inbound else { return context.drop(Drop::Early) };
        let size = bytes.len();
        let Some((len, index)) = open(inbound, bytes, context) else { return };
        let bytes = &mut bytes[..len];
        let Ok(packet) = Packet::parse(bytes) else { return context.drop(Drop::Malformed) };
        self.log_arrival(from, &packet, arrived, context);
        let Some(stream) = self.stream_of(from, &packet, context) else { return context.drop(Drop::UnknownSsrc) };
        let start = packet.header_len();
        let incoming = Incoming {
            payload_type: packet.payload_type(),
            index,
            timestamp: packet.timestamp(),
            marker: packet.marker(),
            carried: Carried::read(&packet, &self.participants[from].extensions),
            payload: start..start + packet.payload().len(),
            size,
            arrived,
        };
        if stream.repair {
            self.handle_repair(stream, incoming, bytes, context);
        } else {
            self.handle_media(stream, incoming, bytes, context);
        }
    }

    /// Asks the publisher for a key frame of a layer, as often as its throttle allows.
    pub fn want_key_frame(&mut self, publication: usize, layer: usize, context: &mut Context<'_>) {
        let publication = &mut self.publications[publication];
        let Some(layer) = publication.layers.get_mut(layer).filter(|_| publication.line.kind == Kind::Video) else {
            return;
        };
        let Some(ssrc) = layer.ssrc else { return };
        let ask = layer.key_frames.want(context.now);
        let (deadline, owner) = (layer.key_frames.deadline(), publication.owner);
        if ask {
            self.send_picture_loss(owner, ssrc, context);
        }
        if let Some(at) = deadline {
            self.participants[owner].link.arm(at, context);
        }
    }

    fn log_arrival(&mut self, from: usize, packet: &Packet<'_>, arrived: Instant, context: &mut Context<'_>) {
        let participant = &mut self.participants[from];
        participant.latest_ssrc = packet.ssrc();
        let content = participant.extensions.transport_cc.and_then(|id| packet.extension(id));
        let Some(sequence) = content.and_then(transport_sequence) else { return };
        participant.arrivals.record(sequence, arrived, context.now);
        if let Some(at) = participant.arrivals.deadline() {
            participant.link.arm(at, context);
        }
    }

    /// What the packet's SSRC carries; an SSRC that is seen for the first time is latched.
    fn stream_of(&mut self, from: usize, packet: &Packet<'_>, context: &mut Context<'_>) -> Option<Stream> {
        let participant = &mut self.participants[from];
        let ssrc = packet.ssrc();
        if let Some(stream) = participant.latches.known(ssrc) {
            return Some(stream);
        }
        let lines = participant.publications.iter().map(|&index| (index, &self.publications[index]));
        let stream = participant.latches.identify(packet, &participant.extensions, lines)?;
        let publication = &mut self.publications[stream.publication];
        let was_live = publication.is_live();
        let layer = &mut publication.layers[stream.layer];
        let predecessor = if stream.repair { layer.rtx_ssrc.replace(ssrc) } else { layer.ssrc };
        participant.latches.latch(ssrc, stream, predecessor);
        if !stream.repair {
            layer.begin(ssrc, context.next_serial());
            context.counters.publications += u64::from(!was_live);
        }
        Some(stream)
    }

    /// A packet under its own number.
    fn handle_media(&mut self, stream: Stream, incoming: Incoming, bytes: &mut [u8], context: &mut Context<'_>) {
        let publication = &mut self.publications[stream.publication];
        let protocol = if publication.kind() == Kind::Audio { Protocol::Audio } else { Protocol::Video };
        context.counters.received[protocol as usize].add(incoming.size);
        let Some(codec) = publication.codec(incoming.payload_type).map(|codec| codec.name) else {
            return context.drop(Drop::PayloadType);
        };
        let asks = publication.nack();
        let layer = &mut publication.layers[stream.layer];
        let last = layer.reception.last_arrival();
        if !layer.reception.receive(incoming.index, incoming.timestamp, incoming.arrived) {
            return context.drop(Drop::Replay);
        }
        publication.keep_pace(stream.layer, incoming.timestamp, last, incoming.arrived);
        let layer = &mut publication.layers[stream.layer];
        let lost = asks && layer.nacks.receive(incoming.index, context.now).given_up;
        if let Some(at) = layer.nacks.deadline() {
            let owner = publication.owner;
            self.participants[owner].link.arm(at, context);
        }
        self.deliver(stream, codec, incoming, bytes, context);
        if lost {
            self.want_key_frame(stream.publication, stream.layer, context);
        }
    }

    /// A retransmission (RFC 4588): the packet that it repeats takes the place that it left.
    fn handle_repair(&mut self, stream: Stream, incoming: Incoming, bytes: &mut [u8], context: &mut Context<'_>) {
        context.counters.received[Protocol::Rtx as usize].add(incoming.size);
        // Nothing but padding is a probe of the path; its arrival is logged, and that was its purpose.
        let Some(&[high, low]) = bytes[incoming.payload.clone()].first_chunk() else { return };
        let publication = &mut self.publications[stream.publication];
        let Some(codec) = publication.repaired_codec(incoming.payload_type).map(|codec| codec.name) else {
            return context.drop(Drop::PayloadType);
        };
        let layer = &mut publication.layers[stream.layer];
        let Some(index) = layer.reception.extend(u16::from_be_bytes([high, low])) else {
            return context.drop(Drop::Early);
        };
        if !layer.reception.repair(index) {
            return context.drop(Drop::Replay);
        }
        layer.nacks.receive(index, context.now);
        context.counters.retransmissions_received += 1;
        let Range { start, end } = incoming.payload;
        self.deliver(stream, codec, Incoming { index, payload: start + 2..end, ..incoming }, bytes, context);
    }

    /// Reads what the packet carries, keeps it for repairs and hands it to every receiver.
    fn deliver(
        &mut self,
        stream: Stream,
        codec: CodecName,
        incoming: Incoming,
        bytes: &mut [u8],
        context: &mut Context<'_>,
    ) {
        let payload = &mut bytes[incoming.payload];
        let Ok(media) = Media::parse(codec, payload) else { return context.drop(Drop::Malformed) };
        #[cfg(feature = "probe")]
        crate::probe::opened(&mut payload[media.descriptor_len()..]);
        #[cfg(any(test, feature = "probe"))]
        if self.curious && payload.last().is_some_and(|byte| byte % 64 == 7) {
            return;
        }
        let publication = &mut self.publications[stream.publication];
        let layer = &mut publication.layers[stream.layer];
        let is_video = codec != CodecName::Opus;
        if is_video && media.begins() {
            layer.nacks.key_frame(incoming.index);
            layer.key_frames.arrived();
        }
        if publication.subscribers.is_empty() {
            return;
        }
        let offset = self.participants[publication.owner].clock;
        let Incoming { index, timestamp, marker, carried, arrived, .. } = incoming;
        let captured = layer.clock.and_then(|clock| offset.to_relay(clock.ntp_of(timestamp)));
        let head = Head { index, timestamp, marker, media, carried, captured, arrived };
        if is_video {
            layer.cache.insert(head, payload, context.now);
        }
        self.fan_out(stream, &head, payload, context);
    }

    /// Hands a packet to every receiver of its publication.
    fn fan_out(&mut self, stream: Stream, head: &Head, payload: &mut [u8], context: &mut Context<'_>) {
        let publication = &self.publications[stream.publication];
        let origin = Origin { layer: stream.layer, serial: publication.layers[stream.layer].serial };
        let wanted = publication.wanted_layer(None, context.now);
        let wanted_origin = wanted.map(|layer| Origin { layer, serial: publication.layers[layer].serial });
        let now = context.ntp();
        let mut waiting = false;
        for &(receiver, slot) in &publication.subscribers {
            let receiver = &mut self.participants[receiver];
            let Some(downlink) = receiver.downlink.as_mut().filter(|_| receiver.live) else { continue };
            let slot = &mut receiver.slots[slot];
            match slot.forward(origin, wanted, head, payload, downlink, now, context.out, context.counters) {
                Feeding::From(current) => waiting |= current != wanted_origin,
                Feeding::Switched(current) => {
                    waiting |= Some(current) != wanted_origin;
                    receiver.link.arm(context.now, context);
                }
                Feeding::Impossible => {}
            }
        }
        if let Some(layer) = wanted.filter(|_| waiting) {
            self.want_key_frame(stream.publication, layer, context);
        }
    }
}

/// Opens a packet; what is wrong with it is counted.
fn open(inbound: &mut Inbound, bytes: &mut [u8], context: &mut Context<'_>) -> Option<(usize, u64)> {
    match inbound.unprotect_rtp(bytes) {
        Ok(opened) => Some((opened.len, opened.index)),
        Err(error) => {
            context.drop(drop_reason(error));
            None
        }
    }
}

/// The counter for what SRTP refused.
pub fn drop_reason(error: SrtpError) -> Drop {
    match error {
        SrtpError::Authentication => Drop::Authentication,
        SrtpError::Replay => Drop::Replay,
        SrtpError::TooManySsrcs => Drop::UnknownSsrc,
        _ => Drop::Malformed,
    }
}
