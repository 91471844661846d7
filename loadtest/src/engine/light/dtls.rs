//! The client's end of DTLS-SRTP (RFC 5764 over DTLS 1.2) by `rtc-dtls`, to one peer, told the time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::config::{ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use zeroize::Zeroizing;

use super::srtp::{Keys, Profile};
use crate::clock::Moment;

/// Who a participant is in DTLS: a certificate of its own, as browsers have, and its fingerprint.
pub struct Identity {
    certificate: Certificate,
    fingerprint: [u8; 32],
}

/// One association.
pub struct Dtls {
    endpoint: Endpoint,
    /// The relay's, from its answer.
    expected: [u8; 32],
    anchor: Anchor,
    connected: bool,
}

/// The same moment on both clocks: the library's time is an [`Instant`].
#[derive(Clone, Copy)]
pub struct Anchor {
    /// For the library.
    pub instant: Instant,
    /// Ours.
    pub moment: Moment,
}

/// What came of a datagram.
pub enum Progress {
    /// Nothing new.
    Pending,
    /// The handshake is done, with the relay that signaling announced.
    Connected(Box<Keys>),
    /// The relay ended the association.
    Closed,
}

/// Why there is no association.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DtlsError {
    /// No randomness, or nothing left of what was to be offered.
    #[error("the handshake cannot begin; is the system's random source available?")]
    Begin,
    /// Nothing in common, or a broken message, or too many repetitions.
    #[error("the DTLS handshake failed")]
    Handshake,
    /// Somebody else than signaling announced.
    #[error("the relay's certificate does not match the fingerprint in its answer")]
    Fingerprint,
    /// Without use_srtp, or with a profile that was not offered.
    #[error("the relay agreed to no SRTP profile of AES-GCM")]
    Profile,
}

impl Identity {
    /// A new self-signed certificate.
    ///
    /// # Errors
    /// [`DtlsError::Begin`].
    pub fn generate(provider: &dyn RTCCryptoProvider) -> Result<Self, DtlsError> {
        let made = Certificate::generate_self_signed(vec!["participant".to_owned()], provider.crypto());
        let certificate = made.map_err(|_| DtlsError::Begin)?;
        let fingerprint = sha256(&certificate.certificate[0]);
        Ok(Self { certificate, fingerprint })
    }

    /// For `a=fingerprint` (RFC 8122).
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

impl Dtls {
    /// Sends the first hello.
    ///
    /// # Errors
    /// [`DtlsError::Begin`].
    pub fn connect(
        now: Moment,
        anchor: Anchor,
        provider: Arc<dyn RTCCryptoProvider>,
        identity: &Identity,
        expected: [u8; 32],
    ) -> Result<Self, DtlsError> {
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![identity.certificate.clone()])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
            ])
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_flight_interval(FLIGHT)
            .with_insecure_skip_verify(true) // no authority signs it: its fingerprint is compared when it is done
            .with_server_name("relay".to_owned())
            .build(true, None)
            .map_err(|_| DtlsError::Begin)?;
        let mut endpoint = Endpoint::new(NOWHERE, TransportProtocol::UDP, None);
        let begun = endpoint.connect(anchor.instant_of(now), PEER, Arc::new(config), None);
        begun.map_err(|_| DtlsError::Begin)?;
        Ok(Self { endpoint, expected, anchor, connected: false })
    }

    /// Takes a datagram.
    ///
    /// # Errors
    /// [`DtlsError`], all but `Begin`; the association is of no use any more.
    pub fn handle_datagram(&mut self, now: Moment, datagram: &[u8]) -> Result<Progress, DtlsError> {
        let events = self.endpoint.read(self.anchor.instant_of(now), PEER, None, BytesMut::from(datagram));
        // Once connected, a record that cannot be read is dropped, as RFC 6347, section 4.1.2.7 says.
        let events = match events {
            Ok(events) => events,
            Err(_) if self.connected => Vec::new(),
            Err(_) => return Err(DtlsError::Handshake),
        };
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.connected = true;
                    return self.keys().map(|keys| Progress::Connected(Box::new(keys)));
                }
                EndpointEvent::PeerClosed => return Ok(Progress::Closed),
                _ => {}
            }
        }
        Ok(Progress::Pending)
    }

    /// Repeats what was not answered.
    ///
    /// # Errors
    /// [`DtlsError::Handshake`] after the last repetition.
    pub fn handle_timeout(&mut self, now: Moment) -> Result<(), DtlsError> {
        self.endpoint.handle_timeout(PEER, self.anchor.instant_of(now)).map_err(|_| DtlsError::Handshake)
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Moment> {
        // Nothing is repeated of its own accord once it is done; asking costs a look-up for each packet.
        let next = if self.connected { None } else { self.endpoint.poll_timeout(&PEER) };
        next.map(|instant| self.anchor.moment_of(instant))
    }

    /// Tells the relay that this is over.
    pub fn close(&mut self, now: Moment) {
        self.endpoint.stop(self.anchor.instant_of(now), PEER);
    }

    /// What is to be sent.
    pub fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message)
    }

    fn keys(&self) -> Result<Keys, DtlsError> {
        let state = self.endpoint.get_connection_state(PEER).ok_or(DtlsError::Handshake)?;
        if state.peer_certificates.first().is_none_or(|certificate| sha256(certificate) != self.expected) {
            return Err(DtlsError::Fingerprint);
        }
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::Aes128Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Profile::Aes256Gcm,
            _ => return Err(DtlsError::Profile),
        };
        let material = state.export_keying_material(LABEL, &[], profile.material_len());
        let material = Zeroizing::new(material.map_err(|_| DtlsError::Handshake)?.into_bytes());
        Ok(Keys::of_client(profile, &material))
    }
}

impl Anchor {
    fn instant_of(&self, moment: Moment) -> Instant {
        self.instant + moment.since(self.moment)
    }

    fn moment_of(&self, instant: Instant) -> Moment {
        self.moment + instant.saturating_duration_since(self.instant)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// RFC 5764, section 4.2.
const LABEL: &str = "EXTRACTOR-dtls_srtp";
/// Before the first repetition: a round trip and the relay's work on a loaded machine.
const FLIGHT: Duration = Duration::from_millis(300);
/// The library tells associations apart by address; there is one, whichever path it takes.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
/// Its own address means nothing to it.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
