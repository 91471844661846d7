//! A client: ICE checks, a DTLS handshake by the library, SRTP and RTCP by the relay's own wire code used from the other
//! end. It repairs what it loses and remembers what it got.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use arrayvec::{ArrayString, ArrayVec};
use sotto::rtp::header::Packet;
use sotto::rtp::rtcp::feedback::write_nack;
use sotto::rtp::rtcp::report::{ReportBlock, SenderInfo, write_receiver_report, write_sender_report};
use sotto::rtp::rtcp::{self, Compound};
use sotto::rtp::sequence::nearest_sequence;
use sotto::session::{Codec, CodecName, IceParameters, Incoming, Kind, Mid, Rid, Session, Slot, Ssrc};
use sotto::transport::srtp::{Inbound, Outbound};
use stun_types::attribute::{AttributeType, RawAttribute, Username};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, IntegrityKey, Message, MessageWrite, MessageWriteExt, MessageWriteVec,
    ShortTermCredentials,
};
use zeroize::Zeroizing;

use crate::handshake::Handshake;
use crate::track::{Arrived, EXTENSIONS, Form, Hop, Outgoing};

/// What a client sends and receives.
#[derive(Clone)]
pub struct Plan {
    pub rids: Vec<&'static str>,
    pub publishes: bool,
    pub pairs: usize,
    /// Its first SSRC; random when absent.
    pub ssrc: Option<u32>,
    /// The offset of its wall clock in seconds, and its drift in parts per million.
    pub clock: (f64, f64),
    /// Whether it asks for what it misses.
    pub nacks: bool,
    /// Whether it goes on asking for what a retransmission brought, as some receivers do.
    pub insists: bool,
    /// Whether lost sound is asked for as well, on both ways.
    pub voice_nacks: bool,
    /// The payload type of its video.
    pub video: u8,
    /// What its video looks like on the wire.
    pub form: Form,
    /// Whether it offers no SRTP profile but AES-CM.
    pub aes_cm: bool,
}

impl Plan {
    /// Microphone, camera, and three pairs of slots.
    pub fn usual() -> Plan {
        Plan {
            rids: vec![],
            publishes: true,
            pairs: 3,
            ssrc: None,
            clock: (0.0, 0.0),
            nacks: true,
            insists: false,
            voice_nacks: false,
            video: 96,
            form: Form::Vp8,
            aes_cm: false,
        }
    }

    /// The same with three simulcast layers.
    pub fn simulcast() -> Plan {
        Plan { rids: vec!["l", "m", "h"], ..Plan::usual() }
    }
}

/// One client.
pub struct Client {
    pub call: u64,
    pub address: SocketAddr,
    pub plan: Plan,
    pub alive: bool,
    pub tracks: Vec<Outgoing>,
    pub slots: Vec<Slot>,
    pub arrived: Vec<Arrived>,
    /// SSRC, NTP time and RTP timestamp of each sender report.
    pub sender_reports: Vec<(Instant, u32, SenderInfo)>,
    pub receiver_reports: Vec<ReportBlock>,
    pub nacked: u32,
    pub asked: u32,
    pub feedbacks: Vec<(Instant, u16, usize)>,
    pub received: u64,
    pub refused: u64,
    /// Requests for streams that are not its own.
    pub strays: u64,
    pub last_received: Option<Instant>,
    /// ICE restarts so far.
    pub generation: u64,
    /// When it checks next.
    pub check_at: Instant,
    key: u64,
    seed: u64,
    world: Instant,
    handshake: Handshake,
    /// Opens copies of what it sends and of what it is sent; there are keys.
    pub wiretap: Option<Wiretap>,
    inbound: Option<Inbound>,
    outbound: Option<Outbound>,
    transport_sequence: u16,
    report_at: Instant,
    nack_at: Instant,
    missing: BTreeMap<(u32, u64), Instant>,
    highest: HashMap<u32, u64>,
    seen: HashSet<(u32, u64)>,
    pending: Vec<Vec<u8>>,
}

/// Its keys in the hands of a test.
pub struct Wiretap {
    pub up: Inbound,
    pub down: Inbound,
}

impl Client {
    pub fn new(call: u64, key: u64, address: SocketAddr, plan: Plan, now: Instant, seed: u64) -> Self {
        let handshake = Handshake::new(plan.aes_cm, now);
        let ssrc = plan.ssrc.unwrap_or(seed as u32 & 0xffff_fff0);
        let mut tracks = Vec::new();
        if plan.publishes {
            tracks.push(Outgoing::new("mic", Kind::Audio, None, ssrc, now, seed));
            match plan.rids.is_empty() {
                true => tracks.push(Outgoing::new("cam", Kind::Video, None, ssrc + 2, now, seed >> 3)),
                false => tracks.extend(plan.rids.iter().zip(1u32..).map(|(rid, place)| {
                    Outgoing::new("cam", Kind::Video, Some(rid), ssrc + 2 * place, now, seed >> place)
                })),
            }
        }
        tracks.iter_mut().for_each(|track| track.form = plan.form);
        let slots = slots(&plan, key);
        Client {
            call,
            address,
            plan,
            alive: true,
            tracks,
            slots,
            arrived: Vec::new(),
            sender_reports: Vec::new(),
            receiver_reports: Vec::new(),
            nacked: 0,
            asked: 0,
            feedbacks: Vec::new(),
            received: 0,
            refused: 0,
            strays: 0,
            last_received: None,
            generation: 0,
            check_at: now,
            key,
            seed,
            world: now,
            handshake,
            wiretap: None,
            inbound: None,
            outbound: None,
            transport_sequence: 0,
            report_at: now + Duration::from_millis(300),
            nack_at: now,
            missing: BTreeMap::new(),
            highest: HashMap::new(),
            seen: HashSet::new(),
            pending: Vec::new(),
        }
    }

    pub fn session(&self) -> Session {
        let mut incoming = Vec::new();
        if self.plan.publishes {
            let ssrc = self.tracks[0].ssrc;
            incoming.push(line("mic", Kind::Audio, opus(&self.plan, 111), &[(ssrc, None)], &[]));
            let camera = &self.tracks[1];
            let ssrcs = if self.plan.rids.is_empty() { vec![(camera.ssrc, Some(camera.rtx_ssrc))] } else { vec![] };
            incoming.push(line("cam", Kind::Video, video(&self.plan), &ssrcs, &self.plan.rids));
        }
        Session {
            ice: self.ice(self.generation),
            fingerprint: self.handshake.fingerprint(),
            extensions: EXTENSIONS,
            incoming,
            slots: self.slots.clone(),
        }
    }

    /// Its credentials after so many restarts.
    pub fn ice(&self, generation: u64) -> IceParameters {
        IceParameters {
            local_ufrag: ArrayString::from(&format!("u{generation}{:06}", self.key)).unwrap(),
            local_pwd: Zeroizing::new(format!("password-{generation}-of-participant-{}", self.key)),
            remote_ufrag: Some(format!("them{generation}")),
        }
    }

    pub fn is_connected(&self) -> bool {
        self.outbound.is_some()
    }

    /// The packets that came in a slot.
    pub fn slot(&self, mid: &str) -> Vec<&Arrived> {
        let slot = self.slots.iter().find(|slot| slot.mid.as_str() == mid).unwrap().ssrc.0;
        self.arrived.iter().filter(|arrived| arrived.slot == slot).collect()
    }

    pub fn deadline(&self) -> Option<Instant> {
        if !self.alive {
            return None;
        }
        if !self.pending.is_empty() {
            return Some(self.world);
        }
        let frames = self.tracks.iter().filter(|_| self.is_connected()).map(|track| track.due);
        let nack = (!self.missing.is_empty()).then_some(self.nack_at);
        let own = [Some(self.check_at), self.handshake.deadline(), self.is_connected().then_some(self.report_at), nack];
        frames.chain(own.into_iter().flatten()).min()
    }

    /// Does what is due.
    pub fn poll(&mut self, now: Instant, send: &mut Vec<Vec<u8>>) {
        if !self.alive {
            return;
        }
        send.append(&mut self.pending);
        if now >= self.check_at {
            self.check_at = now + Duration::from_millis(2_500);
            send.push(self.check());
        }
        self.poll_handshake(now, send);
        if !self.is_connected() {
            return;
        }
        for place in 0..self.tracks.len() {
            while self.tracks[place].due <= now {
                let (mut hop, track, world) = self.hop(place);
                match track.active {
                    true => track.frame(world, now, &mut hop, send),
                    false => track.due += Duration::from_millis(20),
                }
            }
        }
        if now >= self.report_at {
            self.report_at = now + Duration::from_secs(1);
            self.report(now, send);
        }
        if now >= self.nack_at && !self.missing.is_empty() {
            self.nack(now, send);
        }
    }

    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        if !self.alive {
            return;
        }
        self.last_received = Some(now);
        let mut bytes = bytes.to_vec();
        match bytes[0] {
            0..=3 => {}
            20..=63 => {
                self.handshake.receive(now, &bytes);
                let mut send = Vec::new();
                self.poll_handshake(now, &mut send);
                self.pending.extend(send);
            }
            _ if (192..224).contains(&bytes[1]) => self.receive_rtcp(now, &mut bytes),
            _ => self.receive_rtp(now, &mut bytes),
        }
    }

    /// An authentic, nominating check.
    pub fn check(&self) -> Vec<u8> {
        self.check_of(self.generation, true)
    }

    /// An authentic check under the credentials of a generation.
    pub fn check_of(&self, generation: u64, nominates: bool) -> Vec<u8> {
        check(&self.ice(generation), nominates)
    }

    /// Protects a compound as this client.
    pub fn protect_rtcp(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.outbound.as_mut().unwrap().protect_rtcp(packet, &mut bytes).unwrap();
        bytes
    }

    /// Protects a packet of media as this client.
    pub fn protect_rtp(&mut self, index: u64, header: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.outbound.as_mut().unwrap().protect_rtp(index, header, payload, &mut bytes).unwrap();
        bytes
    }

    /// Sends with the next poll.
    pub fn send_later(&mut self, bytes: Vec<u8>) {
        self.pending.push(bytes);
    }

    /// The wall clock of this client, in NTP units.
    pub fn ntp(&self, now: Instant) -> u64 {
        let (offset, drift) = self.plan.clock;
        let seconds = 1e9 + offset + (now - self.world).as_secs_f64() * (1.0 + drift * 1e-6);
        (seconds * 4_294_967_296.0) as u64
    }

    pub fn hop(&mut self, place: usize) -> (Hop<'_>, &mut Outgoing, Instant) {
        let hop = Hop {
            outbound: self.outbound.as_mut().unwrap(),
            transport_sequence: &mut self.transport_sequence,
            audio: 111,
            video: self.plan.video,
        };
        (hop, &mut self.tracks[place], self.world)
    }

    fn poll_handshake(&mut self, now: Instant, send: &mut Vec<Vec<u8>>) {
        let Some(keys) = self.handshake.poll(now, send) else { return };
        let open = |master| Inbound::new(keys.profile, master);
        self.wiretap = Some(Wiretap { up: open(&keys.outbound), down: open(&keys.inbound) });
        self.inbound = Some(open(&keys.inbound));
        self.outbound = Some(Outbound::new(keys.profile, &keys.outbound));
        self.tracks.iter_mut().for_each(|track| track.due = now);
    }

    fn receive_rtp(&mut self, now: Instant, bytes: &mut [u8]) {
        let Some(inbound) = &mut self.inbound else { return };
        let Ok(opened) = inbound.unprotect_rtp(bytes) else {
            self.refused += 1;
            return;
        };
        self.received += 1;
        let packet = Packet::parse(&bytes[..opened.len]).unwrap();
        let slot = self.slots.iter().find(|slot| slot.ssrc == packet.ssrc() || slot.rtx_ssrc == Some(packet.ssrc()));
        let slot = slot.expect("every packet belongs to a slot");
        let repaired = slot.rtx_ssrc == Some(packet.ssrc());
        let codec = &slot.codecs[0];
        let expected = if repaired { codec.rtx_payload_type.unwrap() } else { codec.payload_type };
        assert_eq!(packet.payload_type(), expected, "the receiver's own payload type");
        assert!(packet.extension(4).is_some(), "a transport-wide number");
        assert!(packet.extension(2).is_none(), "never a RID");
        let (mut payload, mut index) = (packet.payload(), opened.index);
        let key = slot.ssrc.0;
        if repaired {
            let Some(&highest) = self.highest.get(&key) else { return };
            index = nearest_sequence(highest, u16::from_be_bytes([payload[0], payload[1]]));
            payload = &payload[2..];
        }
        let arrived = Arrived::read(codec.name, payload);
        self.note_order(key, index, repaired, now);
        let Some(mut arrived) = arrived else { return };
        (arrived.at, arrived.slot, arrived.index, arrived.repaired) = (now, key, index, repaired);
        (arrived.timestamp, arrived.marker) = (packet.timestamp(), packet.marker());
        arrived.mid = String::from_utf8(packet.extension(1).unwrap().to_vec()).unwrap();
        // A retransmission and the late original may both come; SRTP has refused every other repetition.
        if self.seen.insert((key, index)) {
            self.arrived.push(arrived);
        }
    }

    fn note_order(&mut self, slot: u32, index: u64, repaired: bool, now: Instant) {
        if !(repaired && self.plan.insists) {
            self.missing.remove(&(slot, index));
        }
        let before = *self.highest.entry(slot).or_insert(index);
        if index > before {
            self.highest.insert(slot, index);
        }
        if self.plan.nacks && index > before + 1 {
            self.missing.extend((before + 1..index).map(|lost| ((slot, lost), now)));
            self.nack_at = self.nack_at.max(now + Duration::from_millis(20));
        }
    }

    fn nack(&mut self, now: Instant, send: &mut Vec<Vec<u8>>) {
        self.nack_at = now + Duration::from_millis(60);
        self.missing.retain(|_, since| now < *since + Duration::from_millis(800));
        let mut compound = Vec::new();
        for slot in &self.slots {
            let of_slot = self.missing.keys().filter(|(ssrc, _)| *ssrc == slot.ssrc.0);
            let lost: Vec<u16> = of_slot.map(|(_, index)| *index as u16).collect();
            self.nacked += lost.len() as u32;
            write_nack(Ssrc(1), slot.ssrc, &lost, &mut compound);
        }
        if !compound.is_empty() {
            send.push(self.protect_rtcp(&compound));
        }
    }

    fn report(&mut self, now: Instant, send: &mut Vec<Vec<u8>>) {
        let mut compound = Vec::new();
        for track in self.tracks.iter().filter(|track| track.active) {
            let rtp_timestamp = track.timestamp_at(now);
            let info = SenderInfo { ntp: self.ntp(now), rtp_timestamp, packets: track.packets(), octets: 0 };
            write_sender_report(track.ssrc, &info, &[], &mut compound);
        }
        write_receiver_report(Ssrc(self.seed as u32), &[], &mut compound);
        send.push(self.protect_rtcp(&compound));
    }

    fn receive_rtcp(&mut self, now: Instant, bytes: &mut [u8]) {
        let Some(inbound) = &mut self.inbound else { return };
        let Ok(len) = inbound.unprotect_rtcp(bytes) else {
            self.refused += 1;
            return;
        };
        let mut repeats = Vec::new();
        for packet in Compound::parse(&bytes[..len]).unwrap() {
            match packet.expect("the relay writes whole packets") {
                rtcp::Packet::SenderReport(report) => {
                    self.sender_reports.push((now, report.sender.0, report.info));
                }
                rtcp::Packet::ReceiverReport(report) => self.receiver_reports.extend(report.blocks),
                rtcp::Packet::PictureLoss(loss) => {
                    let track = self.tracks.iter_mut().find(|track| track.ssrc == loss.media);
                    let Some(track) = track else {
                        self.strays += 1;
                        continue;
                    };
                    track.wants_key = true;
                    track.plis.push(now);
                }
                rtcp::Packet::Nack(nack) => {
                    let place = self.tracks.iter().position(|track| track.ssrc == nack.media).unwrap();
                    repeats.extend(nack.sequences().map(|sequence| (place, sequence)));
                }
                rtcp::Packet::TransportFeedback(feedback) => {
                    self.feedbacks.push((now, feedback.base_sequence, feedback.arrivals().count()));
                }
                _ => {}
            }
        }
        self.asked += repeats.len() as u32;
        let mut send = Vec::new();
        for (place, sequence) in repeats {
            let (mut hop, track, _) = self.hop(place);
            track.repeat(sequence, &mut hop, &mut send);
        }
        self.pending.extend(send);
    }
}

/// An authentic check of a controlling end.
pub fn check(ice: &IceParameters, nominates: bool) -> Vec<u8> {
    let mut message = Message::builder_request(BINDING, MessageWriteVec::new());
    let name = format!("{}:{}", ice.local_ufrag, ice.remote_ufrag.as_deref().unwrap_or("any"));
    message.add_attribute(&Username::new(&name).unwrap()).unwrap();
    message.add_attribute(&RawAttribute::new(AttributeType::new(0x802a), &[7; 8])).unwrap();
    if nominates {
        message.add_attribute(&RawAttribute::new(AttributeType::new(0x0025), &[])).unwrap();
    }
    let key: IntegrityKey = ShortTermCredentials::new(ice.local_pwd.to_string()).make_key();
    message.add_message_integrity_with_key(&key, IntegrityAlgorithm::Sha1).unwrap();
    message.add_fingerprint().unwrap();
    message.finish()
}

fn opus(plan: &Plan, payload_type: u8) -> Codec {
    Codec { name: CodecName::Opus, payload_type, rtx_payload_type: None, nack: plan.voice_nacks }
}

fn video(plan: &Plan) -> Codec {
    let (name, payload_type) = (plan.form.codec(), plan.video);
    Codec { name, payload_type, rtx_payload_type: Some(payload_type + 1), nack: true }
}

fn line(mid: &str, kind: Kind, codec: Codec, ssrcs: &[(Ssrc, Option<Ssrc>)], rids: &[&str]) -> Incoming {
    Incoming {
        mid: Mid::from(mid).unwrap(),
        kind,
        codecs: ArrayVec::from_iter([codec]),
        ssrcs: ssrcs.iter().copied().collect(),
        rids: rids.iter().map(|rid| Rid::from(rid).unwrap()).collect(),
    }
}

fn slots(plan: &Plan, key: u64) -> Vec<Slot> {
    let ssrc = |pair: usize, place: u32| Ssrc(0x4000_0000 + (key as u32) * 64 + pair as u32 * 4 + place);
    let mut slots = Vec::new();
    for pair in 0..plan.pairs {
        let mid = |letter: char| Mid::from(&format!("{letter}{pair}")).unwrap();
        let codecs = ArrayVec::from_iter([opus(plan, 109)]);
        slots.push(Slot { mid: mid('a'), kind: Kind::Audio, codecs, ssrc: ssrc(pair, 0), rtx_ssrc: None });
        let codecs = ArrayVec::from_iter([video(plan)]);
        let rtx_ssrc = Some(ssrc(pair, 2));
        slots.push(Slot { mid: mid('v'), kind: Kind::Video, codecs, ssrc: ssrc(pair, 1), rtx_ssrc });
    }
    slots
}
