//! What all slots of one receiver share: its SRTP keys, its run in the outbox, its transport-wide numbering, and how much
//! it may be sent again.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use crate::rtp::extension::transport_sequence_bytes;
use crate::rtp::header::{Header, MAX_HEADER_LEN};
use crate::session::{ExtensionIds, Mid};
use crate::transport::srtp::Outbound;

use super::bucket::Bucket;
use super::clock::Ntp;
use super::counters::{Counters, Drop, Protocol};
use super::outbox::{Class, Outbox, RunKey};
use super::packet::{Carried, Head};

/// The way to one receiver.
pub struct Downlink {
    /// Protects what is sent.
    pub outbound: Outbound,
    /// Where it is written.
    pub run: RunKey,
    /// The receiver's header extensions.
    pub extensions: ExtensionIds,
    /// Round trip, from its receiver reports.
    pub rtt: Duration,
    transport_sequence: u16,
    /// Bytes that may still be sent again: a share of what is sent, over a floor.
    budget: Bucket,
}

/// What a packet says in its header extensions.
#[derive(Clone, Copy)]
pub struct Labels<'a> {
    /// The slot's MID.
    pub mid: &'a Mid,
    /// What the publisher said.
    pub carried: Carried,
    /// When it was captured, on the relay's clock.
    pub captured: Option<Ntp>,
    /// The time of sending, on the relay's clock.
    pub now: Ntp,
}

impl<'a> Labels<'a> {
    /// The labels of a publication's packet.
    pub fn new(mid: &'a Mid, head: &Head, now: Ntp) -> Self {
        Self { mid, carried: head.carried, captured: head.captured, now }
    }
}

impl Downlink {
    /// A way that nothing has gone yet.
    pub fn new(outbound: Outbound, run: RunKey, extensions: ExtensionIds, now: Instant) -> Self {
        Self {
            outbound,
            run,
            extensions,
            rtt: DEFAULT_RTT,
            transport_sequence: 0,
            budget: Bucket::new(FLOOR, BURST, now),
        }
    }

    /// Protects one RTP packet into the receiver's run. Returns the bytes written.
    #[allow(
        clippy::too_many_arguments,
        reason = "two call sites, of media and retransmissions; a struct would only rename"
    )]
    pub fn send(
        &mut self,
        index: u64,
        header: &Header,
        labels: &Labels<'_>,
        prefix: &[u8],
        payload: &[u8],
        protocol: Protocol,
        out: &mut Outbox,
        counters: &mut Counters,
    ) -> usize {
        let mut bytes = [0; MAX_HEADER_LEN];
        let Ok(length) = self.write_header(header, labels, &mut bytes) else {
            counters.drop(Drop::Malformed);
            return 0;
        };
        let class = if protocol == Protocol::Audio { Class::Audio } else { Class::Video };
        let (outbound, header) = (&mut self.outbound, &bytes[..length]);
        let written = out.push(self.run, class, |arena| {
            let start = arena.len();
            let result = match prefix {
                [] => outbound.protect_rtp(index, header, payload, arena),
                prefix => outbound.protect_rtp_parts(index, header, prefix, payload, arena),
            };
            if result.is_err() {
                arena.truncate(start);
            }
        });
        if written > 0 {
            counters.sent[protocol as usize].add(written);
        }
        written
    }

    /// Sends a packet that left before, just as it left: same number, same bytes. Its transport-wide number is the same
    /// too, so that feedback on it may come twice.
    pub fn send_again(&mut self, datagram: &[u8], protocol: Protocol, out: &mut Outbox, counters: &mut Counters) {
        let class = if protocol == Protocol::Audio { Class::Audio } else { Class::Video };
        out.push(self.run, class, |arena| arena.extend_from_slice(datagram));
        counters.sent[protocol as usize].add(datagram.len());
    }

    /// Protects one compound RTCP packet into the receiver's run.
    pub fn send_rtcp(&mut self, packet: &[u8], out: &mut Outbox, counters: &mut Counters) {
        let outbound = &mut self.outbound;
        let written = out.push(self.run, Class::Control, |arena| {
            let start = arena.len();
            if outbound.protect_rtcp(packet, arena).is_err() {
                arena.truncate(start);
            }
        });
        if written > 0 {
            counters.sent[Protocol::Rtcp as usize].add(written);
        }
    }

    /// Media of this size went out: retransmissions may grow with it.
    pub fn earn(&mut self, bytes: usize) {
        self.budget.earn(bytes as f64 * SHARE);
    }

    /// Whether a retransmission of this size is within the budget; it is paid for then.
    pub fn afford(&mut self, bytes: usize, now: Instant) -> bool {
        self.budget.afford(bytes, now)
    }

    fn write_header(
        &mut self,
        header: &Header,
        labels: &Labels<'_>,
        bytes: &mut [u8],
    ) -> Result<usize, crate::rtp::header::NoRoom> {
        let ids = self.extensions;
        let sequence = transport_sequence_bytes(self.transport_sequence);
        let send_time = abs_send_time(labels.now);
        let orientation = [labels.carried.video_orientation.unwrap_or(0)];
        let delay = labels.carried.playout_delay.unwrap_or_default();
        let captured = labels.captured.map_or([0; 8], |captured| captured.0.to_be_bytes());
        let mut elements = ArrayVec::<(u8, &[u8]), 6>::new();
        let mut add = |id: Option<u8>, present: bool, content| {
            if let Some(id) = id.filter(|_| present) {
                elements.push((id, content));
            }
        };
        add(ids.transport_cc, true, &sequence[..]);
        // Receivers that report per packet need no second time; the others estimate by this one.
        add(ids.abs_send_time, ids.transport_cc.is_none(), &send_time[..]);
        add(ids.mid, true, labels.mid.as_bytes());
        add(ids.video_orientation, labels.carried.video_orientation.is_some(), &orientation[..]);
        add(ids.playout_delay, labels.carried.playout_delay.is_some(), &delay[..]);
        add(ids.abs_capture_time, labels.carried.capture_time && labels.captured.is_some(), &captured[..]);
        let length = header.write(elements.iter().copied(), bytes)?;
        self.transport_sequence = self.transport_sequence.wrapping_add(u16::from(ids.transport_cc.is_some()));
        Ok(length)
    }
}

/// Seconds as 6.18 fixed point, from the middle of an NTP time.
fn abs_send_time(now: Ntp) -> [u8; 3] {
    let [_, bytes @ ..] = ((now.0 >> 14) as u32 & 0xff_ffff).to_be_bytes();
    bytes
}

/// Before the first report: a usual round trip between a home and a server.
const DEFAULT_RTT: Duration = Duration::from_millis(60);
/// Half of the media's bytes: a path that loses a third of its packets needs as many again, and one that loses more
/// is not helped by sending more.
const SHARE: f64 = 0.5;
/// Bytes per second earned without media, so that the end of a burst can be repaired.
const FLOOR: f64 = 16_000.0;
/// Bytes at most: three large key frames.
const BURST: f64 = 300_000.0;
