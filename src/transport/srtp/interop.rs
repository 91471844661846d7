//! Both directions against an implementation that shares no code with this one, nor its cryptography (`rtc-srtp` on
//! `ring`).

use proptest::prelude::*;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

use super::tests::{PROFILES, header};
use super::*;

/// Their profile of the same name.
fn theirs(profile: Profile, key: &[u8], salt: &[u8]) -> Context {
    let profile = match profile {
        Profile::Aes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Profile::Aes256Gcm => ProtectionProfile::AeadAes256Gcm,
        Profile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let provider = rtc_srtp::crypto::default_provider().unwrap();
    let replay = (Some(srtp_replay_protection(64)), Some(srtcp_replay_protection(64)));
    Context::new(key, salt, profile, replay.0, replay.1, provider.crypto()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_one_protects_the_other_opens(
        choice in 0..3usize, secret: [u8; 46], ssrc: u32, start in 0..40_000u64,
        extended: bool, payload in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let profile = PROFILES[choice];
        let (key, salt) = (&secret[..profile.key_len()], &secret[32..32 + profile.salt_len()]);
        let master = MasterKey::new(profile, key, salt).unwrap();
        let (mut outbound, mut inbound) = (Outbound::new(profile, &master), Inbound::new(profile, &master));
        let (mut sealing, mut opening) = (theirs(profile, key, salt), theirs(profile, key, salt));
        // Over one wrap at least, so that the rollover counter is held against theirs too.
        for index in (start..start + 110_000).step_by(20_000) {
            let mut header = header(ssrc, index);
            if extended {
                header[0] |= 0x10;
                header.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x10, 7, 0, 0]);
            }
            let packet = [&header[..], &payload].concat();
            let mut ours = Vec::new();
            outbound.protect_rtp(index, &header, &payload, &mut ours).unwrap();
            prop_assert_eq!(&opening.decrypt_rtp(&ours).unwrap()[..], &packet[..]);
            let mut sealed = sealing.encrypt_rtp(&packet).unwrap();
            prop_assert_eq!(&sealed[..], &ours[..]);
            let opened = inbound.unprotect_rtp(&mut sealed).unwrap();
            prop_assert_eq!(opened.index, index);
            prop_assert_eq!(&sealed[..opened.len], &packet[..]);
        }
        let report = [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes(), &[0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]].concat();
        for _ in 0..3 {
            let mut ours = Vec::new();
            outbound.protect_rtcp(&report, &mut ours).unwrap();
            prop_assert_eq!(&opening.decrypt_rtcp(&ours).unwrap()[..], &report[..]);
            let mut sealed = sealing.encrypt_rtcp(&report).unwrap();
            let len = inbound.unprotect_rtcp(&mut sealed).unwrap();
            prop_assert_eq!(&sealed[..len], &report[..]);
        }
    }
}
