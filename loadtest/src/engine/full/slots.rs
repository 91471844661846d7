//! What the streams of a connection's SSRCs are: ours by choice, the relay's as its answer says (RFC 5576, RFC 4588).

use std::collections::HashMap;

use sotto_signaling::message::Stream;

use crate::engine::Codec;

/// What is received on an SSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Packets for this slot.
    Media {
        /// Place of the slot.
        slot: usize,
    },
    /// Retransmissions of packets with that SSRC (RFC 4588).
    Repair {
        /// Place of the slot.
        slot: usize,
        /// SSRC of the originals.
        of: u32,
    },
}

/// What is sent on an SSRC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which stream.
    pub stream: Stream,
    /// Which encoding of it; absent where there is one.
    pub layer: Option<usize>,
    /// The m-line, once it has been offered.
    pub mid: String,
    /// Its name among the encodings; empty where there is one.
    pub rid: &'static str,
    /// Whether retransmissions are sent on it.
    pub repair: bool,
}

/// All SSRCs of a connection.
#[derive(Default)]
pub struct Streams {
    received: HashMap<u32, Source>,
    sent: HashMap<u32, Target>,
}

impl Streams {
    /// Notes which SSRCs the relay sends on in the slots with these MIDs, in order.
    pub fn read_answer(&mut self, answer: &str, slots: &[String]) {
        for section in answer.split("\r\nm=").skip(1) {
            let Some(slot) = value(section, "mid:").and_then(|mid| slots.iter().position(|known| known == mid)) else {
                continue;
            };
            let mut announced = numbers(section, "ssrc-group:FID ");
            if announced.is_empty() {
                announced = numbers(section, "ssrc:");
                announced.truncate(1);
            }
            if let [media, repair @ ..] = &announced[..] {
                self.received.insert(*media, Source::Media { slot });
                repair.iter().for_each(|&ssrc| {
                    self.received.insert(ssrc, Source::Repair { slot, of: *media });
                });
            }
        }
    }

    /// What comes on an SSRC.
    pub fn source(&self, ssrc: u32) -> Option<Source> {
        self.received.get(&ssrc).copied()
    }

    /// The SSRC of a slot's media.
    pub fn ssrc_of(&self, wanted: usize) -> Option<u32> {
        self.received.iter().find(|(_, source)| **source == Source::Media { slot: wanted }).map(|(&ssrc, _)| ssrc)
    }

    /// Notes what is sent on an SSRC.
    pub fn send(&mut self, ssrc: u32, target: Target) {
        self.sent.insert(ssrc, target);
    }

    /// Notes the m-line of a stream.
    pub fn set_mid(&mut self, stream: Stream, mid: &str) {
        for target in self.sent.values_mut().filter(|target| target.stream == stream) {
            target.mid = mid.to_owned();
        }
    }

    /// What goes on an SSRC.
    pub fn target(&self, ssrc: u32) -> Option<&Target> {
        self.sent.get(&ssrc)
    }
}

/// What a payload type stands for in our offers, and so in the answers to them.
pub fn codec_of(payload_type: u8) -> Option<Codec> {
    match payload_type {
        OPUS => Some(Codec::Opus),
        VP8 | VP8_RTX => Some(Codec::Vp8),
        VP9 | VP9_RTX => Some(Codec::Vp9),
        _ => None,
    }
}

/// The payload type of a codec in our offers.
pub fn payload_type_of(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => OPUS,
        Codec::Vp8 => VP8,
        Codec::Vp9 => VP9,
    }
}

fn value<'a>(section: &'a str, name: &str) -> Option<&'a str> {
    section.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name))
}

/// The leading numbers of the first line with this name.
fn numbers(section: &str, name: &str) -> Vec<u32> {
    let words = value(section, name).unwrap_or_default().split_ascii_whitespace();
    words.map_while(|word| word.parse().ok()).collect()
}

/// Payload types as browsers number them.
pub const OPUS: u8 = 111;
/// See [`OPUS`].
pub const VP8: u8 = 96;
/// Retransmissions of VP8.
pub const VP8_RTX: u8 = 97;
/// See [`OPUS`].
pub const VP9: u8 = 98;
/// Retransmissions of VP9.
pub const VP9_RTX: u8 = 99;

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\ns=-\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=recvonly\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=ssrc:11 cname:x\r\na=ssrc:11 msid:a b\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:2\r\na=ssrc-group:FID 21 22\r\na=ssrc:21 cname:x\r\n\
        a=ssrc:22 cname:x\r\n";

    #[test]
    fn each_ssrc_of_an_answer_belongs_to_its_slot() {
        let mut streams = Streams::default();
        streams.read_answer(ANSWER, &["1".to_owned(), "2".to_owned()]);
        assert_eq!(streams.source(11), Some(Source::Media { slot: 0 }));
        assert_eq!(streams.source(21), Some(Source::Media { slot: 1 }));
        assert_eq!(streams.source(22), Some(Source::Repair { slot: 1, of: 21 }));
        assert_eq!(streams.ssrc_of(1), Some(21));
        assert!(streams.source(12).is_none() && streams.ssrc_of(2).is_none());
    }

    #[test]
    fn an_answer_with_nonsense_for_an_ssrc_is_read_without_it() {
        let mut streams = Streams::default();
        streams
            .read_answer("v=0\r\nm=video 9 X 96\r\na=mid:2\r\na=ssrc-group:FID x\r\na=ssrc:-\r\n", &["2".to_owned()]);
        assert_eq!(streams.ssrc_of(0), None);
    }
}
