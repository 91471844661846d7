//! Pictures put together from packets that come in any order, and handed on in the order in which they were sent, as to a
//! decoder: it waits for what can still come, and a whole key frame spares it waiting.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::engine::Received;

use super::descriptor::Descriptor;

/// A decoder waits so long for what is missing when it could go on from a later key frame; longer would be a freeze.
pub const PATIENCE: Duration = Duration::from_millis(200);

/// The frames of one stream that are not handed on yet.
#[derive(Default)]
pub struct Assembly {
    frames: VecDeque<Frame>,
    /// The sequence number with which the next frame to hand on begins; `None` before the first.
    next: Option<u64>,
    /// Whether a frame is known to begin there.
    at_boundary: bool,
    /// The timestamp of a frame that was given up before its end was seen.
    torn: Option<u32>,
    spare: Vec<Frame>,
    scratch: Vec<u8>,
}

/// What was found when a frame was whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// It authenticated, or was left sealed.
    pub usable: bool,
    /// Whether it is a key frame, where it was not left sealed.
    pub key: Option<bool>,
    /// Sequence of the sender, time of sending and layer, where it carries a stamp.
    pub stamp: Option<(u32, Moment, u8)>,
}

/// What became of the frame next in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is whole.
    Whole(Examined),
    /// A packet of it never came, or a later key frame made it useless before it was whole.
    Lost,
    /// Packets between frames never came; `frame` says whether they were at least one frame of their own.
    Gap {
        /// At least one whole frame is lost that no other step tells of.
        frame: bool,
    },
    /// Its last packets were never sent to us: another layer began instead.
    Cut,
    /// Packets without a frame: probes of the path.
    Filling,
}

#[derive(Default)]
struct Frame {
    timestamp: u32,
    low: u64,
    high: u64,
    count: u64,
    begins: Option<u64>,
    ends: bool,
    key: bool,
    /// Some of it was left sealed.
    sealed: bool,
    filling: bool,
    first_arrival: Moment,
    whole: Option<Examined>,
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Piece {
    index: u64,
    from: usize,
    to: usize,
}

impl Assembly {
    /// Whether the turn of the frame with this number is over, so that its packet is of no use any more.
    pub fn is_past(&self, index: u64) -> bool {
        self.next.is_some_and(|next| index < next)
    }

    /// A packet that was not here before and is not past, with what its descriptor says; none where it was left sealed.
    /// Answers with the place of its frame if that is whole by it and can be opened.
    pub fn insert(&mut self, index: u64, packet: &Received<'_>, descriptor: Option<Descriptor>) -> Option<usize> {
        if self.torn == Some(packet.timestamp) || packet.payload.is_some_and(<[u8]>::is_empty) {
            self.insert_filling(index, packet);
            return None;
        }
        let place = self.place(index, packet);
        self.frames[place].add(index, packet, descriptor);
        self.frames[place].can_be_opened().then_some(place)
    }

    /// A frame in one packet that is not past, which was examined already.
    pub fn insert_whole(&mut self, index: u64, packet: &Received<'_>, examined: Examined) {
        let place = self.place_of_new(index, packet);
        let frame = &mut self.frames[place];
        (frame.begins, frame.ends, frame.whole) = (Some(index), true, Some(examined));
        frame.count = 1;
    }

    /// Takes the bytes of a whole frame out of its place, and tells whether it is a key frame.
    pub fn take_bytes(&mut self, place: usize) -> (Vec<u8>, bool) {
        let frame = &mut self.frames[place];
        frame.put_in_order(&mut self.scratch);
        (std::mem::take(&mut frame.bytes), frame.key)
    }

    /// What was found in the bytes of a whole frame, which it gets back for their memory.
    pub fn examined(&mut self, place: usize, bytes: Vec<u8>, examined: Examined) {
        let frame = &mut self.frames[place];
        (frame.bytes, frame.whole) = (bytes, Some(examined));
    }

    /// What became of the next frame in order, if that is decided. `starving` is a decoder that can use nothing but a key
    /// frame; `missing` tells of the first number from one on that may still come, and since when it is missing.
    pub fn step(
        &mut self,
        now: Moment,
        starving: bool,
        missing: &dyn Fn(u64) -> Option<(u64, Moment)>,
    ) -> Option<Step> {
        let Some(next) = self.next else { return self.first_step(now, missing) };
        let front = self.frames.front()?;
        let missing = missing(next);
        let decided = if front.low > next {
            self.gap(missing)
        } else if front.filling {
            let ended = front.ends || self.at_boundary;
            Some(self.pop(Step::Filling, ended))
        } else if let Some(examined) = front.whole {
            Some(self.pop(Step::Whole(examined), true))
        } else {
            self.decide_front(missing)
        };
        decided.or_else(|| self.overtake(now, starving, missing))
    }

    /// When [`Assembly::step`] may decide something though nothing came and nothing was given up.
    pub fn next_timeout(&self, missing: &dyn Fn(u64) -> Option<(u64, Moment)>) -> Option<Moment> {
        let front = self.frames.front()?;
        let since = match self.next {
            Some(next) => missing(next).filter(|_| self.key_frame().is_some()).map(|(_, since)| since),
            None => Some(front.first_arrival),
        };
        since.map(|since| since + PATIENCE)
    }

    /// Before anything was handed on: a stream begins with the first frame whose beginning came. One that lacks it waits
    /// a moment for packets that it overtook.
    fn first_step(&mut self, now: Moment, missing: &dyn Fn(u64) -> Option<(u64, Moment)>) -> Option<Step> {
        let front = self.frames.front()?;
        if front.begins == Some(front.low) || front.sealed || front.filling {
            (self.next, self.at_boundary) = (Some(front.low), true);
            return self.step(now, true, missing);
        }
        if now < front.first_arrival + PATIENCE {
            return None;
        }
        let ended = front.ends;
        Some(self.pop(Step::Lost, ended))
    }

    /// The first frame is not whole: whether it still can be.
    fn decide_front(&mut self, missing: Option<(u64, Moment)>) -> Option<Step> {
        let front = &self.frames[0];
        let (high, ended) = (front.high, front.ends);
        let may_come = |to: u64| missing.is_some_and(|(index, _)| index <= to);
        if front.has_hole() {
            return (!may_come(high)).then(|| self.pop(Step::Lost, ended));
        }
        if ended {
            // All of it is here and it was not opened: it was left sealed, or its first packets are lost.
            let sealed = front.sealed && (self.at_boundary || front.begins == Some(front.low));
            let examined = Examined { usable: true, ..Examined::default() };
            return Some(self.pop(if sealed { Step::Whole(examined) } else { Step::Lost }, true));
        }
        let second = self.frames.get(1)?.low;
        if second == high + 1 {
            return Some(self.pop(Step::Cut, true));
        }
        (!may_come(second - 1)).then(|| self.pop(Step::Lost, false))
    }

    /// Whether anything of what is before the first frame can come any more.
    fn gap(&mut self, missing: Option<(u64, Moment)>) -> Option<Step> {
        let low = self.frames[0].low;
        let may_come = missing.is_some_and(|(index, _)| index < low);
        (!may_come).then(|| self.leave_gap())
    }

    /// Goes on with the first frame, though packets before it never came.
    fn leave_gap(&mut self) -> Step {
        let front = &self.frames[0];
        let (low, begins, sealed) = (front.low, front.begins == Some(front.low), front.sealed);
        let frame = self.at_boundary && begins;
        // Of a sealed frame nobody can tell; where the one before was torn, its end is what is missing.
        let at_boundary = begins || sealed && self.torn.is_some();
        self.advance(low, at_boundary);
        Step::Gap { frame }
    }

    /// Leaves out the first frame for a whole key frame behind it, if a decoder would.
    fn overtake(&mut self, now: Moment, starving: bool, missing: Option<(u64, Moment)>) -> Option<Step> {
        self.key_frame()?;
        if !starving && missing.is_none_or(|(_, since)| now < since + PATIENCE) {
            return None;
        }
        let front = &self.frames[0];
        if self.next.is_some_and(|next| front.low > next) {
            return Some(self.leave_gap());
        }
        let ended = front.ends;
        Some(self.pop(Step::Lost, ended))
    }

    fn key_frame(&self) -> Option<usize> {
        let is_key = |frame: &Frame| frame.whole.is_some_and(|whole| whole.usable && whole.key == Some(true));
        self.frames.iter().position(is_key)
    }

    fn pop(&mut self, step: Step, ended: bool) -> Step {
        let frame = self.frames.pop_front().expect("a step is of the first frame");
        self.advance(frame.high + 1, ended);
        if !ended {
            self.torn = Some(frame.timestamp);
        }
        self.recycle(frame);
        step
    }

    fn advance(&mut self, next: u64, at_boundary: bool) {
        (self.next, self.at_boundary) = (Some(next), at_boundary);
        if at_boundary {
            self.torn = None;
        }
    }

    /// The frame that a packet belongs to, a new one if need be.
    fn place(&mut self, index: u64, packet: &Received<'_>) -> usize {
        let same = |frame: &Frame| frame.timestamp == packet.timestamp && !frame.filling && frame.whole.is_none();
        match self.frames.iter().rposition(same) {
            Some(place) => place,
            None => self.place_of_new(index, packet),
        }
    }

    fn place_of_new(&mut self, index: u64, packet: &Received<'_>) -> usize {
        let place = self.frames.iter().rposition(|frame| frame.low < index).map_or(0, |before| before + 1);
        let mut frame = self.spare.pop().unwrap_or_default();
        frame.timestamp = packet.timestamp;
        (frame.low, frame.high) = (index, index);
        frame.first_arrival = packet.arrived;
        self.frames.insert(place, frame);
        place
    }

    fn insert_filling(&mut self, index: u64, packet: &Received<'_>) {
        let place = self.place_of_new(index, packet);
        let frame = &mut self.frames[place];
        (frame.filling, frame.ends, frame.count) = (true, packet.marker, 1);
    }

    fn recycle(&mut self, mut frame: Frame) {
        frame.pieces.clear();
        frame.bytes.clear();
        let Frame { pieces, bytes, .. } = frame;
        if self.spare.len() < SPARE {
            self.spare.push(Frame { pieces, bytes, ..Frame::default() });
        }
    }
}

impl Frame {
    fn add(&mut self, index: u64, packet: &Received<'_>, descriptor: Option<Descriptor>) {
        self.low = self.low.min(index);
        self.high = self.high.max(index);
        self.count += 1;
        self.ends |= packet.marker;
        match (packet.payload, descriptor) {
            (Some(payload), Some(descriptor)) => {
                if descriptor.begins && self.begins.is_none_or(|begins| index < begins) {
                    (self.begins, self.key) = (Some(index), descriptor.key);
                }
                let from = self.bytes.len();
                self.bytes.extend_from_slice(&payload[descriptor.length..]);
                self.pieces.push(Piece { index, from, to: self.bytes.len() });
            }
            _ => self.sealed = true,
        }
    }

    fn has_hole(&self) -> bool {
        self.count < self.high - self.low + 1
    }

    fn can_be_opened(&self) -> bool {
        self.ends && self.begins == Some(self.low) && !self.sealed && !self.has_hole()
    }

    /// Moves the pieces into the order of their numbers, if they came in another.
    fn put_in_order(&mut self, scratch: &mut Vec<u8>) {
        if self.pieces.is_sorted_by_key(|piece| piece.index) {
            return;
        }
        self.pieces.sort_unstable_by_key(|piece| piece.index);
        scratch.clear();
        self.pieces.iter().for_each(|piece| scratch.extend_from_slice(&self.bytes[piece.from..piece.to]));
        std::mem::swap(&mut self.bytes, scratch);
    }
}

/// Frames kept for their memory: more are seldom under way at once.
const SPARE: usize = 8;
