//! Voices: Opus (RFC 6716) really encoded, once for each and then looped. Room for a stamp is left as padding of a code 3
//! packet (section 3.2.5), so that a browser still hears the voice.

use std::sync::{Mutex, PoisonError};

use opus::{Application, Bitrate, Channels, Encoder};

use crate::plan::{Audio, Signal};

use super::{sound, stamp};

/// Voices that differ in pitch; more participants share them.
pub const VARIANTS: u8 = 16;

/// Opus packets in a second.
pub const PACKETS_PER_SECOND: u32 = 50;

/// Bits per second that a voice can have, stamps included: from the least of Opus to what one packet holds.
pub const BITRATES: std::ops::RangeInclusive<u32> = 27_000..=400_000;

/// All that decides how a voice sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    bitrate: u32,
    constant: bool,
    signal: Signal,
    variant: u8,
}

/// An encoded loop.
pub struct Voice {
    packets: Vec<Vec<u8>>,
}

impl Recipe {
    /// The voice of the `index`th participant. A bitrate outside [`BITRATES`] becomes the nearest within.
    pub fn new(audio: &Audio, index: u32) -> Self {
        let bitrate = audio.bitrate.clamp(*BITRATES.start(), *BITRATES.end());
        let variant = (index % u32::from(VARIANTS)) as u8;
        Self { bitrate, constant: audio.constant, signal: audio.signal, variant }
    }

    /// As a number of 48 bits.
    pub fn pack(self) -> u64 {
        let flags = u64::from(self.constant) << 1 | u64::from(self.signal == Signal::Speech);
        u64::from(self.bitrate) << 16 | u64::from(self.variant) << 8 | flags
    }

    /// Reverses [`Recipe::pack`]; `None` where that cannot have made it.
    pub fn unpack(packed: u64) -> Option<Self> {
        let bitrate = u32::try_from(packed >> 16).ok().filter(|bitrate| BITRATES.contains(bitrate))?;
        let variant = Some((packed >> 8) as u8).filter(|&variant| variant < VARIANTS)?;
        if packed & 0xfc != 0 {
            return None;
        }
        let signal = if packed & 1 == 0 { Signal::Tone } else { Signal::Speech };
        Some(Self { bitrate, constant: packed & 2 != 0, signal, variant })
    }

    /// Bytes of a packet, stamp included: all of them where the rate is constant, on average where not.
    fn packet_bytes(self) -> usize {
        (self.bitrate / PACKETS_PER_SECOND / 8) as usize
    }
}

impl Voice {
    /// The voice of a recipe, encoded when it is first asked for (tens of milliseconds) and then kept. `None` for one too
    /// many, which only frames that are not of this tester ask for, or where Opus fails.
    pub fn of(recipe: Recipe) -> Option<&'static Self> {
        static VOICES: Mutex<Vec<(Recipe, &'static Voice)>> = Mutex::new(Vec::new());
        let mut voices = VOICES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, voice)) = voices.iter().find(|(other, _)| *other == recipe) {
            return Some(voice);
        }
        if voices.len() == MOST {
            return None;
        }
        let voice: &'static Voice = Box::leak(Box::new(Self::encode(recipe).ok()?));
        voices.push((recipe, voice));
        Some(voice)
    }

    /// Encodes the voices of calls of so many before anyone needs one: done while media flows, it would hold it up.
    pub fn prepare(audio: &Audio, participants: usize) {
        for index in 0..participants.min(usize::from(VARIANTS)) {
            Self::of(Recipe::new(audio, index as u32));
        }
    }

    /// Packets of the loop.
    pub fn packets(&self) -> u16 {
        self.packets.len() as u16
    }

    /// A packet to which only its stamp has to be appended.
    pub fn packet(&self, frame: u16) -> Option<&[u8]> {
        self.packets.get(usize::from(frame)).map(Vec::as_slice)
    }

    fn encode(recipe: Recipe) -> Result<Self, opus::Error> {
        let room = recipe.packet_bytes() - AROUND;
        let mut encoder = Encoder::new(sound::RATE, Channels::Mono, Application::Voip)?;
        encoder.set_bitrate(Bitrate::Bits(room as i32 * 8 * PACKETS_PER_SECOND as i32))?;
        encoder.set_vbr(!recipe.constant)?;
        encoder.set_complexity(COMPLEXITY)?;
        let samples = sound::samples(recipe.signal, recipe.variant);
        let frames = samples.chunks_exact((sound::RATE / PACKETS_PER_SECOND) as usize);
        let mut packets = Vec::with_capacity(frames.len());
        // Twice, and the second time counts: the end of the loop has then gone before its beginning, as it will.
        for (n, frame) in frames.clone().chain(frames.clone()).enumerate() {
            let mut packet = encoder.encode_vec_float(frame, LARGEST)?;
            let length = opus::packet::unpad(&mut packet)?;
            if n >= frames.len() {
                let total = if recipe.constant { recipe.packet_bytes() } else { length + AROUND };
                packets.push(with_room(&packet[..length], total));
            }
        }
        Ok(Self { packets })
    }
}

/// Turns an unpadded packet of one frame into one of `total` bytes, the last of which are left to a stamp.
fn with_room(packet: &[u8], total: usize) -> Vec<u8> {
    let [toc, frame @ ..] = packet else { return Vec::new() };
    // Each byte of 255 stands for 254 bytes of padding and says that another length follows.
    let behind = total - 2 - frame.len();
    let lengths = (1..).find(|lengths| behind - lengths <= 254 * lengths).expect("more lengths hold more");
    let padding = behind - lengths;
    let mut whole = Vec::with_capacity(total);
    whole.extend([toc | CODE_3, PADDED | 1]);
    whole.extend(std::iter::repeat_n(255, lengths - 1));
    whole.push((padding - 254 * (lengths - 1)) as u8);
    whole.extend_from_slice(frame);
    whole.push(NO_EXTENSIONS);
    whole.resize(total - stamp::LENGTH, 0);
    whole
}

/// RFC 6716, section 3.2.5: the last bits of the first byte, and the bit that announces padding in the second.
const CODE_3: u8 = 3;
const PADDED: u8 = 0x40;
/// Newer decoders look for extensions in the padding; number 0 with this flag says that there are none to its end.
const NO_EXTENSIONS: u8 = 1;
/// What stands around an Opus packet of code 0: frame count, length of the padding, the byte above, and the stamp.
const AROUND: usize = 3 + stamp::LENGTH;
/// An Opus frame has no more (RFC 6716, section 3.2.1), and its first byte.
const LARGEST: usize = 1_276;
/// Half of what Opus can do: a voice is made in tens of milliseconds, and none of it matters to what is measured.
const COMPLEXITY: i32 = 5;
/// A run has as many voices as variants; several runs in one process, as tests are, a few times that.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use opus::Decoder;

    use super::*;
    use crate::clock::Moment;
    use crate::media::{Origin, Outgoing};

    /// What a player hears of a voice's first packets, stamps and all, and how long those are.
    fn heard(audio: &Audio, index: u32, packets: usize) -> (Vec<f32>, Vec<usize>) {
        let origin = Origin { run: u64::MAX, call: u32::MAX, index };
        let mut outgoing = Outgoing::voice(audio, origin, 1, Moment(0));
        let mut decoder = Decoder::new(sound::RATE, Channels::Mono).unwrap();
        let (mut samples, mut lengths) = (Vec::new(), Vec::new());
        while lengths.len() < packets {
            let due = outgoing.next_due();
            let mut seal = |frame: &[u8], _: &mut Vec<u8>| {
                let mut pcm = [0.0; 5_760];
                let count = decoder.decode_float(frame, &mut pcm, false).expect("Opus with a stamp is Opus");
                assert_eq!(count, 960, "20 ms");
                samples.extend_from_slice(&pcm[..count]);
                lengths.push(frame.len());
                true
            };
            outgoing.produce(due, &mut seal, &mut |_, _| {});
        }
        (samples, lengths)
    }

    /// How much of one frequency there is, of full scale.
    fn strength(samples: &[f32], hz: f64) -> f64 {
        let angle = |n: usize| std::f64::consts::TAU * hz * n as f64 / f64::from(sound::RATE);
        let sum = |part: fn(f64) -> f64| {
            samples.iter().enumerate().map(|(n, &sample)| f64::from(sample) * part(angle(n))).sum::<f64>()
        };
        2.0 * sum(f64::cos).hypot(sum(f64::sin)) / samples.len() as f64
    }

    #[test]
    fn a_tone_is_heard_behind_the_stamps_also_over_the_seam_of_the_loop() {
        for (constant, bitrate, index) in
            [(true, 32_000, 0), (false, 32_000, 7), (true, 27_000, 3), (true, 128_000, 31)]
        {
            let audio = Audio { on: true, bitrate, constant, signal: Signal::Tone };
            let (samples, _) = heard(&audio, index, 200);
            let pitch = sound::pitch(Signal::Tone, (index % u32::from(VARIANTS)) as u8);
            // The loop has 150 packets; the first are heard before the decoder has settled.
            for part in samples[48_000..].chunks_exact(16_000) {
                let (tone, octave) = (strength(part, pitch), strength(part, pitch * 2.0));
                assert!(tone > 0.15 && tone < 0.35, "{bitrate}, {constant}: a tone of {tone}");
                assert!(octave < tone / 10.0, "{bitrate}, {constant}: an octave of {octave}");
            }
        }
    }

    #[test]
    fn a_constant_rate_is_one_length_and_a_variable_one_is_not() {
        for (bitrate, length) in [(32_000, 80), (48_000, 120), (128_000, 320), (400_000, 1_000)] {
            let constant = Audio { on: true, bitrate, constant: true, signal: Signal::Speech };
            let (_, lengths) = heard(&constant, 2, 150);
            assert!(lengths.iter().all(|&found| found == length), "{bitrate}: {lengths:?}");
        }
        let variable = Audio { on: true, bitrate: 32_000, constant: false, signal: Signal::Speech };
        let (_, lengths) = heard(&variable, 2, 150);
        let (least, most) = (lengths.iter().min(), lengths.iter().max());
        assert!(least < most, "{lengths:?}");
    }

    #[test]
    fn padding_of_any_length_is_what_the_standard_says() {
        // An empty frame of 20 ms and code 0, as a decoder takes it for lost sound.
        for total in (AROUND + 1..AROUND + 1_000).chain([1_275]) {
            let mut packet = with_room(&[0x78], total);
            packet.resize(packet.len() + stamp::LENGTH, 0xff);
            assert_eq!(packet.len(), total);
            let parsed = opus::packet::parse(&packet).expect("a packet");
            assert_eq!((parsed.frames.len(), parsed.frames[0].len()), (1, 0), "{total} bytes");
        }
    }

    #[test]
    fn what_no_recipe_packs_to_is_none() {
        let recipe = Recipe::new(&Audio::default(), 15);
        assert_eq!(Recipe::unpack(recipe.pack()), Some(recipe));
        let limits = [1, 1_000_000].map(|bitrate| Recipe::new(&Audio { bitrate, ..Audio::default() }, 0).bitrate);
        assert_eq!(limits, [*BITRATES.start(), *BITRATES.end()]);
        for packed in [0, recipe.pack() | 4, recipe.pack() | 16 << 8, recipe.pack() | 1 << 47] {
            assert_eq!(Recipe::unpack(packed), None, "{packed:x}");
        }
    }
}
