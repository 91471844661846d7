//! Which of an m-line's formats are taken, and what is said of them in the answer (RFC 7587, 7741, 9628, 4588, 4585).

use arrayvec::ArrayVec;
use sdp_types::{Attribute, Fmtp, Media, RtcpFb, RtcpFbPt, RtpMap};

use crate::session::{Codec, CodecName, Kind};

/// A codec that the offer has, with the feedback that both sides know.
#[derive(Clone)]
pub(super) struct OfferedCodec {
    pub codec: Codec,
    feedback: Feedback,
}

/// RTCP feedback of a format, or of all formats of an m-line.
#[derive(Clone, Copy, Default)]
struct Feedback {
    nack: bool,
    pli: bool,
    fir: bool,
    transport_cc: bool,
}

/// What an m-line says of one payload type.
#[derive(Default)]
struct Format {
    map: Option<RtpMap>,
    parameters: Option<Fmtp>,
    feedback: Feedback,
}

/// The codecs of an m-line that Sotto carries, preferred first; at most one payload type each.
pub(super) fn codecs_of(media: &Media, kind: Kind) -> ArrayVec<OfferedCodec, 8> {
    let formats = Formats::read(media);
    let wanted: &[CodecName] = match kind {
        Kind::Audio => &[CodecName::Opus],
        // VP8 first: every browser sends it in simulcast and encrypts it frame by frame.
        Kind::Video => &[CodecName::Vp8, CodecName::Vp9],
    };
    wanted.iter().filter_map(|&name| formats.codec(name)).collect()
}

impl OfferedCodec {
    /// Appends what the answer says of this codec.
    pub fn describe(&self, media: &mut Media) {
        let Codec { name, payload_type, rtx_payload_type, .. } = self.codec;
        media.add_attribute_with_value("rtpmap", format!("{payload_type} {}", encoding(name)));
        let feedback = [
            (self.feedback.transport_cc, "transport-cc"),
            (self.feedback.fir, "ccm fir"),
            (self.feedback.nack, "nack"),
            (self.feedback.pli, "nack pli"),
        ];
        for (_, value) in feedback.into_iter().filter(|(offered, _)| *offered) {
            media.add_attribute_with_value("rtcp-fb", format!("{payload_type} {value}"));
        }
        if let Some(parameters) = parameters(name) {
            media.add_attribute_with_value("fmtp", format!("{payload_type} {parameters}"));
        }
        if let Some(rtx) = rtx_payload_type {
            media.add_attribute_with_value("rtpmap", format!("{rtx} rtx/{}", name.clock_rate()));
            media.add_attribute_with_value("fmtp", format!("{rtx} apt={payload_type}"));
        }
    }

    /// Its payload types for the m-line itself.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> {
        std::iter::once(self.codec.payload_type).chain(self.codec.rtx_payload_type)
    }
}

/// Everything an m-line says of payload types, read in one pass: an offer cannot make this quadratic.
struct Formats {
    by_type: Vec<Format>,
    for_all: Feedback,
    /// Payload types in the order of the m-line, each once.
    order: Vec<u8>,
}

impl Formats {
    fn read(media: &Media) -> Self {
        let mut formats = Formats { by_type: Vec::new(), for_all: Feedback::default(), order: Vec::new() };
        formats.by_type.resize_with(PAYLOAD_TYPES, Format::default);
        let mut listed = [false; PAYLOAD_TYPES];
        for payload_type in media.fmt.split(' ').filter_map(|token| token.parse::<u8>().ok()) {
            let usable = usize::from(payload_type) < PAYLOAD_TYPES && !CLASHING.contains(&payload_type);
            if usable && !std::mem::replace(&mut listed[usize::from(payload_type)], true) {
                formats.order.push(payload_type);
            }
        }
        media.attributes.iter().for_each(|attribute| formats.note(attribute));
        formats
    }

    fn note(&mut self, attribute: &Attribute) {
        let Some(value) = attribute.value.as_deref() else { return };
        match attribute.attribute.as_str() {
            "rtpmap" => {
                if let Ok(map) = value.parse::<RtpMap>()
                    && let Some(format) = self.by_type.get_mut(usize::from(map.payload_type))
                {
                    format.map.get_or_insert(map);
                }
            }
            "fmtp" => {
                if let Ok(parameters) = value.parse::<Fmtp>()
                    && let Some(format) = self.by_type.get_mut(usize::from(parameters.fmt))
                {
                    format.parameters.get_or_insert(parameters);
                }
            }
            "rtcp-fb" => match value.parse::<RtcpFb>() {
                Ok(RtcpFb { pt: RtcpFbPt::Fmt(payload_type), val }) => {
                    if let Some(format) = self.by_type.get_mut(usize::from(payload_type)) {
                        format.feedback.note(&val.to_string());
                    }
                }
                Ok(RtcpFb { pt: RtcpFbPt::Wildcard, val }) => self.for_all.note(&val.to_string()),
                Err(_) => {}
            },
            _ => {}
        }
    }

    fn codec(&self, name: CodecName) -> Option<OfferedCodec> {
        let payload_type = self.order.iter().copied().find(|&candidate| self.is(candidate, name))?;
        let feedback = self.by_type[usize::from(payload_type)].feedback.with(self.for_all);
        let rtx_payload_type = match name {
            CodecName::Opus => None,
            CodecName::Vp8 | CodecName::Vp9 => self.retransmission_of(payload_type),
        };
        let codec = Codec { name, payload_type, rtx_payload_type, nack: feedback.nack };
        Some(OfferedCodec { codec, feedback })
    }

    fn is(&self, payload_type: u8, name: CodecName) -> bool {
        let format = &self.by_type[usize::from(payload_type)];
        let Some(map) = &format.map else { return false };
        let (wanted, channels) = match name {
            CodecName::Opus => ("opus", Some("2")),
            CodecName::Vp8 => ("VP8", None),
            CodecName::Vp9 => ("VP9", None),
        };
        map.encoding_name.eq_ignore_ascii_case(wanted)
            && map.clock_rate == name.clock_rate()
            && (channels.is_none() || map.encoding_params.as_deref() == channels)
            // RFC 9628, section 7: an absent profile-id means profile 0.
            && (name != CodecName::Vp9 || format.parameter("profile-id").unwrap_or("0") == "0")
    }

    fn retransmission_of(&self, payload_type: u8) -> Option<u8> {
        let apt = payload_type.to_string();
        self.order.iter().copied().find(|&candidate| {
            let format = &self.by_type[usize::from(candidate)];
            format.map.as_ref().is_some_and(|map| map.encoding_name.eq_ignore_ascii_case("rtx"))
                && format.parameter("apt") == Some(&apt)
        })
    }
}

impl Format {
    fn parameter(&self, name: &str) -> Option<&str> {
        let parameters = &self.parameters.as_ref()?.format_specific_params;
        parameters.iter().find(|parameter| parameter.param == name)?.val.as_deref()
    }
}

impl Feedback {
    fn note(&mut self, value: &str) {
        match value {
            "nack" => self.nack = true,
            "nack pli" => self.pli = true,
            "ccm fir" => self.fir = true,
            "transport-cc" => self.transport_cc = true,
            _ => {}
        }
    }

    fn with(self, other: Feedback) -> Feedback {
        Feedback {
            nack: self.nack || other.nack,
            pli: self.pli || other.pli,
            fir: self.fir || other.fir,
            transport_cc: self.transport_cc || other.transport_cc,
        }
    }
}

fn encoding(name: CodecName) -> &'static str {
    match name {
        CodecName::Opus => "opus/48000/2",
        CodecName::Vp8 => "VP8/90000",
        CodecName::Vp9 => "VP9/90000",
    }
}

/// Format parameters of the answer. Opus: constant bitrate and no silence suppression, so that packet sizes and gaps
/// tell nobody who speaks; in-band FEC, because audio is what a call must keep.
fn parameters(name: CodecName) -> Option<&'static str> {
    match name {
        CodecName::Opus => Some("minptime=10;useinbandfec=1;cbr=1;usedtx=0"),
        CodecName::Vp8 => None,
        CodecName::Vp9 => Some("profile-id=0"),
    }
}

/// RTP has seven bits for the payload type.
const PAYLOAD_TYPES: usize = 128;
/// With rtcp-mux these look like RTCP (RFC 5761, section 4).
const CLASHING: std::ops::RangeInclusive<u8> = 64..=95;
