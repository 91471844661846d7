//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3): when
//! each packet of a transport arrived, or that it did not.

use arrayvec::ArrayVec;

use super::{RtcpError, TRANSPORT_FEEDBACK, TRANSPORT_WIDE, feedback_ssrcs, write_packet, write_ssrc};
use crate::session::Ssrc;

/// A checked feedback message: reading it touches each byte once, however many packets it claims to report on.
#[derive(Clone, Copy)]
pub struct TransportFeedback<'a> {
    /// Who reports.
    pub sender: Ssrc,
    /// Any stream of the transport.
    pub media: Ssrc,
    /// The first transport-wide sequence number that is reported on.
    pub base_sequence: u16,
    /// How many packets are reported on, received or not.
    pub status_count: u16,
    /// The reference time in units of 64 ms, signed, on a clock of the reporter's own; wraps at 24 bits.
    pub reference_time: i32,
    /// Counts the messages, to find lost ones.
    pub feedback_count: u8,
    chunks: &'a [[u8; 2]],
    deltas: &'a [u8],
}

/// A packet that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its transport-wide sequence number.
    pub sequence: u16,
    /// When, in units of 250 us on the reporter's clock (whose zero is reference time 0).
    pub ticks: i64,
}

impl<'a> TransportFeedback<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, RtcpError> {
        let (sender, media, rest) = feedback_ssrcs(body)?;
        let (&[s0, s1, c0, c1, r0, r1, r2, feedback_count], rest) =
            rest.split_first_chunk::<FIXED_LEN>().ok_or(RtcpError::Truncated)?;
        let status_count = u16::from_be_bytes([c0, c1]);
        let (words, _) = rest.as_chunks::<2>();
        let (chunks, deltas_len) = measure(words, status_count)?;
        let deltas = rest[2 * chunks..].get(..deltas_len).ok_or(RtcpError::Truncated)?;
        Ok(Self {
            sender,
            media,
            base_sequence: u16::from_be_bytes([s0, s1]),
            status_count,
            reference_time: i32::from_be_bytes([r0, r1, r2, 0]) >> 8,
            feedback_count,
            chunks: &words[..chunks],
            deltas,
        })
    }

    /// The packets that arrived, in the order of their numbers. What is missing between `base_sequence` and
    /// `base_sequence + status_count` did not arrive.
    pub fn arrivals(&self) -> Arrivals<'a> {
        Arrivals {
            chunks: self.chunks,
            deltas: self.deltas,
            chunk: Chunk::Run { status: Status::Missing, left: 0 },
            sequence: self.base_sequence,
            left: self.status_count,
            ticks: i64::from(self.reference_time) * TICKS_PER_REFERENCE,
        }
    }
}

/// Iterates over the packets that arrived.
#[derive(Clone)]
pub struct Arrivals<'a> {
    chunks: &'a [[u8; 2]],
    deltas: &'a [u8],
    chunk: Chunk,
    sequence: u16,
    left: u16,
    ticks: i64,
}

impl Iterator for Arrivals<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        while self.left > 0 {
            let Some((status, run)) = self.chunk.take() else {
                let (&chunk, rest) = self.chunks.split_first()?;
                self.chunks = rest;
                self.chunk = Chunk::parse(chunk);
                continue;
            };
            // A run of missing packets is stepped over at once.
            let run = if status == Status::Missing { run } else { 1 }.min(self.left);
            self.chunk.advance(run);
            let sequence = self.sequence;
            self.sequence = sequence.wrapping_add(run);
            self.left -= run;
            let (delta, rest) = match status {
                Status::Missing => continue,
                Status::Small => self.deltas.split_first().map(|(&delta, rest)| (i64::from(delta), rest))?,
                Status::Large => {
                    let (&delta, rest) = self.deltas.split_first_chunk()?;
                    (i64::from(i16::from_be_bytes(delta)), rest)
                }
                Status::Reserved => return None,
            };
            self.deltas = rest;
            self.ticks += delta;
            return Some(Arrival { sequence, ticks: self.ticks });
        }
        None
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Missing = 0,
    /// One byte of delta.
    Small = 1,
    /// Two bytes of signed delta.
    Large = 2,
    Reserved = 3,
}

impl Status {
    fn from_bits(bits: u16) -> Self {
        match bits & 3 {
            0 => Status::Missing,
            1 => Status::Small,
            2 => Status::Large,
            _ => Status::Reserved,
        }
    }

    /// Bytes of delta that belong to it.
    fn delta_len(self) -> usize {
        match self {
            Status::Missing | Status::Reserved => 0,
            Status::Small => 1,
            Status::Large => 2,
        }
    }
}

/// What is left of a packet status chunk.
#[derive(Clone, Copy)]
enum Chunk {
    Run {
        status: Status,
        left: u16,
    },
    /// Statuses of `width` bits, the next one in the highest of 16 bits.
    Vector {
        bits: u16,
        width: u32,
        left: u16,
    },
}

impl Chunk {
    fn parse(chunk: [u8; 2]) -> Self {
        let bits = u16::from_be_bytes(chunk);
        match bits >> 14 {
            0 | 1 => Chunk::Run { status: Status::from_bits(bits >> 13), left: bits & 0x1fff },
            2 => Chunk::Vector { bits: bits << 2, width: 1, left: 14 },
            _ => Chunk::Vector { bits: bits << 2, width: 2, left: 7 },
        }
    }

    /// The next status, and how many packets in a row have it.
    fn take(&self) -> Option<(Status, u16)> {
        match *self {
            Chunk::Run { left: 0, .. } | Chunk::Vector { left: 0, .. } => None,
            Chunk::Run { status, left } => Some((status, left)),
            Chunk::Vector { bits, width, .. } => Some((Status::from_bits(bits >> (16 - width)), 1)),
        }
    }

    fn advance(&mut self, count: u16) {
        match self {
            Chunk::Run { left, .. } => *left -= count,
            Chunk::Vector { bits, width, left } => {
                *bits <<= *width;
                *left -= count;
            }
        }
    }
}

/// How many chunks `status_count` packets take, and how many bytes of delta follow them.
fn measure(words: &[[u8; 2]], status_count: u16) -> Result<(usize, usize), RtcpError> {
    let mut left = status_count;
    let mut deltas_len = 0;
    let mut chunks = 0;
    while left > 0 {
        let mut chunk = Chunk::parse(*words.get(chunks).ok_or(RtcpError::Truncated)?);
        chunks += 1;
        if chunk.take().is_none() {
            return Err(RtcpError::Feedback);
        }
        while let Some((status, run)) = chunk.take() {
            let run = run.min(left);
            if run == 0 {
                break;
            }
            if status == Status::Reserved {
                return Err(RtcpError::Feedback);
            }
            deltas_len += status.delta_len() * usize::from(run);
            chunk.advance(run);
            left -= run;
        }
    }
    Ok((chunks, deltas_len))
}

/// Where the next feedback message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedbackHead {
    /// The relay's SSRC.
    pub sender: Ssrc,
    /// Any stream of the transport.
    pub media: Ssrc,
    /// Counts the messages.
    pub feedback_count: u8,
    /// The first number to report on, extended; arrivals before it are not reported.
    pub base_sequence: u64,
}

/// Appends one feedback message on `arrivals`: extended transport-wide sequence numbers, rising, with their arrival in
/// microseconds on any clock that is the same for all messages. Says how many of the arrivals it reports on; 0, with
/// nothing written, where there are none from `base_sequence` on. The rest (a gap in time or number too wide for one
/// message, or too many for one datagram) belongs into the next, whose `base_sequence` follows the last reported one.
pub fn write_transport_feedback(head: &FeedbackHead, arrivals: &[(u64, u64)], out: &mut Vec<u8>) -> usize {
    let skipped = arrivals.iter().take_while(|&&(sequence, _)| sequence < head.base_sequence).count();
    let Some(&(first, arrived)) = arrivals.get(skipped) else { return 0 };
    let reference = arrived / MICROS_PER_REFERENCE;
    // A first packet too far ahead begins the message itself: the losses before it would fill it.
    let base = if first - head.base_sequence >= MAX_STATUSES { first } else { head.base_sequence };
    let mut message = Message::new(reference);
    let mut next = base;
    let mut reported = skipped;
    for &(sequence, arrived) in &arrivals[skipped..] {
        if sequence < next || sequence - base >= MAX_STATUSES || !message.push(sequence - next, arrived) {
            break;
        }
        next = sequence + 1;
        reported += 1;
    }
    let start = out.len();
    write_packet(TRANSPORT_FEEDBACK, TRANSPORT_WIDE, out, |out| {
        write_ssrc(head.sender, out);
        write_ssrc(head.media, out);
        out.extend_from_slice(&(base as u16).to_be_bytes());
        out.extend_from_slice(&((next - base) as u16).to_be_bytes());
        let [_, r0, r1, r2] = (reference as u32).to_be_bytes();
        out.extend_from_slice(&[r0, r1, r2, head.feedback_count]);
        message.write_chunks(out);
        out.extend_from_slice(&message.deltas);
        while !(out.len() - start).is_multiple_of(4) {
            out.push(0);
        }
    });
    reported
}

/// The part of a message that grows with each packet.
struct Message {
    statuses: ArrayVec<Status, { MAX_STATUSES as usize }>,
    deltas: ArrayVec<u8, { 2 * MAX_ARRIVALS }>,
    arrivals: usize,
    reference: u64,
    /// When the last packet arrived, from the reference time on, as the reader will add it up.
    ticks: i64,
}

impl Message {
    fn new(reference: u64) -> Self {
        Self { statuses: ArrayVec::new(), deltas: ArrayVec::new(), arrivals: 0, reference, ticks: 0 }
    }

    /// Adds a packet after `missing` that did not arrive; false where it does not fit this message.
    fn push(&mut self, missing: u64, arrived: u64) -> bool {
        let micros = arrived as i64 - (self.reference * MICROS_PER_REFERENCE) as i64;
        let ticks = (micros + MICROS_PER_TICK / 2).div_euclid(MICROS_PER_TICK);
        let Ok(delta) = i16::try_from(ticks - self.ticks) else { return false };
        if self.arrivals == MAX_ARRIVALS || missing >= self.statuses.remaining_capacity() as u64 {
            return false;
        }
        self.arrivals += 1;
        self.ticks = ticks;
        self.statuses.extend((0..missing).map(|_| Status::Missing));
        match u8::try_from(delta) {
            Ok(delta) => {
                self.statuses.push(Status::Small);
                self.deltas.push(delta);
            }
            Err(_) => {
                self.statuses.push(Status::Large);
                self.deltas.extend(delta.to_be_bytes());
            }
        }
        true
    }

    fn write_chunks(&self, out: &mut Vec<u8>) {
        let mut rest = &self.statuses[..];
        while let Some(&first) = rest.first() {
            let run = rest.iter().take_while(|&&status| status == first).count();
            let one_bit = &rest[..rest.len().min(ONE_BIT_STATUSES)];
            let two_bit = &rest[..rest.len().min(TWO_BIT_STATUSES)];
            let (bits, taken) = if one_bit.contains(&Status::Large) {
                if run >= two_bit.len() {
                    (run_length(first, run), run)
                } else {
                    (0b11 << 14 | vector(two_bit, 2), two_bit.len())
                }
            } else if run >= one_bit.len() {
                (run_length(first, run), run)
            } else {
                (0b10 << 14 | vector(one_bit, 1), one_bit.len())
            };
            out.extend_from_slice(&bits.to_be_bytes());
            rest = &rest[taken..];
        }
    }
}

/// A run length chunk; the statuses of one message never exceed its 13 bits.
fn run_length(status: Status, run: usize) -> u16 {
    (status as u16) << 13 | run as u16
}

/// The 14 bits of a status vector chunk; statuses beyond the end are zero.
fn vector(statuses: &[Status], width: usize) -> u16 {
    statuses.iter().enumerate().fold(0, |bits, (index, &status)| bits | (status as u16) << (14 - width * (index + 1)))
}

/// Base sequence, status count, reference time and feedback count.
const FIXED_LEN: usize = 8;

/// Reference times are multiples of 64 ms.
const MICROS_PER_REFERENCE: u64 = 64_000;

/// Deltas are multiples of 250 us.
const MICROS_PER_TICK: i64 = 250;

/// 64 ms in units of 250 us.
const TICKS_PER_REFERENCE: i64 = 256;

/// Statuses of one bit in a vector chunk.
const ONE_BIT_STATUSES: usize = 14;

/// Statuses of two bits in a vector chunk.
const TWO_BIT_STATUSES: usize = 7;

/// Half a second at 2,000 packets a second. In the worst case 147 chunks.
const MAX_STATUSES: u64 = 1_024;

/// At two bytes each, and with the chunks, a message stays below 1,200 bytes: within every MTU.
const MAX_ARRIVALS: usize = 400;
