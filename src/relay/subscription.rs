//! A slot of a receiver and the publication that it is bound to: each packet's header is rewritten, the payload is
//! protected for this receiver.

use std::time::Instant;

use crate::rtp::header::Header;
use crate::session::{Codec, CodecName, Kind, Slot};

use super::clock::Ntp;
use super::command::Source;
use super::counters::{Counters, Drop, Protocol};
use super::downlink::{Downlink, Labels};
use super::outbox::Outbox;
use super::packet::Head;
use super::repeats::Repeats;
use super::rewrite::{Numbers, Origin, Rewriter};
use super::sent::Sent;

/// One slot.
pub struct Subscription {
    /// The m-line that it fills.
    pub slot: Slot,
    /// What it is bound to; the publication may not be there yet.
    pub source: Option<Source>,
    /// Index of the publication within the call.
    pub publication: Option<usize>,
    /// Its numbering.
    pub rewriter: Rewriter,
    /// A sender report should leave as soon as the publisher's clock is known.
    pub report_due: bool,
    /// The receiver's latest report: packets lost, highest sequence number.
    pub reported: (i32, u32),
    /// Packets sent, for sender reports.
    pub packets: u32,
    /// Bytes of payload sent, likewise.
    pub octets: u32,
    rtx_index: u64,
    repeats: Repeats,
    /// What may go again, where the slot has no stream for retransmissions and its receiver asks all the same.
    sent: Sent,
}

/// What feeds a slot after a packet was offered to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feeding {
    /// The same as before.
    From(Option<Origin>),
    /// This stream, with this packet.
    Switched(Origin),
    /// Nothing can: the receiver lacks the codec.
    Impossible,
}

impl Subscription {
    /// An unbound slot; the numbers to begin with are random.
    pub fn new(slot: Slot, first: Numbers, rtx_index: u64, now: Instant) -> Self {
        Self {
            slot,
            source: None,
            publication: None,
            rewriter: Rewriter::new(first),
            report_due: false,
            reported: (0, 0),
            packets: 0,
            octets: 0,
            rtx_index,
            repeats: Repeats::new(now),
            sent: Sent::default(),
        }
    }

    /// Stops what it carries, at once and for good.
    pub fn cut(&mut self) {
        self.publication = None;
        self.rewriter.cut();
        self.repeats.clear();
        self.sent.clear();
    }

    /// Other keys protect what is sent from now on.
    pub fn rekeyed(&mut self) {
        self.sent.clear();
    }

    /// Sends a packet of its publication to the receiver, where it belongs into the slot's stream; `wanted` is the
    /// layer that the receiver should get. Tells what feeds the slot afterwards.
    #[allow(clippy::too_many_arguments, reason = "the one hot call: a struct would be built for each receiver")]
    pub fn forward(
        &mut self,
        origin: Origin,
        wanted: Option<usize>,
        head: &Head,
        payload: &mut [u8],
        downlink: &mut Downlink,
        now: Ntp,
        out: &mut Outbox,
        counters: &mut Counters,
    ) -> Feeding {
        let current = self.rewriter.origin();
        let Some(&Codec { payload_type, nack, .. }) = self.codec(head.media.codec()) else {
            counters.drop(Drop::Codec);
            return Feeding::Impossible;
        };
        let switches = current != Some(origin);
        if switches {
            if !self.may_switch(current, origin, wanted, head) {
                return Feeding::From(current);
            }
            self.rewriter.connect(origin, head, head.media.codec().clock_rate());
            self.report_due = true;
        }
        let feeding = if switches { Feeding::Switched(origin) } else { Feeding::From(Some(origin)) };
        let Some(numbers) = self.rewriter.number(head) else { return feeding };
        head.media.patch(payload, numbers.picture_id, numbers.tl0_index);
        let Numbers { index, timestamp, .. } = numbers;
        let (marker, ssrc) = (head.marker, self.slot.ssrc);
        let header = Header { marker, payload_type, sequence: index as u16, timestamp, ssrc };
        let protocol = if self.slot.kind == Kind::Audio { Protocol::Audio } else { Protocol::Video };
        let labels = Labels::new(&self.slot.mid, head, now);
        let written = downlink.send(index, &header, &labels, &[], payload, protocol, out, counters);
        downlink.earn(written);
        if nack && self.slot.kind == Kind::Audio && written > 0 {
            self.sent.keep(index, out.latest(downlink.run, written), head.arrived);
        }
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        feeding
    }

    /// Sends a packet from the cache again, as a retransmission (RFC 4588), unless that was done too often or a moment
    /// ago.
    ///
    /// Without RTX nothing is protected twice: under AES-GCM the same index with another header would break the key.
    #[allow(clippy::too_many_arguments, reason = "as `forward`, whose counterpart it is")]
    pub fn repeat(
        &mut self,
        sequence: u16,
        head: &Head,
        payload: &mut [u8],
        downlink: &mut Downlink,
        now: (Instant, Ntp),
        out: &mut Outbox,
        counters: &mut Counters,
    ) {
        if !self.repeats.may(sequence, downlink.rtt, now.0) {
            return;
        }
        let Some(numbers) = self.rewriter.numbers_again(sequence, head) else { return };
        let codec = self.codec(head.media.codec());
        let (Some(ssrc), Some(payload_type)) = (self.slot.rtx_ssrc, codec.and_then(|codec| codec.rtx_payload_type))
        else {
            return;
        };
        if !downlink.afford(payload.len(), now.0) {
            counters.drop(Drop::Budget);
            return;
        }
        head.media.patch(payload, numbers.picture_id, numbers.tl0_index);
        let (marker, timestamp) = (head.marker, numbers.timestamp);
        let header = Header { marker, payload_type, sequence: self.rtx_index as u16, timestamp, ssrc };
        let labels = Labels::new(&self.slot.mid, head, now.1);
        let prefix = sequence.to_be_bytes();
        downlink.send(self.rtx_index, &header, &labels, &prefix, payload, Protocol::Rtx, out, counters);
        self.rtx_index += 1;
        self.repeats.note(sequence, now.0);
        counters.retransmissions_sent += 1;
    }

    /// Sends a packet of sound again, the very same bytes, under the same conditions.
    pub fn repeat_sound(
        &mut self,
        sequence: u16,
        downlink: &mut Downlink,
        now: Instant,
        out: &mut Outbox,
        counters: &mut Counters,
    ) {
        let Some(datagram) = self.sent.get(sequence, now) else { return };
        if !self.repeats.may(sequence, downlink.rtt, now) {
            return;
        }
        if !downlink.afford(datagram.len(), now) {
            counters.drop(Drop::Budget);
            return;
        }
        downlink.send_again(datagram, Protocol::Audio, out, counters);
        self.repeats.note(sequence, now);
        counters.retransmissions_sent += 1;
    }

    /// The receiver's payload types for a codec.
    fn codec(&self, name: CodecName) -> Option<&Codec> {
        self.slot.codecs.iter().find(|codec| codec.name == name)
    }

    /// A slot without a feed begins with whatever can begin; one with a feed leaves it only for the wanted layer, or
    /// when the same layer goes on under another SSRC.
    fn may_switch(&self, current: Option<Origin>, to: Origin, wanted: Option<usize>, head: &Head) -> bool {
        head.media.begins() && current.is_none_or(|from| wanted == Some(to.layer) || from.layer == to.layer)
    }
}

#[cfg(test)]
mod tests {
    use arrayvec::ArrayVec;

    use super::*;
    use crate::relay::packet::Media;
    use crate::session::{Mid, Ssrc};

    fn subscription() -> Subscription {
        let mid = Mid::from("v0").expect("short");
        let slot = Slot { mid, kind: Kind::Video, codecs: ArrayVec::new(), ssrc: Ssrc(1), rtx_ssrc: None };
        Subscription::new(slot, Numbers { index: 0, timestamp: 0, picture_id: 0, tl0_index: 0 }, 0, Instant::now())
    }

    #[test]
    fn a_slot_leaves_its_feed_only_at_a_key_frame_of_what_it_wants() {
        let subscription = subscription();
        let video = |tag| Media::parse(CodecName::Vp8, &[0x10, tag]).expect("a descriptor and a tag");
        let key = Head { media: video(0), ..Head::test(1) };
        let delta = Head { media: video(1), ..Head::test(1) };
        let [low, high, anew] = [(0, 1), (1, 2), (1, 3)].map(|(layer, serial)| Origin { layer, serial });
        assert!(subscription.may_switch(None, low, Some(1), &key), "with nothing to show anything will do");
        assert!(!subscription.may_switch(None, high, Some(1), &delta));
        assert!(subscription.may_switch(Some(low), high, Some(1), &key));
        assert!(!subscription.may_switch(Some(low), high, Some(1), &delta));
        assert!(!subscription.may_switch(Some(high), low, Some(1), &key), "a key frame of another layer is no reason");
        assert!(subscription.may_switch(Some(high), anew, Some(0), &key), "the layer goes on under another SSRC");
    }
}
