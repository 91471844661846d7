//! What signaling needs of the media plane, as a trait: the relay implements it, tests stand in for it.

use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// A participant within one call: a counter that never leaves the machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParticipantKey(pub u64);

/// Where calls are carried.
pub trait Media: Send + Sync + 'static {
    /// Begins a call; what happens in it is told on `events`. Dropping the returned value ends the call.
    fn open(&self, events: mpsc::Sender<MediaEvent>) -> Result<Box<dyn MediaCall>, MediaError>;
}

/// One call in the media plane. Its methods return at once; what they cause comes as [`MediaEvent`].
pub trait MediaCall: Send {
    /// Answers a participant's offer; the first one brings the participant into the media plane.
    fn negotiate(&mut self, participant: ParticipantKey, offer: &str) -> Result<Negotiated, MediaError>;
    /// Points the receiver's slot at a publication that it has acknowledged, or at nothing.
    fn bind(&mut self, receiver: ParticipantKey, slot: &str, source: Option<PublishedMid>);
    /// Removes a participant with all that it sends and receives; its leg of a tunnel stays.
    fn leave(&mut self, participant: ParticipantKey);
    /// Makes the participant's leg of a tunnel to another one, or gives the leg new credentials (an ICE restart).
    /// Datagrams pass once both have a leg to each other; a call has one tunnel, and a leg to somebody else ends it.
    fn tunnel(&mut self, participant: ParticipantKey, other: ParticipantKey) -> Result<TunnelLeg, MediaError>;
    /// Takes the participant's leg away, where it has one.
    fn end_tunnel(&mut self, participant: ParticipantKey);
}

/// The relay's end of one leg of a tunnel: what a client puts in the place of the other client's ICE lines. There is
/// nothing else to tell: the relay is no party to what passes.
pub struct TunnelLeg {
    /// The relay's ufrag on this leg (RFC 8445, section 5.3).
    pub ufrag: String,
    /// Its password.
    pub pwd: Zeroizing<String>,
    /// Values of `a=candidate` (RFC 8839, section 5.1), preferred first.
    pub candidates: Vec<String>,
}

/// A publication: a sending m-line of a participant.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishedMid {
    /// Who publishes.
    pub participant: ParticipantKey,
    /// The m-line's MID.
    pub mid: String,
}

/// The relay's answer, and the m-lines as they now stand.
pub struct Negotiated {
    /// The SDP answer.
    pub answer: String,
    /// Live m-lines in the order of the description.
    pub lines: Vec<Line>,
}

/// One live m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its MID.
    pub mid: String,
    /// Audio or video.
    pub kind: Kind,
    /// Seen from the participant.
    pub direction: Direction,
}

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Audio,
    Video,
}

/// Which way an m-line carries media, seen from the participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The participant sends.
    Sends,
    /// The participant receives: the m-line is a slot.
    Receives,
}

/// What happened in the media plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaEvent {
    /// The participant's transport is up.
    Connected(ParticipantKey),
    /// The participant's transport is gone.
    Disconnected(ParticipantKey),
    /// The media plane lost the call; its members must join anew.
    Failed,
}

impl std::fmt::Debug for ParticipantKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ParticipantKey(..)")
    }
}

/// Why the media plane said no.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// No room for another call.
    #[error("the relay carries as many calls as it may")]
    Full,
    /// The relay is shutting down, or overloaded.
    #[error("the relay takes no new calls now")]
    Unavailable,
    /// The offer cannot be answered; the text names what to change and quotes nothing of the offer.
    #[error("the offer cannot be answered: {0}")]
    Offer(String),
}
