//! Offers as this engine writes them and the parts of the relay's answers that it needs (RFC 8866, RFC 9429).

use std::fmt::Write;
use std::net::SocketAddr;

use sotto_signaling::message::Stream;
use zeroize::Zeroizing;

use super::ice::Credentials;
use crate::engine::{Codec, Sending};

/// The m-lines of a connection, in the order in which they were first offered: none ever goes.
#[derive(Default)]
pub struct Lines {
    lines: Vec<Line>,
    version: u64,
}

/// One m-line. Its MID is its place.
pub enum Line {
    /// We send.
    Sends {
        /// What.
        sending: Sending,
        /// SSRC and retransmission SSRC of each encoding; audio has no retransmissions of its own.
        ssrcs: Vec<(u32, Option<u32>)>,
    },
    /// The relay sends: a slot.
    Receives {
        /// A picture, not sound.
        video: bool,
    },
}

/// What an answer says.
pub struct Answer {
    /// The relay's ICE credentials.
    pub remote: Credentials,
    /// SHA-256 of its certificate.
    pub fingerprint: [u8; 32],
    /// Its addresses, preferred first.
    pub candidates: Vec<SocketAddr>,
    /// The id of the transport-wide sequence number, where it was agreed on.
    pub transport_cc: Option<u8>,
    /// The id of the MID extension.
    pub mid: Option<u8>,
    /// The id of the RID extension.
    pub rid: Option<u8>,
    /// The id of the extension that names a retransmission's encoding.
    pub repaired_rid: Option<u8>,
    /// SSRC and retransmission SSRC of each m-line on which the relay sends, by MID.
    pub slots: Vec<(String, u32, Option<u32>)>,
}

/// An answer that cannot be used; says what it lacks and quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// ICE ufrag or password.
    #[error("the relay's answer has no ICE credentials")]
    Ice,
    /// A SHA-256 fingerprint.
    #[error("the relay's answer has no SHA-256 fingerprint")]
    Fingerprint,
    /// UDP host candidates with addresses.
    #[error("the relay's answer has no UDP candidate; set its --media-ip")]
    Candidates,
    /// The relay waits for our hello.
    #[error("the relay's answer is not setup:passive")]
    Setup,
}

/// What an offer says of its sender.
pub struct Head<'a> {
    /// Its ICE credentials.
    pub local: &'a Credentials,
    /// SHA-256 of its certificate.
    pub fingerprint: [u8; 32],
    /// A random number for the origin line.
    pub session: u64,
}

impl Lines {
    /// Takes in what is to be sent and received; lines that are there stay. `ssrc` makes new SSRCs.
    pub fn extend(&mut self, send: &[Sending], pairs: usize, mut ssrc: impl FnMut() -> u32) {
        for sending in send {
            let known = self.sending().any(|(_, known, _)| known.stream == sending.stream);
            if !known {
                let video = sending.codec != Codec::Opus;
                let ssrcs = (0..sending.layers.max(1)).map(|_| (ssrc(), video.then(&mut ssrc))).collect();
                self.lines.push(Line::Sends { sending: sending.clone(), ssrcs });
            }
        }
        for _ in self.slots().count() / 2..pairs {
            self.lines.push(Line::Receives { video: false });
            self.lines.push(Line::Receives { video: true });
        }
    }

    /// The lines on which we send: MID, what, SSRCs.
    pub fn sending(&self) -> impl Iterator<Item = (String, &Sending, &[(u32, Option<u32>)])> {
        self.lines.iter().enumerate().filter_map(|(place, line)| match line {
            Line::Sends { sending, ssrcs } => Some((place.to_string(), sending, ssrcs.as_slice())),
            Line::Receives { .. } => None,
        })
    }

    /// The MIDs of the slots: audio and video of the first pair, then of the second, and so on.
    pub fn slots(&self) -> impl Iterator<Item = String> {
        let slots = self.lines.iter().enumerate().filter(|(_, line)| matches!(line, Line::Receives { .. }));
        slots.map(|(place, _)| place.to_string())
    }

    /// The stream of what we send under an SSRC, and its encoding; retransmissions count as what they repeat.
    pub fn sent_under(&self, ssrc: u32) -> Option<(Stream, usize)> {
        self.sending().find_map(|(_, sending, ssrcs)| {
            let layer = ssrcs.iter().position(|&(media, rtx)| media == ssrc || rtx == Some(ssrc))?;
            Some((sending.stream, layer))
        })
    }

    /// Writes the next offer.
    pub fn offer(&mut self, head: &Head<'_>) -> String {
        self.version += 1;
        let mids: Vec<String> = (0..self.lines.len()).map(|place| place.to_string()).collect();
        let mut sdp = format!(
            "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=extmap-allow-mixed\r\n\
             a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:actpass\r\n",
            head.session >> 2, // RFC 9429, section 5.2.1: below 2^62
            self.version,
            mids.join(" "),
            head.local.ufrag,
            head.local.password.as_str(),
            fingerprint_text(&head.fingerprint),
        );
        for (mid, line) in mids.iter().zip(&self.lines) {
            line.write(mid, &mut sdp);
        }
        sdp
    }
}

impl Line {
    fn write(&self, mid: &str, sdp: &mut String) {
        let (video, codecs): (bool, &[Codec]) = match self {
            Line::Sends { sending, .. } => (sending.codec != Codec::Opus, std::slice::from_ref(&sending.codec)),
            Line::Receives { video: true } => (true, &[Codec::Vp8, Codec::Vp9]),
            Line::Receives { video: false } => (false, &[Codec::Opus]),
        };
        let types = codecs.iter().flat_map(|&codec| [Some(payload_type(codec)), rtx_payload_type(codec)]).flatten();
        let types: Vec<String> = types.map(|number| number.to_string()).collect();
        let kind = if video { "video" } else { "audio" };
        let direction = if matches!(self, Line::Sends { .. }) { "sendonly" } else { "recvonly" };
        let mut line = |text: std::fmt::Arguments<'_>| {
            sdp.write_fmt(text).and_then(|()| sdp.write_str("\r\n")).expect("writing to memory does not fail");
        };
        line(format_args!("m={kind} 9 UDP/TLS/RTP/SAVPF {}", types.join(" ")));
        line(format_args!("c=IN IP4 0.0.0.0"));
        line(format_args!("a=mid:{mid}"));
        line(format_args!("a={direction}"));
        line(format_args!("a=rtcp-mux"));
        line(format_args!("a=rtcp-rsize"));
        line(format_args!("a=extmap:{MID_ID} {MID_URI}"));
        line(format_args!("a=extmap:{TRANSPORT_CC_ID} {TRANSPORT_CC_URI}"));
        for &codec in codecs {
            write_codec(codec, &mut line);
        }
        if let Line::Sends { sending, ssrcs } = self {
            if video {
                line(format_args!("a=extmap:{RID_ID} {RID_URI}"));
                line(format_args!("a=extmap:{REPAIRED_RID_ID} {REPAIRED_RID_URI}"));
            }
            write_sender(sending, ssrcs, &mut line);
        }
    }
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn parse(sdp: &str) -> Result<Self, AnswerError> {
        let mut found = Found::default();
        for line in sdp.lines() {
            if line.starts_with("m=") {
                found.end_line();
            } else if let Some(attribute) = line.strip_prefix("a=") {
                let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
                found.note(name, value.trim());
            }
        }
        found.end_line();
        if found.setup.as_deref() != Some("passive") {
            return Err(AnswerError::Setup);
        }
        let (ufrag, password) = found.ufrag.zip(found.password).ok_or(AnswerError::Ice)?;
        if found.candidates.is_empty() {
            return Err(AnswerError::Candidates);
        }
        // One socket has one family; the relay's own order decides which.
        let v4 = found.candidates[0].is_ipv4();
        found.candidates.retain(|address| address.is_ipv4() == v4);
        Ok(Self {
            remote: Credentials { ufrag, password: Zeroizing::new(password) },
            fingerprint: found.fingerprint.ok_or(AnswerError::Fingerprint)?,
            candidates: found.candidates,
            transport_cc: found.extensions[0],
            mid: found.extensions[1],
            rid: found.extensions[2],
            repaired_rid: found.extensions[3],
            slots: found.slots,
        })
    }
}

/// What was read of an answer so far.
#[derive(Default)]
struct Found {
    ufrag: Option<String>,
    password: Option<String>,
    fingerprint: Option<[u8; 32]>,
    setup: Option<String>,
    candidates: Vec<SocketAddr>,
    /// Ids of transport-cc, MID, RID and repaired RID.
    extensions: [Option<u8>; 4],
    slots: Vec<(String, u32, Option<u32>)>,
    // Of the m-line that is being read:
    mid: String,
    sends: bool,
    ssrc: Option<u32>,
    pair: Option<(u32, u32)>,
}

impl Found {
    fn note(&mut self, name: &str, value: &str) {
        match name {
            "ice-ufrag" => self.ufrag = Some(value.to_owned()),
            "ice-pwd" => self.password = Some(value.to_owned()),
            "fingerprint" => self.fingerprint = self.fingerprint.or_else(|| fingerprint(value)),
            "setup" => self.setup = Some(value.to_owned()),
            "candidate" => self.candidates.extend(candidate(value)),
            "extmap" => {
                let Some((id, uri)) = value.split_once(' ') else { return };
                let uris = [TRANSPORT_CC_URI, MID_URI, RID_URI, REPAIRED_RID_URI];
                if let Some(place) = uris.iter().position(|&known| known == uri) {
                    self.extensions[place] = id.parse().ok();
                }
            }
            "mid" => self.mid = value.to_owned(),
            "sendonly" => self.sends = true,
            "ssrc" => self.ssrc = self.ssrc.or_else(|| value.split(' ').next()?.parse().ok()),
            "ssrc-group" => {
                let mut numbers = value.strip_prefix("FID ").unwrap_or("").split(' ').map(str::parse);
                if let (Some(Ok(media)), Some(Ok(rtx))) = (numbers.next(), numbers.next()) {
                    self.pair = Some((media, rtx));
                }
            }
            _ => {}
        }
    }

    fn end_line(&mut self) {
        let mid = std::mem::take(&mut self.mid);
        let (ssrc, pair, sends) = (self.ssrc.take(), self.pair.take(), std::mem::take(&mut self.sends));
        let ssrcs = pair.map(|(media, rtx)| (media, Some(rtx))).or(ssrc.map(|media| (media, None)));
        if let Some((media, rtx)) = ssrcs.filter(|_| sends) {
            self.slots.push((mid, media, rtx));
        }
    }
}

/// The payload type under which every offer of ours has a codec.
pub fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => 111,
        Codec::Vp8 => 96,
        Codec::Vp9 => 98,
    }
}

/// The payload type of a codec's retransmissions (RFC 4588).
pub fn rtx_payload_type(codec: Codec) -> Option<u8> {
    match codec {
        Codec::Opus => None,
        Codec::Vp8 => Some(97),
        Codec::Vp9 => Some(99),
    }
}

/// The codec of a payload type, and whether it is its retransmission.
pub fn codec_of(payload_type: u8) -> Option<(Codec, bool)> {
    match payload_type {
        111 => Some((Codec::Opus, false)),
        96 => Some((Codec::Vp8, false)),
        97 => Some((Codec::Vp8, true)),
        98 => Some((Codec::Vp9, false)),
        99 => Some((Codec::Vp9, true)),
        _ => None,
    }
}

/// The name of a simulcast encoding, from the smallest of `layers`; empty where there is one.
pub fn rid(layer: usize, layers: usize) -> &'static str {
    if layers < 2 { "" } else { RIDS.get(layer).copied().unwrap_or("f") }
}

fn write_codec(codec: Codec, line: &mut impl FnMut(std::fmt::Arguments<'_>)) {
    let number = payload_type(codec);
    line(match codec {
        Codec::Opus => format_args!("a=rtpmap:111 opus/48000/2"),
        Codec::Vp8 => format_args!("a=rtpmap:96 VP8/90000"),
        Codec::Vp9 => format_args!("a=rtpmap:98 VP9/90000"),
    });
    line(format_args!("a=rtcp-fb:{number} transport-cc"));
    line(format_args!("a=rtcp-fb:{number} nack"));
    match codec {
        Codec::Opus => line(format_args!("a=fmtp:{number} minptime=10;useinbandfec=1;cbr=1;usedtx=0")),
        Codec::Vp8 => line(format_args!("a=rtcp-fb:{number} nack pli")),
        Codec::Vp9 => {
            line(format_args!("a=rtcp-fb:{number} nack pli"));
            line(format_args!("a=fmtp:{number} profile-id=0"));
        }
    }
    if let Some(rtx) = rtx_payload_type(codec) {
        line(format_args!("a=rtpmap:{rtx} rtx/90000"));
        line(format_args!("a=fmtp:{rtx} apt={number}"));
    }
}

/// Simulcast is told apart by RID and announces no SSRCs, as browsers do it.
fn write_sender(sending: &Sending, ssrcs: &[(u32, Option<u32>)], line: &mut impl FnMut(std::fmt::Arguments<'_>)) {
    line(format_args!("a=msid:- {}", sending_name(sending.stream)));
    if sending.layers > 1 {
        let rids: Vec<&str> = (0..sending.layers).map(|layer| rid(layer, sending.layers)).collect();
        rids.iter().for_each(|rid| line(format_args!("a=rid:{rid} send")));
        line(format_args!("a=simulcast:send {}", rids.join(";")));
        return;
    }
    for &(media, rtx) in ssrcs {
        if let Some(rtx) = rtx {
            line(format_args!("a=ssrc-group:FID {media} {rtx}"));
        }
        for ssrc in std::iter::once(media).chain(rtx) {
            line(format_args!("a=ssrc:{ssrc} cname:{CNAME}"));
        }
    }
}

fn sending_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Microphone => "microphone",
        Stream::Camera => "camera",
        Stream::Screen => "screen",
        Stream::ScreenAudio => "screen-audio",
    }
}

fn fingerprint_text(fingerprint: &[u8; 32]) -> String {
    fingerprint.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

fn fingerprint(value: &str) -> Option<[u8; 32]> {
    let (function, digits) = value.split_once(' ')?;
    if !function.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let bytes: Result<Vec<u8>, _> = digits.split(':').map(|pair| u8::from_str_radix(pair, 16)).collect();
    bytes.ok()?.try_into().ok()
}

/// RFC 8839, section 5.1: `foundation component transport priority address port typ type`.
fn candidate(value: &str) -> Option<SocketAddr> {
    let fields: Vec<&str> = value.split_ascii_whitespace().collect();
    let is_ours = fields.len() >= 8 && fields[2].eq_ignore_ascii_case("udp") && fields[7] == "host";
    is_ours.then(|| Some(SocketAddr::new(fields[4].parse().ok()?, fields[5].parse().ok()?)))?
}

const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const TRANSPORT_CC_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// One numbering for the whole bundle, of the one-byte form.
const MID_ID: u8 = 4;
const RID_ID: u8 = 10;
const REPAIRED_RID_ID: u8 = 11;
const TRANSPORT_CC_ID: u8 = 3;
/// Names of simulcast encodings: a quarter, a half and the full size.
const RIDS: [&str; 3] = ["q", "h", "f"];
/// The same for everyone, since it says nothing that the relay does not know.
pub const CNAME: &str = "loadtest";
