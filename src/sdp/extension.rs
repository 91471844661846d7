//! Header extensions that are negotiated (RFC 8285, RFC 9143 section 9: one numbering for the whole bundle). Audio
//! level is not among them: it would tell the relay who speaks when.

use arrayvec::ArrayVec;
use sdp_types::{Direction, ExtMap, Media};

use crate::session::{ExtensionIds, Kind};

/// A header extension that Sotto knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    Mid,
    Rid,
    RepairedRid,
    TransportCc,
    AbsSendTime,
    VideoOrientation,
    PlayoutDelay,
    AbsCaptureTime,
    DependencyDescriptor,
    VideoLayersAllocation,
}

/// Which way an m-line carries media, seen from the participant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Sends,
    Receives,
}

impl Extension {
    pub const ALL: [Extension; 10] = [
        Extension::Mid,
        Extension::Rid,
        Extension::RepairedRid,
        Extension::TransportCc,
        Extension::AbsSendTime,
        Extension::VideoOrientation,
        Extension::PlayoutDelay,
        Extension::AbsCaptureTime,
        Extension::DependencyDescriptor,
        Extension::VideoLayersAllocation,
    ];

    pub fn uri(self) -> &'static str {
        match self {
            Extension::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Extension::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Extension::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Extension::TransportCc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            Extension::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Extension::VideoOrientation => "urn:3gpp:video-orientation",
            Extension::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Extension::AbsCaptureTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
            Extension::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
            Extension::VideoLayersAllocation => {
                "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00"
            }
        }
    }

    /// Where its id is kept.
    pub fn id(self, ids: &mut ExtensionIds) -> &mut Option<u8> {
        match self {
            Extension::Mid => &mut ids.mid,
            Extension::Rid => &mut ids.rid,
            Extension::RepairedRid => &mut ids.repaired_rid,
            Extension::TransportCc => &mut ids.transport_cc,
            Extension::AbsSendTime => &mut ids.abs_send_time,
            Extension::VideoOrientation => &mut ids.video_orientation,
            Extension::PlayoutDelay => &mut ids.playout_delay,
            Extension::AbsCaptureTime => &mut ids.abs_capture_time,
            Extension::DependencyDescriptor => &mut ids.dependency_descriptor,
            Extension::VideoLayersAllocation => &mut ids.video_layers_allocation,
        }
    }

    fn serves(self, kind: Kind, flow: Option<Flow>) -> bool {
        match self {
            Extension::Mid | Extension::TransportCc | Extension::AbsSendTime | Extension::AbsCaptureTime => true,
            Extension::VideoOrientation | Extension::PlayoutDelay | Extension::DependencyDescriptor => {
                kind == Kind::Video
            }
            // A slot carries one encoding, told by its SSRC; its layers are the relay's business.
            Extension::Rid | Extension::RepairedRid | Extension::VideoLayersAllocation => {
                kind == Kind::Video && flow != Some(Flow::Receives)
            }
        }
    }
}

/// The extensions of an m-line that are taken, with their ids. An m-line that rests keeps all that either direction has:
/// what an answer leaves out, Chromium does not offer again, and then refuses its own simulcast for lack of RID.
pub(super) fn extensions_of(media: &Media, kind: Kind, flow: Option<Flow>) -> ArrayVec<(Extension, u8), 10> {
    let mut found = ArrayVec::<(Extension, u8), 10>::new();
    for offered in media.attributes_typed::<ExtMap>().filter_map(Result::ok) {
        let Some(extension) = Extension::ALL.into_iter().find(|extension| extension.uri() == offered.uri) else {
            continue;
        };
        let flows = match offered.direction {
            None | Some(Direction::SendRecv) => true,
            Some(Direction::SendOnly) => flow != Some(Flow::Receives),
            Some(Direction::RecvOnly) => flow != Some(Flow::Sends),
            _ => false,
        };
        let fresh = found.iter().all(|&(known, id)| known != extension && id != offered.id);
        if IDS.contains(&offered.id) && flows && fresh && extension.serves(kind, flow) {
            found.push((extension, offered.id));
        }
    }
    found
}

/// Ids of the one-byte form (RFC 8285, section 4.2); Firefox refuses higher ones in an answer.
const IDS: std::ops::RangeInclusive<u8> = 1..=14;
