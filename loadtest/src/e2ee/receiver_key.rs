//! The keys of one other sender: generations that it sent us, steps that its frames show, and what was seen under each.

use zeroize::Zeroizing;

use super::derive::Secret;
use super::frame::Metadata;
use super::sender_key::{LAST_STEP, key_id, ratchet};
use super::sframe::{Header, ReplayWindow, SframeKey};

/// A frame that authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Of the key that it was under.
    pub generation: u32,
    /// Of the same.
    pub step: u8,
    /// Its place under that key.
    pub counter: u64,
}

/// Why a frame was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// Too short, or without a header that can be read.
    #[error("malformed")]
    Malformed,
    /// Its sender is not on the roster.
    #[error("sender not on the roster")]
    Unknown,
    /// It belongs to another stream than the slot's.
    #[error("of another stream")]
    Stream,
    /// Under a key that we were not sent, or erased.
    #[error("no key")]
    Key,
    /// It came before, or is too old to tell.
    #[error("replayed")]
    Replay,
    /// It does not authenticate.
    #[error("forged")]
    Forged,
}

impl Refusal {
    /// In one word, as counters have it.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed",
            Refusal::Unknown => "unknown",
            Refusal::Stream => "stream",
            Refusal::Key => "no-key",
            Refusal::Replay => "replay",
            Refusal::Forged => "forged",
        }
    }
}

/// What an authenticated frame was the first to show; what came before is erased a while later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// A step of its generation.
    pub step: bool,
    /// A generation.
    pub generation: bool,
}

/// What one sender's frames are opened with.
pub struct ReceiverKeys {
    metadata: Metadata,
    generations: Vec<Generation>,
    /// The highest generation that an authenticated frame showed.
    in_use: Option<u32>,
    /// Generations below were erased.
    floor: u32,
}

struct Generation {
    number: u32,
    /// The lowest step that we hold.
    first: u8,
    /// The highest step that an authenticated frame showed.
    shown: Option<u8>,
    /// By step; those below the first are wiped, those above are made when wanted.
    bases: [Option<Secret<32>>; LAST_STEP as usize + 1],
    streams: Vec<Entry>,
}

struct Entry {
    step: u8,
    stream: u8,
    key: SframeKey,
    window: ReplayWindow,
}

impl ReceiverKeys {
    /// Of the sender that `metadata` belongs to.
    pub fn new(metadata: Metadata) -> Self {
        Self { metadata, generations: Vec::new(), in_use: None, floor: 0 }
    }

    /// Whether there is nothing to open frames with.
    pub fn is_empty(&self) -> bool {
        self.generations.is_empty()
    }

    /// Takes a base key that the sender sent us; false where it is older than what we have, or would change what is
    /// known. `step` is at most [`LAST_STEP`].
    pub fn learn(&mut self, generation: u32, step: u8, base: Secret<32>) -> bool {
        let newest = self.generations.iter().map(|known| known.number).max();
        if newest.is_some_and(|newest| generation < newest) || generation < self.floor {
            return false;
        }
        if let Some(known) = self.generations.iter_mut().find(|known| known.number == generation) {
            return step >= known.first && known.base(step) == &base;
        }
        self.generations.push(Generation::new(generation, step, base));
        self.trim();
        true
    }

    /// Opens a frame of which the first `clear` bytes are clear: `out` becomes those and the plaintext. `stream` is the
    /// one that it must belong to. Nothing but an authenticated frame moves anything on.
    ///
    /// # Errors
    /// Where it must not be rendered; `out` is then of no meaning.
    pub fn open(
        &mut self,
        stream: u8,
        frame: &[u8],
        clear: usize,
        out: &mut Vec<u8>,
    ) -> Result<(Opened, Shown), Refusal> {
        let (clear, rest) = frame.split_at_checked(clear).ok_or(Refusal::Malformed)?;
        let (header, length) = Header::decode(rest).ok_or(Refusal::Malformed)?;
        let number = u32::try_from(header.kid >> 16).map_err(|_| Refusal::Malformed)?;
        let [.., step, named] = header.kid.to_be_bytes();
        if named != stream {
            return Err(Refusal::Stream);
        }
        let generation = self.generations.iter_mut().find(|held| held.number == number).ok_or(Refusal::Key)?;
        if step < generation.first || step > LAST_STEP {
            return Err(Refusal::Key);
        }
        let entry = generation.entry(step, stream);
        if !entry.window.is_fresh(header.counter) {
            return Err(Refusal::Replay);
        }
        out.clear();
        out.extend_from_slice(clear);
        let (encoded, sealed) = rest.split_at(length);
        if !entry.key.open(encoded, header.counter, &self.metadata, sealed, out) {
            return Err(Refusal::Forged);
        }
        entry.window.accept(header.counter);
        let mut shown = Shown::default();
        if generation.shown.is_none_or(|highest| step > highest) {
            generation.shown = Some(step);
            shown.step = step > generation.first;
        }
        if self.in_use.is_none_or(|highest| number > highest) {
            self.in_use = Some(number);
            shown.generation = true;
        }
        Ok((Opened { generation: number, step, counter: header.counter }, shown))
    }

    /// Forgets the steps of a generation below one that was shown.
    pub fn forget_steps(&mut self, generation: u32, before: u8) {
        if let Some(known) = self.generations.iter_mut().find(|known| known.number == generation) {
            known.forget(before);
        }
    }

    /// Forgets the generations below one that was shown.
    pub fn forget_generations(&mut self, before: u32) {
        self.floor = self.floor.max(before);
        self.generations.retain(|generation| generation.number >= before);
    }

    /// Keeps the generation in use and the newest others, however many a sender prepares.
    fn trim(&mut self) {
        let in_use = self.in_use;
        let mut others: Vec<u32> = self.generations.iter().map(|generation| generation.number).collect();
        others.retain(|&number| Some(number) != in_use);
        others.sort_unstable_by(|a, b| b.cmp(a));
        let dropped = others.split_off(others.len().min(MAX_PENDING));
        self.generations.retain(|generation| !dropped.contains(&generation.number));
    }
}

impl Generation {
    fn new(number: u32, step: u8, base: Secret<32>) -> Self {
        let mut bases: [Option<Secret<32>>; LAST_STEP as usize + 1] = Default::default();
        bases[usize::from(step)] = Some(base);
        Self { number, first: step, shown: None, bases, streams: Vec::new() }
    }

    /// The base key of a step that is not below the first.
    fn base(&mut self, step: u8) -> &Secret<32> {
        let step = usize::from(step);
        let held = (0..=step).rfind(|&at| self.bases[at].is_some()).expect("the first step's is held");
        for at in held..step {
            let next = self.bases[at].as_ref().map(ratchet);
            self.bases[at + 1] = next;
        }
        self.bases[step].as_ref().expect("it was made above")
    }

    fn entry(&mut self, step: u8, stream: u8) -> &mut Entry {
        let place = self.streams.iter().position(|entry| entry.step == step && entry.stream == stream);
        let at = place.unwrap_or_else(|| {
            let kid = key_id(self.number, step, stream);
            let key = SframeKey::derive(self.base(step).as_slice(), kid);
            self.streams.push(Entry { step, stream, key, window: ReplayWindow::default() });
            self.streams.len() - 1
        });
        &mut self.streams[at]
    }

    fn forget(&mut self, before: u8) {
        if before <= self.first {
            return;
        }
        self.base(before); // made from those that are wiped now
        self.first = before;
        for base in &mut self.bases[..usize::from(before)] {
            *base = None;
        }
        self.streams.retain(|entry| entry.step >= before);
    }
}

/// A copy of a base key out of a message.
pub fn base_key(bytes: &[u8]) -> Option<Secret<32>> {
    let bytes: [u8; 32] = bytes.try_into().ok()?;
    Some(Zeroizing::new(bytes))
}

/// Generations that a sender may prepare ahead: it discards one for each departure within two seconds.
const MAX_PENDING: usize = 3;
