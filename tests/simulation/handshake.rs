//! A client's end of DTLS, by either of two libraries: one that offers every SRTP profile, and one that can be told to
//! offer AES-CM alone.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use aws_lc_rs::digest;
use dimpl::certificate::generate_self_signed_certificate;
use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile};
use rtc_dtls::config::{ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::crypto_provider::default_provider;
use rtc_dtls::endpoint::Endpoint;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use sotto::transport::srtp::{Profile, SrtpKeys};

/// One association.
pub enum Handshake {
    Any { dtls: Box<Dtls>, timer: Instant, active: bool },
    AesCm { endpoint: Box<Endpoint>, connected: bool },
}

impl Handshake {
    pub fn new(aes_cm: bool, now: Instant) -> Self {
        if aes_cm {
            let mut endpoint = Endpoint::new(relay(), Default::default(), None);
            endpoint.connect(now, relay(), Arc::clone(&old().0), None).unwrap();
            return Handshake::AesCm { endpoint: Box::new(endpoint), connected: false };
        }
        Self::any(true, now)
    }

    /// Waits for the other one's hello.
    pub fn passive(now: Instant) -> Self {
        Self::any(false, now)
    }

    fn any(active: bool, now: Instant) -> Self {
        let mut dtls = Dtls::new_12(Arc::new(Config::default()), identity().clone(), now);
        dtls.set_active(active);
        Handshake::Any { dtls: Box::new(dtls), timer: now, active }
    }

    /// SHA-256 of the certificate that it shows.
    pub fn fingerprint(&self) -> [u8; 32] {
        let certificate = match self {
            Handshake::Any { .. } => &identity().certificate,
            Handshake::AesCm { .. } => &old().1,
        };
        digest::digest(&digest::SHA256, certificate).as_ref().try_into().unwrap()
    }

    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Handshake::Any { timer, .. } => Some(*timer),
            Handshake::AesCm { endpoint, .. } => endpoint.poll_timeout(&relay()),
        }
    }

    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        match self {
            Handshake::Any { dtls, timer, .. } => {
                let _ = dtls.handle_packet(bytes);
                *timer = now;
            }
            Handshake::AesCm { endpoint, .. } => drop(endpoint.read(now, relay(), None, bytes.into())),
        }
    }

    /// Does what is due; the keys, once there are any.
    pub fn poll(&mut self, now: Instant, send: &mut Vec<Vec<u8>>) -> Option<SrtpKeys> {
        match self {
            Handshake::Any { dtls, timer, active } => {
                if *timer <= now {
                    dtls.handle_timeout(now).unwrap();
                }
                poll_any(dtls, timer, *active, send)
            }
            Handshake::AesCm { endpoint, connected } => {
                let _ = endpoint.handle_timeout(relay(), now);
                while let Some(message) = endpoint.poll_transmit() {
                    send.push(message.message.to_vec());
                }
                let state = endpoint.get_connection_state(relay()).filter(|_| !*connected)?;
                let profile = Profile::Aes128CmSha1_80;
                let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], profile.material_len()).ok()?;
                *connected = true;
                Some(SrtpKeys::from_exporter(profile, material.as_ref(), true).unwrap())
            }
        }
    }
}

fn poll_any(dtls: &mut Dtls, timer: &mut Instant, active: bool, send: &mut Vec<Vec<u8>>) -> Option<SrtpKeys> {
    let (mut buffer, mut keys) = ([0; 4096], None);
    loop {
        match dtls.poll_output(&mut buffer) {
            Output::Packet(datagram) => send.push(datagram.to_vec()),
            Output::KeyingMaterial(material, profile) => {
                let profile = match profile {
                    SrtpProfile::AEAD_AES_128_GCM => Profile::Aes128Gcm,
                    SrtpProfile::AEAD_AES_256_GCM => Profile::Aes256Gcm,
                    _ => panic!("the hop settles on AES-GCM"),
                };
                keys = Some(SrtpKeys::from_exporter(profile, &material, active).unwrap());
            }
            Output::Timeout(at) => {
                *timer = at;
                return keys;
            }
            _ => {}
        }
    }
}

fn identity() -> &'static DtlsCertificate {
    static IDENTITY: OnceLock<DtlsCertificate> = OnceLock::new();
    IDENTITY.get_or_init(|| generate_self_signed_certificate().unwrap())
}

/// The configuration that offers AES-CM alone, and its certificate.
fn old() -> &'static (Arc<HandshakeConfig>, Vec<u8>) {
    static OLD: OnceLock<(Arc<HandshakeConfig>, Vec<u8>)> = OnceLock::new();
    OLD.get_or_init(|| {
        let provider = default_provider().unwrap();
        let certificate = Certificate::generate_self_signed(vec!["old".to_owned()], provider.crypto()).unwrap();
        let encoded = certificate.certificate[0].to_vec();
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80])
            .with_insecure_skip_verify(true)
            .build(true, Some(relay()))
            .unwrap();
        (Arc::new(config), encoded)
    })
}

/// The library wants an address for its peer; nothing is sent to it.
fn relay() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 9))
}
