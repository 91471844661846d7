//! What reading one packet and writing the header for one receiver cost.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sotto::rtp::header::{Header, MAX_HEADER_LEN, Packet};
use sotto::rtp::rtcp::transport_feedback::{FeedbackHead, write_transport_feedback};
use sotto::rtp::vp8::Descriptor;
use sotto::session::Ssrc;

const HEADER: Header = Header { marker: true, payload_type: 96, sequence: 9, timestamp: 8, ssrc: Ssrc(7) };

fn packet() -> Vec<u8> {
    let mut bytes = vec![0; 1_200];
    let len = HEADER.write([(1, &b"0"[..]), (3, &[1, 2]), (4, &[0])], &mut bytes).expect("1,200 bytes are enough");
    bytes[len..len + 7].copy_from_slice(&[0x90, 0xe0, 0x92, 0x34, 9, 0x40, 0x01]);
    bytes
}

fn read(criterion: &mut Criterion) {
    let bytes = packet();
    criterion.bench_function("parse_packet", |bencher| {
        bencher.iter(|| Packet::parse(black_box(&bytes)).expect("well-formed").payload().len());
    });
    let packet = Packet::parse(&bytes).expect("well-formed");
    criterion.bench_function("find_extension", |bencher| bencher.iter(|| black_box(&packet).extension(3)));
    criterion.bench_function("parse_vp8", |bencher| bencher.iter(|| Descriptor::parse(black_box(packet.payload()))));
}

fn write(criterion: &mut Criterion) {
    let mut out = [0; MAX_HEADER_LEN];
    criterion.bench_function("write_header", |bencher| {
        bencher.iter(|| black_box(HEADER).write([(1, &b"0"[..]), (3, &[1, 2]), (4, &[0])], &mut out));
    });
    let bytes = packet();
    let payload = Packet::parse(&bytes).expect("well-formed").payload();
    let descriptor = Descriptor::parse(payload).expect("well-formed");
    criterion.bench_function("patch_vp8", |bencher| bencher.iter(|| black_box(&descriptor).patch(payload, 5, 6)));
    let arrivals: Vec<(u64, u64)> = (0..100).map(|n| (n + n / 20, n * 700)).collect();
    let head = FeedbackHead { sender: Ssrc(1), media: Ssrc(2), feedback_count: 0, base_sequence: 0 };
    let mut feedback = Vec::new();
    criterion.bench_function("write_transport_feedback_100", |bencher| {
        bencher.iter(|| {
            feedback.clear();
            write_transport_feedback(&head, black_box(&arrivals), &mut feedback)
        });
    });
}

criterion_group!(benches, read, write);
criterion_main!(benches);
