//! Every message of PROTOCOL.md. Nothing here has a `Debug` that prints ids, descriptions or relayed data.

use serde::{Deserialize, Deserializer, Serialize};

use crate::base64url::Base64Url;
use crate::call_log::ReceiptRow;
use crate::host::HostState;
use crate::limits::ToldLimits;
use crate::media::Kind;

/// The version of the protocol that this crate speaks.
pub const VERSION: u32 = 1;

/// Names a call; commits to who may join and who is host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub Base64Url<16>);

/// Names a connection in a call; random for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ParticipantId(pub Base64Url<8>);

/// What a participant may publish, each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Their voice.
    Microphone,
    /// Their picture.
    Camera,
    /// A shared screen.
    Screen,
    /// The sound of a shared screen.
    ScreenAudio,
}

impl Stream {
    /// Every stream.
    pub const ALL: [Stream; 4] = [Stream::Microphone, Stream::Camera, Stream::Screen, Stream::ScreenAudio];

    /// Audio or video.
    pub fn kind(self) -> Kind {
        match self {
            Stream::Microphone | Stream::ScreenAudio => Kind::Audio,
            Stream::Camera | Stream::Screen => Kind::Video,
        }
    }
}

/// A request to enter a call.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Join {
    /// The client's version of the protocol.
    pub v: u32,
    /// Which call.
    pub call: CallId,
    /// The link's Ed25519 admission key A.
    pub admission: Base64Url<32>,
    /// `h`: the first 16 bytes of SHA-256 of the host's public key.
    pub host: Base64Url<16>,
    /// The participant's Ed25519 identity I.
    pub identity: Base64Url<32>,
    /// By A, over the nonce, the host name and the identity.
    pub signature: Base64Url<64>,
    /// By I, over the nonce, the host name and the admission key.
    pub proof: Base64Url<64>,
}

/// From a client.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[allow(missing_docs)] // each field is described in PROTOCOL.md
pub enum ClientMessage {
    /// Asks to enter a call.
    Join(Join),
    /// Describes transceivers, codecs and ICE credentials.
    Offer { id: u64, sdp: String },
    /// An m-line carries this stream from now on.
    Publish { stream: Stream, mid: String },
    /// No longer.
    Unpublish { stream: Stream },
    /// Wants a publication, shown so many pixels high.
    Subscribe {
        participant: ParticipantId,
        stream: Stream,
        #[serde(default, deserialize_with = "pixels")]
        height: u32,
    },
    /// No longer.
    Unsubscribe { participant: ParticipantId, stream: Stream },
    /// The slot's decryption points at the assigned publication.
    Assigned { slot: String, epoch: u32 },
    /// Something for one other participant, or for all.
    Relay {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<ParticipantId>,
        data: String,
    },
    /// Wants its leg of the tunnel to that participant, or new credentials for it.
    Tunnel { peer: ParticipantId },
    /// Its leg of the tunnel is over.
    TunnelEnd,
    /// It has closed its forwarded connection.
    Detach,
    /// The host's word on who may be in the call.
    Host { state: HostState },
    /// Asks, outside a locked call, to be let in.
    Knock { data: String },
    /// Asks for a `pong` with the same `t`.
    Ping {
        #[serde(default)]
        t: Option<serde_json::Number>,
    },
    /// Leaves the call.
    Leave,
    /// A type that this version does not know.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// One participant in `joined`.
#[derive(Clone, Serialize, Deserialize)]
pub struct RosterEntry {
    /// Who.
    pub id: ParticipantId,
    /// What they publish.
    pub streams: Vec<Stream>,
}

/// From the server.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[allow(missing_docs)] // each field is described in PROTOCOL.md
pub enum ServerMessage {
    /// First message of every connection.
    Welcome { v: u32, nonce: Base64Url<32> },
    /// The client is in the call.
    Joined { participant: ParticipantId, participants: Vec<RosterEntry>, limits: ToldLimits },
    /// So many slot pairs should be there.
    Slots { pairs: u32 },
    /// Answers the offer of the same id.
    Answer { id: u64, sdp: String },
    /// Another participant publishes.
    Published { participant: ParticipantId, stream: Stream },
    /// No longer.
    Unpublished { participant: ParticipantId, stream: Stream },
    /// The slot will carry this publication once acknowledged.
    Assign { slot: String, epoch: u32, participant: ParticipantId, stream: Stream },
    /// The slot carries nothing now.
    Release { slot: String, epoch: u32 },
    /// The client's leg of the tunnel to that participant: the relay's end of it.
    Tunnel { peer: ParticipantId, ufrag: String, pwd: String, candidates: Vec<String> },
    /// The call is locked; the client waits until the host lets it in.
    Waiting { participant: ParticipantId, state: HostState },
    /// Someone asks to be let in.
    Knock { id: ParticipantId, data: String },
    /// They were let in, or wait no longer.
    KnockEnd { id: ParticipantId },
    /// What is stored about the call when it ends.
    Receipt { r#final: bool, retention_days: u32, row: Option<ReceiptRow> },
    /// From another participant.
    Relay { from: ParticipantId, data: String },
    /// Someone joined.
    Participant { id: ParticipantId },
    /// Someone left.
    Left { id: ParticipantId },
    /// Answers `ping`.
    Pong { t: Option<serde_json::Number> },
    /// The call will be ended.
    Closing { reason: ClosingReason, seconds: u32 },
    /// Something went wrong.
    Error {
        code: ErrorCode,
        message: String,
        fatal: bool,
        /// The id of the offer that it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
    },
}

/// Why a call will be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClosingReason {
    /// The relay is being stopped.
    Draining,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(usize)]
#[allow(missing_docs)] // each code is described in PROTOCOL.md
pub enum ErrorCode {
    Refused,
    Full,
    Unavailable,
    Replaced,
    Removed,
    Version,
    Malformed,
    TooLarge,
    TooFast,
    TooSlow,
    UnknownType,
    Offer,
    Unknown,
    Conflict,
    Limit,
    Tunnel,
    Host,
    Waiting,
    Timeout,
    Ended,
}

impl ErrorCode {
    /// Every code with its name.
    pub const ALL: [(ErrorCode, &'static str); 20] = [
        (ErrorCode::Refused, "refused"),
        (ErrorCode::Full, "full"),
        (ErrorCode::Unavailable, "unavailable"),
        (ErrorCode::Replaced, "replaced"),
        (ErrorCode::Removed, "removed"),
        (ErrorCode::Version, "version"),
        (ErrorCode::Malformed, "malformed"),
        (ErrorCode::TooLarge, "too-large"),
        (ErrorCode::TooFast, "too-fast"),
        (ErrorCode::TooSlow, "too-slow"),
        (ErrorCode::UnknownType, "unknown-type"),
        (ErrorCode::Offer, "offer"),
        (ErrorCode::Unknown, "unknown"),
        (ErrorCode::Conflict, "conflict"),
        (ErrorCode::Limit, "limit"),
        (ErrorCode::Tunnel, "tunnel"),
        (ErrorCode::Host, "host"),
        (ErrorCode::Waiting, "waiting"),
        (ErrorCode::Timeout, "timeout"),
        (ErrorCode::Ended, "ended"),
    ];

    /// Its name on the wire and in metrics.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Whether the server closes the socket after it.
    pub fn is_fatal(self) -> bool {
        !matches!(
            self,
            ErrorCode::UnknownType
                | ErrorCode::Offer
                | ErrorCode::Unknown
                | ErrorCode::Conflict
                | ErrorCode::Limit
                | ErrorCode::Tunnel
                | ErrorCode::Host
                | ErrorCode::Waiting
        )
    }

    /// What a person is told who reads the client's console.
    pub fn text(self) -> &'static str {
        match self {
            ErrorCode::Refused => "not admitted; check the link",
            ErrorCode::Full => "the call, or the relay, holds as many as it may",
            ErrorCode::Unavailable => "the relay takes no new calls now; try again later",
            ErrorCode::Replaced => "the same identity joined again elsewhere",
            ErrorCode::Removed => "the host removed this participant, or does not let it in",
            ErrorCode::Version => "this relay speaks version 1",
            ErrorCode::Malformed => "not a message of this protocol",
            ErrorCode::TooLarge => "the message is too large",
            ErrorCode::TooFast => "too many messages",
            ErrorCode::TooSlow => "messages were not read in time",
            ErrorCode::UnknownType => "this type of message is not known here",
            ErrorCode::Offer => "the offer cannot be answered",
            ErrorCode::Unknown => "no such stream, slot, m-line or participant",
            ErrorCode::Conflict => "this m-line carries another stream",
            ErrorCode::Limit => "the call holds as many streams as it may",
            ErrorCode::Tunnel => "no tunnel now: it is turned off, or there are not exactly the two of you",
            ErrorCode::Host => "this host state is not the host's, not of this call, or older than the one in force",
            ErrorCode::Waiting => "not let in yet: until then only knock, host, ping and leave",
            ErrorCode::Timeout => "nothing was received for too long",
            ErrorCode::Ended => "the call ended",
        }
    }

    /// The message that tells it.
    pub fn message(self) -> ServerMessage {
        ServerMessage::Error { code: self, message: self.text().into(), fatal: self.is_fatal(), id: None }
    }
}

/// Browsers compute heights from layout, so fractions and absurd numbers occur.
fn pixels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    /// Taller than any screen sold.
    const TALLEST: f64 = 16_384.0;
    Ok(f64::deserialize(deserializer)?.clamp(0.0, TALLEST).ceil() as u32)
}

#[cfg(test)]
mod tests;
