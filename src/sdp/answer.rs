//! Writes the answer to an offer (RFC 9429, section 5.3): one bundled, ICE-lite, DTLS-passive transport.

use std::net::SocketAddr;

use sdp_types::{Candidate, CandidateAddress, CandidateType, Connection, Fingerprint, HashFunc, Media, Origin, Time};

use super::extension::Flow;
use super::offer::{LiveLine, OfferedLine};
use super::{CNAME, SlotState};
use crate::session::{ExtensionIds, IceParameters, Kind, Mid};

/// What the whole answer says, apart from its m-lines.
pub(super) struct Head<'a> {
    pub session_id: u64,
    pub version: u64,
    pub ice: &'a IceParameters,
    pub fingerprint: [u8; 32],
    pub allow_mixed: bool,
}

/// The session level; m-lines are pushed in the order of the offer.
pub(super) fn session(head: &Head<'_>, bundle: &[Mid]) -> sdp_types::Session {
    let nowhere = std::net::Ipv4Addr::LOCALHOST;
    let mut session = sdp_types::Session::new(Origin::with_ip_addr(head.session_id, head.version, nowhere), "-");
    session.add_time(Time::new(0, 0));
    let mids = bundle.iter().map(|mid| mid.as_str()).collect::<Vec<_>>().join(" ");
    session.add_attribute_with_value("group", format!("BUNDLE {mids}"));
    session.add_attribute_from_str("ice-lite");
    if head.allow_mixed {
        session.add_attribute_from_str("extmap-allow-mixed");
    }
    session.add_attribute_with_value("msid-semantic", "WMS *");
    session.add_attribute_with_value("ice-ufrag", head.ice.local_ufrag);
    session.add_attribute_with_value("ice-pwd", head.ice.local_pwd.as_str());
    let mut fingerprint = Fingerprint::new(HashFunc::Sha256);
    fingerprint.fingerprint = head.fingerprint.to_vec();
    session.add_attribute(fingerprint);
    session.add_attribute_with_value("setup", "passive");
    session
}

/// A refused m-line: it keeps its place, with port 0.
pub(super) fn refused(line: &OfferedLine) -> Media {
    let (media, proto, format) = line.head.clone();
    let mut refused = base(media, 0, proto, format);
    if let Some(mid) = line.mid {
        refused.add_attribute_with_value("mid", mid);
    }
    refused.add_attribute_from_str("inactive");
    refused
}

/// A live m-line; `slot` where the relay sends on it.
pub(super) fn live(line: &LiveLine, ids: ExtensionIds, slot: Option<&SlotState>) -> Media {
    let kind = match line.kind {
        Kind::Audio => "audio",
        Kind::Video => "video",
    };
    let formats = line.codecs.iter().flat_map(|offered| offered.payload_types());
    let formats = formats.map(|payload_type| payload_type.to_string()).collect::<Vec<_>>().join(" ");
    let mut media = base(kind.to_owned(), DISCARD_PORT, "UDP/TLS/RTP/SAVPF".to_owned(), formats);
    media.add_attribute_with_value("mid", line.mid);
    media.add_attribute_with_value("setup", "passive"); // once more: not every client looks at the session level
    media.add_attribute_from_str(match line.flow {
        Some(Flow::Sends) => "recvonly",
        Some(Flow::Receives) => "sendonly",
        None => "inactive",
    });
    media.add_attribute_from_str("rtcp-mux");
    if line.reduced_size {
        media.add_attribute_from_str("rtcp-rsize");
    }
    for &(extension, id) in &line.extensions {
        let mut agreed = ids;
        if *extension.id(&mut agreed) == Some(id) {
            media.add_attribute_with_value("extmap", format!("{id} {}", extension.uri()));
        }
    }
    line.codecs.iter().for_each(|offered| offered.describe(&mut media));
    if !line.rids.is_empty() {
        line.rids.iter().for_each(|rid| media.add_attribute_with_value("rid", format!("{rid} recv")));
        let rids = line.rids.iter().map(|rid| rid.as_str()).collect::<Vec<_>>().join(";");
        media.add_attribute_with_value("simulcast", format!("recv {rids}"));
    }
    if let Some(slot) = slot.filter(|_| line.flow == Some(Flow::Receives)) {
        describe_slot(&mut media, slot);
    }
    media
}

/// Adds the relay's host candidates; in a bundle they stand in the m-line that holds the transport.
pub(super) fn add_candidates(media: &mut Media, addresses: &[SocketAddr]) {
    for candidate in candidates(addresses) {
        media.add_attribute(candidate);
    }
    media.add_attribute_from_str("end-of-candidates");
}

/// A host candidate for each address.
pub(super) fn candidates(addresses: &[SocketAddr]) -> impl Iterator<Item = Candidate> {
    addresses.iter().enumerate().map(|(index, address)| {
        // RFC 8445, section 5.1.2.1: type preference 126 for a host, earlier addresses first, component 1.
        let priority = (126 << 24) + ((65_535 - index as u64) << 8) + 255;
        let ip = CandidateAddress::IpAddr(address.ip());
        Candidate::new(index + 1, 1, "udp", priority, ip, address.port(), CandidateType::Host)
    })
}

fn describe_slot(media: &mut Media, slot: &SlotState) {
    let kind = match slot.kind {
        Kind::Audio => "audio",
        Kind::Video => "video",
    };
    let msid = format!("pair{0} {kind}{0}", slot.pair);
    media.add_attribute_with_value("msid", &msid);
    if let Some(rtx) = slot.rtx_ssrc {
        media.add_attribute_with_value("ssrc-group", format!("FID {} {}", slot.ssrc.0, rtx.0));
    }
    for ssrc in std::iter::once(slot.ssrc).chain(slot.rtx_ssrc) {
        media.add_attribute_with_value("ssrc", format!("{} cname:{CNAME}", ssrc.0));
        media.add_attribute_with_value("ssrc", format!("{} msid:{msid}", ssrc.0));
    }
}

fn base(media: String, port: u16, proto: String, fmt: String) -> Media {
    let connection = Connection::from_ip_addr(std::net::Ipv4Addr::UNSPECIFIED);
    Media {
        media,
        port,
        num_ports: None,
        proto,
        fmt,
        media_title: None,
        connections: vec![connection],
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
    }
}

/// With ICE the port of an m-line means nothing but "not refused" (RFC 8839, section 4.2.1).
const DISCARD_PORT: u16 = 9;
