//! The other end is the library's client; browsers stand at the other end in the browser tests.

use std::collections::VecDeque;

use super::*;

#[test]
fn a_client_that_speaks_both_versions_settles_on_gcm_with_matching_keys() {
    for new_client in [Dtls::new_12, Dtls::new_auto] {
        let mut pair = Pair::new(new_client);
        pair.run(|_| Delivery::Pass);
        let (material, profile) = pair.client_keys.take().expect("the client has keys");
        let Some(Progress::Connected(keys)) = pair.server_progress.take() else { panic!("no keys") };
        assert_eq!(profile, SrtpProfile::AEAD_AES_256_GCM);
        assert!(keys.profile == Profile::Aes256Gcm && pair.server.is_connected());
        assert_opens(keys, &material);
    }
}

#[test]
fn a_hello_in_two_fragments_is_answered_in_either_order() {
    for swap in [false, true] {
        let mut pair = Pair::new(Dtls::new_auto);
        pair.run(|datagram| {
            if datagram[0] != 22 || datagram[13] != 1 || datagram.len() < 60 {
                return Delivery::Pass;
            }
            let mut halves = split(datagram, (datagram.len() - 25) * 3 / 4);
            if swap {
                halves.swap(0, 1);
            }
            Delivery::Instead(halves)
        });
        assert!(pair.server.is_connected() && pair.client_keys.is_some());
    }
}

#[test]
fn the_hellos_of_both_browsers_are_answered_once_both_parts_are_there() {
    let hellos: [[&[u8]; 2]; 2] = [
        [include_bytes!("golden/chromium-hello-0.bin"), include_bytes!("golden/chromium-hello-1.bin")],
        [include_bytes!("golden/firefox-hello-0.bin"), include_bytes!("golden/firefox-hello-1.bin")],
    ];
    let certificate = Certificate::generate().unwrap();
    for (hello, order) in hellos.iter().flat_map(|hello| [[0, 1], [1, 0]].map(|order| (hello, order))) {
        let mut server = Handshake::new(&certificate, now(), [0; 32]);
        for (part, expected) in order.into_iter().zip([0, 1]) {
            server.handle_datagram(now(), hello[part]).unwrap();
            let mut sent = 0;
            while !matches!(server.poll(|_| sent += 1).unwrap(), Progress::Pending) {}
            assert_eq!(sent, expected);
        }
    }
}

#[test]
fn every_message_in_small_fragments_backwards_and_twice_still_connects() {
    let mut pair = Pair::new(Dtls::new_auto);
    pair.run(|datagram| {
        let plaintext_handshake = datagram[0] == 22 && datagram[3..5] == [0, 0];
        let one_record = datagram.len() == 13 + usize::from(u16::from_be_bytes([datagram[11], datagram[12]]));
        if !plaintext_handshake || !one_record || datagram.len() < 100 {
            return Delivery::Pass;
        }
        let mut parts = split(datagram, 40);
        let rest = parts.pop().unwrap();
        parts.extend(split(&rest, 17));
        parts.reverse();
        Delivery::Instead([parts.clone(), parts].concat())
    });
    assert!(pair.server.is_connected());
}

#[test]
fn each_lost_datagram_is_made_good() {
    for lost in 0..8 {
        let mut pair = Pair::new(Dtls::new_auto);
        let mut count = 0;
        pair.run(|_| {
            count += 1;
            if count - 1 == lost { Delivery::Instead(vec![]) } else { Delivery::Pass }
        });
        assert!(pair.server.is_connected() && pair.client_keys.is_some(), "datagram {lost}");
    }
}

#[test]
fn a_wrong_certificate_gets_no_keys() {
    let mut pair = Pair::new(Dtls::new_auto);
    pair.server.expected[31] ^= 1;
    pair.run(|_| Delivery::Pass);
    assert_eq!(pair.server_error, Some(DtlsError::Fingerprint));
    assert!(pair.server_progress.is_none() && !pair.server.is_connected());
    assert_eq!(pair.server.handle_datagram(pair.now, &[22; 40]), Err(DtlsError::Fingerprint));
    assert!(pair.server.next_timeout().is_none());
}

#[test]
fn a_client_of_1_3_alone_is_refused() {
    let mut pair = Pair::new(Dtls::new_13);
    pair.run(|_| Delivery::Pass);
    assert!(pair.server_error.is_some() && pair.server_progress.is_none());
}

#[test]
fn silence_ends_the_handshake_in_time() {
    let mut pair = Pair::new(Dtls::new_auto);
    let begun = pair.now;
    pair.run(|_| Delivery::Instead(vec![]));
    assert_eq!(pair.server_error, Some(DtlsError::Timeout));
    assert!(pair.now >= begun + HANDSHAKE_TIMEOUT && pair.now < begun + HANDSHAKE_TIMEOUT + Duration::from_secs(1));
}

#[test]
fn a_client_that_falls_silent_after_its_hello_is_given_up_in_time() {
    let mut pair = Pair::new(Dtls::new_auto);
    let begun = pair.now;
    let mut count = 0;
    pair.run(|_| {
        count += 1;
        if count == 1 { Delivery::Pass } else { Delivery::Instead(vec![]) }
    });
    assert_eq!(pair.server_error, Some(DtlsError::Timeout));
    assert!(pair.now <= begun + HANDSHAKE_TIMEOUT + Duration::from_secs(1));
}

#[test]
fn closing_is_told() {
    let mut pair = Pair::new(Dtls::new_12);
    pair.run(|_| Delivery::Pass);
    pair.client.close().unwrap();
    pair.server_progress = None;
    pair.run(|_| Delivery::Pass);
    assert!(matches!(pair.server_progress, Some(Progress::Closed)));
}

#[test]
fn noise_before_and_during_the_handshake_does_not_stop_it() {
    let mut pair = Pair::new(Dtls::new_auto);
    let mut noise = 1u8;
    pair.run(|datagram| {
        let mut with_noise = Vec::new();
        for length in [0, 1, 12, 13, 25, 200, 1500, 2500] {
            noise = noise.wrapping_mul(31).wrapping_add(7);
            with_noise.push(vec![noise; length]);
        }
        with_noise.push(datagram.to_vec());
        Delivery::Instead(with_noise)
    });
    assert!(pair.server.is_connected());
}

#[test]
fn a_flood_of_fragments_leaves_the_handshake_alive() {
    let mut pair = Pair::new(Dtls::new_auto);
    let mut first = true;
    pair.run(|datagram| {
        if !std::mem::replace(&mut first, false) {
            return Delivery::Pass;
        }
        let mut flood = Vec::new();
        for round in 0..100_000u32 {
            let mut empty = datagram[..25].to_vec();
            empty[11..13].copy_from_slice(&12u16.to_be_bytes());
            empty[17..19].copy_from_slice(&((round % 9) as u16).to_be_bytes());
            empty[19..25].fill(0);
            flood.push(empty);
        }
        flood.push(datagram.to_vec());
        Delivery::Instead(flood)
    });
    assert!(pair.server.is_connected());
}

enum Delivery {
    Pass,
    Instead(Vec<Vec<u8>>),
}

/// Client and server with a wire between them, in virtual time.
struct Pair {
    now: Instant,
    client: Dtls,
    server: Handshake,
    client_keys: Option<(Vec<u8>, SrtpProfile)>,
    server_progress: Option<Progress>,
    server_error: Option<DtlsError>,
}

impl Pair {
    fn new(new_client: fn(Arc<Config>, DtlsCertificate, Instant) -> Dtls) -> Self {
        let now = now();
        let identity = generate_self_signed_certificate().unwrap();
        let expected = sha256(&identity.certificate);
        let mut client = new_client(Arc::new(Config::default()), identity, now);
        client.set_active(true);
        let server = Handshake::new(&Certificate::generate().unwrap(), now, expected);
        Pair { now, client, server, client_keys: None, server_progress: None, server_error: None }
    }

    /// Runs until nothing moves any more, or for 20 s; `wire` sees what the client sends.
    fn run(&mut self, mut wire: impl FnMut(&[u8]) -> Delivery) {
        let end = self.now + Duration::from_secs(20);
        let _ = self.client.handle_timeout(self.now);
        while self.now < end && self.server_error.is_none() {
            let (to_server, client_timer) = self.poll_client();
            let mut to_client = VecDeque::new();
            for datagram in &to_server {
                let delivered = match wire(datagram) {
                    Delivery::Pass => vec![datagram.clone()],
                    Delivery::Instead(instead) => instead,
                };
                for datagram in delivered {
                    let outcome = self.server.handle_datagram(self.now, &datagram);
                    self.note(outcome);
                    self.poll_server(&mut to_client);
                }
            }
            self.poll_server(&mut to_client);
            let moved = !to_server.is_empty() || !to_client.is_empty();
            for datagram in to_client {
                let _ = self.client.handle_packet(&datagram);
            }
            if moved {
                continue;
            }
            let next = [client_timer, self.server.next_timeout()].into_iter().flatten().min();
            let Some(next) = next.filter(|&next| next <= end) else { return };
            self.now = next.max(self.now + Duration::from_millis(1));
            let _ = self.client.handle_timeout(self.now);
            let outcome = self.server.handle_timeout(self.now);
            self.note(outcome);
        }
    }

    fn poll_client(&mut self) -> (Vec<Vec<u8>>, Option<Instant>) {
        let mut buffer = [0; 4096];
        let mut datagrams = Vec::new();
        loop {
            match self.client.poll_output(&mut buffer) {
                Output::Packet(datagram) => datagrams.push(datagram.to_vec()),
                Output::KeyingMaterial(material, profile) => self.client_keys = Some((material.to_vec(), profile)),
                Output::Timeout(timer) => return (datagrams, Some(timer)),
                _ => {}
            }
        }
    }

    fn poll_server(&mut self, to_client: &mut VecDeque<Vec<u8>>) {
        loop {
            match self.server.poll(|datagram| to_client.push_back(datagram.to_vec())) {
                Ok(Progress::Pending) => return,
                Ok(progress) => self.server_progress = Some(progress),
                Err(error) => return self.note(Err(error)),
            }
            if matches!(self.server_progress, Some(Progress::Closed)) {
                return;
            }
        }
    }

    fn note(&mut self, outcome: Result<(), DtlsError>) {
        if let Err(error) = outcome {
            self.server_error.get_or_insert(error);
        }
    }
}

/// Cuts a record with one whole handshake message in two behind `at` bytes of its body.
fn split(record: &[u8], at: usize) -> Vec<Vec<u8>> {
    let offset = usize::from(u16::from_be_bytes([record[20], record[21]]));
    let body = &record[25..];
    [(offset, &body[..at]), (offset + at, &body[at..])]
        .into_iter()
        .map(|(offset, part)| {
            let mut fragment = record[..25].to_vec();
            fragment[11..13].copy_from_slice(&(12 + part.len() as u16).to_be_bytes());
            fragment[20..22].copy_from_slice(&(offset as u16).to_be_bytes());
            fragment[23..25].copy_from_slice(&(part.len() as u16).to_be_bytes());
            fragment.extend_from_slice(part);
            fragment
        })
        .collect()
}

/// What the client protects with its keys, the relay's keys open.
fn assert_opens(keys: SrtpKeys, material: &[u8]) {
    use super::super::srtp::{Inbound, Outbound};
    let client = SrtpKeys::from_exporter(Profile::Aes256Gcm, material, true).unwrap();
    let header = [0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    for (protects, opens) in [(&client.outbound, &keys.inbound), (&keys.outbound, &client.inbound)] {
        let mut packet = Vec::new();
        let _ = Outbound::new(Profile::Aes256Gcm, protects).protect_rtp(1, &header, b"media", &mut packet);
        let unprotected = Inbound::new(Profile::Aes256Gcm, opens).unprotect_rtp(&mut packet).ok().unwrap();
        assert_eq!(&packet[12..unprotected.len], b"media");
    }
}

#[allow(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
fn now() -> Instant {
    Instant::now()
}
