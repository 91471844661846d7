//! Reads an offer (RFC 8866, RFC 9429) into what an answer needs of it; nothing else of it is kept.

use arrayvec::ArrayVec;
use sdp_types::{Fingerprint, Group, GroupSemantics, HashFunc, Media, Setup, SsrcGroup};

use super::SdpError;
use super::codec::{OfferedCodec, codecs_of};
use super::extension::{Extension, Flow, extensions_of};
use crate::session::{Kind, Mid, Rid, Ssrc};

/// An offer that can be answered.
pub(super) struct Offer {
    pub ufrag: String,
    pub fingerprint: [u8; 32],
    pub allow_mixed: bool,
    /// The bundle's live m-lines in its own order; the first one holds the transport (RFC 9143, section 7).
    pub bundle: Vec<Mid>,
    pub lines: Vec<OfferedLine>,
}

/// One m-line.
pub(super) struct OfferedLine {
    pub mid: Option<Mid>,
    /// Media, protocol and first format, as an answer must repeat them.
    pub head: (String, String, String),
    /// `None`: the m-line is refused, by the participant or by us.
    pub live: Option<LiveLine>,
}

/// An m-line that stays in the bundle.
pub(super) struct LiveLine {
    pub mid: Mid,
    pub kind: Kind,
    /// `None` where it carries nothing for now.
    pub flow: Option<Flow>,
    pub codecs: ArrayVec<OfferedCodec, 8>,
    pub extensions: ArrayVec<(Extension, u8), 10>,
    pub reduced_size: bool,
    pub ssrcs: ArrayVec<(Ssrc, Option<Ssrc>), 4>,
    pub rids: ArrayVec<Rid, RIDS_MAX>,
}

impl Offer {
    /// Reads an offer, in time linear in its length.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        if text.len() > OFFER_MAX {
            return Err(SdpError::TooLong);
        }
        // Counted before anything is built from it.
        if text.lines().count() > TEXT_LINES_MAX
            || text.lines().filter(|line| line.starts_with("m=")).count() > LINES_MAX
        {
            return Err(SdpError::TooManyLines);
        }
        let session = sdp_types::Session::parse(text.as_bytes()).map_err(|_| SdpError::Syntax)?;
        let lines =
            session.medias.iter().map(|media| OfferedLine::read(&session, media)).collect::<Result<Vec<_>, _>>()?;
        check_mids(&lines)?;
        let bundle = bundle(&session, &lines)?;
        let tag = bundle.first().ok_or(SdpError::NoMedia)?;
        let tagged = lines.iter().position(|line| line.live.is_some() && line.mid.as_ref() == Some(tag));
        let tagged = &session.medias[tagged.expect("the bundle was read from the live lines")];
        check_setup(&session, tagged)?;
        let allows_mixed = |media: &Media| media.has_attribute("extmap-allow-mixed");
        let live = || session.medias.iter().zip(&lines).filter(|(_, line)| line.live.is_some());
        Ok(Offer {
            ufrag: ufrag(&session, tagged)?,
            fingerprint: fingerprint(&session, tagged)?,
            allow_mixed: session.has_attribute("extmap-allow-mixed") || live().all(|(media, _)| allows_mixed(media)),
            bundle,
            lines,
        })
    }
}

impl OfferedLine {
    fn read(session: &sdp_types::Session, media: &Media) -> Result<Self, SdpError> {
        let format = media.fmt.split(' ').next().unwrap_or_default().to_owned();
        let head = (media.media.clone(), media.proto.clone(), format);
        let kind = match media.media.as_str() {
            "audio" => Some(Kind::Audio),
            "video" => Some(Kind::Video),
            _ => None,
        };
        // Port 0 refuses a line, unless it only says that the bundle's first line has the port (RFC 9143, section 6).
        let offered = media.port != 0 || media.has_attribute("bundle-only");
        let mid = value(media, "mid").map(|mid| Mid::from(mid).map_err(|_| SdpError::Mid)).transpose()?;
        let live = match kind {
            Some(kind) if offered && media.proto.ends_with("RTP/SAVPF") => {
                Some(LiveLine::read(session, media, kind, mid.ok_or(SdpError::Mid)?)?)
            }
            _ => None,
        };
        Ok(OfferedLine { mid, head, live })
    }
}

impl LiveLine {
    fn read(session: &sdp_types::Session, media: &Media, kind: Kind, mid: Mid) -> Result<Self, SdpError> {
        if !media.has_attribute("rtcp-mux") {
            return Err(SdpError::RtcpMux);
        }
        let flow = flow(session, media)?;
        let codecs = codecs_of(media, kind);
        if codecs.is_empty() {
            return Err(SdpError::Codecs);
        }
        let receives = flow == Some(Flow::Receives);
        let rids = if kind == Kind::Video && !receives { rids(media)? } else { ArrayVec::new() };
        let ssrcs = if flow == Some(Flow::Sends) && rids.is_empty() { ssrcs(media) } else { ArrayVec::new() };
        Ok(LiveLine {
            mid,
            kind,
            flow,
            codecs,
            extensions: extensions_of(media, kind, flow),
            reduced_size: media.has_attribute("rtcp-rsize"),
            ssrcs,
            rids,
        })
    }
}

fn check_mids(lines: &[OfferedLine]) -> Result<(), SdpError> {
    let mut mids: Vec<&Mid> = lines.iter().filter_map(|line| line.mid.as_ref()).collect();
    mids.sort_unstable();
    let well_formed = mids.iter().all(|mid| {
        !mid.is_empty() && mid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+{}".contains(&byte))
    });
    if well_formed && mids.windows(2).all(|pair| pair[0] != pair[1]) { Ok(()) } else { Err(SdpError::Mid) }
}

/// The live m-lines in the order of the BUNDLE group, which must hold them all.
fn bundle(session: &sdp_types::Session, lines: &[OfferedLine]) -> Result<Vec<Mid>, SdpError> {
    let live: Vec<Mid> = lines.iter().filter_map(|line| line.live.as_ref()).map(|line| line.mid).collect();
    if live.is_empty() {
        return Err(SdpError::NoMedia);
    }
    let group = session
        .attributes_typed::<Group>()
        .filter_map(Result::ok)
        .find(|group| group.semantics.as_str() == "BUNDLE")
        .filter(|group| group.mid_tags.len() <= LINES_MAX)
        .ok_or(SdpError::Bundle)?;
    let mut bundle: Vec<Mid> = Vec::with_capacity(live.len());
    for tag in &group.mid_tags {
        let mid = live.iter().find(|mid| mid.as_str() == tag.as_str());
        bundle.extend(mid.filter(|mid| !bundle.contains(mid)).copied().as_slice());
    }
    if bundle.len() == live.len() { Ok(bundle) } else { Err(SdpError::Bundle) }
}

/// The relay answers `passive`, so the participant must be able to open the handshake (RFC 8842).
fn check_setup(session: &sdp_types::Session, media: &Media) -> Result<(), SdpError> {
    let setup = value(media, "setup").or_else(|| session_value(session, "setup"));
    match setup.and_then(|setup| setup.parse().ok()) {
        Some(Setup::ActPass | Setup::Active) => Ok(()),
        _ => Err(SdpError::Setup),
    }
}

fn ufrag(session: &sdp_types::Session, media: &Media) -> Result<String, SdpError> {
    let find = |name| value(media, name).or_else(|| session_value(session, name));
    let (ufrag, pwd) = find("ice-ufrag").zip(find("ice-pwd")).ok_or(SdpError::Ice)?;
    let is_ice = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
    if (4..=256).contains(&ufrag.len()) && (22..=256).contains(&pwd.len()) && is_ice(ufrag) && is_ice(pwd) {
        Ok(ufrag.to_owned())
    } else {
        Err(SdpError::Ice)
    }
}

fn fingerprint(session: &sdp_types::Session, media: &Media) -> Result<[u8; 32], SdpError> {
    let mut found = media.attributes_typed::<Fingerprint>().chain(session.attributes_typed::<Fingerprint>());
    found
        .find_map(|print| print.ok().filter(|print| print.hash_func == HashFunc::Sha256))
        .and_then(|print| print.fingerprint.try_into().ok())
        .ok_or(SdpError::Fingerprint)
}

fn flow(session: &sdp_types::Session, media: &Media) -> Result<Option<Flow>, SdpError> {
    let names = ["sendonly", "recvonly", "inactive", "sendrecv"];
    let found = names
        .into_iter()
        .find(|name| media.has_attribute(name))
        .or_else(|| names.into_iter().find(|name| session.has_attribute(name)));
    match found {
        Some("sendonly") => Ok(Some(Flow::Sends)),
        Some("recvonly") => Ok(Some(Flow::Receives)),
        Some("inactive") => Ok(None),
        _ => Err(SdpError::BothWays),
    }
}

/// The encodings that the participant sends (RFC 8853), each declared by `a=rid` (RFC 8851).
fn rids(media: &Media) -> Result<ArrayVec<Rid, RIDS_MAX>, SdpError> {
    let Some(simulcast) = value(media, "simulcast") else { return Ok(ArrayVec::new()) };
    let mut tokens = simulcast.split_ascii_whitespace();
    let list = tokens.by_ref().find(|&token| token == "send").and_then(|_| tokens.next()).unwrap_or_default();
    let mut rids = ArrayVec::new();
    for entry in list.split(';').filter(|entry| !entry.is_empty()).take(RIDS_MAX) {
        let name = entry.split(',').next().unwrap_or_default().trim_start_matches('~');
        let rid = Rid::from(name).map_err(|_| SdpError::Simulcast)?;
        let declared = media
            .attributes_typed::<sdp_types::Rid>()
            .filter_map(Result::ok)
            .any(|declared| declared.id == name && declared.direction == sdp_types::RidDirection::Send);
        let well_formed = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !declared || !well_formed || rids.contains(&rid) {
            return Err(SdpError::Simulcast);
        }
        rids.push(rid);
    }
    Ok(rids)
}

/// The announced SSRCs with their retransmission partners (RFC 5576), the first four.
fn ssrcs(media: &Media) -> ArrayVec<(Ssrc, Option<Ssrc>), 4> {
    let mut found = ArrayVec::<(Ssrc, Option<Ssrc>), 4>::new();
    for group in media.attributes_typed::<SsrcGroup>().filter_map(Result::ok) {
        if let (GroupSemantics::FID, [media_ssrc, rtx]) = (&group.semantics, group.ssrc_ids.as_slice())
            && !found.is_full()
        {
            found.push((Ssrc(*media_ssrc), Some(Ssrc(*rtx))));
        }
    }
    for announced in media.attributes_typed::<sdp_types::Ssrc>().filter_map(Result::ok) {
        let ssrc = Ssrc(announced.ssrc_id);
        let known = found.iter().any(|&(known, rtx)| known == ssrc || rtx == Some(ssrc));
        if !known && !found.is_full() {
            found.push((ssrc, None));
        }
    }
    found
}

fn value<'a>(media: &'a Media, name: &'a str) -> Option<&'a str> {
    media.get_first_attribute_value(name).flatten()
}

fn session_value<'a>(session: &'a sdp_types::Session, name: &'a str) -> Option<&'a str> {
    session.get_first_attribute_value(name).flatten()
}

/// Longest offer in bytes. Chromium writes 6.5 KiB for a pair of slots, so this holds forty pairs with every codec of
/// that browser, and parses within a few milliseconds.
pub(super) const OFFER_MAX: usize = 256 * 1024;
/// Most m-lines: microphone, camera, screen and its sound, and sixty-two pairs of slots.
pub(super) const LINES_MAX: usize = 128;
/// Most lines of text: browsers write 84 for an m-line on average, so this holds 128 m-lines and half as much again.
const TEXT_LINES_MAX: usize = 16 * 1024;
/// Most encodings of one publication: browsers send at most three.
pub(super) const RIDS_MAX: usize = 3;
