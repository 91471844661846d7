//! What the control plane asks of a worker, and what a worker tells it: plain values over bounded channels.

use crate::session::{IceParameters, Mid, Session};

/// A call on this node: a counter that the control plane hands out, unrelated to the call id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey(pub u64);

/// A participant on this node: a counter, unrelated to any id that leaves the machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParticipantKey(pub u64);

/// A participant of a tunnel: signaling's own number of it, unique in its call. Whoever has a leg may have a session
/// too, or none, or several one after the other, so that these numbers have nothing to do with [`ParticipantKey`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LegKey(pub u64);

/// A request to the relay. Naming something that is gone is no error: the two sides race by nature.
pub enum Command {
    /// Begins a call on this worker.
    Open {
        /// Its key from now on.
        call: CallKey,
    },
    /// Adds a participant with its first negotiated session, or replaces the session of one that renegotiated.
    /// m-lines keep their MID, and slots their SSRC, over renegotiations.
    Negotiated {
        /// The call.
        call: CallKey,
        /// The participant.
        participant: ParticipantKey,
        /// What the answer settled.
        session: Box<Session>,
    },
    /// Points a slot at a publication, or at nothing. The receiver has acknowledged the assignment, so forwarding
    /// begins with the publication's next key frame (video) or packet (audio).
    Bind {
        /// The call.
        call: CallKey,
        /// Whose slot.
        receiver: ParticipantKey,
        /// The slot's MID.
        slot: Mid,
        /// What it carries from now on.
        source: Option<Source>,
    },
    /// Removes a participant, its publications and what it receives.
    Leave {
        /// The call.
        call: CallKey,
        /// The participant.
        participant: ParticipantKey,
    },
    /// Makes a participant's leg of the call's tunnel, or gives it new credentials. Independent of what the participant
    /// has negotiated: whoever uses a tunnel need not have any session. Datagrams pass while both have a leg to each
    /// other; a leg to somebody else ends the tunnel that was.
    Tunnel {
        /// The call.
        call: CallKey,
        /// Whose leg.
        participant: LegKey,
        /// Who is at the other end.
        other: LegKey,
        /// Credentials of the relay's end.
        ice: IceParameters,
    },
    /// Takes a participant's leg of the tunnel away.
    EndTunnel {
        /// The call.
        call: CallKey,
        /// Whose leg.
        participant: LegKey,
    },
    /// Ends a call.
    Close {
        /// The call.
        call: CallKey,
    },
}

/// A publication: one sending m-line of one participant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Who publishes.
    pub participant: ParticipantKey,
    /// On which of its m-lines.
    pub mid: Mid,
}

/// What happened in the media plane.
pub enum Event {
    /// The participant's transport is up: ICE checked, DTLS done, fingerprint right.
    Connected {
        /// The call.
        call: CallKey,
        /// The participant.
        participant: ParticipantKey,
    },
    /// The participant's transport is gone; it may negotiate again with an ICE restart or be removed.
    Disconnected {
        /// The call.
        call: CallKey,
        /// The participant.
        participant: ParticipantKey,
        /// Why.
        reason: Disconnect,
    },
    /// A panic ended this call, and no other. Everything it held is already freed.
    Failed {
        /// The call.
        call: CallKey,
    },
}

/// Why a participant's transport ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// No authenticated check for the consent time (RFC 7675).
    ConsentExpired,
    /// The handshake failed or timed out.
    Handshake,
    /// The certificate was not the one that signaling announced.
    Fingerprint,
    /// The participant closed its DTLS association.
    Closed,
}

impl Disconnect {
    /// Every reason with its metric label.
    pub const ALL: [(Disconnect, &'static str); 4] = [
        (Disconnect::ConsentExpired, "consent_expired"),
        (Disconnect::Handshake, "handshake"),
        (Disconnect::Fingerprint, "fingerprint"),
        (Disconnect::Closed, "closed"),
    ];
}
