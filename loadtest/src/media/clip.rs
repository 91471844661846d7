//! The clip: three seconds of VP8 that a browser decodes, in an IVF file beside the sources.

use std::sync::OnceLock;

/// One encoded picture.
pub struct ClipFrame {
    /// As the encoder wrote it.
    pub bytes: &'static [u8],
    /// Whether it decodes on its own.
    pub key: bool,
}

/// How many pictures there are.
pub fn frames() -> u16 {
    all().len() as u16
}

/// A picture by its place.
pub fn frame(place: u16) -> Option<&'static ClipFrame> {
    all().get(usize::from(place))
}

/// The next place, from this one on and then from the beginning, that holds a key frame.
pub fn key_from(place: u16) -> u16 {
    let count = frames();
    let places = (0..count).map(|step| (place % count + step) % count);
    places
        .into_iter()
        .find(|&place| frame(place).is_some_and(|frame| frame.key))
        .expect("the clip begins with a key frame")
}

fn all() -> &'static [ClipFrame] {
    static FRAMES: OnceLock<Vec<ClipFrame>> = OnceLock::new();
    FRAMES.get_or_init(|| parse(FILE).expect("the committed clip is an IVF file of VP8"))
}

/// IVF: a header that says its own length, then frames, each behind its length and time, little-endian.
fn parse(file: &'static [u8]) -> Option<Vec<ClipFrame>> {
    if !file.starts_with(b"DKIF") || file.get(8..12)? != b"VP80" {
        return None;
    }
    let mut rest = file.get(usize::from(u16::from_le_bytes(*file.get(6..)?.first_chunk()?))..)?;
    let mut frames = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (bytes, next) = behind.get(8..)?.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        frames.push(ClipFrame { bytes, key: bytes.first()? & 1 == 0 });
        rest = next;
    }
    frames.first().is_some_and(|first| first.key).then_some(frames)
}

/// Made by ffmpeg; media/README.md says how.
const FILE: &[u8] = include_bytes!("../../media/clip.ivf");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clip_has_a_key_frame_twice_a_second() {
        assert_eq!(frames(), 90);
        let keys: Vec<_> = (0..frames()).filter(|&place| frame(place).unwrap().key).collect();
        assert_eq!(keys, [0, 15, 30, 45, 60, 75]);
        assert_eq!((key_from(0), key_from(1), key_from(75), key_from(76), key_from(900)), (0, 15, 75, 0, 0));
    }

    #[test]
    fn what_is_cut_off_is_no_clip() {
        assert!(parse(&FILE[..FILE.len() - 1]).is_none());
        assert!(parse(&FILE[..32]).is_none());
        assert!(parse(b"RIFF").is_none());
    }
}
