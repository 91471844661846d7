//! What a worker counts: absolute numbers since start, plain integers that only the worker touches. A scrape asks for
//! a copy.

use super::command::Disconnect;

/// Everything one worker counted.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Calls now open.
    pub calls: u64,
    /// Participants now in them.
    pub participants: u64,
    /// Publications that now have a known SSRC.
    pub publications: u64,
    /// Slots now bound to a publication.
    pub subscriptions: u64,
    /// Tunnels that now have both legs.
    pub tunnels: u64,
    /// Received, by what the first bytes say.
    pub received: [Traffic; Protocol::ALL.len()],
    /// Sent, by what was written.
    pub sent: [Traffic; Protocol::ALL.len()],
    /// Datagrams or packets thrown away, by reason.
    pub drops: [u64; Drop::ALL.len()],
    /// Packets that the relay asked publishers to repeat.
    pub nacks_sent: u64,
    /// Packets that receivers asked for again.
    pub nacks_received: u64,
    /// Of those, answered from the cache.
    pub retransmissions_sent: u64,
    /// Missing packets that publishers repeated.
    pub retransmissions_received: u64,
    /// Packets that receivers' reports call lost.
    pub reported_lost: u64,
    /// Packets that receivers' reports cover.
    pub reported_expected: u64,
    /// Key-frame requests to publishers.
    pub plis_sent: u64,
    /// Key-frame requests from receivers (PLI and FIR).
    pub plis_received: u64,
    /// Handshakes that ended well.
    pub handshakes_completed: u64,
    /// Transports that ended, by reason.
    pub disconnects: [u64; Disconnect::ALL.len()],
    /// Calls ended by a panic.
    pub panics: u64,
}

/// Packets and their bytes on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// UDP payloads.
    pub packets: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
}

impl Traffic {
    /// Counts one datagram.
    pub fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// What a datagram is (RFC 7983), media told apart by its m-line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Protocol {
    Stun,
    Dtls,
    Audio,
    Video,
    Rtx,
    Rtcp,
    /// What passes through a tunnel, whatever it is.
    Tunnel,
}

impl Protocol {
    /// Every protocol with its metric label.
    pub const ALL: [(Protocol, &'static str); 7] = [
        (Protocol::Stun, "stun"),
        (Protocol::Dtls, "dtls"),
        (Protocol::Audio, "audio"),
        (Protocol::Video, "video"),
        (Protocol::Rtx, "rtx"),
        (Protocol::Rtcp, "rtcp"),
        (Protocol::Tunnel, "tunnel"),
    ];
}

/// Why something was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// Neither STUN nor DTLS nor RTP, or too short to tell.
    Unrecognised,
    /// Not STUN, from an address that passed no check.
    UnknownSource,
    /// A STUN message that does not parse or authenticate, or names no participant.
    Stun,
    /// Media or handshake at the wrong time: no keys yet, no valid pair yet, or nobody at the tunnel's other end.
    Early,
    /// SRTP or SRTCP whose tag is wrong.
    Authentication,
    /// SRTP or SRTCP seen before, or too old to tell.
    Replay,
    /// Authentic, but not RTP or RTCP that the relay can read.
    Malformed,
    /// An SSRC that belongs to no m-line, or one more than a participant may have.
    UnknownSsrc,
    /// A payload type that was not negotiated.
    PayloadType,
    /// The receiver lacks the codec.
    Codec,
    /// The socket was full.
    Congested,
    /// The kernel refused to send.
    SendError,
    /// A retransmission beyond what its receiver may be sent again.
    Budget,
    /// Longer than a tunnel passes on.
    Oversize,
    /// More than a tunnel's leg may send.
    Rate,
}

impl Drop {
    /// Every reason with its metric label.
    pub const ALL: [(Drop, &'static str); 15] = [
        (Drop::Unrecognised, "unrecognised"),
        (Drop::UnknownSource, "unknown_source"),
        (Drop::Stun, "stun"),
        (Drop::Early, "early"),
        (Drop::Authentication, "authentication"),
        (Drop::Replay, "replay"),
        (Drop::Malformed, "malformed"),
        (Drop::UnknownSsrc, "unknown_ssrc"),
        (Drop::PayloadType, "payload_type"),
        (Drop::Codec, "codec"),
        (Drop::Congested, "congested"),
        (Drop::SendError, "send_error"),
        (Drop::Budget, "budget"),
        (Drop::Oversize, "oversize"),
        (Drop::Rate, "rate"),
    ];
}

impl Counters {
    /// Counts one thing thrown away.
    pub fn drop(&mut self, reason: Drop) {
        self.drops[reason as usize] += 1;
    }
}
