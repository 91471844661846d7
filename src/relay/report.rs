//! What is due at a participant's deadline: consent, NACKs, key-frame requests, transport-wide feedback, and the relay's
//! own sender and receiver reports.

use std::time::{Duration, Instant};

use crate::rtp::rtcp::description::write_cname;
use crate::rtp::rtcp::feedback::{write_nack, write_picture_loss};
use crate::rtp::rtcp::report::{ReportBlock, SenderInfo, write_receiver_report, write_sender_report};
use crate::session::Ssrc;

use super::call::Call;
use super::context::Context;

/// Time between two reports. RFC 3550's five seconds are for groups; browsers report each second, and lips and loss are
/// corrected as often.
const INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two calls for one participant.
const LEAST: Duration = Duration::from_millis(1);

/// A compound beyond this leaves before the next report is added: with the trailer it stays below the 1,200 bytes that
/// every path carries.
const COMPOUND: usize = 1_000;

/// All of a relay's slots are on one clock, its own, and one name says so (RFC 3550, section 6.5.1). It tells nothing of
/// who publishes.
const CNAME: &str = "sotto";

impl Call {
    /// Does what is due for a participant, and arms its next deadline.
    pub fn handle_timeout(&mut self, index: usize, context: &mut Context<'_>) {
        self.transport_timeout(index, context);
        if self.participants[index].live {
            self.ask_for_missing(index, context);
            self.ask_for_key_frames(index, context);
            self.write_transport_feedback(index, context);
            self.write_reports(index, context);
        }
        if let Some(at) = self.deadline(index) {
            // A deadline that what was done did not move must not turn into a spin.
            self.participants[index].link.arm(at.max(context.now + LEAST), context);
        }
    }

    /// Sends a PLI to a publisher.
    pub fn send_picture_loss(&mut self, publisher: usize, ssrc: Ssrc, context: &mut Context<'_>) {
        let participant = &mut self.participants[publisher];
        context.rtcp.clear();
        write_picture_loss(participant.ssrc, ssrc, context.rtcp);
        participant.send_rtcp(context);
        context.counters.plis_sent += 1;
    }

    fn deadline(&self, index: usize) -> Option<Instant> {
        let participant = &self.participants[index];
        let layers = participant.publications.iter().flat_map(|&index| &self.publications[index].layers);
        let layers = layers.flat_map(|layer| [layer.nacks.deadline(), layer.key_frames.deadline()]).flatten();
        let own = [participant.transport_deadline(), participant.arrivals.deadline(), participant.report_at];
        // Without a live transport nothing of the media can be sent, so only the transport's own deadlines count.
        match participant.live {
            true => layers.chain(own.into_iter().flatten()).min(),
            false => participant.transport_deadline(),
        }
    }

    fn ask_for_missing(&mut self, index: usize, context: &mut Context<'_>) {
        let mut ask = std::mem::take(&mut self.ask);
        for place in 0..self.participants[index].publications.len() {
            let publication = self.participants[index].publications[place];
            for layer in 0..self.publications[publication].layers.len() {
                let stream = &mut self.publications[publication].layers[layer];
                let Some(ssrc) = stream.ssrc.filter(|_| stream.nacks.deadline().is_some_and(|at| at <= context.now))
                else {
                    continue;
                };
                let lost = stream.nacks.poll(context.now, &mut ask);
                context.rtcp.clear();
                write_nack(self.participants[index].ssrc, ssrc, &ask, context.rtcp);
                context.counters.nacks_sent += ask.len() as u64;
                self.participants[index].send_rtcp(context);
                if lost.given_up && !self.publications[publication].subscribers.is_empty() {
                    self.want_key_frame(publication, layer, context);
                }
            }
        }
        self.ask = ask;
    }

    fn ask_for_key_frames(&mut self, index: usize, context: &mut Context<'_>) {
        for place in 0..self.participants[index].publications.len() {
            let publication = self.participants[index].publications[place];
            for layer in 0..self.publications[publication].layers.len() {
                let layer = &mut self.publications[publication].layers[layer];
                let Some(ssrc) = layer.ssrc.filter(|_| layer.key_frames.poll(context.now)) else { continue };
                self.send_picture_loss(index, ssrc, context);
            }
        }
    }

    fn write_transport_feedback(&mut self, index: usize, context: &mut Context<'_>) {
        let participant = &mut self.participants[index];
        if participant.arrivals.deadline().is_none_or(|at| at > context.now) {
            return;
        }
        loop {
            context.rtcp.clear();
            if !participant.arrivals.write(participant.ssrc, participant.latest_ssrc, context.rtcp) {
                return;
            }
            participant.send_rtcp(context);
        }
    }

    fn write_reports(&mut self, index: usize, context: &mut Context<'_>) {
        let all = self.participants[index].report_at.is_none_or(|at| at <= context.now);
        if all {
            self.participants[index].report_at = Some(context.now + INTERVAL);
        }
        context.rtcp.clear();
        for slot in 0..self.participants[index].slots.len() {
            if !all && !self.participants[index].slots[slot].report_due {
                continue;
            }
            let Some((ssrc, info)) = self.sender_info(index, slot, context) else { continue };
            self.participants[index].slots[slot].report_due = false;
            write_sender_report(ssrc, &info, &[], context.rtcp);
            write_cname(ssrc, CNAME, context.rtcp);
            if context.rtcp.len() > COMPOUND {
                self.participants[index].send_rtcp(context);
            }
        }
        if all {
            self.write_reception(index, context);
        }
        self.participants[index].send_rtcp(context);
    }

    /// The relay's clock and the slot's timestamp at this moment, by the publisher's latest report. Without one there is
    /// nothing true to say.
    fn sender_info(&self, receiver: usize, slot: usize, context: &Context<'_>) -> Option<(Ssrc, SenderInfo)> {
        let slot = &self.participants[receiver].slots[slot];
        let origin = slot.rewriter.origin()?;
        let publication = &self.publications[slot.publication?];
        let layer = publication.layers.get(origin.layer).filter(|layer| layer.serial == origin.serial)?;
        let clock = layer.clock?;
        let now = context.ntp();
        let reported = self.participants[publication.owner].clock.to_relay(clock.ntp)?;
        let theirs = clock.ntp.plus(now.seconds_since(reported));
        let rtp_timestamp = slot.rewriter.timestamp(clock.timestamp_at(theirs))?;
        Some((slot.slot.ssrc, SenderInfo { ntp: now.0, rtp_timestamp, packets: slot.packets, octets: slot.octets }))
    }

    /// Appends receiver reports on everything that the participant sends.
    fn write_reception(&mut self, index: usize, context: &mut Context<'_>) {
        let participant = &self.participants[index];
        let mut blocks = arrayvec::ArrayVec::<ReportBlock, 31>::new();
        for &publication in &participant.publications {
            for layer in &mut self.publications[publication].layers {
                let Some(ssrc) = layer.ssrc.filter(|_| !blocks.is_full()) else { continue };
                blocks.extend(layer.reception.report(ssrc, context.now));
            }
        }
        if blocks.is_empty() {
            return;
        }
        let ssrc = participant.ssrc;
        if context.rtcp.len() + 24 * blocks.len() > COMPOUND {
            self.participants[index].send_rtcp(context);
        }
        write_receiver_report(ssrc, &blocks, context.rtcp);
        write_cname(ssrc, CNAME, context.rtcp);
    }
}
