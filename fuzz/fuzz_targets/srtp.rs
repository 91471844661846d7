//! SRTP and SRTCP: bytes from a stranger are refused without a trace, in every profile.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto::transport::srtp::{Inbound, MasterKey, Outbound, Profile};

fuzz_target!(|bytes: &[u8]| {
    for profile in [Profile::Aes128Gcm, Profile::Aes256Gcm, Profile::Aes128CmSha1_80] {
        let master = MasterKey::new(profile, &[7; 32][..profile.key_len()], &[9; 14][..profile.salt_len()])
            .expect("the lengths are the profile's");
        let mut inbound = Inbound::new(profile, &master);
        assert!(inbound.unprotect_rtp(&mut bytes.to_vec()).is_err());
        assert!(inbound.unprotect_rtcp(&mut bytes.to_vec()).is_err());
        // Authentic but of any content: a header that parses comes back as it was.
        let Ok(header_len) = sotto::rtp::header::header_len(bytes) else { continue };
        let (header, payload) = bytes.split_at(header_len);
        let index = u64::from(u16::from_be_bytes([header[2], header[3]]));
        let mut out = Vec::new();
        let mut outbound = Outbound::new(profile, &master);
        outbound.protect_rtp(index, header, payload, &mut out).expect("the index is the header's");
        let opened = inbound.unprotect_rtp(&mut out).expect("what is protected opens");
        assert_eq!(&out[..opened.len], bytes);
    }
});
