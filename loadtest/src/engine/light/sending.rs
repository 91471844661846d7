//! What a participant sends: packets sealed into one arena, a bounded cache to repeat them from (RFC 4588), and the
//! numbers for sender reports (RFC 3550, section 6.4.1).

use std::time::Duration;

use rtc_rtcp::sender_report::SenderReport;
use sotto_signaling::message::Stream;

use super::description::{payload_type, rid, rtx_payload_type};
use super::receiving::clock_rate;
use super::rtp::Header;
use super::srtp::{Direction, Window};
use crate::clock::Moment;
use crate::engine::{Codec, Packet, Sending};

/// Datagrams for the relay, one behind the other.
#[derive(Default)]
pub struct Outbox {
    /// All of them.
    pub bytes: Vec<u8>,
    /// The length of each.
    pub lengths: Vec<u16>,
}

/// Ids of the header extensions that the relay agreed to, and the transport-wide number of the next packet.
#[derive(Default)]
pub struct Labels {
    /// Of MID.
    pub mid: Option<u8>,
    /// Of RID.
    pub rid: Option<u8>,
    /// Of the RID of what a retransmission repeats.
    pub repaired_rid: Option<u8>,
    /// Of the transport-wide number.
    pub transport_cc: Option<u8>,
    /// The number.
    pub next: u16,
}

/// What a packet passes on its way out.
pub struct Way<'a> {
    /// When.
    pub now: Moment,
    /// Of the direction out.
    pub keys: &'a Direction,
    /// The header extensions.
    pub labels: &'a mut Labels,
    /// Where it waits.
    pub outbox: &'a mut Outbox,
}

/// One stream that is sent.
pub struct Track {
    /// Which.
    pub stream: Stream,
    codec: Codec,
    mid: String,
    layers: Vec<Layer>,
}

/// One encoding of it.
struct Layer {
    ssrc: u32,
    rtx_ssrc: Option<u32>,
    rid: &'static str,
    /// Extended sequence numbers, once it began.
    window: Option<Window>,
    /// Of the next retransmission.
    rtx_index: u64,
    packets: u32,
    octets: u32,
    /// Timestamp of the latest packet and when it was sent.
    latest: Option<(u32, Moment)>,
    /// Whether a report of the relay named it, which then knows what it belongs to.
    known: bool,
    cache: Vec<Option<Cached>>,
}

struct Cached {
    index: u64,
    /// Of video; sound is repeated as it was sealed, for it has no retransmission stream, and sealing other extensions
    /// under the same number would spend a nonce twice.
    packet: Packet,
    sealed: Option<Vec<u8>>,
    repeated: Option<Moment>,
}

impl Outbox {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Forgets what was sent.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
    }

    /// Adds a datagram as it is.
    pub fn push(&mut self, datagram: &[u8]) {
        self.bytes.extend_from_slice(datagram);
        self.lengths.push(datagram.len() as u16);
    }

    /// Adds RTCP packets, protected.
    pub fn push_rtcp(&mut self, keys: &mut Direction, packet: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(packet);
        keys.seal_rtcp(&mut self.bytes, start);
        self.lengths.push((self.bytes.len() - start) as u16);
    }

    fn push_rtp(&mut self, keys: &Direction, header: &Header, index: u64, labels: &[(u8, &[u8])], payload: [&[u8]; 2]) {
        let start = self.bytes.len();
        let length = header.write(labels, &mut self.bytes);
        payload.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        keys.seal_rtp(&mut self.bytes, start, length, header.ssrc, index);
        self.lengths.push((self.bytes.len() - start) as u16);
    }
}

impl Labels {
    fn number(&mut self) -> [u8; 2] {
        let number = self.next.to_be_bytes();
        self.next = self.next.wrapping_add(1);
        number
    }
}

impl Track {
    /// A stream on an m-line, nothing of it sent.
    pub fn new(mid: String, sending: &Sending, ssrcs: &[(u32, Option<u32>)]) -> Self {
        let layer = |(place, &(ssrc, rtx_ssrc)): (usize, &(u32, Option<u32>))| Layer {
            ssrc,
            rtx_ssrc,
            rid: rid(place, ssrcs.len()),
            window: None,
            rtx_index: 1,
            packets: 0,
            octets: 0,
            latest: None,
            known: false,
            cache: (0..cache_of(sending.codec)).map(|_| None).collect(),
        };
        let layers = ssrcs.iter().enumerate().map(layer).collect();
        Self { stream: sending.stream, codec: sending.codec, mid, layers }
    }

    /// Seals a packet of an encoding.
    pub fn send(&mut self, layer: usize, packet: Packet, way: &mut Way<'_>) {
        let Way { now, keys, labels, outbox } = way;
        let Some(layer) = self.layers.get_mut(layer) else { return };
        let window = layer.window.get_or_insert_with(|| Window::new(u64::from(packet.sequence)));
        let index = window.extend(packet.sequence);
        window.note(index);
        let number = labels.number();
        let names = !layer.known;
        let entries = [
            (labels.transport_cc, number.as_slice()),
            (labels.mid.filter(|_| names), self.mid.as_bytes()),
            (labels.rid.filter(|_| names && !layer.rid.is_empty()), layer.rid.as_bytes()),
        ];
        let start = outbox.bytes.len();
        let header = header(&packet, payload_type(self.codec), packet.sequence, layer.ssrc);
        with_labels(&entries, |labels| outbox.push_rtp(keys, &header, index, labels, [&packet.payload, &[]]));
        layer.packets = layer.packets.wrapping_add(1);
        layer.octets = layer.octets.wrapping_add(packet.payload.len() as u32);
        layer.latest = Some((packet.timestamp, *now));
        let sealed = layer.rtx_ssrc.is_none().then(|| outbox.bytes[start..].to_vec());
        let place = index as usize % layer.cache.len();
        layer.cache[place] = Some(Cached { index, packet, sealed, repeated: None });
    }

    /// Sends a packet again that the relay misses, unless it is too old or was repeated within a round trip.
    pub fn repeat(&mut self, ssrc: u32, sequence: u16, round_trip: Duration, way: &mut Way<'_>) {
        let Way { now, keys, labels, outbox } = way;
        let Some(layer) = self.layers.iter_mut().find(|layer| layer.ssrc == ssrc) else { return };
        let Some(index) = layer.window.as_ref().map(|window| window.extend(sequence)) else { return };
        let place = index as usize % layer.cache.len();
        let Some(cached) = layer.cache[place].as_mut().filter(|cached| cached.index == index) else { return };
        let pause = round_trip.max(REPEAT_PAUSE);
        if cached.repeated.replace(*now).is_some_and(|at| now.since(at) < pause) {
            return;
        }
        if let Some(sealed) = &cached.sealed {
            return outbox.push(sealed);
        }
        let (Some(ssrc), Some(payload_type)) = (layer.rtx_ssrc, rtx_payload_type(self.codec)) else { return };
        let number = labels.number();
        let entries = [
            (labels.transport_cc, number.as_slice()),
            (labels.mid, self.mid.as_bytes()),
            (labels.repaired_rid.filter(|_| !layer.rid.is_empty()), layer.rid.as_bytes()),
        ];
        let index = layer.rtx_index;
        layer.rtx_index += 1;
        let header = header(&cached.packet, payload_type, index as u16, ssrc);
        let original = sequence.to_be_bytes();
        let payload = [original.as_slice(), &cached.packet.payload];
        with_labels(&entries, |labels| outbox.push_rtp(keys, &header, index, labels, payload));
    }

    /// The relay reported on one of our sources: it knows what the source belongs to.
    pub fn note_known(&mut self, ssrc: u32) {
        if let Some(layer) = self.layers.iter_mut().find(|layer| layer.ssrc == ssrc) {
            layer.known = true;
        }
    }

    /// Sender reports of all encodings that sent something.
    pub fn reports(&self, now: Moment) -> impl Iterator<Item = SenderReport> {
        self.layers.iter().filter_map(move |layer| {
            let (timestamp, at) = layer.latest?;
            let since = now.since(at).as_nanos() * u128::from(clock_rate(self.codec)) / 1_000_000_000;
            Some(SenderReport {
                ssrc: layer.ssrc,
                ntp_time: ntp(now),
                rtp_time: timestamp.wrapping_add(since as u32),
                packet_count: layer.packets,
                octet_count: layer.octets,
                ..SenderReport::default()
            })
        })
    }
}

/// NTP's 32.32 format of our own clock, which need not be the time of day (RFC 3550, section 6.4.1).
pub fn ntp(now: Moment) -> u64 {
    (u128::from(now.0) * (1 << 32) / 1_000_000_000) as u64
}

fn header(packet: &Packet, payload_type: u8, sequence: u16, ssrc: u32) -> Header {
    let Packet { marker, timestamp, .. } = *packet;
    Header { marker, payload_type, sequence, timestamp, ssrc, length: 0, padded: false }
}

/// Calls `write` with the extensions that are there.
fn with_labels(entries: &[(Option<u8>, &[u8]); 3], write: impl FnOnce(&[(u8, &[u8])])) {
    let mut labels: [(u8, &[u8]); 3] = [(0, &[]); 3];
    let mut count = 0;
    for &(id, value) in entries {
        if let Some(id) = id {
            labels[count] = (id, value);
            count += 1;
        }
    }
    write(&labels[..count]);
}

/// About a second of packets, a power of two.
fn cache_of(codec: Codec) -> usize {
    match codec {
        Codec::Opus => 64,
        Codec::Vp8 | Codec::Vp9 => 512,
    }
}

/// Between two repetitions of a packet, on networks faster than that.
const REPEAT_PAUSE: Duration = Duration::from_millis(10);
