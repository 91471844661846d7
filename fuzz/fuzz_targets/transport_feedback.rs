//! Transport-wide feedback: what is read lies within what was announced, and feedback written on it reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto::rtp::rtcp::transport_feedback::{FeedbackHead, write_transport_feedback};
use sotto::rtp::rtcp::{Compound, Packet};

fuzz_target!(|body: &[u8]| {
    let words = body.len() / 4;
    let mut bytes = vec![0x8f, 205, (words >> 8) as u8, words as u8];
    bytes.extend_from_slice(&body[..4 * words]);
    let Ok(mut compound) = Compound::parse(&bytes) else { return };
    let Some(Ok(Packet::TransportFeedback(read))) = compound.next() else { return };
    let base = 1 << 16 | u64::from(read.base_sequence);
    let mut arrivals: Vec<(u64, u64)> = Vec::new();
    for arrival in read.arrivals() {
        let ahead = arrival.sequence.wrapping_sub(read.base_sequence);
        assert!(ahead < read.status_count);
        let micros = (arrival.ticks + (1 << 33)) * 250;
        arrivals.push((base + u64::from(ahead), micros as u64));
    }
    let head = FeedbackHead { sender: read.sender, media: read.media, feedback_count: 0, base_sequence: base };
    let mut out = Vec::new();
    let reported = write_transport_feedback(&head, &arrivals, &mut out);
    assert_eq!(reported == 0, arrivals.is_empty());
    if reported == 0 {
        return;
    }
    let Some(Ok(Packet::TransportFeedback(again))) = Compound::parse(&out).expect("short").next() else {
        panic!("what is written parses")
    };
    assert_eq!(again.arrivals().count(), reported);
    for (again, read) in again.arrivals().zip(read.arrivals()) {
        assert_eq!(again.sequence, read.sequence);
        assert_eq!((again.ticks - read.ticks) & 0xffff_ffff, 0);
    }
});
