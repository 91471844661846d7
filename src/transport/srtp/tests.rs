use proptest::prelude::*;

use super::derivation::{Label, apply_keystream, counter_cipher, derive};
use super::*;
use crate::session::Ssrc;

pub(super) const PROFILES: [Profile; 3] = [Profile::Aes128Gcm, Profile::Aes256Gcm, Profile::Aes128CmSha1_80];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn master(profile: Profile) -> MasterKey {
    let bytes: Vec<u8> = (0..46).map(|byte| byte * 5 + 3).collect();
    MasterKey::new(profile, &bytes[..profile.key_len()], &bytes[32..32 + profile.salt_len()]).unwrap()
}

/// The two ends of one direction.
fn pair(profile: Profile) -> (Outbound, Inbound) {
    (Outbound::new(profile, &master(profile)), Inbound::new(profile, &master(profile)))
}

pub(super) fn header(ssrc: u32, index: u64) -> Vec<u8> {
    let mut header = vec![0x80, 96];
    header.extend_from_slice(&(index as u16).to_be_bytes());
    header.extend_from_slice(&[0, 0, 0, 9]);
    header.extend_from_slice(&ssrc.to_be_bytes());
    header
}

fn protect(outbound: &mut Outbound, ssrc: u32, index: u64) -> Vec<u8> {
    let mut out = Vec::new();
    outbound.protect_rtp(index, &header(ssrc, index), &[index as u8; 50], &mut out).unwrap();
    out
}

const PICTURE_LOSS: [u8; 12] = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];

fn protect_rtcp(outbound: &mut Outbound) -> Vec<u8> {
    let mut out = Vec::new();
    outbound.protect_rtcp(&PICTURE_LOSS, &mut out).unwrap();
    out
}

/// RFC 3711, appendix B.3.
#[test]
fn session_keys_are_derived_as_the_rfc_shows() {
    let profile = Profile::Aes128CmSha1_80;
    let master =
        MasterKey::new(profile, &hex("E1F97A0D3E018BE0D64FA32C06DE4139"), &hex("0EC675AD498AFEEBB6960B3AABE6"))
            .unwrap();
    let (mut key, mut salt, mut authentication) = ([0; 16], [0; 14], [0; 94]);
    derive(profile, &master, Label::RtpKey, &mut key);
    derive(profile, &master, Label::RtpSalt, &mut salt);
    derive(profile, &master, Label::RtpAuthentication, &mut authentication);
    assert_eq!(key[..], hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(salt[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(
        authentication[..],
        hex("CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE
             E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25
             6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2")
    );
}

/// RFC 3711, appendix B.2: the first three and the last three blocks of a segment.
#[test]
fn the_keystream_is_the_rfcs() {
    let cipher = counter_cipher(&hex("2B7E151628AED2A6ABF7158809CF4F3C"));
    let mut keystream = vec![0; 0xff02 * 16];
    apply_keystream(&cipher, hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000").try_into().unwrap(), &mut keystream);
    assert_eq!(
        keystream[..48],
        hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0")
    );
    assert_eq!(
        keystream[0xfeff * 16..],
        hex("EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44")
    );
}

/// Key and salt of RFC 7714, sections 16 and 17: bytes counting from zero, and "Quid pro quo".
fn example(key_len: u8) -> Gcm {
    let key: Vec<u8> = (0..key_len).collect();
    Gcm::from_session_key(&key, *b"Quid pro quo")
}

/// RFC 7714, sections 16.1.1 and 16.2.1.
#[test]
fn rtp_is_sealed_as_the_gcm_rfc_shows() {
    let packet = hex("8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070
                      61727465 73207472 6573");
    for (key_len, sealed) in [
        (
            16,
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b
              36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        ),
        (
            32,
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f
              1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        ),
    ] {
        let mut out = Vec::new();
        example(key_len).seal_rtp(Ssrc(0x5501_a0b2), 0xf17b, &packet[..12], &packet[12..], &mut out);
        assert_eq!(out, hex(sealed));
        assert_eq!(example(key_len).open_rtp(Ssrc(0x5501_a0b2), 0xf17b, 12, &mut out), Ok(packet.len()));
        assert_eq!(out[..packet.len()], packet);
    }
}

/// RFC 7714, sections 17.1 and 17.2.
#[test]
fn rtcp_is_sealed_as_the_gcm_rfc_shows() {
    let packet = hex("81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef
                      deadbeef deadbeef deadbeef");
    for (key_len, sealed) in [
        (
            16,
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46
              86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        ),
        (
            32,
            "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be 8415f658
              c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
        ),
    ] {
        let mut out = Vec::new();
        example(key_len).seal_rtcp(Ssrc(0x4d61_7273), 0x5d4, &packet, &mut out);
        assert_eq!(out, hex(sealed));
        assert_eq!(example(key_len).open_rtcp(Ssrc(0x4d61_7273), 0x5d4, &mut out), Ok(packet.len()));
        assert_eq!(out[..packet.len()], packet);
    }
}

#[test]
fn a_forged_packet_is_refused_and_leaves_no_trace() {
    for profile in PROFILES {
        let (mut outbound, mut inbound) = pair(profile);
        let genuine = protect(&mut outbound, 1, 100);
        for position in 0..genuine.len() {
            let mut forged = genuine.clone();
            forged[position] ^= 0x40;
            assert!(inbound.unprotect_rtp(&mut forged).is_err(), "byte {position}");
        }
        assert_eq!(inbound.unprotect_rtp(&mut genuine.clone()).map(|opened| opened.index), Ok(100));
    }
}

#[test]
fn a_forged_packet_far_ahead_does_not_move_the_window() {
    for profile in PROFILES {
        let (mut outbound, mut inbound) = pair(profile);
        inbound.unprotect_rtp(&mut protect(&mut outbound, 1, 100)).unwrap();
        for step in 1..200u64 {
            let mut forged = protect(&mut outbound, 1, 100 + step * 160);
            *forged.last_mut().unwrap() ^= 1;
            assert_eq!(inbound.unprotect_rtp(&mut forged), Err(SrtpError::Authentication));
        }
        assert!(inbound.unprotect_rtp(&mut protect(&mut outbound, 1, 99)).is_ok());
        assert!(inbound.unprotect_rtp(&mut protect(&mut outbound, 1, 101)).is_ok());
    }
}

/// Threat 10: five replays of each packet, among 100,000 packets with bad tags.
#[test]
fn each_packet_is_delivered_once() {
    let (mut outbound, mut inbound) = pair(Profile::Aes128Gcm);
    let mut delivered = 0;
    let mut forgeries = 0;
    for index in 0..500 {
        let genuine = protect(&mut outbound, 1, index);
        for attempt in 0..200u8 {
            let mut forged = genuine.clone();
            forged[12 + usize::from(attempt) % 66] ^= 1 + attempt;
            forgeries += usize::from(inbound.unprotect_rtp(&mut forged) == Err(SrtpError::Authentication));
        }
        delivered += usize::from(inbound.unprotect_rtp(&mut genuine.clone()).is_ok());
        for _ in 0..5 {
            assert_eq!(inbound.unprotect_rtp(&mut genuine.clone()), Err(SrtpError::Replay));
        }
    }
    assert_eq!((delivered, forgeries), (500, 100_000));
}

/// Threat 12.
#[test]
fn a_thousand_replays_of_one_picture_loss_have_no_effect() {
    for profile in PROFILES {
        let (mut outbound, mut inbound) = pair(profile);
        let captured = protect_rtcp(&mut outbound);
        let mut opened = captured.clone();
        let len = inbound.unprotect_rtcp(&mut opened).unwrap();
        assert_eq!(opened[..len], PICTURE_LOSS);
        for _ in 0..1_000 {
            assert_eq!(inbound.unprotect_rtcp(&mut captured.clone()), Err(SrtpError::Replay));
        }
        assert!(inbound.unprotect_rtcp(&mut protect_rtcp(&mut outbound)).is_ok());
    }
}

#[test]
fn forged_and_clear_rtcp_is_refused_and_leaves_no_trace() {
    for profile in PROFILES {
        let (mut outbound, mut inbound) = pair(profile);
        let genuine = protect_rtcp(&mut outbound);
        for position in 0..genuine.len() {
            for flip in [0x01, 0x80] {
                let mut forged = genuine.clone();
                forged[position] ^= flip;
                assert!(inbound.unprotect_rtcp(&mut forged).is_err(), "byte {position}");
            }
        }
        assert!(inbound.unprotect_rtcp(&mut genuine.clone()).is_ok());
    }
}

/// Threat 13: authentic SSRCs are bounded, and those there are go on.
#[test]
fn two_thousand_ssrcs_of_one_participant_are_bounded() {
    let (mut outbound, mut inbound) = pair(Profile::Aes128Gcm);
    let results: Vec<_> = (0..2_000).map(|ssrc| inbound.unprotect_rtp(&mut protect(&mut outbound, ssrc, 7))).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 128);
    assert!(results[128..].iter().all(|result| *result == Err(SrtpError::TooManySsrcs)));
    assert!(inbound.unprotect_rtp(&mut protect(&mut outbound, 5, 8)).is_ok());
}

#[test]
fn forged_ssrcs_take_no_room() {
    let (mut outbound, mut inbound) = pair(Profile::Aes128Gcm);
    for ssrc in 0..2_000 {
        let mut forged = protect(&mut outbound, ssrc, 7);
        forged[20] ^= 1;
        assert_eq!(inbound.unprotect_rtp(&mut forged), Err(SrtpError::Authentication));
    }
    assert!(inbound.unprotect_rtp(&mut protect(&mut outbound, 2_000, 7)).is_ok());
}

#[test]
fn the_rollover_counter_follows_wraps_and_late_packets() {
    for profile in PROFILES {
        let (mut outbound, mut inbound) = pair(profile);
        for index in [30_000, 62_000, 65_535, 65_537, 65_536, 65_534, 90_000, 120_000, 131_071, 131_072, 131_070] {
            let opened = inbound.unprotect_rtp(&mut protect(&mut outbound, 1, index));
            assert_eq!(opened.map(|opened| opened.index), Ok(index));
        }
    }
}

#[test]
fn keys_are_not_used_beyond_their_life() {
    for profile in PROFILES {
        let (mut outbound, _) = pair(profile);
        let mut out = Vec::new();
        let last = (1 << 48) - 1;
        assert_eq!(outbound.protect_rtp(last, &header(1, last), b"x", &mut out), Ok(()));
        out.clear();
        assert_eq!(outbound.protect_rtp(1 << 48, &header(1, 0), b"x", &mut out), Err(SrtpError::KeyExhausted));
        outbound.set_rtcp_index(MAX_RTCP_INDEX);
        assert_eq!(outbound.protect_rtcp(&PICTURE_LOSS, &mut Vec::new()), Ok(()));
        assert_eq!(outbound.protect_rtcp(&PICTURE_LOSS, &mut out), Err(SrtpError::KeyExhausted));
        assert!(out.is_empty());
    }
}

#[test]
fn an_index_that_is_not_the_headers_is_refused() {
    let (mut outbound, _) = pair(Profile::Aes128Gcm);
    let mut out = Vec::new();
    assert_eq!(outbound.protect_rtp(6, &header(1, 5), b"x", &mut out), Err(SrtpError::Malformed));
    assert_eq!(outbound.protect_rtp(5, &header(1, 5)[..11], b"x", &mut out), Err(SrtpError::Malformed));
    assert!(out.is_empty());
}

#[test]
fn exported_material_is_divided_by_role() {
    for profile in PROFILES {
        let material: Vec<u8> = (0..profile.material_len() as u8).collect();
        let client = SrtpKeys::from_exporter(profile, &material, true).unwrap();
        let server = SrtpKeys::from_exporter(profile, &material, false).unwrap();
        let mut outbound = Outbound::new(profile, &client.outbound);
        let mut inbound = Inbound::new(profile, &server.inbound);
        assert!(inbound.unprotect_rtp(&mut protect(&mut outbound, 1, 1)).is_ok());
        let mut wrong = Inbound::new(profile, &client.inbound);
        assert_eq!(wrong.unprotect_rtp(&mut protect(&mut outbound, 1, 1)), Err(SrtpError::Authentication));
        assert_eq!(client.outbound.key[..profile.key_len()], material[..profile.key_len()]);
        assert!(SrtpKeys::from_exporter(profile, &material[1..], true).is_err());
    }
}

proptest! {
    #[test]
    fn what_is_protected_opens_again(
        choice in 0..3usize, index in 0..1u64 << 16, ssrc: u32, before in prop::collection::vec(any::<u8>(), 0..5),
        prefix in prop::collection::vec(any::<u8>(), 0..7), rest in prop::collection::vec(any::<u8>(), 0..1_300),
    ) {
        let (mut outbound, mut inbound) = pair(PROFILES[choice]);
        let header = header(ssrc, index);
        let (mut whole, mut parts) = (before.clone(), before.clone());
        let payload = [&prefix[..], &rest].concat();
        outbound.protect_rtp(index, &header, &payload, &mut whole).unwrap();
        outbound.protect_rtp_parts(index, &header, &prefix, &rest, &mut parts).unwrap();
        prop_assert_eq!(&whole, &parts);
        prop_assert_eq!(&whole[..before.len()], &before[..]);
        let packet = &mut whole[before.len()..];
        prop_assert_eq!(packet.len(), header.len() + payload.len() + PROFILES[choice].rtp_overhead());
        let opened = inbound.unprotect_rtp(packet).unwrap();
        prop_assert_eq!(opened.index, index);
        prop_assert_eq!(&packet[..opened.len], &[&header[..], &payload].concat()[..]);
    }

    #[test]
    fn no_bytes_panic_or_authenticate(choice in 0..3usize, mut bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let (_, mut inbound) = pair(PROFILES[choice]);
        prop_assert!(inbound.unprotect_rtp(&mut bytes.clone()).is_err());
        prop_assert!(inbound.unprotect_rtcp(&mut bytes.clone()).is_err());
        if let Some(first) = bytes.first_mut() {
            *first = 0x80;
            prop_assert!(inbound.unprotect_rtp(&mut bytes.clone()).is_err());
            prop_assert!(inbound.unprotect_rtcp(&mut bytes).is_err());
        }
    }
}
