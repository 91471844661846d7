//! Our own sender key: base keys by generation and step, and the counters of each stream.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;
use zeroize::Zeroizing;

use super::derive::{SALT, Secret, hkdf};
use super::frame::{Metadata, clear_bytes};
use super::sframe::{Header, SframeKey};
use crate::engine::Codec;

/// A generation has steps 0 to 8: a newcomer costs one key message, and no base key is ratcheted for long.
pub const LAST_STEP: u8 = 8;

/// The identifier of a key: generation (32 bits), step (8), stream (8).
pub fn key_id(generation: u32, step: u8, stream: u8) -> u64 {
    u64::from(generation) << 16 | u64::from(step) << 8 | u64::from(stream)
}

/// The base key of the next step.
pub fn ratchet(base: &Secret<32>) -> Secret<32> {
    hkdf(base.as_slice(), SALT, &[b"ratchet"])
}

/// A base key, and what was derived from it.
pub struct BaseKey {
    /// Counts the keys that share nothing with those before.
    pub generation: u32,
    /// Counts the steps within the generation.
    pub step: u8,
    /// Kept, since newcomers must be sent it.
    pub base: Secret<32>,
    streams: Vec<StreamKey>,
}

struct StreamKey {
    stream: u8,
    kid: u64,
    /// The next.
    counter: u64,
    key: SframeKey,
}

impl BaseKey {
    fn stream(&mut self, stream: u8) -> &mut StreamKey {
        let at = self.streams.iter().position(|entry| entry.stream == stream).unwrap_or_else(|| {
            let kid = key_id(self.generation, self.step, stream);
            let key = SframeKey::derive(self.base.as_slice(), kid);
            self.streams.push(StreamKey { stream, kid, counter: 0, key });
            self.streams.len() - 1
        });
        &mut self.streams[at]
    }
}

impl StreamKey {
    /// Takes a counter for one frame.
    fn take(&mut self) -> (Header, &SframeKey) {
        let header = Header { kid: self.kid, counter: self.counter };
        self.counter += 1;
        (header, &self.key)
    }
}

/// What we encrypt with now, and what comes next.
pub struct SenderKeys {
    metadata: Metadata,
    rng: ChaCha20Rng,
    next_generation: u32,
    current: Option<BaseKey>,
    pending: Option<BaseKey>,
}

impl SenderKeys {
    /// Of the sender that `metadata` belongs to; `rng` gives the base keys.
    pub fn new(metadata: Metadata, rng: ChaCha20Rng) -> Self {
        Self { metadata, rng, next_generation: 0, current: None, pending: None }
    }

    /// The key in use, where there is one.
    pub fn current(&self) -> Option<&BaseKey> {
        self.current.as_ref()
    }

    /// The generation that is to be used next.
    pub fn pending(&self) -> Option<&BaseKey> {
        self.pending.as_ref()
    }

    /// The key in use; the first is made when the first frame or message wants one.
    pub fn ensure(&mut self) -> &BaseKey {
        self.ensured()
    }

    /// Makes the generation that is to be used next.
    pub fn prepare(&mut self) -> &BaseKey {
        let fresh = self.fresh();
        self.pending.insert(fresh)
    }

    /// Forgets the generation that was to be used next.
    pub fn discard(&mut self) {
        self.pending = None;
    }

    /// Uses the prepared generation from now on.
    pub fn switch(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.current = Some(pending);
        }
    }

    /// Takes one step within the generation: whoever has the key can follow, nobody can go back.
    pub fn step(&mut self) -> &BaseKey {
        let before = self.ensured();
        before.base = ratchet(&before.base);
        before.step += 1;
        before.streams.clear();
        before
    }

    /// Starts over with a generation that nobody has, as after a reconnection.
    pub fn restart(&mut self) {
        self.discard();
        if self.current.is_some() {
            self.current = Some(self.fresh());
        }
    }

    /// Forgets everything.
    pub fn erase(&mut self) {
        self.discard();
        self.current = None;
    }

    /// The header of the next frame of a stream, its counter taken.
    pub fn take(&mut self, stream: u8) -> Header {
        let (header, _) = self.entry(stream).take();
        header
    }

    /// Protects a frame: `out` becomes clear bytes, SFrame header, ciphertext, tag. False where it is too short to be
    /// a frame; it must not be sent then.
    pub fn protect(&mut self, stream: u8, codec: Codec, frame: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        let Some(clear) = clear_bytes(codec, frame) else { return false };
        let (clear, plaintext) = frame.split_at(clear);
        out.extend_from_slice(clear);
        let metadata = self.metadata.clone();
        let (header, key) = self.entry(stream).take();
        key.seal(header, &metadata, plaintext, out);
        true
    }

    /// Seals under a header that [`take`](Self::take) gave, since which the key has not changed. Nothing stays clear.
    pub fn seal(&mut self, header: Header, plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plaintext.len() + Header::LONGEST + 16);
        let metadata = self.metadata.clone();
        self.entry(header.kid as u8).key.seal(header, &metadata, plaintext, &mut out);
        out
    }

    /// As if so many frames of that stream had been sent under that key.
    #[cfg(test)]
    pub fn resume(&mut self, (generation, step, base): (u32, u8, Secret<32>), stream: u8, counter: u64) {
        self.current = Some(BaseKey { generation, step, base, streams: Vec::new() });
        self.entry(stream).counter = counter;
    }

    fn ensured(&mut self) -> &mut BaseKey {
        if self.current.is_none() {
            self.current = Some(self.fresh());
        }
        self.current.as_mut().expect("it was made above")
    }

    fn entry(&mut self, stream: u8) -> &mut StreamKey {
        self.ensured().stream(stream)
    }

    fn fresh(&mut self) -> BaseKey {
        let mut base = Zeroizing::new([0; 32]);
        self.rng.fill_bytes(base.as_mut_slice());
        let generation = self.next_generation;
        self.next_generation += 1;
        BaseKey { generation, step: 0, base, streams: Vec::new() }
    }
}
