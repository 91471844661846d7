//! What is offered: codecs with their feedback, header extensions, and an m-line with its SSRCs for each stream.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use rtc::interceptor::{NackResponderBuilder, ReceiverReportBuilder, Registry, SenderReportBuilder, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8, MIME_TYPE_VP9};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RTCRtpRtxParameters, RtpCodecKind,
};
use webrtc::error::Result;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{MediaEngine, PeerConnection, configure_twcc};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit, RtpTransceiver};

use super::inbox::Inbox;
use super::slots::{OPUS, Streams, Target, VP8, VP8_RTX, VP9, VP9_RTX};
use super::tap::{End, MID, REPAIRED_RID, RID, Tap};
use crate::clock::Moment;
use crate::engine::{Codec, Sending};

/// An m-line that sends.
pub struct Line {
    sending: Sending,
    transceiver: Arc<dyn RtpTransceiver>,
    track: Arc<TrackLocalStaticRTP>,
    /// Of the encodings, from the smallest.
    ssrcs: Vec<u32>,
}

impl Line {
    /// Adds one to the connection, with fresh SSRCs that `streams` learns.
    pub async fn add(peer: &dyn PeerConnection, sending: Sending, streams: &Mutex<Streams>) -> Result<Self> {
        let rids: &[&'static str] = if sending.layers > 1 { &RIDS[..sending.layers.min(RIDS.len())] } else { &[""] };
        let (codec, kind) = match sending.codec {
            Codec::Opus => (opus(), RtpCodecKind::Audio),
            Codec::Vp8 => (vp8(), RtpCodecKind::Video),
            Codec::Vp9 => (vp9(), RtpCodecKind::Video),
        };
        let (mut ssrcs, mut encodings) = (Vec::new(), Vec::new());
        for (layer, rid) in rids.iter().copied().enumerate() {
            let (ssrc, repair) = (rand::random(), rand::random());
            let layer = (rids.len() > 1).then_some(layer);
            let target = Target { stream: sending.stream, layer, mid: String::new(), rid, repair: false };
            let rtx = (kind == RtpCodecKind::Video).then_some(RTCRtpRtxParameters { ssrc: repair });
            let mut known = streams.lock().expect("nobody panics while holding it");
            known.send(repair, Target { repair: true, ..target.clone() });
            known.send(ssrc, target);
            ssrcs.push(ssrc);
            encodings.push(RTCRtpEncodingParameters {
                rtp_coding_parameters: RTCRtpCodingParameters { rid: rid.to_owned(), ssrc: Some(ssrc), rtx, fec: None },
                codec: codec.clone(),
                ..Default::default()
            });
        }
        // Names of the track mean nothing to anyone: the relay tells streams by their m-lines.
        let name = format!("line{}", ssrcs[0]);
        let track = MediaStreamTrack::new(name.clone(), name.clone(), name, kind, encodings);
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        let direction = RTCRtpTransceiverDirection::Sendonly;
        let init = RTCRtpTransceiverInit { direction, ..Default::default() };
        let local = Arc::clone(&track) as Arc<dyn TrackLocal>;
        let transceiver = peer.add_transceiver_from_track(local, Some(init)).await?;
        Ok(Self { sending, transceiver, track, ssrcs })
    }

    /// What it carries.
    pub fn sending(&self) -> &Sending {
        &self.sending
    }

    /// Where its packets are written.
    pub fn track(&self) -> &TrackLocalStaticRTP {
        &self.track
    }

    /// The crate's side of the m-line.
    pub fn transceiver(&self) -> &dyn RtpTransceiver {
        &*self.transceiver
    }

    /// The SSRC of an encoding, counted from the smallest.
    pub fn ssrc(&self, layer: usize) -> Option<u32> {
        self.ssrcs.get(layer).copied()
    }
}

/// Codecs, header extensions and interceptors of a connection.
pub fn configure(
    inbox: &Arc<Inbox>,
    streams: &Arc<Mutex<Streams>>,
    epoch: (Instant, Moment),
    ssrc: u32,
) -> Result<(MediaEngine, Registry)> {
    let mut engine = MediaEngine::default();
    engine.register_codec(parameters(opus(), OPUS), RtpCodecKind::Audio)?;
    for (codec, payload_type, repair) in [(vp8(), VP8, VP8_RTX), (vp9(), VP9, VP9_RTX)] {
        engine.register_codec(parameters(codec, payload_type), RtpCodecKind::Video)?;
        engine.register_codec(parameters(rtx(payload_type), repair), RtpCodecKind::Video)?;
    }
    for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
        for uri in [MID, RID, REPAIRED_RID] {
            if kind == RtpCodecKind::Video || uri == MID {
                let extension = RTCRtpHeaderExtensionCapability { uri: uri.to_owned() };
                engine.register_header_extension(extension, kind, None)?;
            }
        }
    }
    let registry = configure_twcc(Registry::new(), &mut engine)?
        .with(Slot::NackResponder, NackResponderBuilder::new().build())
        .with(Slot::ReceiverReport, ReceiverReportBuilder::new().build())
        .with(Slot::SenderReport, SenderReportBuilder::new().build())
        .with(TAP, Tap::new(Arc::clone(inbox), Arc::clone(streams), epoch, ssrc))
        .with(END, End::default());
    Ok((engine, registry))
}

fn opus() -> RTCRtpCodec {
    // Browsers do not ask for sound again; the relay answers those that do, and a tester wants to know loss and repair
    // apart in every stream.
    let rtcp_feedback = vec![feedback("nack", "")];
    let sdp_fmtp_line = "minptime=10;useinbandfec=1".to_owned();
    RTCRtpCodec { mime_type: MIME_TYPE_OPUS.to_owned(), clock_rate: 48_000, channels: 2, sdp_fmtp_line, rtcp_feedback }
}

fn vp8() -> RTCRtpCodec {
    video(MIME_TYPE_VP8, String::new(), picture_feedback())
}

fn vp9() -> RTCRtpCodec {
    video(MIME_TYPE_VP9, "profile-id=0".to_owned(), picture_feedback())
}

fn rtx(repairs: u8) -> RTCRtpCodec {
    video(MIME_TYPE_RTX, format!("apt={repairs}"), Vec::new())
}

fn video(mime_type: &str, sdp_fmtp_line: String, rtcp_feedback: Vec<RTCPFeedback>) -> RTCRtpCodec {
    RTCRtpCodec { mime_type: mime_type.to_owned(), clock_rate: 90_000, channels: 0, sdp_fmtp_line, rtcp_feedback }
}

fn picture_feedback() -> Vec<RTCPFeedback> {
    vec![feedback("ccm", "fir"), feedback("nack", ""), feedback("nack", "pli")]
}

fn feedback(kind: &str, parameter: &str) -> RTCPFeedback {
    RTCPFeedback { typ: kind.to_owned(), parameter: parameter.to_owned() }
}

fn parameters(rtp_codec: RTCRtpCodec, payload_type: u8) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters { rtp_codec, payload_type }
}

/// Names of the encodings as the page gives them, from the smallest.
const RIDS: [&str; 3] = ["q", "h", "f"];
/// Nearer to the wire than the answers to requests for packets (4,000), which are to be named as well, and farther than
/// transport-wide numbering (2,000).
const TAP: Slot = Slot::Custom(3_500);
/// Behind everything that looks at arrivals.
const END: Slot = Slot::Custom(14_000);
