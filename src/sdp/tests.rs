//! The golden offers are what Chromium 156 and Firefox 153 wrote on a machine with fake devices.

use std::time::Duration;

use proptest::prelude::*;

use super::extension::Extension;
use super::*;
use crate::session::CodecName;

const SIMULCAST: [&str; 2] =
    [include_str!("golden/chromium-simulcast.sdp"), include_str!("golden/firefox-simulcast.sdp")];
const PLAIN: [&str; 2] = [include_str!("golden/chromium-plain.sdp"), include_str!("golden/firefox-plain.sdp")];
const RECEIVE: [&str; 2] = [include_str!("golden/chromium-receive.sdp"), include_str!("golden/firefox-receive.sdp")];
const DATA: [&str; 2] = [include_str!("golden/chromium-data.sdp"), include_str!("golden/firefox-data.sdp")];

#[test]
fn a_browser_with_camera_and_two_pairs_of_slots_is_answered() {
    for offer in SIMULCAST {
        let Answer { sdp, session, lines } = negotiation().answer(offer).unwrap();
        let directions: Vec<_> = lines.iter().map(|line| (line.mid.as_str(), line.kind, line.direction)).collect();
        use super::Direction::{Receives, Sends};
        assert_eq!(
            directions,
            [
                ("0", Kind::Audio, Sends),
                ("1", Kind::Video, Sends),
                ("2", Kind::Audio, Receives),
                ("3", Kind::Video, Receives),
                ("4", Kind::Audio, Receives),
                ("5", Kind::Video, Receives),
            ]
        );
        assert_eq!(session.incoming.len(), 2);
        assert_eq!(session.slots.len(), 4);
        let camera = &session.incoming[1];
        assert_eq!(camera.rids.iter().map(|rid| rid.as_str()).collect::<Vec<_>>(), ["q", "h", "f"]);
        assert!(camera.ssrcs.is_empty());
        assert_eq!(camera.codecs.iter().map(|codec| codec.name).collect::<Vec<_>>(), [CodecName::Vp8, CodecName::Vp9]);
        assert!(camera.codecs.iter().all(|codec| codec.nack && codec.rtx_payload_type.is_some()));
        assert!(sdp.contains("a=simulcast:recv q;h;f\r\n") && sdp.contains("a=rid:q recv\r\n"));
        for expected in ["a=ice-lite\r\n", "a=extmap-allow-mixed\r\n", "a=end-of-candidates\r\n"] {
            assert_eq!(sdp.matches(expected).count(), 1, "{expected}");
        }
        assert_eq!(sdp.matches("a=setup:passive\r\n").count(), 7, "at the session level and in each of six m-lines");
        assert_eq!(sdp.matches("a=group:BUNDLE 0 1 2 3 4 5\r\n").count(), 1);
        assert_eq!(sdp.matches(" 192.0.2.1 3478 typ host\r\n").count(), 1);
        assert_eq!(sdp.matches(" 2001:db8::1 3478 typ host\r\n").count(), 1);
    }
}

#[test]
fn audio_level_and_high_ids_and_clashing_payload_types_are_never_answered() {
    for offer in SIMULCAST.into_iter().chain(PLAIN).chain(RECEIVE) {
        let answer = negotiation().answer(offer).unwrap().sdp;
        assert!(!answer.contains("audio-level"));
        for line in answer.lines() {
            if let Some(extension) = line.strip_prefix("a=extmap:") {
                let id: u8 = extension.split(' ').next().unwrap().parse().unwrap();
                assert!((1..=14).contains(&id));
            }
            if let Some(map) = line.strip_prefix("a=rtpmap:") {
                let payload_type: u8 = map.split(' ').next().unwrap().parse().unwrap();
                assert!(!(64..=95).contains(&payload_type));
            }
        }
    }
    let high = SIMULCAST[0].replace("a=extmap:3 ", "a=extmap:15 ").replace("a=extmap:4 ", "a=extmap:200 ");
    let ids = negotiation().answer(&high).unwrap().session.extensions;
    assert_eq!((ids.transport_cc, ids.mid), (None, None));
    let clashing = PLAIN[0].replace("96", "66").replace("98", "95");
    assert_eq!(negotiation().answer(&clashing).err(), Some(SdpError::Codecs));
}

#[test]
fn extensions_have_one_numbering_and_rids_only_where_the_participant_sends() {
    for offer in SIMULCAST {
        let Answer { sdp, session, .. } = negotiation().answer(offer).unwrap();
        let ids = session.extensions;
        for id in [ids.mid, ids.rid, ids.repaired_rid, ids.transport_cc, ids.abs_send_time, ids.dependency_descriptor] {
            assert!(id.is_some());
        }
        let sections: Vec<_> = sdp.split("m=").collect();
        assert!(sections[2].contains(Extension::Rid.uri()) && sections[2].contains(Extension::RepairedRid.uri()));
        assert!(!sections[4].contains("rtp-stream-id") && !sections[4].contains("layers-allocation"));
        assert!(sections[4].contains(Extension::Mid.uri()));
    }
}

#[test]
fn the_slots_of_a_pair_share_a_stream_and_keep_their_ssrcs() {
    for offer in SIMULCAST {
        let mut negotiation = negotiation();
        let first = negotiation.answer(offer).unwrap();
        let sections: Vec<_> = first.sdp.split("m=").collect();
        assert!(sections[3].contains("a=msid:pair0 audio0\r\n") && sections[4].contains("a=msid:pair0 video0\r\n"));
        assert!(sections[5].contains("a=msid:pair1 audio1\r\n") && sections[6].contains("a=msid:pair1 video1\r\n"));
        for (slot, section) in first.session.slots.iter().zip(&sections[3..]) {
            assert!(section.contains(&format!("a=ssrc:{} cname:{CNAME}\r\n", slot.ssrc.0)));
            assert_eq!(slot.rtx_ssrc.is_some(), slot.kind == Kind::Video);
            if let Some(rtx) = slot.rtx_ssrc {
                assert!(section.contains(&format!("a=ssrc-group:FID {} {}\r\n", slot.ssrc.0, rtx.0)));
            }
        }
        let mut all: Vec<_> =
            first.session.slots.iter().flat_map(|slot| [Some(slot.ssrc), slot.rtx_ssrc]).flatten().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);

        let second = negotiation.answer(offer).unwrap();
        for (before, after) in first.session.slots.iter().zip(&second.session.slots) {
            assert!(before.ssrc == after.ssrc && before.rtx_ssrc == after.rtx_ssrc && before.mid == after.mid);
        }
    }
}

#[test]
fn a_slot_that_rests_comes_back_as_it_was() {
    let mut negotiation = negotiation();
    let first = negotiation.answer(SIMULCAST[0]).unwrap();
    let resting = SIMULCAST[0].replace("a=recvonly", "a=inactive");
    let rested = negotiation.answer(&resting).unwrap();
    assert!(rested.session.slots.is_empty() && rested.lines.len() == 2);
    assert_eq!(rested.sdp.matches("a=inactive\r\n").count(), 4);
    assert!(!rested.sdp.contains("m=audio 0") && !rested.sdp.contains("m=video 0"));
    let back = negotiation.answer(SIMULCAST[0]).unwrap();
    let ssrcs = |answer: &Answer| answer.session.slots.iter().map(|slot| slot.ssrc.0).collect::<Vec<_>>();
    assert_eq!(ssrcs(&first), ssrcs(&back));
}

#[test]
fn a_camera_that_rests_keeps_its_encodings_and_extensions() {
    let mut negotiation = negotiation();
    let first = negotiation.answer(SIMULCAST[0]).unwrap();
    let resting = negotiation.answer(&SIMULCAST[0].replace("a=sendonly", "a=inactive")).unwrap();
    assert!(resting.session.incoming.is_empty() && resting.lines.len() == 4);
    assert!(resting.sdp.contains("a=simulcast:recv q;h;f\r\n") && resting.sdp.contains("sdes:rtp-stream-id\r\n"));
    assert_eq!(resting.session.extensions, first.session.extensions);
}

#[test]
fn a_refused_line_gives_its_place_to_another() {
    let mut negotiation = negotiation();
    negotiation.answer(SIMULCAST[0]).unwrap();
    let last = SIMULCAST[0].rfind("m=video 9").unwrap();
    let (before, line) = SIMULCAST[0].split_at(last);
    let refused = format!("{}{}", before.replace("3 4 5", "3 4"), line.replacen("m=video 9", "m=video 0", 1));
    let answer = negotiation.answer(&refused).unwrap();
    assert!(answer.sdp.contains("m=video 0 ") && answer.session.slots.len() == 3);
    let reused = format!("{}{}", before.replace("3 4 5", "3 4 6"), line.replace("a=mid:5", "a=mid:6"));
    let answer = negotiation.answer(&reused).unwrap();
    assert_eq!(answer.session.slots[3].mid.as_str(), "6");
    assert!(answer.sdp.contains("a=msid:pair1 video1\r\n"));
}

#[test]
fn opus_is_asked_for_constant_bitrate_without_silence_suppression() {
    for offer in PLAIN {
        let answer = negotiation().answer(offer).unwrap();
        assert!(answer.sdp.contains("minptime=10;useinbandfec=1;cbr=1;usedtx=0\r\n"));
        let microphone = &answer.session.incoming[0];
        assert_eq!(microphone.codecs.iter().map(|codec| codec.name).collect::<Vec<_>>(), [CodecName::Opus]);
        assert!(microphone.ssrcs.len() == 1 && microphone.ssrcs[0].1.is_none());
        let camera = &answer.session.incoming[1];
        assert!(camera.ssrcs.len() == 1 && camera.ssrcs[0].1.is_some() && camera.rids.is_empty());
    }
}

#[test]
fn vp9_is_taken_in_profile_0_alone() {
    let answer = negotiation().answer(SIMULCAST[0]).unwrap();
    let vp9: Vec<_> = answer.session.slots[1].codecs.iter().filter(|codec| codec.name == CodecName::Vp9).collect();
    assert!(vp9.len() == 1 && vp9[0].payload_type == 98 && vp9[0].rtx_payload_type == Some(99));
    assert!(!answer.sdp.contains("H264") && !answer.sdp.contains("AV1") && !answer.sdp.contains("red/"));
}

#[test]
fn a_data_channel_is_refused_in_its_place() {
    for offer in DATA {
        let answer = negotiation().answer(offer).unwrap();
        let offered = offer.lines().filter(|line| line.starts_with("m=")).count();
        assert_eq!(answer.sdp.lines().filter(|line| line.starts_with("m=")).count(), offered);
        assert!(answer.sdp.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
        assert_eq!(answer.lines.len(), offered - 1);
        let bundle = answer.sdp.lines().find(|line| line.starts_with("a=group:BUNDLE")).unwrap();
        assert_eq!(bundle.split(' ').count(), offered);
    }
}

#[test]
fn an_answer_that_the_offer_allows_nothing_mixed_does_not_claim_it() {
    let offer = SIMULCAST[0].replace("a=extmap-allow-mixed\r\n", "");
    assert!(!negotiation().answer(&offer).unwrap().sdp.contains("extmap-allow-mixed"));
}

#[test]
fn credentials_change_with_an_ice_restart_and_only_then() {
    let mut negotiation = negotiation();
    let first = negotiation.answer(SIMULCAST[0]).unwrap().session.ice;
    let same = negotiation.answer(SIMULCAST[0]).unwrap().session.ice;
    assert!(first.local_ufrag == same.local_ufrag && first.local_pwd == same.local_pwd);
    let restart = SIMULCAST[0].replace(first.remote_ufrag.as_deref().unwrap(), "Zz99");
    let new = negotiation.answer(&restart).unwrap().session.ice;
    assert!(
        new.local_ufrag != first.local_ufrag
            && new.local_pwd != first.local_pwd
            && new.remote_ufrag.as_deref() == Some("Zz99")
    );
    assert!(first.local_pwd.len() == PASSWORD_LEN && first.local_ufrag.len() == UFRAG_LEN);
}

#[test]
fn another_certificate_is_refused_and_changes_nothing() {
    let mut negotiation = negotiation();
    let first = negotiation.answer(SIMULCAST[0]).unwrap();
    let line = SIMULCAST[0].lines().find(|line| line.starts_with("a=fingerprint:")).unwrap();
    let other = SIMULCAST[0].replace(line, &format!("a=fingerprint:sha-256 {}", vec!["AB"; 32].join(":")));
    assert_eq!(negotiation.answer(&other).err(), Some(SdpError::FingerprintChanged));
    let again = negotiation.answer(SIMULCAST[0]).unwrap();
    assert!(again.session.ice.local_ufrag == first.session.ice.local_ufrag);
}

#[test]
fn a_line_keeps_its_place() {
    let mut negotiation = negotiation();
    negotiation.answer(SIMULCAST[0]).unwrap();
    let stopped = SIMULCAST[0].replacen("m=audio 48212", "m=audio 0", 1).replace("BUNDLE 0 1", "BUNDLE 1");
    assert!(stopped.contains("m=audio 0 "));
    assert_eq!(negotiation.answer(&stopped).err(), Some(SdpError::TransportStopped));
    let renamed = SIMULCAST[0].replace("a=mid:3", "a=mid:x").replace("BUNDLE 0 1 2 3", "BUNDLE 0 1 2 x");
    assert_eq!(negotiation.answer(&renamed).err(), Some(SdpError::LinesMoved));
    assert_eq!(negotiation.answer(PLAIN[0]).err(), Some(SdpError::FingerprintChanged));
    let cut = SIMULCAST[0].rfind("m=video").unwrap();
    assert_eq!(negotiation.answer(&SIMULCAST[0][..cut]).err(), Some(SdpError::LinesMoved));
}

#[test]
fn what_cannot_be_answered_says_what_to_change() {
    let offer = SIMULCAST[0];
    let replace = |from: &str, to: &str| offer.replace(from, to);
    let cases = [
        (replace("a=sendonly", "a=sendrecv"), SdpError::BothWays),
        (replace("a=sendonly\r\n", ""), SdpError::BothWays),
        (replace("a=rtcp-mux\r\n", ""), SdpError::RtcpMux),
        (replace("a=setup:actpass", "a=setup:passive"), SdpError::Setup),
        (replace("BUNDLE 0 1 2 3 4 5", "BUNDLE 0 1 2 3 4"), SdpError::Bundle),
        (replace("a=group:BUNDLE", "a=group:LS"), SdpError::Bundle),
        (replace("sha-256", "sha-1"), SdpError::Fingerprint),
        (replace("a=ice-ufrag:", "a=x:"), SdpError::Ice),
        (replace("a=ice-pwd:", "a=ice-pwd:\u{e9}"), SdpError::Ice),
        (replace("opus/48000/2", "opus/48000"), SdpError::Codecs),
        (replace("a=rid:h send\r\n", ""), SdpError::Simulcast),
        (replace("send q;h;f", "send q;q;f"), SdpError::Simulcast),
        (replace("a=mid:3\r\n", "a=mid:2\r\n"), SdpError::Mid),
        (replace("a=mid:3\r\n", ""), SdpError::Mid),
        (replace("a=mid:3\r\n", "a=mid:0123456789abcdefg\r\n"), SdpError::Mid),
        (replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), SdpError::NoMedia),
        (replace("v=0", "v=1"), SdpError::Syntax),
        (String::new(), SdpError::Syntax),
    ];
    for (offer, error) in cases {
        assert_eq!(negotiation().answer(&offer).err(), Some(error));
    }
}

#[test]
fn more_than_three_encodings_are_cut_to_three() {
    let offer =
        SIMULCAST[0].replace("send q;h;f", "send q;h;f;z").replace("a=rid:q send", "a=rid:q send\r\na=rid:z send");
    let answer = negotiation().answer(&offer).unwrap();
    assert!(answer.session.incoming[1].rids.len() == 3 && answer.sdp.contains("a=simulcast:recv q;h;f\r\n"));
}

#[test]
fn a_bomb_is_refused_within_fifty_milliseconds() {
    let head = SIMULCAST[0].split("m=").next().unwrap();
    let line = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendonly\r\n";
    let first_line = &SIMULCAST[0][head.len()..SIMULCAST[0].find("m=video").unwrap()];
    let attributes = |attribute: &str| {
        format!(
            "{head}{first_line}{}",
            attribute.repeat((240 * 1024 - head.len() - first_line.len()) / attribute.len())
        )
    };
    let bombs = [
        ("x".repeat(10 << 20), Some(SdpError::TooLong)),
        (format!("{head}{}", line.repeat(10_000)), Some(SdpError::TooLong)),
        (format!("{head}{}", "m=audio 9 x 1\r\n".repeat(10_000)), Some(SdpError::TooManyLines)),
        (attributes("a=x\r\n"), Some(SdpError::TooManyLines)),
        (attributes("a=fmtp:111 a=b;c=d\r\n"), None),
        (attributes("a=rtcp-fb:* nack\r\n"), None),
        (attributes("a=extmap:3 urn:x\r\n"), None),
        (attributes("a=ssrc:77 cname:x\r\n"), None),
        (attributes("a=rid:q send\r\n"), None),
        (attributes("a=fingerprint:sha-1 AB\r\n"), None),
        (format!("{head}m=audio 9 UDP/TLS/RTP/SAVPF {}\r\n", "111 ".repeat(60_000)), None),
        (format!("a=group:BUNDLE {}\r\n{head}{first_line}", "0 ".repeat(100_000)), None),
    ];
    for (index, (bomb, error)) in bombs.into_iter().enumerate() {
        let begun = processor_time();
        let outcome = negotiation().answer(&bomb).err();
        let took = processor_time() - begun;
        assert!(took < Duration::from_millis(50), "bomb {index} took {took:?}");
        assert!(error.is_none() || outcome == error, "bomb {index}");
    }
}

#[test]
fn a_hundred_and_twenty_eight_lines_are_answered() {
    let head = RECEIVE[1].split("m=").next().unwrap();
    let audio = &RECEIVE[1][head.len()..RECEIVE[1].find("m=video").unwrap()];
    let mids = (0..128).map(|mid| mid.to_string()).collect::<Vec<_>>().join(" ");
    let head = head.replace("BUNDLE 0 1", &format!("BUNDLE {mids}"));
    let lines: String = (0..128).map(|mid| audio.replace("a=mid:0", &format!("a=mid:{mid}"))).collect();
    let answer = negotiation().answer(&format!("{head}{lines}")).unwrap();
    assert_eq!(answer.session.slots.len(), 128);
    assert!(answer.sdp.contains("a=msid:pair127 audio127\r\n"));
}

proptest! {
    #[test]
    fn no_text_panics_the_parser(text in "\\PC*") {
        let _ = negotiation().answer(&text);
    }

    #[test]
    fn no_mangled_offer_panics(cuts in proptest::collection::vec((any::<prop::sample::Index>(), "[a-z0-9=: /;*-]{0,6}"), 1..8)) {
        let mut lines: Vec<String> = SIMULCAST[1].lines().map(str::to_owned).collect();
        for (index, text) in cuts {
            let line = index.get(&lines).clone();
            let at = index.index(line.len() + 1);
            let place = index.index(lines.len());
            if line.is_char_boundary(at) {
                lines[place] = format!("{}{text}{}", &line[..at], line.get(at + text.len()..).unwrap_or_default());
            }
        }
        let _ = negotiation().answer(&lines.join("\r\n"));
    }
}

fn negotiation() -> Negotiation {
    let addresses = ["192.0.2.1:3478".parse().unwrap(), "[2001:db8::1]:3478".parse().unwrap()];
    Negotiation::new(&addresses, [0xab; 32], [7; 32])
}

/// What this thread has computed so far: other tests share the machine.
fn processor_time() -> Duration {
    let status = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(status.split(' ').next().unwrap().parse().unwrap())
}
