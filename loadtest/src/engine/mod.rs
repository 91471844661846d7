//! What carries a participant's media: ICE, DTLS and SRTP. An engine is told [`Command`]s and answers with [`Event`]s;
//! it owns the loop in which its participants live.

pub mod full;
pub mod light;

use bytes::Bytes;
use sotto_signaling::message::Stream;

use crate::clock::Moment;

/// What a participant wants of its connection.
pub enum Command {
    /// Describe the connection anew. Answered by [`Event::Offered`].
    Offer {
        /// What is sent, one sendonly m-line each; a line that was offered before stays.
        send: Vec<Sending>,
        /// Slot pairs to receive on, one recvonly audio and one recvonly video m-line each.
        pairs: u32,
        /// With new ICE credentials (RFC 8445, section 9).
        restart_ice: bool,
    },
    /// The relay's answer to the last offer.
    Answer {
        /// Its SDP.
        sdp: String,
    },
    /// Send a packet.
    Packet {
        /// On the m-line of this stream.
        stream: Stream,
        /// The simulcast encoding, counted from the smallest; 0 where there is one.
        layer: usize,
        /// What to send.
        packet: Packet,
    },
    /// Ask for a key frame (PLI, RFC 4585 section 6.3.1) in this slot.
    RequestKeyFrame {
        /// Place of the slot in [`Event::Offered`].
        slot: usize,
    },
}

/// One stream to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Which stream.
    pub stream: Stream,
    /// Its codec.
    pub codec: Codec,
    /// Simulcast encodings, 1 to 3. With more than one their rids are `q`, `h`, `f`, from the smallest.
    pub layers: usize,
}

/// The codecs whose frames can be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 7587, 48 kHz, two channels in its name.
    Opus,
    /// RFC 7741, 90 kHz.
    Vp8,
    /// RFC 9628, 90 kHz.
    Vp9,
}

/// An RTP packet, without what the engine adds: payload type, SSRC, header extensions.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    /// The last of a frame.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// In ticks of the codec's clock.
    pub timestamp: u32,
    /// Payload descriptor and a piece of a protected frame.
    pub payload: Bytes,
}

/// What a connection tells its participant.
pub enum Event {
    /// The description that was asked for.
    Offered {
        /// For the relay.
        sdp: String,
        /// The MID of each m-line that sends.
        sending: Vec<(Stream, String)>,
        /// The MIDs of the m-lines that receive: audio and video of the first pair, then of the second, and so on.
        slots: Vec<String>,
    },
    /// A pair of candidates was nominated. Told once for each path.
    IceConnected {
        /// When.
        at: Moment,
    },
    /// Media can flow. Told once for each handshake.
    DtlsConnected {
        /// When.
        at: Moment,
    },
    /// Nothing comes any more, or it cannot be connected.
    Lost {
        /// In words for the report; no address.
        reason: String,
    },
    /// The relay asks for a key frame of what we send.
    KeyFrameWanted {
        /// Of which stream.
        stream: Stream,
        /// Of which encoding; all of them where absent.
        layer: Option<usize>,
    },
}

/// An RTP packet as it came, its SRTP taken off, its retransmission (RFC 4588) unwrapped.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    /// Place of the slot in [`Event::Offered`].
    pub slot: usize,
    /// When the kernel, or where it does not say the engine, had it.
    pub arrived: Moment,
    /// Which codec its payload type names.
    pub codec: Codec,
    /// The last of a frame.
    pub marker: bool,
    /// Sequence number of the original.
    pub sequence: u16,
    /// In ticks of the codec's clock.
    pub timestamp: u32,
    /// Whether it came because it was asked for again.
    pub repaired: bool,
    /// Bytes of payload, also where it was left sealed.
    pub size: usize,
    /// Payload descriptor and a piece of a protected frame. `None` where the engine left it sealed, since it is not
    /// in the sample that is decrypted; it counts as received all the same.
    pub payload: Option<&'a [u8]>,
}
