use proptest::prelude::*;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

use super::description::{write_cname, write_goodbye};
use super::feedback::{write_full_intra_request, write_nack, write_picture_loss};
use super::report::{ReportBlock, SenderInfo, write_receiver_report, write_sender_report};
use super::transport_feedback::{Arrival, FeedbackHead, write_transport_feedback};
use super::*;

const SENDER: Ssrc = Ssrc(0x0102_0304);
const MEDIA: Ssrc = Ssrc(0x0506_0708);

fn only(bytes: &[u8]) -> Packet<'_> {
    let mut compound = Compound::parse(bytes).unwrap();
    let packet = compound.next().unwrap().unwrap();
    assert!(compound.next().is_none());
    packet
}

fn errors(bytes: &[u8]) -> Vec<RtcpError> {
    Compound::parse(bytes).unwrap().filter_map(Result::err).collect()
}

fn block(ssrc: u32, lost: i32) -> ReportBlock {
    ReportBlock {
        ssrc: Ssrc(ssrc),
        fraction_lost: 7,
        lost,
        highest_sequence: 0x1_0005,
        jitter: 300,
        last_sr: 0xaabb_ccdd,
        delay_since_last_sr: 65_536,
    }
}

#[test]
fn a_compound_is_read_packet_by_packet() {
    let info = SenderInfo { ntp: 0x1122_3344_5566_7788, rtp_timestamp: 9, packets: 10, octets: 11 };
    let blocks = [block(1, 5), block(2, -1)];
    let mut out = Vec::new();
    write_sender_report(SENDER, &info, &blocks, &mut out);
    write_cname(SENDER, "random-name", &mut out);
    write_picture_loss(SENDER, MEDIA, &mut out);
    write_full_intra_request(SENDER, MEDIA, 3, &mut out);
    write_goodbye(&[SENDER, MEDIA], &mut out);
    let packets: Vec<_> = Compound::parse(&out).unwrap().map(Result::unwrap).collect();
    let [
        Packet::SenderReport(report),
        Packet::Other,
        Packet::PictureLoss(loss),
        Packet::FullIntraRequest(request),
        Packet::Goodbye(goodbye),
    ] = &packets[..]
    else {
        panic!("five packets in their order")
    };
    assert_eq!((report.sender, report.info), (SENDER, info));
    assert_eq!(report.blocks.collect::<Vec<_>>(), blocks);
    assert_eq!(*loss, PictureLoss { sender: SENDER, media: MEDIA });
    assert_eq!(request.entries().collect::<Vec<_>>(), [(MEDIA, 3)]);
    assert_eq!(goodbye.ssrcs().collect::<Vec<_>>(), [SENDER, MEDIA]);
    let theirs = rtc_rtcp::packet::unmarshal(&mut &out[..]).unwrap();
    assert_eq!(theirs.len(), 5);
    let theirs = theirs[0].as_any().downcast_ref::<rtc_rtcp::sender_report::SenderReport>().unwrap();
    assert_eq!((theirs.ntp_time, theirs.rtp_time, theirs.packet_count, theirs.octet_count), (info.ntp, 9, 10, 11));
    assert_eq!(theirs.reports.iter().map(|report| report.ssrc).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn every_cname_length_ends_in_a_zero_and_on_a_word() {
    for len in 0..300 {
        let mut out = Vec::new();
        write_cname(SENDER, &"n".repeat(len), &mut out);
        assert_eq!(out.len() % 4, 0);
        assert_eq!(out.last(), Some(&0));
        assert!(matches!(only(&out), Packet::Other));
        assert_eq!(rtc_rtcp::packet::unmarshal(&mut &out[..]).unwrap().len(), 1, "{len}");
    }
}

#[test]
fn blocks_beyond_the_count_follow_in_another_report() {
    let blocks: Vec<_> = (0..70).map(|ssrc| block(ssrc, 0)).collect();
    let mut out = Vec::new();
    write_receiver_report(SENDER, &blocks, &mut out);
    let mut rest = &out[..];
    let mut read = Vec::new();
    while !rest.is_empty() {
        let len = 4 * (usize::from(u16::from_be_bytes([rest[2], rest[3]])) + 1);
        let Packet::ReceiverReport(report) = only(&rest[..len]) else { panic!("a receiver report") };
        read.extend(report.blocks);
        rest = &rest[len..];
    }
    assert_eq!(read, blocks);
}

#[test]
fn an_empty_receiver_report_is_one() {
    let mut out = Vec::new();
    write_receiver_report(SENDER, &[], &mut out);
    assert_eq!(out, [0x80, 201, 0, 1, 1, 2, 3, 4]);
}

#[test]
fn losses_are_clamped_to_24_bits() {
    for (lost, written) in [(i32::MAX, (1 << 23) - 1), (i32::MIN, -(1 << 23)), (-1, -1)] {
        let mut out = Vec::new();
        write_receiver_report(SENDER, &[block(1, lost)], &mut out);
        let Packet::ReceiverReport(mut report) = only(&out) else { panic!("a receiver report") };
        assert_eq!(report.blocks.next().unwrap().lost, written);
    }
}

#[test]
fn a_nack_packs_sixteen_followers_over_the_wrap() {
    let lost = [65_530, 65_534, 3, 10, 11, 11, 500];
    let mut out = Vec::new();
    write_nack(SENDER, MEDIA, &lost, &mut out);
    assert_eq!(out.len(), 12 + 3 * 4);
    let Packet::Nack(nack) = only(&out) else { panic!("a NACK") };
    assert_eq!(nack.sequences().collect::<Vec<_>>(), [65_530, 65_534, 3, 10, 11, 500]);
    let theirs = rtc_rtcp::packet::unmarshal(&mut &out[..]).unwrap();
    let theirs = theirs[0].as_any().downcast_ref::<TransportLayerNack>().unwrap();
    assert_eq!(
        theirs.nacks.iter().flat_map(|pair| pair.packet_list()).collect::<Vec<_>>(),
        [65_530, 65_534, 3, 10, 11, 500]
    );
    out.clear();
    write_nack(SENDER, MEDIA, &[], &mut out);
    assert!(out.is_empty());
}

#[test]
fn truncated_and_contradicting_packets_are_errors() {
    let mut report = Vec::new();
    write_receiver_report(SENDER, &[block(1, 0)], &mut report);
    for len in 1..report.len() {
        assert_eq!(errors(&report[..len]), [RtcpError::Truncated], "{len} bytes");
    }
    report[0] = 0x82;
    assert_eq!(errors(&report), [RtcpError::Truncated], "two blocks claimed, one there");
    report[0] = 0x41;
    assert_eq!(errors(&report), [RtcpError::Version]);
    report[0] = 0xa1;
    for padding in [0, 29, 255] {
        report[31] = padding;
        assert_eq!(errors(&report), [RtcpError::Padding], "{padding}");
    }
    assert_eq!(errors(&[0x9f, 203, 0, 1, 0, 0, 0, 1]), [RtcpError::Truncated], "BYE of 31 with one");
    assert_eq!(errors(&[0x81, 205, 0, 1, 0, 0, 0, 1]), [RtcpError::Truncated], "NACK without a stream");
    assert_eq!(errors(&[0x84, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]), [RtcpError::Truncated], "half a FIR");
}

/// Threat 15: what a hostile count can cost.
#[test]
fn rtcp_bombs_are_refused_or_cost_no_more_than_their_bytes() {
    let mut nack = vec![0x81, 205, 0x3f, 0xff];
    nack.resize(65_536, 0xff);
    assert_eq!(Compound::parse(&nack).err(), Some(RtcpError::TooLong));

    let mut remb = vec![0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 255, 0, 0, 0];
    remb.extend_from_slice(&[0; 4]);
    assert!(matches!(only(&remb), Packet::Other), "REMB is not read, whatever it counts");

    // 65,535 packets reported on by nine runs, none of them received, 37 times in one datagram: a step per run.
    let mut missing = vec![0x8f, 205, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    missing.extend_from_slice(&[0x1f, 0xff].repeat(8));
    missing.extend_from_slice(&[0, 7, 0, 0]);
    let datagram = missing.repeat(37);
    for packet in Compound::parse(&datagram).unwrap() {
        let Packet::TransportFeedback(feedback) = packet.unwrap() else { panic!("feedback") };
        assert_eq!(feedback.arrivals().count(), 0);
    }

    // 8,191 received packets claimed, and no deltas.
    let claimed = [0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0x1f, 0xff, 0, 0, 0, 0, 0x3f, 0xff, 0, 0];
    assert_eq!(errors(&claimed), [RtcpError::Truncated]);
    let reserved = [0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 1, 0, 0];
    assert_eq!(errors(&reserved), [RtcpError::Feedback]);
    let empty_run = [0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0x20, 0, 0, 0];
    assert_eq!(errors(&empty_run), [RtcpError::Feedback]);
}

fn head(base_sequence: u64) -> FeedbackHead {
    FeedbackHead { sender: SENDER, media: MEDIA, feedback_count: 5, base_sequence }
}

/// Writes messages until every arrival is reported, and reads them all back.
fn report(base: u64, arrivals: &[(u64, u64)]) -> Vec<Arrival> {
    let mut read = Vec::new();
    let (mut base, mut rest) = (base, arrivals);
    while !rest.is_empty() {
        let mut out = Vec::new();
        let reported = write_transport_feedback(&head(base), rest, &mut out);
        assert!(reported > 0 && out.len() <= 1_200);
        let Packet::TransportFeedback(feedback) = only(&out) else { panic!("transport feedback") };
        read.extend(feedback.arrivals());
        let theirs = rtc_rtcp::packet::unmarshal(&mut &out[..]).unwrap();
        let theirs = theirs[0].as_any().downcast_ref::<TransportLayerCc>().unwrap();
        assert_eq!(theirs.recv_deltas.len(), feedback.arrivals().count());
        let sum: i64 = theirs.recv_deltas.iter().map(|delta| delta.delta / 250).sum();
        assert_eq!(feedback.arrivals().last().unwrap().ticks, i64::from(theirs.reference_time) * 256 + sum);
        base = rest[reported - 1].0 + 1;
        rest = &rest[reported..];
    }
    read
}

#[test]
fn transport_feedback_says_what_arrived_and_when() {
    // Base 65,534: one lost, three 1 ms apart over the wrap, one 200 ms later, one that was overtaken.
    let arrivals =
        [(65_535, 6_400_000), (65_536, 6_401_000), (65_537, 6_402_000), (65_538, 6_602_000), (65_539, 6_601_000)];
    let mut out = Vec::new();
    assert_eq!(write_transport_feedback(&head(65_534), &arrivals, &mut out), 5);
    let Packet::TransportFeedback(feedback) = only(&out) else { panic!("transport feedback") };
    assert_eq!((feedback.base_sequence, feedback.status_count), (65_534, 6));
    assert_eq!((feedback.reference_time, feedback.feedback_count), (100, 5));
    let read: Vec<_> = feedback.arrivals().map(|arrival| (arrival.sequence, arrival.ticks * 250)).collect();
    assert_eq!(read, [(65_535, 6_400_000), (0, 6_401_000), (1, 6_402_000), (2, 6_602_000), (3, 6_601_000)]);
}

#[test]
fn arrivals_before_the_base_or_beyond_one_message_are_left_to_another() {
    let mut out = Vec::new();
    assert_eq!(write_transport_feedback(&head(10), &[], &mut out), 0);
    assert_eq!(write_transport_feedback(&head(10), &[(3, 1_000)], &mut out), 0);
    assert!(out.is_empty());
    assert_eq!(write_transport_feedback(&head(10), &[(3, 0), (10, 0), (11, 60_000_000)], &mut out), 2);
    assert_eq!(write_transport_feedback(&head(10), &[(5_000, 0), (9_000, 0)], &mut out), 1);
}

proptest! {
    #[test]
    fn transport_feedback_reads_back_to_a_quarter_of_a_millisecond(
        base in 0..200_000u64,
        start in 0..1u64 << 36,
        steps in prop::collection::vec((
            prop_oneof![6 => 1..2u64, 2 => 2..20u64, 1 => 20..3_000u64],
            prop_oneof![6 => 0..5_000i64, 2 => -20_000..80_000i64, 1 => 0..20_000_000i64],
        ), 1..900),
    ) {
        let (mut sequence, mut arrived) = (base, start);
        let mut arrivals = Vec::new();
        for (ahead, later) in steps {
            arrived = arrived.saturating_add_signed(later);
            arrivals.push((sequence, arrived));
            sequence += ahead;
        }
        let read = report(base, &arrivals);
        prop_assert_eq!(read.len(), arrivals.len());
        for (read, &(sequence, arrived)) in read.iter().zip(&arrivals) {
            prop_assert_eq!(read.sequence, sequence as u16);
            // The reference time has 24 bits and a sign.
            let wrap = (1i64 << 24) * 64_000;
            let error = (read.ticks * 250 - arrived as i64).rem_euclid(wrap);
            prop_assert!(error <= 125 || error >= wrap - 125, "{} us", error);
        }
    }

    #[test]
    fn what_they_write_we_read(lost in prop::collection::btree_set(any::<u16>(), 1..100)) {
        let lost: Vec<u16> = lost.into_iter().collect();
        let mut out = Vec::new();
        write_nack(SENDER, MEDIA, &lost, &mut out);
        let Packet::Nack(nack) = only(&out) else { panic!("a NACK") };
        prop_assert_eq!(nack.sequences().collect::<Vec<_>>(), lost);
    }

    #[test]
    fn no_bytes_panic_and_iteration_ends(
        kind in 199..208u8, count in 0..32u8, padded: bool, body in prop::collection::vec(any::<u8>(), 0..200),
        tail in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut bytes = vec![0x80 | u8::from(padded) << 5 | count, kind, 0, (body.len() / 4) as u8];
        bytes.extend_from_slice(&body[..body.len() / 4 * 4]);
        bytes.extend_from_slice(&tail);
        for start in [0, 4] {
            let Ok(compound) = Compound::parse(&bytes[start..]) else { continue };
            for packet in compound {
                match packet {
                    Ok(Packet::SenderReport(report)) => report.blocks.for_each(drop),
                    Ok(Packet::ReceiverReport(report)) => report.blocks.for_each(drop),
                    Ok(Packet::Goodbye(goodbye)) => goodbye.ssrcs().for_each(drop),
                    Ok(Packet::Nack(nack)) => nack.sequences().for_each(drop),
                    Ok(Packet::FullIntraRequest(request)) => request.entries().for_each(drop),
                    Ok(Packet::TransportFeedback(feedback)) => {
                        prop_assert!(feedback.arrivals().count() <= body.len());
                    }
                    Ok(Packet::PictureLoss(_) | Packet::Other) | Err(_) => {}
                }
            }
        }
    }
}
