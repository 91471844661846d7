//! RTP and RTCP as bytes: borrowed views that either hold or are a typed error, and writers into the caller's memory.
//! Nothing here keeps state of a stream, knows a key or allocates per packet.

pub mod extension;
pub mod header;
pub mod rtcp;
pub mod sequence;
pub mod vp8;
pub mod vp9;

use arrayvec::ArrayVec;

/// The leading bytes of a payload with fields replaced, to be sent instead of the same number of bytes of the shared
/// payload. Six bytes hold the longest run up to TL0PICIDX and TID in both VP8 and VP9.
pub type Prefix = ArrayVec<u8, 6>;

/// A picture identifier as it stood on the wire: VP8 and VP9 both have a 7-bit and a 15-bit form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureId {
    /// Its value, below 128 or below 32,768.
    pub value: u16,
    /// Whether it is the 15-bit form.
    pub wide: bool,
}

/// A payload descriptor that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload ends within its descriptor")]
pub struct TruncatedDescriptor;

impl PictureId {
    /// Reads either form from the front of `bytes`.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let &first = bytes.first()?;
        if first & WIDE == 0 {
            return Some(Self { value: first.into(), wide: false });
        }
        let &second = bytes.get(1)?;
        Some(Self { value: u16::from_be_bytes([first & !WIDE, second]), wide: true })
    }

    /// Bytes on the wire.
    const fn len(self) -> usize {
        if self.wide { 2 } else { 1 }
    }

    /// Overwrites the front of `bytes` with the low bits of `value`, in the form that stands there.
    fn patch(self, bytes: &mut [u8], value: u16) {
        if self.wide {
            let [high, low] = (value & 0x7fff).to_be_bytes();
            bytes[0] = WIDE | high;
            bytes[1] = low;
        } else {
            bytes[0] = (value & 0x7f) as u8;
        }
    }
}

/// The M bit: one more byte of picture identifier follows.
const WIDE: u8 = 0x80;

#[cfg(test)]
mod golden;
