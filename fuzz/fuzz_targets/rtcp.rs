//! RTCP compounds: iteration ends, and no count makes it longer than the bytes allow.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto::rtp::rtcp::{Compound, MAX_COMPOUND_LEN, Packet};

fuzz_target!(|bytes: &[u8]| {
    let Ok(compound) = Compound::parse(bytes) else {
        assert!(bytes.len() > MAX_COMPOUND_LEN);
        return;
    };
    let mut packets = 0;
    for packet in compound {
        packets += 1;
        let parts = match packet {
            Ok(Packet::SenderReport(report)) => report.blocks.count(),
            Ok(Packet::ReceiverReport(report)) => report.blocks.count(),
            Ok(Packet::Goodbye(goodbye)) => goodbye.ssrcs().count(),
            Ok(Packet::Nack(nack)) => nack.sequences().count() / 17,
            Ok(Packet::FullIntraRequest(request)) => request.entries().count(),
            Ok(Packet::TransportFeedback(feedback)) => feedback.arrivals().count() / 4,
            Ok(Packet::PictureLoss(_) | Packet::Other) | Err(_) => 0,
        };
        assert!(parts <= bytes.len() / 4);
    }
    assert!(packets <= bytes.len() / 4 + 1);
});
