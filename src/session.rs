//! What a participant's transport and media look like once an SDP offer was answered (RFC 8829): plain values that
//! the control plane hands to a worker.

use std::fmt;

use arrayvec::{ArrayString, ArrayVec};
use zeroize::Zeroizing;

/// The media stream identification of an m-line (RFC 9143 and the RTP MID extension), at most 16 bytes here.
pub type Mid = ArrayString<16>;

/// A restriction identifier: the name of one simulcast encoding (RFC 8851), at most 16 bytes here.
pub type Rid = ArrayString<16>;

/// A synchronisation source (RFC 3550, section 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ssrc(pub u32);

impl fmt::Debug for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ssrc(..)")
    }
}

/// A participant's negotiated session: one bundled transport and its m-lines.
#[derive(Clone)]
pub struct Session {
    /// ICE credentials of both ends.
    pub ice: IceParameters,
    /// SHA-256 of the certificate that the participant must show in DTLS (RFC 8122).
    pub fingerprint: [u8; 32],
    /// Header extensions; one BUNDLE group shares one numbering (RFC 9143, section 9).
    pub extensions: ExtensionIds,
    /// m-lines on which the participant sends.
    pub incoming: Vec<Incoming>,
    /// m-lines on which the relay sends to the participant.
    pub slots: Vec<Slot>,
}

/// Short-term credentials of both ends (RFC 8445, section 5.3).
#[derive(Clone)]
pub struct IceParameters {
    /// The relay's ufrag: eight characters, unique on its worker, by which a first check finds its participant.
    pub local_ufrag: ArrayString<8>,
    /// The relay's password: the key of the checks that it receives.
    pub local_pwd: Zeroizing<String>,
    /// The participant's ufrag, which must stand behind the colon in USERNAME. Changes with an ICE restart. `None` where
    /// the relay was not told it: RFC 8445, section 7.3 has the responder check its own half only, and the password
    /// authenticates.
    pub remote_ufrag: Option<String>,
}

/// An m-line on which a participant sends.
#[derive(Clone)]
pub struct Incoming {
    /// Its MID.
    pub mid: Mid,
    /// Audio or video.
    pub kind: Kind,
    /// What it may send, preferred first.
    pub codecs: ArrayVec<Codec, 8>,
    /// SSRCs that the offer announced with their RTX partners; empty with simulcast by RID.
    pub ssrcs: ArrayVec<(Ssrc, Option<Ssrc>), 4>,
    /// Simulcast encodings in the order of the offer; empty without simulcast.
    pub rids: ArrayVec<Rid, 4>,
}

/// An m-line on which the relay sends to a participant: a place that publications come and go in.
#[derive(Clone)]
pub struct Slot {
    /// Its MID, the slot's name in signaling.
    pub mid: Mid,
    /// Audio or video.
    pub kind: Kind,
    /// What the receiver takes, preferred first.
    pub codecs: ArrayVec<Codec, 8>,
    /// The SSRC that the slot keeps for life.
    pub ssrc: Ssrc,
    /// Its retransmission SSRC (RFC 4588), for video.
    pub rtx_ssrc: Option<Ssrc>,
}

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A microphone or the sound of a shared screen.
    Audio,
    /// A camera or a screen.
    Video,
}

/// A codec under the payload type that this participant numbered it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec {
    /// Which codec.
    pub name: CodecName,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Payload type of its retransmissions (RFC 4588), where negotiated.
    pub rtx_payload_type: Option<u8>,
    /// Generic NACK negotiated (RFC 4585, section 6.2.1).
    pub nack: bool,
}

/// The codecs that Sotto negotiates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodecName {
    /// RFC 7587; 48 kHz clock.
    Opus,
    /// RFC 7741; 90 kHz clock.
    Vp8,
    /// RFC 9628, profile 0; 90 kHz clock.
    Vp9,
}

impl CodecName {
    /// RTP clock rate in Hz.
    pub const fn clock_rate(self) -> u32 {
        match self {
            CodecName::Opus => 48_000,
            CodecName::Vp8 | CodecName::Vp9 => 90_000,
        }
    }
}

/// Negotiated header-extension ids, 1 to 14 (Firefox refuses higher ones); `None` where not negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid`
    pub mid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`
    pub rid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id`
    pub repaired_rid: Option<u8>,
    /// `draft-holmer-rmcat-transport-wide-cc-extensions-01`
    pub transport_cc: Option<u8>,
    /// `abs-send-time`
    pub abs_send_time: Option<u8>,
    /// `urn:3gpp:video-orientation`
    pub video_orientation: Option<u8>,
    /// `playout-delay`
    pub playout_delay: Option<u8>,
    /// `abs-capture-time`
    pub abs_capture_time: Option<u8>,
    /// AV1 dependency descriptor
    pub dependency_descriptor: Option<u8>,
    /// `video-layers-allocation00`
    pub video_layers_allocation: Option<u8>,
}
