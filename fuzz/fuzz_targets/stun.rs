//! Binding requests: a stranger's bytes get no reply and change nothing, whatever they say.
#![no_main]

use arrayvec::ArrayString;
use libfuzzer_sys::fuzz_target;
use sotto::relay::outbox::Path;
use sotto::session::IceParameters;
use sotto::transport::ice::{IceLite, ufrag_of};
use zeroize::Zeroizing;

fuzz_target!(|bytes: &[u8]| {
    let mut ice = IceLite::new(&IceParameters {
        local_ufrag: ArrayString::from("aaaaaaaa").expect("eight bytes"),
        local_pwd: Zeroizing::new("a password that no input knows".to_owned()),
        remote_ufrag: Some("remote".to_owned()),
    });
    let path = Path { remote: ([192, 0, 2, 1], 5000).into(), local: None };
    let mut reply = Vec::new();
    assert!(ufrag_of(bytes).is_none_or(|ufrag| ufrag.len() < bytes.len()));
    assert!(ice.handle_request(std::time::Instant::now(), path, bytes, &mut reply).is_err());
    assert!(reply.is_empty() && ice.paths().is_empty() && ice.consent_deadline().is_none());
});
