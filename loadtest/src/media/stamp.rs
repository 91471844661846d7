//! The last bytes of every frame: who sent it, as the how-manieth of its stream, when, and from what it was made. It
//! stands at the end, where decoders of VP8 and VP9 do not look and Opus has its padding (RFC 6716, section 3.2.5).

use sotto_signaling::message::Stream;

use crate::clock::Moment;

use super::Origin;
use super::content::Content;

/// Bytes of a stamp.
pub const LENGTH: usize = FIELDS + 4;

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Who sent it.
    pub origin: Origin,
    /// On which stream.
    pub stream: Stream,
    /// The simulcast encoding, counted from the smallest.
    pub layer: u8,
    /// Whether it is a key frame.
    pub key: bool,
    /// Counts the frames of a stream that were sent; the same for all encodings of one picture.
    pub sequence: u32,
    /// When it was handed to be sealed and sent.
    pub sent: Moment,
    /// Bytes of the frame, the stamp included.
    pub length: u32,
    /// From what the bytes before it are made.
    pub content: Content,
}

impl Stamp {
    /// Appends it to a frame.
    pub fn write(&self, frame: &mut Vec<u8>) {
        let (kind, content) = self.content.pack();
        let stream = Stream::ALL.iter().position(|&stream| stream == self.stream).expect("ALL has every stream");
        frame.extend_from_slice(&MAGIC);
        frame.push(kind << 4 | stream as u8);
        frame.push(self.layer << 1 | u8::from(self.key));
        frame.extend_from_slice(&self.length.to_be_bytes());
        frame.extend_from_slice(&self.origin.run.to_be_bytes());
        frame.extend_from_slice(&self.origin.call.to_be_bytes());
        frame.extend_from_slice(&self.origin.index.to_be_bytes());
        frame.extend_from_slice(&self.sequence.to_be_bytes());
        frame.extend_from_slice(&self.sent.0.to_be_bytes());
        frame.extend_from_slice(&content.to_be_bytes());
        let fields = frame.last_chunk().expect("they were just appended");
        frame.extend_from_slice(&checksum(fields).to_be_bytes());
    }

    /// Reads the stamp at the end of `frame`; `None` where there is none, or one that is damaged or says another length.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let (bytes, sum): (&[u8; FIELDS], _) = frame.last_chunk::<LENGTH>()?.split_first_chunk()?;
        let length = u32::from_be_bytes(part(bytes, 4));
        if bytes[..2] != MAGIC || length as usize != frame.len() || sum != checksum(bytes).to_be_bytes() {
            return None;
        }
        Some(Self {
            origin: Origin {
                run: u64::from_be_bytes(part(bytes, 8)),
                call: u32::from_be_bytes(part(bytes, 16)),
                index: u32::from_be_bytes(part(bytes, 20)),
            },
            stream: *Stream::ALL.get(usize::from(bytes[2] & 0x0f))?,
            layer: bytes[3] >> 1,
            key: bytes[3] & 1 != 0,
            sequence: u32::from_be_bytes(part(bytes, 24)),
            sent: Moment(u64::from_be_bytes(part(bytes, 28))),
            length,
            content: Content::unpack(bytes[2] >> 4, u64::from_be_bytes(part(bytes, 36)))?,
        })
    }
}

/// Of what nothing else can be compared with: when it was sent, as the how-manieth. Each step is reversible, so that no
/// single change is lost before the end.
fn checksum(fields: &[u8; FIELDS]) -> u32 {
    let (words, rest) = fields.as_chunks();
    let last = rest.first_chunk().map_or(0, |rest| u64::from(u32::from_be_bytes(*rest)));
    let words = words.iter().map(|word| u64::from_be_bytes(*word)).chain([last]);
    let mixed = words.fold(MIXER, |sum, word| (sum ^ word).wrapping_mul(MIXER).rotate_left(29));
    (mixed >> 32) as u32 ^ mixed as u32
}

fn part<const N: usize>(bytes: &[u8; FIELDS], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the offsets above leave room for their fields")
}

/// What a frame of this tester ends with a stamp by: "St".
const MAGIC: [u8; 2] = *b"St";
/// Bytes before the checksum.
const FIELDS: usize = 44;
/// 2^64 divided by the golden ratio, odd.
const MIXER: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::voice::Recipe;
    use crate::plan::{Audio, Signal};

    fn stamp(content: Content) -> Stamp {
        let origin = Origin { run: 0x0102_0304_0506_0708, call: 3, index: 9 };
        let sent = Moment(123_456_789_012);
        Stamp { origin, stream: Stream::Camera, layer: 2, key: true, sequence: 77, sent, length: 54, content }
    }

    #[test]
    fn what_was_written_is_read() {
        let audio = Audio { signal: Signal::Tone, constant: false, bitrate: 24_000, on: true };
        let voice = Content::Voice { recipe: Recipe::new(&audio, 5), frame: 149 };
        let all = [voice, Content::Model { height: 720, offset: 99_999 }, Content::Clip { frame: 12, offset: 5 }];
        for content in all {
            let mut frame = vec![7; 6];
            stamp(content).write(&mut frame);
            assert_eq!(frame.len(), 6 + LENGTH);
            assert_eq!(Stamp::read(&frame), Some(stamp(content)));
        }
    }

    #[test]
    fn a_frame_of_another_length_has_no_stamp() {
        let mut frame = vec![7; 6];
        stamp(Content::Model { height: 720, offset: 0 }).write(&mut frame);
        assert_eq!(Stamp::read(&frame[1..]), None);
        assert_eq!(Stamp::read(&frame[..53]), None);
        assert_eq!(Stamp::read(&[]), None);
    }

    #[test]
    fn a_stamp_with_any_bit_flipped_is_none() {
        let mut frame = vec![7; 6];
        stamp(Content::Clip { frame: 3, offset: 1_000 }).write(&mut frame);
        for bit in 6 * 8..frame.len() * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Stamp::read(&frame), None, "bit {bit}");
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
