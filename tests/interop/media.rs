//! A voice and a picture whose every packet can be told apart, as opaque to the relay as encrypted ones.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rtc::rtp::header::Header;
use rtc::rtp::packet::Packet;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

pub const VOICE_SSRC: u32 = 0x00de_cafe;
pub const PICTURE_SSRC: u32 = 0x00c0_ffee;
/// 20 ms at 48 kHz.
pub const VOICE_STEP: u32 = 960;
/// A frame of the picture every 33 ms; each 15th is a key frame, for nobody answers requests for one here.
const FRAMES: u64 = 110;
const KEY_EVERY: u64 = 15;
const PACKETS_PER_FRAME: u64 = 4;
const PICTURE_BYTES: usize = 900;
const VOICE_BYTES: usize = 120;
/// 1 byte of flags, 1 of extension flags, 2 of picture id (RFC 7741).
const DESCRIPTOR: usize = 4;

/// What the receiver noted of one packet.
#[derive(Clone, Debug)]
pub struct Heard {
    pub count: u64,
    pub sequence: u16,
    pub timestamp: u32,
    pub intact: bool,
    pub key_frame: bool,
    pub picture_id: u16,
    pub frame: u64,
}

pub struct Tracks {
    pub voice: Arc<TrackLocalStaticRTP>,
    pub picture: Arc<TrackLocalStaticRTP>,
}

/// The last packet's count of each.
pub struct Sent {
    pub voice: u64,
    pub picture: u64,
}

/// Sends for a few seconds in real time. Does `before_the_last` before the last frame, which nothing follows that would
/// show a receiver what it misses of it.
pub async fn send(Tracks { voice, picture }: Tracks, before_the_last: impl FnOnce()) -> Sent {
    let mut ticks = tokio::time::interval(Duration::from_millis(33));
    let (mut voices, mut pictures) = (0, 0);
    let mut before_the_last = Some(before_the_last);
    for frame in 0..FRAMES {
        ticks.tick().await;
        if frame == FRAMES - 1
            && let Some(act) = before_the_last.take()
        {
            act();
        }
        for part in 0..PACKETS_PER_FRAME {
            let _ = picture.write_rtp(picture_packet(frame, part, pictures)).await;
            pictures += 1;
        }
        for _ in 0..=frame % 2 {
            let _ = voice.write_rtp(voice_packet(voices)).await;
            voices += 1;
        }
    }
    Sent { voice: voices - 1, picture: pictures - 1 }
}

pub fn hear_voice(packet: &Packet) -> Heard {
    let (count, intact) = read(&packet.payload, VOICE_BYTES);
    heard(packet, count, intact)
}

pub fn hear_picture(packet: &Packet) -> Heard {
    let payload = &packet.payload;
    let (count, intact) = payload.get(DESCRIPTOR + 1..).map_or((0, false), |rest| read(rest, PICTURE_BYTES));
    Heard {
        key_frame: payload[0] & 0x10 != 0 && payload[DESCRIPTOR] & 1 == 0,
        picture_id: u16::from_be_bytes([payload[2], payload[3]]) & 0x7fff,
        frame: count / PACKETS_PER_FRAME,
        ..heard(packet, count, intact)
    }
}

fn heard(packet: &Packet, count: u64, intact: bool) -> Heard {
    let Header { sequence_number: sequence, timestamp, .. } = packet.header;
    Heard { count, sequence, timestamp, intact, key_frame: false, picture_id: 0, frame: 0 }
}

fn voice_packet(count: u64) -> Packet {
    let header = Header {
        version: 2,
        payload_type: 111,
        sequence_number: (count as u16).wrapping_add(65_500), // wraps on the way
        timestamp: (count as u32).wrapping_mul(VOICE_STEP),
        ssrc: VOICE_SSRC,
        ..Default::default()
    };
    Packet { header, payload: Bytes::from(opaque(count, VOICE_BYTES)) }
}

fn picture_packet(frame: u64, part: u64, count: u64) -> Packet {
    let header = Header {
        version: 2,
        payload_type: 96,
        sequence_number: (count as u16).wrapping_add(65_400),
        timestamp: (frame as u32).wrapping_mul(3000),
        ssrc: PICTURE_SSRC,
        marker: part == PACKETS_PER_FRAME - 1,
        ..Default::default()
    };
    let picture_id = ((frame + 0x7fe0) as u16 & 0x7fff) | 0x8000;
    let start = if part == 0 { 0x10 } else { 0 };
    let mut payload = vec![0x80 | start, 0x80];
    payload.extend_from_slice(&picture_id.to_be_bytes());
    payload.push(u8::from(!frame.is_multiple_of(KEY_EVERY))); // VP8's own first bit: 0 is a key frame
    payload.extend_from_slice(&opaque(count, PICTURE_BYTES));
    Packet { header, payload: Bytes::from(payload) }
}

/// Bytes that follow from their number alone: as good as random to whoever looks, and checkable.
fn opaque(count: u64, length: usize) -> Vec<u8> {
    let mut state = count.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    count.to_be_bytes().into_iter().chain(noise).take(length).collect()
}

fn read(payload: &[u8], length: usize) -> (u64, bool) {
    let Some(count) = payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)) else { return (0, false) };
    (count, payload == opaque(count, length))
}
