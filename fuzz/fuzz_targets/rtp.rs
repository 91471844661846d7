//! RTP header and extensions: what parses adds up, and a header written from what was read reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto::rtp::header::{Header, Packet, header_len};

fuzz_target!(|bytes: &[u8]| {
    let length = header_len(bytes);
    let Ok(packet) = Packet::parse(bytes) else { return };
    assert_eq!(length, Ok(packet.header_len()));
    assert_eq!(packet.header_len() + packet.payload().len() + packet.padding_len(), bytes.len());
    let header = Header {
        marker: packet.marker(),
        payload_type: packet.payload_type(),
        sequence: packet.sequence(),
        timestamp: packet.timestamp(),
        ssrc: packet.ssrc(),
    };
    let mut out = vec![0; 2 * bytes.len() + 16];
    let written = header.write(packet.extensions(), &mut out).expect("two bytes for each that was read are enough");
    let again = Packet::parse(&out[..written]).expect("what is written parses");
    assert!(again.extensions().eq(packet.extensions()));
    assert_eq!(
        (again.sequence(), again.timestamp(), again.ssrc()),
        (packet.sequence(), packet.timestamp(), packet.ssrc())
    );
});
