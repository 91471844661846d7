//! What a client sends and receives: tracks whose packets say which they are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sotto::rtp::header::{Header, MAX_HEADER_LEN};
use sotto::rtp::{vp8, vp9};
use sotto::session::{CodecName, ExtensionIds, Kind, Mid, Rid, Ssrc};
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

/// What a track's video looks like on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Picture identifier and TL0PICIDX, as Chromium with simulcast.
    Vp8,
    /// A descriptor of one byte, as Chromium without temporal layers.
    Vp8Bare,
    /// Non-flexible mode.
    Vp9,
    /// Flexible mode, which has no TL0PICIDX.
    Vp9Flexible,
}

impl Form {
    pub fn codec(self) -> CodecName {
        match self {
            Form::Vp8 | Form::Vp8Bare => CodecName::Vp8,
            Form::Vp9 | Form::Vp9Flexible => CodecName::Vp9,
        }
    }

    /// The descriptor of part `part` of `count`, with VP8's payload header.
    fn descriptor(self, key: bool, picture: u16, (part, count): (u32, u32)) -> Vec<u8> {
        let ([high, low], tl0) = (picture.to_be_bytes(), picture as u8);
        let (begins, inter) = (u8::from(part == 0), u8::from(!key));
        let of_vp9 = 0xa0 | inter << 6 | begins << 3 | u8::from(part + 1 == count) << 2;
        match self {
            Form::Vp8 => vec![0x80 | begins << 4, 0xe0, 0x80 | high, low, tl0, 0, inter],
            Form::Vp8Bare => vec![begins << 4, inter],
            Form::Vp9 => vec![of_vp9, 0x80 | high, low, 0, tl0],
            Form::Vp9Flexible if key => vec![of_vp9 | 0x10, 0x80 | high, low, 0],
            Form::Vp9Flexible => vec![of_vp9 | 0x10, 0x80 | high, low, 0, 1 << 1],
        }
    }
}

/// One encoding on its way out.
pub struct Outgoing {
    pub mid: Mid,
    pub kind: Kind,
    pub form: Form,
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
    /// Between two frames.
    pub interval: Duration,
    /// Packets of even and of odd frames; a key frame has six.
    pub parts: [u32; 2],
    /// Bytes of a packet behind its descriptor and its twenty bytes of marks.
    pub size: usize,
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
    /// As it left.
    datagram: Vec<u8>,
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
    pub kind: Kind,
    pub key: bool,
    pub picture: Option<u16>,
    pub tl0: Option<u8>,
    pub repaired: bool,
    pub mid: String,
}

impl Outgoing {
    pub fn new(mid: &str, kind: Kind, rid: Option<&str>, ssrc: u32, now: Instant, seed: u64) -> Self {
        let first = seed % 30_000 + 20_000;
        Outgoing {
            mid: Mid::from(mid).unwrap(),
            kind,
            form: Form::Vp8,
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
            interval: Duration::from_micros(if kind == Kind::Audio { 20_000 } else { 33_333 }),
            parts: if kind == Kind::Audio { [1, 1] } else { [3, 3] },
            size: if kind == Kind::Audio { 100 } else { 900 },
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
        self.due += self.interval;
        self.key_frames += u32::from(key);
        let count = if key { 6 } else { self.parts[usize::from(self.picture % 2)] };
        let timestamp = self.timestamp_at(now);
        self.picture = self.picture.wrapping_add(1) & 0x7fff;
        for part in 0..count {
            let marker = self.kind == Kind::Video && part + 1 == count;
            let captured = (now - world).as_micros() as u64;
            let payload = self.payload(key, (part, count), captured);
            self.send(self.next, timestamp, marker, &payload, hop, send);
            let datagram = send.last().unwrap().clone();
            self.sent.insert(self.next, Sent { timestamp, marker, payload, datagram });
            self.next += 1;
        }
        while self.sent.len() > 500 {
            self.sent.pop_first();
        }
    }

    /// Sends a packet of nothing but padding, in the stream itself or in that of its retransmissions.
    pub fn padding(&mut self, repair: bool, now: Instant, hop: &mut Hop<'_>, send: &mut Vec<Vec<u8>>) {
        let next = if repair { &mut self.rtx_next } else { &mut self.next };
        let index = *next;
        *next += 1;
        let ssrc = if repair { self.rtx_ssrc } else { self.ssrc };
        let payload_type = hop.payload_type(self.kind) + u8::from(repair);
        let timestamp = self.timestamp_at(now);
        hop.send_padding(index, &Header { marker: false, payload_type, sequence: index as u16, timestamp, ssrc }, send);
    }

    /// Answers a NACK. Sound has no stream for it, so the very same datagram goes again.
    pub fn repeat(&mut self, sequence: u16, hop: &mut Hop<'_>, send: &mut Vec<Vec<u8>>) {
        let Some((_, sent)) = self.sent.iter().find(|(index, _)| **index as u16 == sequence) else { return };
        if self.kind == Kind::Audio {
            return send.push(sent.datagram.clone());
        }
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

    fn payload(&self, key: bool, part: (u32, u32), captured: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        if self.kind == Kind::Video {
            payload.extend(self.form.descriptor(key, self.picture, part));
        }
        payload.extend_from_slice(&self.ssrc.0.to_be_bytes());
        payload.extend_from_slice(&self.next.to_be_bytes());
        payload.extend_from_slice(&captured.to_be_bytes());
        payload.extend_from_slice(&vec![self.next as u8; self.size]);
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
    /// Sends 224 bytes of padding and nothing else (RFC 3550, section 5.1).
    fn send_padding(&mut self, index: u64, header: &Header, send: &mut Vec<Vec<u8>>) {
        let sequence = self.transport_sequence.to_be_bytes();
        *self.transport_sequence = self.transport_sequence.wrapping_add(1);
        let mut bytes = [0; MAX_HEADER_LEN];
        let length = header.write([(4, &sequence[..])], &mut bytes).unwrap();
        bytes[0] |= 0x20;
        let mut padding = [0; 224];
        padding[223] = 224;
        let mut packet = Vec::new();
        self.outbound.protect_rtp(index, &bytes[..length], &padding, &mut packet).unwrap();
        send.push(packet);
    }

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
    /// Reads what a slot was sent; `payload` without a retransmission's original sequence number. Padding is nothing.
    pub fn read(codec: CodecName, payload: &[u8]) -> Option<Arrived> {
        if payload.is_empty() {
            return None;
        }
        let (kind, length, key, picture, tl0) = match codec {
            CodecName::Opus => (Kind::Audio, 0, false, None, None),
            CodecName::Vp8 => {
                let read = vp8::Descriptor::parse(payload).unwrap();
                (Kind::Video, read.len + 1, read.key_frame, read.picture_id, read.tl0_index)
            }
            CodecName::Vp9 => {
                let read = vp9::Descriptor::parse(payload).unwrap();
                (Kind::Video, read.len, read.key_frame, read.picture_id, read.tl0_index)
            }
        };
        let picture = picture.map(|picture| picture.value);
        let rest = &payload[length..];
        let source = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
        let source_index = u64::from_be_bytes(rest.get(4..12)?.try_into().ok()?);
        let captured = u64::from_be_bytes(rest.get(12..20)?.try_into().ok()?);
        assert!(rest[20..].iter().all(|&byte| byte == source_index as u8), "the payload is whole");
        Some(Arrived {
            at: Instant::now(),
            slot: 0,
            index: 0,
            timestamp: 0,
            marker: false,
            source,
            source_index,
            captured,
            kind,
            key,
            picture,
            tl0,
            repaired: false,
            mid: String::new(),
        })
    }
}
