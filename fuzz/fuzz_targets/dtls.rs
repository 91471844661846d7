//! Handshake datagrams: no bytes of a peer panic, connect, or keep the association from failing in time.
#![no_main]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use sotto::transport::dtls::{Certificate, Handshake, Progress};

fuzz_target!(|datagrams: Vec<Vec<u8>>| {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    let certificate = CERTIFICATE.get_or_init(|| Certificate::generate().expect("the system has randomness"));
    let mut now = Instant::now();
    let mut peer = Handshake::new(certificate, now, [0; 32]);
    for datagram in &datagrams {
        now += Duration::from_millis(10);
        if peer.handle_datagram(now, datagram).is_err() {
            break;
        }
        match peer.poll(|sent| assert!(sent.len() <= 1200)) {
            Ok(Progress::Connected(_)) => panic!("nobody has a certificate with this fingerprint"),
            Ok(Progress::Pending | Progress::Closed) => {}
            Err(_) => break,
        }
    }
    assert!(peer.handle_timeout(now + Duration::from_secs(16)).is_err());
});
