//! One participant's connection: what comes is told apart (RFC 7983) and taken by ICE, DTLS or SRTP; what is due is
//! written into an outbox. Sans-IO.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, RngExt};
use rand_chacha::ChaCha20Rng;
use rtc_crypto::RTCCryptoProvider;

use super::description::{Answer, Head, Lines, codec_of};
use super::dtls::{Anchor, Dtls, DtlsError, Identity, Progress};
use super::feedback::Arrivals;
use super::ice::{Credentials, Ice, Outcome};
use super::receiving::Slot;
use super::rtp::{self, Header};
use super::sending::{Labels, Outbox, Track, Way};
use super::srtp::{Keys, TAG_LEN};
use crate::clock::Moment;
use crate::engine::{Codec, Command, Event, Received, Sending};

mod control;

/// One participant's connection.
pub struct Connection {
    provider: Arc<dyn RTCCryptoProvider>,
    anchor: Anchor,
    identity: Arc<Identity>,
    random: ChaCha20Rng,
    session: u64,
    /// In RTCP that is about no stream of ours.
    ssrc: u32,
    check_one_in: u32,

    lines: Lines,
    /// As last offered; in use for checks once that offer was answered.
    local: Credentials,
    fingerprint: Option<[u8; 32]>,
    ice: Ice,
    dtls: Option<Dtls>,
    keys: Option<Box<Keys>>,

    slots: Vec<Slot>,
    /// SSRC, its slot and whether it carries retransmissions; sorted.
    sources: Vec<(u32, u16, bool)>,
    tracks: Vec<Track>,
    labels: Labels,
    arrivals: Arrivals,

    next_report: Moment,
    next_feedback: Moment,
    next_nack: Option<Moment>,
    outbox: Outbox,
    checks: Vec<(SocketAddr, Vec<u8>)>,
    events: Vec<Event>,
    counters: Counters,
}

/// Packets that went another way than to the participant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Came before the keys, from an unknown source, or were none.
    pub strange: u64,
    /// Did not authenticate.
    pub forged: u64,
    /// Came again.
    pub replayed: u64,
}

/// What a connection is made of.
pub struct Parts {
    /// Primitives for STUN and DTLS.
    pub provider: Arc<dyn RTCCryptoProvider>,
    /// The certificate.
    pub identity: Arc<Identity>,
    /// The same moment on both clocks.
    pub anchor: Anchor,
    /// Credentials, SSRCs and check numbers come from it.
    pub random: ChaCha20Rng,
    /// Of how many frames one is decrypted; at least 1.
    pub check_one_in: u32,
}

impl Connection {
    /// A connection that offered nothing yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { provider, identity, anchor, mut random, check_one_in } = parts;
        let local = Credentials::random(&mut random);
        let ice = Ice::new(Arc::clone(&provider), local.clone(), &mut random);
        Self {
            provider,
            anchor,
            identity,
            session: random.next_u64(),
            ssrc: random.next_u32(),
            check_one_in: check_one_in.max(1),
            random,
            lines: Lines::default(),
            local,
            fingerprint: None,
            ice,
            dtls: None,
            keys: None,
            slots: Vec::new(),
            sources: Vec::new(),
            tracks: Vec::new(),
            labels: Labels::default(),
            arrivals: Arrivals::default(),
            next_report: Moment::default(),
            next_feedback: Moment::default(),
            next_nack: None,
            outbox: Outbox::default(),
            checks: Vec::new(),
            events: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Does what the participant wants.
    pub fn handle_command(&mut self, now: Moment, command: Command) {
        match command {
            Command::Offer { send, pairs, restart_ice } => self.offer(&send, pairs, restart_ice),
            Command::Answer { sdp } => self.answer(now, &sdp),
            Command::Packet { stream, layer, packet } => {
                let Some(keys) = &self.keys else { return };
                let Some(track) = self.tracks.iter_mut().find(|track| track.stream == stream) else { return };
                let mut way = Way { now, keys: &keys.seal, labels: &mut self.labels, outbox: &mut self.outbox };
                track.send(layer, packet, &mut way);
            }
            Command::RequestKeyFrame { slot } => self.request_key_frame(slot),
        }
    }

    /// Takes a datagram, which is altered, and hands media on to `hear`.
    pub fn handle_datagram(
        &mut self,
        now: Moment,
        arrived: Moment,
        datagram: &mut [u8],
        hear: &mut impl FnMut(Received<'_>),
    ) {
        match datagram.first() {
            Some(0..=3) => {
                let Self { ice, random, checks, .. } = self;
                let send = &mut |to, bytes: &[u8]| checks.push((to, bytes.to_vec()));
                let outcome = ice.handle_datagram(now, datagram, random, send);
                self.note_ice(now, outcome);
            }
            Some(20..=63) => self.handle_dtls(now, datagram),
            Some(128..=191) if datagram.len() > 1 && RTCP_TYPES.contains(&datagram[1]) => {
                self.handle_rtcp(now, datagram);
            }
            Some(128..=191) => {
                if self.handle_rtp(now, arrived, datagram, hear).is_none() {
                    self.counters.strange += 1;
                }
            }
            _ => self.counters.strange += 1,
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Moment) {
        let Self { ice, random, checks, .. } = self;
        let outcome = ice.handle_timeout(now, random, &mut |to, bytes| checks.push((to, bytes.to_vec())));
        self.note_ice(now, outcome);
        if let Some(dtls) = &mut self.dtls
            && dtls.next_timeout().is_some_and(|next| now >= next)
        {
            let result = dtls.handle_timeout(now);
            self.drain_dtls();
            if let Err(error) = result {
                self.lose(error);
            }
        }
        if self.keys.is_some() {
            self.ask_again(now);
            self.give_feedback(now);
            self.give_reports(now);
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Moment> {
        let dtls = self.dtls.as_ref().and_then(Dtls::next_timeout);
        let mut next = [self.ice.next_timeout(), dtls].into_iter().flatten().min();
        if self.keys.is_some() {
            let feedback = (!self.arrivals.is_empty()).then_some(self.next_feedback);
            next = [next, Some(self.next_report), self.next_nack, feedback].into_iter().flatten().min();
        }
        next
    }

    /// What the participant is to be told next.
    pub fn poll_event(&mut self) -> Option<Event> {
        (!self.events.is_empty()).then(|| self.events.remove(0))
    }

    /// What is to be sent to the relay. To be cleared by whoever sent it.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Checks, which go to addresses of their own.
    pub fn poll_check(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        (!self.checks.is_empty()).then(|| self.checks.remove(0))
    }

    /// Where everything but checks goes, once a path was nominated.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.ice.selected()
    }

    /// What went another way than to the participant.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Ends the association; what is in the outbox afterwards should still be sent.
    pub fn close(&mut self, now: Moment) {
        if let Some(dtls) = &mut self.dtls {
            dtls.close(now);
        }
        self.drain_dtls();
    }

    fn offer(&mut self, send: &[Sending], pairs: u32, restart_ice: bool) {
        if restart_ice {
            self.local = Credentials::random(&mut self.random);
        }
        let random = &mut self.random;
        self.lines.extend(send, pairs as usize, || random.random_range(1..=u32::MAX));
        let fingerprint = self.identity.fingerprint();
        let sdp = self.lines.offer(&Head { local: &self.local, fingerprint, session: self.session });
        let sending = self.lines.sending().map(|(mid, sending, _)| (sending.stream, mid)).collect();
        self.events.push(Event::Offered { sdp, sending, slots: self.lines.slots().collect() });
    }

    fn answer(&mut self, now: Moment, sdp: &str) {
        let answer = match Answer::parse(sdp) {
            Ok(answer) => answer,
            Err(error) => return self.events.push(Event::Lost { reason: error.to_string() }),
        };
        self.labels.mid = answer.mid;
        self.labels.rid = answer.rid;
        self.labels.repaired_rid = answer.repaired_rid;
        self.labels.transport_cc = answer.transport_cc;
        self.fingerprint.get_or_insert(answer.fingerprint);
        for (place, mid) in self.lines.slots().enumerate() {
            let Some((_, ssrc, rtx)) = answer.slots.iter().find(|(known, ..)| *known == mid) else { continue };
            if place == self.slots.len() {
                self.slots.push(Slot::new(*ssrc));
                self.sources.push((*ssrc, place as u16, false));
                self.sources.extend(rtx.map(|rtx| (rtx, place as u16, true)));
            }
        }
        self.sources.sort_unstable();
        for (mid, sending, ssrcs) in self.lines.sending() {
            if !self.tracks.iter().any(|track| track.stream == sending.stream) {
                self.tracks.push(Track::new(mid, sending, ssrcs));
            }
        }
        self.ice.start(now, &self.local, &answer.remote, &answer.candidates);
    }

    fn note_ice(&mut self, now: Moment, outcome: Outcome) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Nominated(_) => {
                self.events.push(Event::IceConnected { at: now });
                if self.dtls.is_none() {
                    self.begin_dtls(now);
                }
            }
            Outcome::Lost(reason) => self.events.push(Event::Lost { reason: reason.to_owned() }),
        }
    }

    fn begin_dtls(&mut self, now: Moment) {
        let Some(expected) = self.fingerprint else { return };
        let provider = Arc::clone(&self.provider);
        match Dtls::connect(now, self.anchor, provider, &self.identity, expected) {
            Ok(dtls) => self.dtls = Some(dtls),
            Err(error) => self.lose(error),
        }
        self.drain_dtls();
    }

    fn handle_dtls(&mut self, now: Moment, datagram: &[u8]) {
        let Some(dtls) = &mut self.dtls else { return self.counters.strange += 1 };
        let progress = dtls.handle_datagram(now, datagram);
        self.drain_dtls();
        match progress {
            Ok(Progress::Pending) => {}
            Ok(Progress::Connected(keys)) => {
                self.keys = Some(keys);
                self.next_report = now + REPORTS;
                self.events.push(Event::DtlsConnected { at: now });
            }
            Ok(Progress::Closed) => {
                self.keys = None;
                self.events.push(Event::Lost { reason: "the relay closed the DTLS association".to_owned() });
            }
            Err(error) => self.lose(error),
        }
    }

    fn drain_dtls(&mut self) {
        while let Some(datagram) = self.dtls.as_mut().and_then(Dtls::poll_transmit) {
            self.outbox.push(&datagram);
        }
    }

    fn lose(&mut self, error: DtlsError) {
        (self.dtls, self.keys) = (None, None);
        self.events.push(Event::Lost { reason: error.to_string() });
    }

    /// Media; `None` where it is none of ours.
    fn handle_rtp(
        &mut self,
        now: Moment,
        arrived: Moment,
        packet: &mut [u8],
        hear: &mut impl FnMut(Received<'_>),
    ) -> Option<()> {
        let keys = self.keys.as_ref()?;
        let header = Header::parse(packet)?;
        let found = self.sources.binary_search_by_key(&header.ssrc, |&(ssrc, ..)| ssrc).ok()?;
        let (_, place, repair) = self.sources[found];
        let (codec, is_rtx) = codec_of(header.payload_type).filter(|&(_, is_rtx)| is_rtx == repair)?;
        let slot = &mut self.slots[usize::from(place)];
        let (index, new) = if repair { slot.place_repair(header.sequence) } else { slot.place(header.sequence) };
        let received = Received {
            slot: usize::from(place),
            arrived,
            codec,
            marker: header.marker,
            sequence: header.sequence,
            timestamp: header.timestamp,
            repaired: false,
            size: packet.len().saturating_sub(header.length + TAG_LEN),
            payload: None,
        };
        if !new {
            self.counters.replayed += 1;
            if !repair {
                hear(received); // never opened again, but it came
            }
            return Some(());
        }
        // Padding and what a retransmission repeats are known only to who opens them.
        let opens = is_rtx || header.padded || in_sample(header.timestamp, self.check_one_in);
        let mut plain = None;
        if opens {
            match keys.open.open_rtp(packet, header.length, header.ssrc, index) {
                Ok(length) => plain = Some(&packet[header.length..length]),
                Err(_) => {
                    self.counters.forged += 1;
                    return Some(());
                }
            }
        }
        if let Some(id) = self.labels.transport_cc
            && let Some(&[high, low]) = rtp::extension(packet, id)
        {
            if self.arrivals.is_empty() {
                self.next_feedback = now + FEEDBACK;
            }
            self.arrivals.note(u16::from_be_bytes([high, low]), arrived);
        }
        if repair {
            self.slots[usize::from(place)].note_repair(index);
        }
        if header.padded {
            plain = plain.and_then(rtp::unpad);
        }
        let Some(received) = self.unwrap(received, plain, is_rtx, index) else { return Some(()) };
        hear(received);
        Some(())
    }

    /// Notes an authentic packet, a retransmission as what it repeats; `None` where there is no media in it.
    fn unwrap<'a>(
        &mut self,
        mut received: Received<'a>,
        mut plain: Option<&'a [u8]>,
        is_rtx: bool,
        mut index: u64,
    ) -> Option<Received<'a>> {
        let slot = &mut self.slots[received.slot];
        let mut new = true;
        if is_rtx {
            let (original, payload) = plain?.split_first_chunk()?;
            received.sequence = u16::from_be_bytes(*original);
            received.repaired = true;
            (index, new) = slot.place(received.sequence);
            plain = Some(payload);
        }
        if new {
            let Received { arrived, codec, timestamp, repaired, .. } = received;
            let asked = slot.note(arrived, index, codec, timestamp, repaired);
            // Sound is repeated as the same bytes: what comes after it was asked for counts as repeated.
            received.repaired |= codec == Codec::Opus && asked.is_some();
            self.next_nack = earliest(self.next_nack, slot.nacks.next_timeout());
        }
        received.size = plain.map_or(received.size, <[u8]>::len);
        received.payload = plain;
        // Padding alone probes the path and keeps the numbers going.
        plain.is_none_or(|payload| !payload.is_empty()).then_some(received)
    }
}

fn earliest(a: Option<Moment>, b: Option<Moment>) -> Option<Moment> {
    [a, b].into_iter().flatten().min()
}

/// Whether a frame, told by its timestamp, is decrypted: one in `one_in`, spread by multiplication (Knuth), since
/// timestamps advance in equal steps.
fn in_sample(timestamp: u32, one_in: u32) -> bool {
    one_in <= 1 || (timestamp.wrapping_mul(2_654_435_761) >> 16).is_multiple_of(one_in)
}

/// RFC 5761, section 4: what RTCP's packet types look like beside payload types with and without marker.
const RTCP_TYPES: std::ops::RangeInclusive<u8> = 192..=223;
/// Between reports, as browsers send them for pictures.
const REPORTS: Duration = Duration::from_secs(1);
/// Between transport-wide feedback: as often as browsers send it at a megabit.
const FEEDBACK: Duration = Duration::from_millis(100);
/// Before the first round trip was measured.
const ROUND_TRIP: Duration = Duration::from_millis(50);
