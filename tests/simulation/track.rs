//! What a client sends and receives: tracks whose packets say which they are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sotto::rtp::header::{Header, MAX_HEADER_LEN};
use sotto::session::{ExtensionIds, Kind, Mid, Rid, Ssrc};
use sotto::transport::srtp::Outbound;

/// The numbering of every client.
pub const EXTENSIONS: ExtensionIds = ExtensionIds {
    mid: Some(1),
    rid: Some(2),
    repaired_rid: Some(3),
    transport_cc: Some(4),
    abs_send_time: None,
    video_orientation: Some(6),
    playout_delay: None,
    abs_capture_time: None,
    dependency_descriptor: None,
    video_layers_allocation: None,
};

/// Packets that carry MID and RID, as Chromium does.
const NAMED: u64 = 10;

/// One encoding on its way out.
pub struct Outgoing {
    pub mid: Mid,
    pub kind: Kind,
    pub rid: Option<Rid>,
    pub ssrc: Ssrc,
    pub rtx_ssrc: Ssrc,
    pub next: u64,
    pub first: u64,
    pub active: bool,
    pub wants_key: bool,
    pub key_frames: u32,
    pub plis: Vec<Instant>,
    pub due: Instant,
    rtx_next: u64,
    picture: u16,
    timestamp_base: u32,
    started: Instant,
    packets: u32,
    sent: BTreeMap<u64, Sent>,
}

struct Sent {
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

/// A packet as a receiver got it.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub at: Instant,
    pub slot: u32,
    pub index: u64,
    pub timestamp: u32,
    pub marker: bool,
    pub source: u32,
    pub source_index: u64,
    /// Microseconds since the world began.
    pub captured: u64,
    pub key: bool,
    pub picture: Option<u16>,
    pub repaired: bool,
    pub mid: String,
}

impl Outgoing {
    pub fn new(mid: &str, kind: Kind, rid: Option<&str>, ssrc: u32, now: Instant, seed: u64) -> Self {
        let first = seed % 30_000 + 20_000;
        Outgoing {
            mid: Mid::from(mid).unwrap(),
            kind,
            rid: rid.map(|rid| Rid::from(rid).unwrap()),
            ssrc: Ssrc(ssrc),
            rtx_ssrc: Ssrc(ssrc + 1),
            next: first,
            first,
            active: true,
            wants_key: true,
            key_frames: 0,
            plis: Vec::new(),
            due: now,
            rtx_next: seed % 1000,
            picture: seed as u16,
            timestamp_base: (seed >> 20) as u32,
            started: now,
            packets: 0,
            sent: BTreeMap::new(),
        }
    }

    pub fn rate(&self) -> u32 {
        if self.kind == Kind::Audio { 48_000 } else { 90_000 }
    }

    pub fn timestamp_at(&self, at: Instant) -> u32 {
        let elapsed = (at - self.started).as_micros() as u64;
        self.timestamp_base.wrapping_add((elapsed * u64::from(self.rate()) / 1_000_000) as u32)
    }

    pub fn packets(&self) -> u32 {
        self.packets
    }

    /// Sends the frame that is due.
    pub fn frame(&mut self, world: Instant, now: Instant, hop: &mut Hop<'_>, send: &mut Vec<Vec<u8>>) {
        let key = std::mem::take(&mut self.wants_key) && self.kind == Kind::Video;
        self.due += Duration::from_micros(if self.kind == Kind::Audio { 20_000 } else { 33_333 });
        self.key_frames += u32::from(key);
        let count = if self.kind == Kind::Audio {
            1
        } else if key {
            6
        } else {
            3
        };
        let timestamp = self.timestamp_at(now);
        self.picture = self.picture.wrapping_add(1) & 0x7fff;
        for part in 0..count {
            let marker = self.kind == Kind::Video && part + 1 == count;
            let captured = (now - world).as_micros() as u64;
            let payload = self.payload(key, part == 0, captured);
            self.send(self.next, timestamp, marker, &payload, hop, send);
            self.sent.insert(self.next, Sent { timestamp, marker, payload });
            self.next += 1;
        }
        while self.sent.len() > 500 {
            self.sent.pop_first();
        }
    }

    /// Answers a NACK.
    pub fn repeat(&mut self, sequence: u16, hop: &mut Hop<'_>, send: &mut Vec<Vec<u8>>) {
        let Some((_, sent)) = self.sent.iter().find(|(index, _)| **index as u16 == sequence) else { return };
        let mut payload = sequence.to_be_bytes().to_vec();
        payload.extend_from_slice(&sent.payload);
        let index = self.rtx_next;
        self.rtx_next += 1;
        let header = Header {
            marker: sent.marker,
            payload_type: hop.payload_type(self.kind) + 1,
            sequence: index as u16,
            timestamp: sent.timestamp,
            ssrc: self.rtx_ssrc,
        };
        let rid = self.rid.map(|rid| (3, rid));
        hop.send(index, &header, &self.mid, rid, &payload, send);
    }

    fn send(
        &mut self,
        index: u64,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
        hop: &mut Hop<'_>,
        send: &mut Vec<Vec<u8>>,
    ) {
        let payload_type = hop.payload_type(self.kind);
        let header = Header { marker, payload_type, sequence: index as u16, timestamp, ssrc: self.ssrc };
        self.packets += 1;
        if index < self.first + NAMED || self.rid.is_none() {
            let rid = self.rid.map(|rid| (2, rid));
            hop.send(index, &header, &self.mid, rid, payload, send);
        } else {
            hop.send(index, &header, &Mid::new(), None, payload, send);
        }
    }

    fn payload(&self, key: bool, begins: bool, captured: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        if self.kind == Kind::Video {
            let [high, low] = self.picture.to_be_bytes();
            let start = if begins { 0x90 } else { 0x80 };
            payload.extend_from_slice(&[start, 0xe0, 0x80 | high, low, self.picture as u8, 0, u8::from(!key)]);
        }
        payload.extend_from_slice(&self.ssrc.0.to_be_bytes());
        payload.extend_from_slice(&self.next.to_be_bytes());
        payload.extend_from_slice(&captured.to_be_bytes());
        payload.extend_from_slice(&vec![self.next as u8; if self.kind == Kind::Video { 900 } else { 100 }]);
        payload
    }
}

/// A client's sending half.
pub struct Hop<'a> {
    pub outbound: &'a mut Outbound,
    pub transport_sequence: &'a mut u16,
    pub audio: u8,
    pub video: u8,
}

impl Hop<'_> {
    fn payload_type(&self, kind: Kind) -> u8 {
        if kind == Kind::Audio { self.audio } else { self.video }
    }

    fn send(
        &mut self,
        index: u64,
        header: &Header,
        mid: &Mid,
        rid: Option<(u8, Rid)>,
        payload: &[u8],
        send: &mut Vec<Vec<u8>>,
    ) {
        let sequence = self.transport_sequence.to_be_bytes();
        *self.transport_sequence = self.transport_sequence.wrapping_add(1);
        let mut elements: Vec<(u8, &[u8])> = vec![(4, &sequence)];
        if !mid.is_empty() {
            elements.push((1, mid.as_bytes()));
        }
        if let Some((id, rid)) = &rid {
            elements.push((*id, rid.as_bytes()));
        }
        let mut bytes = [0; MAX_HEADER_LEN];
        let length = header.write(elements, &mut bytes).unwrap();
        let mut packet = Vec::new();
        self.outbound.protect_rtp(index, &bytes[..length], payload, &mut packet).unwrap();
        send.push(packet);
    }
}

impl Arrived {
    /// Reads what a slot was sent; `payload` without a retransmission's original sequence number.
    pub fn read(kind: Kind, payload: &[u8]) -> Option<Arrived> {
        let (descriptor, rest) = if kind == Kind::Video { payload.split_at_checked(7)? } else { (&[][..], payload) };
        let source = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
        let source_index = u64::from_be_bytes(rest.get(4..12)?.try_into().ok()?);
        let captured = u64::from_be_bytes(rest.get(12..20)?.try_into().ok()?);
        assert!(rest[20..].iter().all(|&byte| byte == source_index as u8), "the payload is whole");
        let picture = (kind == Kind::Video).then(|| u16::from_be_bytes([descriptor[2] & 0x7f, descriptor[3]]));
        let key = kind == Kind::Video && descriptor[0] == 0x90 && descriptor[6] & 1 == 0;
        Some(Arrived {
            at: Instant::now(),
            slot: 0,
            index: 0,
            timestamp: 0,
            marker: false,
            source,
            source_index,
            captured,
            key,
            picture,
            repaired: false,
            mid: String::new(),
        })
    }
}
