//! Packets that a browser sent, and what stands in them. Where they come from is written in `golden/*.hex`; the
//! extension ids are those of that page's SDP.

use super::header::Packet;
use super::rtcp::{Compound, Packet as Rtcp};
use super::{PictureId, extension, vp8, vp9};
use crate::session::Ssrc;

const CHROMIUM: &str = include_str!("golden/chromium-156.hex");

const ABS_SEND_TIME: u8 = 2;
const TRANSPORT_CC: u8 = 3;
const MID: u8 = 4;
const RID: u8 = 10;
const REPAIRED_RID: u8 = 11;
const DEPENDENCY_DESCRIPTOR: u8 = 12;

fn packet(name: &str) -> Vec<u8> {
    let line = CHROMIUM.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap();
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn opus_comes_with_one_byte_extensions() {
    let bytes = packet("opus");
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!((packet.marker(), packet.payload_type(), packet.sequence()), (true, 111, 0x158d));
    assert_eq!((packet.timestamp(), packet.ssrc()), (0xdf60_861f, Ssrc(0xdf93_b542)));
    assert_eq!(packet.extension(MID).and_then(extension::identifier), Some("0"));
    assert_eq!(packet.extension(TRANSPORT_CC).and_then(extension::transport_sequence), Some(1));
    assert_eq!(packet.extension(ABS_SEND_TIME), Some(&[0xa7, 0x39, 0xc9][..]));
    assert_eq!((packet.header_len(), packet.payload()[0]), (28, 0x78));
}

#[test]
fn a_vp8_key_frame_comes_with_two_byte_extensions() {
    let bytes = packet("vp8-key-frame-two-byte-extensions");
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!((packet.header_len(), packet.marker()), (96, true));
    assert_eq!(packet.extension(RID).and_then(extension::identifier), Some("l"));
    assert_eq!(packet.extension(DEPENDENCY_DESCRIPTOR).map(<[u8]>::len), Some(23));
    assert_eq!(packet.extensions().count(), 9);
    let descriptor = vp8::Descriptor::parse(packet.payload()).unwrap();
    assert_eq!(descriptor.len, 1);
    assert!(descriptor.begins_frame && descriptor.key_frame && !descriptor.discardable);
    assert_eq!((descriptor.picture_id, descriptor.tl0_index), (None, None));
    // The frame's start code stands where the descriptor ends (RFC 6386, section 9.1).
    assert_eq!(packet.payload()[4..7], [0x9d, 0x01, 0x2a]);
}

#[test]
fn a_vp8_delta_frame_that_none_refers_to_is_known() {
    let bytes = packet("vp8-delta-one-byte-extensions");
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.extension(RID).and_then(extension::identifier), Some("l"));
    let descriptor = vp8::Descriptor::parse(packet.payload()).unwrap();
    assert!(descriptor.begins_frame && !descriptor.key_frame && descriptor.discardable);
}

#[test]
fn a_retransmission_carries_the_original_behind_two_bytes() {
    let (original, again) = (packet("vp8-key-frame-two-byte-extensions"), packet("vp8-rtx-key-frame"));
    let (original, again) = (Packet::parse(&original).unwrap(), Packet::parse(&again).unwrap());
    assert_eq!((again.payload_type(), again.ssrc()), (97, Ssrc(0x04b7_be8e)));
    assert_eq!(again.extension(REPAIRED_RID).and_then(extension::identifier), Some("l"));
    assert_eq!(again.extension(RID), None);
    let (sequence, payload) = again.payload().split_at(2);
    assert_eq!(sequence, original.sequence().to_be_bytes());
    assert_eq!(payload, original.payload());
}

#[test]
fn a_packet_of_padding_alone_has_no_payload() {
    let bytes = packet("vp8-rtx-padding");
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!((packet.payload(), packet.padding_len()), (&[][..], 255));
}

#[test]
fn a_vp9_key_frame_says_how_large_its_layers_are() {
    let bytes = packet("vp9-key-frame-structure");
    let payload = Packet::parse(&bytes).unwrap().payload();
    let descriptor = vp9::Descriptor::parse(payload).unwrap();
    assert_eq!(descriptor.picture_id, Some(PictureId { value: 0x763b, wide: true }));
    assert!(descriptor.key_frame && descriptor.begins_frame && descriptor.ends_frame && descriptor.has_structure);
    assert_eq!((descriptor.len, descriptor.tl0_index), (9, None));
    // Frame marker, profile 0 and the sync code of a key frame.
    assert_eq!(payload[9..13], [0x83, 0x49, 0x83, 0x42]);
}

#[test]
fn a_vp9_delta_frame_names_its_layers_and_its_reference() {
    let bytes = packet("vp9-upper-layer-delta");
    let descriptor = vp9::Descriptor::parse(Packet::parse(&bytes).unwrap().payload()).unwrap();
    let layers = descriptor.layers.unwrap();
    assert_eq!((layers.temporal, layers.spatial, layers.switching_up, layers.inter_layer), (2, 0, true, false));
    assert!(descriptor.inter_predicted && !descriptor.key_frame && descriptor.not_spatial_reference);
    assert_eq!(descriptor.len, 5);
}

#[test]
fn reports_are_read_beside_what_is_not_for_the_relay() {
    let bytes = packet("rtcp-sender-report-cname");
    let packets: Vec<_> = Compound::parse(&bytes).unwrap().map(Result::unwrap).collect();
    let [Rtcp::SenderReport(report), Rtcp::Other] = &packets[..] else { panic!("SR and SDES") };
    assert_eq!((report.sender, report.info.packets, report.info.octets), (Ssrc(0x5cfc_86f8), 33, 8_999));
    assert_eq!((report.info.ntp, report.info.rtp_timestamp), (0xeeac_95ea_4aae_8e1d, 0xde6c_09e6));

    let bytes = packet("rtcp-receiver-report-extended");
    let packets: Vec<_> = Compound::parse(&bytes).unwrap().map(Result::unwrap).collect();
    let [Rtcp::ReceiverReport(report), Rtcp::Other] = &packets[..] else { panic!("RR and XR") };
    let blocks: Vec<_> = report.blocks.map(|block| (block.ssrc.0, block.highest_sequence, block.jitter)).collect();
    assert_eq!(blocks, [(0x04b7_be8e, 0x675e, 0x166), (0x598d_e456, 0x7c84, 0), (0x5cfc_86f8, 0x7bc6, 0x4d)]);
}

#[test]
fn transport_feedback_is_padded_by_three_bytes_and_read() {
    let bytes = packet("rtcp-transport-feedback-padded");
    let packets: Vec<_> = Compound::parse(&bytes).unwrap().map(Result::unwrap).collect();
    let [Rtcp::TransportFeedback(feedback)] = &packets[..] else { panic!("transport feedback") };
    assert_eq!((feedback.base_sequence, feedback.status_count, feedback.reference_time), (1, 19, 0x8310));
    let arrivals: Vec<_> = feedback.arrivals().collect();
    assert_eq!(arrivals.len(), 19);
    assert_eq!((arrivals[0].sequence, arrivals[0].ticks - 0x8310 * 256), (1, 0xf8));
    assert_eq!((arrivals[18].sequence, arrivals[18].ticks - arrivals[0].ticks), (19, 248));
}
