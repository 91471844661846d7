//! Offer to answer (RFC 9429): the participant always offers, the relay always answers. One [`Negotiation`] per
//! participant remembers what must stay the same from one answer to the next.

use std::net::SocketAddr;

use arrayvec::ArrayString;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use zeroize::Zeroizing;

use self::extension::Flow;
use self::offer::{LiveLine, Offer, OfferedLine};
use crate::session::{ExtensionIds, IceParameters, Incoming, Kind, Mid, Session, Slot, Ssrc};

mod answer;
mod codec;
mod extension;
mod offer;

/// One participant's side of offer and answer.
pub struct Negotiation {
    addresses: Vec<SocketAddr>,
    fingerprint: [u8; 32],
    random: StdRng,
    session_id: u64,
    version: u64,
    remote_fingerprint: Option<[u8; 32]>,
    ice: Option<IceParameters>,
    /// The m-line that holds the transport.
    tag: Option<Mid>,
    /// MID and kind of the m-lines of the last offer; `None` where one was refused and its place may be taken anew.
    positions: Vec<Option<(Mid, Kind)>>,
    slots: Vec<SlotState>,
}

/// What a slot keeps for life.
#[derive(Clone)]
struct SlotState {
    mid: Mid,
    kind: Kind,
    /// The how-many-th of its kind: its stream's name, shared by the audio and the video slot of a pair.
    pair: usize,
    ssrc: Ssrc,
    rtx_ssrc: Option<Ssrc>,
}

/// An answered offer.
pub struct Answer {
    /// The answer's text. It holds the ICE password: it goes to the participant and nowhere else.
    pub sdp: String,
    /// What the worker needs.
    pub session: Session,
    /// m-lines that carry media, in the order of the description.
    pub lines: Vec<Line>,
}

/// One m-line that carries media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its MID.
    pub mid: Mid,
    /// Audio or video.
    pub kind: Kind,
    /// Which way it carries.
    pub direction: Direction,
}

/// Which way an m-line carries media, seen from the participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The participant sends.
    Sends,
    /// The participant receives: the m-line is a slot.
    Receives,
}

/// Why an offer cannot be answered, and what to change. Quotes nothing of the offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// More than 256 KiB.
    #[error("it is longer than 256 KiB; offer fewer transceivers or set codec preferences")]
    TooLong,
    /// More than 128 m-lines, or 16,384 lines of text.
    #[error("it has more than 128 m-lines or 16384 lines; reuse transceivers")]
    TooManyLines,
    /// RFC 8866 does not allow it.
    #[error("it is not a session description")]
    Syntax,
    /// Every m-line needs a MID of its own of 1 to 16 token characters.
    #[error("an m-line lacks a MID, or has one that is longer than 16 bytes or not its own")]
    Mid,
    /// RFC 8839 wants a ufrag and a password.
    #[error("ICE ufrag or password is missing or malformed")]
    Ice,
    /// RFC 8122 fingerprint with SHA-256.
    #[error("a SHA-256 certificate fingerprint is missing")]
    Fingerprint,
    /// DTLS is bound to the first certificate.
    #[error("the certificate is another one than before; join anew")]
    FingerprintChanged,
    /// The relay answers passive.
    #[error("setup must be actpass or active")]
    Setup,
    /// One transport for all.
    #[error("every m-line must be in one BUNDLE group; use bundlePolicy max-bundle")]
    Bundle,
    /// One port for RTP and RTCP.
    #[error("an m-line lacks rtcp-mux; use rtcpMuxPolicy require")]
    RtcpMux,
    /// Media goes one way on each m-line.
    #[error("an m-line is sendrecv; use separate sendonly and recvonly transceivers")]
    BothWays,
    /// Audio needs Opus, video VP8 or VP9, under payload types outside 64 to 95.
    #[error("an m-line offers no codec that is carried; offer Opus for audio, VP8 or VP9 for video")]
    Codecs,
    /// RFC 8853 with RFC 8851.
    #[error("simulcast names an encoding that no rid line declares, or names one twice")]
    Simulcast,
    /// RFC 9429, section 5.2.2: m-lines keep their place.
    #[error("an m-line of an earlier offer is missing or moved; keep the order of transceivers")]
    LinesMoved,
    /// Browsers give up the transport, and its keys, together with the m-line that holds it.
    #[error(
        "the first m-line was stopped, and the transport with it; keep its transceiver, without a track if need be"
    )]
    TransportStopped,
    /// Nothing to set a transport up for.
    #[error("it has no audio or video m-line")]
    NoMedia,
}

impl Negotiation {
    /// A participant that has not offered yet. `addresses` are the announced ones of its worker, preferred first;
    /// `fingerprint` is that of the relay's certificate; `seed` must be random and is used for nothing else.
    pub fn new(addresses: &[SocketAddr], fingerprint: [u8; 32], seed: [u8; 32]) -> Self {
        let mut random = StdRng::from_seed(seed);
        // Below 2^62: RFC 9429, section 5.2.1 keeps the two highest bits clear.
        let session_id = random.next_u64() >> 2;
        Negotiation {
            addresses: addresses.to_vec(),
            fingerprint,
            random,
            session_id,
            version: 0,
            remote_fingerprint: None,
            ice: None,
            tag: None,
            positions: Vec::new(),
            slots: Vec::new(),
        }
    }

    /// Answers an offer. After an error everything is as before.
    pub fn answer(&mut self, offer: &str) -> Result<Answer, SdpError> {
        let offer = Offer::parse(offer)?;
        if self.remote_fingerprint.is_some_and(|known| known != offer.fingerprint) {
            return Err(SdpError::FingerprintChanged);
        }
        let tag = offer.bundle[0];
        if self.tag.is_some_and(|known| known != tag) {
            return Err(SdpError::TransportStopped);
        }
        self.take_positions(&offer.lines)?;
        self.tag = Some(tag);
        self.remote_fingerprint = Some(offer.fingerprint);
        self.version += 1;
        let ice = self.ice_for(&offer.ufrag);
        self.keep_slots(&offer.lines);
        let extensions = number_extensions(&offer.lines);

        let head = answer::Head {
            session_id: self.session_id,
            version: self.version,
            ice: &ice,
            fingerprint: self.fingerprint,
            allow_mixed: offer.allow_mixed,
        };
        let mut sdp = answer::session(&head, &offer.bundle);
        let mut session =
            Session { ice: ice.clone(), fingerprint: offer.fingerprint, extensions, incoming: vec![], slots: vec![] };
        let mut lines = Vec::new();
        for offered in &offer.lines {
            let Some(line) = &offered.live else {
                sdp.medias.push(answer::refused(offered));
                continue;
            };
            let slot = self.slots.iter().find(|slot| slot.mid == line.mid);
            let mut media = answer::live(line, extensions, slot);
            if line.mid == tag {
                answer::add_candidates(&mut media, &self.addresses);
            }
            sdp.medias.push(media);
            lines.extend(describe(line, slot, &mut session));
        }
        Ok(Answer { sdp: text(&sdp), session, lines })
    }

    /// Checks that every m-line of the last offer stands where it stood.
    fn take_positions(&mut self, lines: &[OfferedLine]) -> Result<(), SdpError> {
        let now: Vec<_> = lines.iter().map(|line| line.live.as_ref().map(|live| (live.mid, live.kind))).collect();
        let kept = self.positions.len() <= now.len()
            && self.positions.iter().zip(&now).all(|(before, now)| match (before, now) {
                (Some(before), Some(now)) => before == now,
                _ => true,
            });
        if !kept {
            return Err(SdpError::LinesMoved);
        }
        self.positions = now;
        Ok(())
    }

    /// The credentials for an offer with this ufrag: the same as before, or new ones when it restarts ICE.
    fn ice_for(&mut self, remote_ufrag: &str) -> IceParameters {
        if self.ice.as_ref().is_none_or(|ice| ice.remote_ufrag.as_deref() != Some(remote_ufrag)) {
            self.ice = Some(fresh_ice(&mut self.random, Some(remote_ufrag.to_owned())));
        }
        self.ice.clone().expect("set above")
    }

    /// Forgets slots whose m-line is gone, and gives each new receiving m-line its SSRCs and its place in a pair.
    fn keep_slots(&mut self, lines: &[OfferedLine]) {
        let live = || lines.iter().filter_map(|line| line.live.as_ref());
        self.slots.retain(|slot| live().any(|line| line.mid == slot.mid && line.kind == slot.kind));
        let announced: Vec<Ssrc> =
            live().flat_map(|line| &line.ssrcs).flat_map(|&(ssrc, rtx)| [Some(ssrc), rtx]).flatten().collect();
        for line in live().filter(|line| line.flow == Some(Flow::Receives)) {
            if self.slots.iter().any(|slot| slot.mid == line.mid) {
                continue;
            }
            let taken = |pair| self.slots.iter().any(|slot| slot.kind == line.kind && slot.pair == pair);
            let pair = (0..).find(|&pair| !taken(pair)).expect("fewer slots than numbers");
            let ssrc = self.fresh_ssrc(&announced, None);
            let rtx_ssrc = (line.kind == Kind::Video).then(|| self.fresh_ssrc(&announced, Some(ssrc)));
            self.slots.push(SlotState { mid: line.mid, kind: line.kind, pair, ssrc, rtx_ssrc });
        }
    }

    fn fresh_ssrc(&mut self, announced: &[Ssrc], sibling: Option<Ssrc>) -> Ssrc {
        loop {
            let ssrc = Ssrc(self.random.next_u32());
            let taken = self.slots.iter().any(|slot| slot.ssrc == ssrc || slot.rtx_ssrc == Some(ssrc));
            if ssrc.0 != 0 && !taken && sibling != Some(ssrc) && !announced.contains(&ssrc) {
                return ssrc;
            }
        }
    }
}

/// New credentials for the relay's end, beside the other end's ufrag where that is known.
pub fn fresh_ice(random: &mut impl Rng, remote_ufrag: Option<String>) -> IceParameters {
    let ufrag = ice_characters(random, UFRAG_LEN);
    IceParameters {
        local_ufrag: ArrayString::from(&ufrag).expect("eight characters fit eight bytes"),
        local_pwd: ice_characters(random, PASSWORD_LEN),
        remote_ufrag,
    }
}

fn ice_characters(random: &mut impl Rng, count: usize) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(count));
    for _ in 0..count {
        text.push(char::from(ICE_CHARACTERS[usize::from(random.random::<u8>() % 64)]));
    }
    text
}

/// The relay's addresses as values of `a=candidate` (RFC 8839, section 5.1), earlier ones preferred.
pub fn candidates(addresses: &[SocketAddr]) -> Vec<String> {
    answer::candidates(addresses).map(|candidate| candidate.to_string()).collect()
}

/// One numbering for the bundle: the first m-line that has an extension gives it its id. An id that another extension
/// holds already is not given again.
fn number_extensions(lines: &[OfferedLine]) -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    let mut taken = [false; 256];
    for &(extension, id) in lines.iter().filter_map(|line| line.live.as_ref()).flat_map(|line| &line.extensions) {
        let place = extension.id(&mut ids);
        if place.is_none() && !std::mem::replace(&mut taken[usize::from(id)], true) {
            *place = Some(id);
        }
    }
    ids
}

/// Enters an m-line into the session; tells what signaling is told of it.
fn describe(line: &LiveLine, slot: Option<&SlotState>, session: &mut Session) -> Option<Line> {
    let codecs = line.codecs.iter().map(|offered| offered.codec).collect();
    let (mid, kind) = (line.mid, line.kind);
    let direction = match line.flow? {
        Flow::Sends => {
            let rids = line.rids.iter().copied().collect();
            session.incoming.push(Incoming { mid, kind, codecs, ssrcs: line.ssrcs.clone(), rids });
            Direction::Sends
        }
        Flow::Receives => {
            let slot = slot.expect("every receiving m-line was given a slot");
            session.slots.push(Slot { mid, kind, codecs, ssrc: slot.ssrc, rtx_ssrc: slot.rtx_ssrc });
            Direction::Receives
        }
    };
    Some(Line { mid, kind, direction })
}

fn text(session: &sdp_types::Session) -> String {
    let mut bytes = Vec::with_capacity(1024 * (session.medias.len() + 1));
    session.write(&mut bytes).expect("writing to memory does not fail");
    String::from_utf8(bytes).expect("written from strings")
}

/// The CNAME of everything that the relay sends: one clock, the relay's own, so that audio and video stay together.
pub const CNAME: &str = "sotto";
/// 48 random bits: a worker finds a participant by it, and guessing one gains nothing without the password.
const UFRAG_LEN: usize = 8;
/// 144 random bits; RFC 8445, section 5.3 asks for 128.
const PASSWORD_LEN: usize = 24;
/// RFC 8839, section 5.4: the characters that ICE credentials may have, 64 of them.
const ICE_CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests;
