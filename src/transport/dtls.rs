//! The hop's handshake (RFC 5764 over DTLS 1.2, RFC 6347): the relay is the server, checks the participant's
//! certificate against the fingerprint from signaling, and only then gives out SRTP keys.
//!
//! Why 1.2: there the library chooses the SRTP profile by its own order, AES-GCM first; under 1.3 it takes the client's
//! first one, which for Chromium is AES-CM, at five times the cost per packet. Media is encrypted end to end anyway.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, digest};
use dimpl::certificate::generate_self_signed_certificate;
use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::reassembly::{MESSAGE_MAX, Reassembly};
use super::srtp::{Profile, SrtpKeys};

/// The relay's certificate: made once per process start, kept nowhere, the same for every participant.
#[derive(Clone)]
pub struct Certificate {
    pair: DtlsCertificate,
    fingerprint: [u8; 32],
    config: Arc<Config>,
}

/// The relay's end of one participant's DTLS association, before and after its handshake.
pub struct Handshake {
    dtls: Dtls,
    reassembly: Reassembly,
    expected: [u8; 32],
    verified: bool,
    connected: bool,
    /// When an unfinished handshake fails.
    deadline: Instant,
    /// When the library wants to be woken.
    timer: Option<Instant>,
    failed: Option<DtlsError>,
}

/// How far an association has come.
pub enum Progress {
    /// Nothing new.
    Pending,
    /// The handshake is done and the participant is the one that signaling announced. Told once.
    Connected(SrtpKeys),
    /// The participant closed the association.
    Closed,
}

/// Why an association failed; it is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DtlsError {
    /// The certificate is not the one that signaling announced.
    #[error("the certificate does not match the announced fingerprint")]
    Fingerprint,
    /// Not finished in time.
    #[error("the handshake took too long")]
    Timeout,
    /// No version, cipher suite, certificate or SRTP profile in common, or a broken message.
    #[error("the handshake failed")]
    Handshake,
}

/// The relay has no certificate: the system's randomness or crypto failed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("cannot make a certificate; is the system's random source available?")]
pub struct CertificateError;

impl Certificate {
    /// A new self-signed certificate with a P-256 key.
    pub fn generate() -> Result<Self, CertificateError> {
        let pair = generate_self_signed_certificate().map_err(|_| CertificateError)?;
        let config = Config::builder()
            .mtu(MTU)
            // The address has passed an authenticated ICE check: a cookie would prove the same at one more round trip.
            .use_server_cookie(false)
            .require_client_certificate(true)
            .flight_start_rto(FIRST_RETRY)
            .flight_retries(RETRIES)
            .handshake_timeout(HANDSHAKE_TIMEOUT)
            .max_queue_rx(QUEUE_MAX)
            .build()
            .map_err(|_| CertificateError)?;
        let fingerprint = sha256(&pair.certificate);
        Ok(Certificate { pair, fingerprint, config: Arc::new(config) })
    }

    /// SHA-256 of the certificate, for `a=fingerprint` (RFC 8122).
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        self.pair.private_key.zeroize();
    }
}

impl ZeroizeOnDrop for Certificate {}

impl Handshake {
    /// Waits for the hello of a participant whose certificate must have this SHA-256 fingerprint. To be made when the
    /// first path has passed an ICE check: from now on it has 15 s.
    pub fn new(certificate: &Certificate, now: Instant, expected_fingerprint: [u8; 32]) -> Self {
        Handshake {
            dtls: Dtls::new_12(Arc::clone(&certificate.config), certificate.pair.clone(), now),
            reassembly: Reassembly::default(),
            expected: expected_fingerprint,
            verified: false,
            connected: false,
            deadline: now + HANDSHAKE_TIMEOUT,
            timer: None,
            failed: None,
        }
    }

    /// Takes a datagram that came by a path which passed a check. To be followed by [`Self::poll`].
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DtlsError> {
        self.handle_timeout(now)?;
        if datagram.len() > DATAGRAM_MAX {
            return Ok(());
        }
        let dtls = &mut self.dtls;
        let outcome = self.reassembly.push(datagram, |record| dtls.handle_packet(record));
        outcome.map_err(|_| self.fail(DtlsError::Handshake))
    }

    /// Tells the time, at [`Self::next_timeout`] at the latest. To be followed by [`Self::poll`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if !self.connected && now >= self.deadline {
            return Err(self.fail(DtlsError::Timeout));
        }
        self.dtls.handle_timeout(now).map_err(|error| match error {
            dimpl::Error::Timeout(_) => self.fail(DtlsError::Timeout),
            _ => self.fail(DtlsError::Handshake),
        })
    }

    /// Hands every datagram that is to be sent to `send` and tells what was reached. To be called until it is pending.
    pub fn poll(&mut self, mut send: impl FnMut(&[u8])) -> Result<Progress, DtlsError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut buffer = [0; MESSAGE_MAX];
        loop {
            let failure = match self.dtls.poll_output(&mut buffer) {
                Output::Packet(datagram) => {
                    send(datagram);
                    continue;
                }
                Output::PeerCert(certificate) => {
                    let found = sha256(certificate);
                    self.verified = constant_time::verify_slices_are_equal(&found, &self.expected).is_ok();
                    if self.verified {
                        continue;
                    }
                    DtlsError::Fingerprint
                }
                Output::KeyingMaterial(material, profile) => match self.keys(&material, profile) {
                    Ok(keys) => return Ok(Progress::Connected(keys)),
                    Err(error) => error,
                },
                Output::Timeout(timer) => {
                    self.timer = Some(timer);
                    return Ok(Progress::Pending);
                }
                Output::CloseNotify => return Ok(Progress::Closed),
                Output::BufferTooSmall { .. } => DtlsError::Handshake,
                // Data channels are not negotiated; what comes on them is dropped.
                _ => continue,
            };
            return Err(self.fail(failure));
        }
    }

    /// When [`Self::handle_timeout`] must be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.failed.is_some() {
            return None;
        }
        let deadline = (!self.connected).then_some(self.deadline);
        self.timer.into_iter().chain(deadline).min()
    }

    /// Whether keys were given out.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    fn keys(&mut self, material: &[u8], profile: SrtpProfile) -> Result<SrtpKeys, DtlsError> {
        if !self.verified {
            return Err(DtlsError::Fingerprint);
        }
        let profile = match profile {
            SrtpProfile::AEAD_AES_128_GCM => Profile::Aes128Gcm,
            SrtpProfile::AEAD_AES_256_GCM => Profile::Aes256Gcm,
            SrtpProfile::AES128_CM_SHA1_80 => Profile::Aes128CmSha1_80,
            _ => return Err(DtlsError::Handshake),
        };
        let keys = SrtpKeys::from_exporter(profile, material, false).map_err(|_| DtlsError::Handshake)?;
        self.connected = true;
        Ok(keys)
    }

    fn fail(&mut self, error: DtlsError) -> DtlsError {
        *self.failed.get_or_insert(error)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Largest datagram sent, in bytes: within what every path carries with tunnels on the way, as media is.
const MTU: usize = 1200;
/// Larger ones are no browser's; a flight of one Ethernet frame has 1500.
const DATAGRAM_MAX: usize = 2048;
/// First retransmission. RFC 6347 suggests 1 s; a call waits for the handshake, and a flight sent twice on a path of
/// more than 300 ms costs 1.2 kB.
const FIRST_RETRY: Duration = Duration::from_millis(300);
/// 0.3 s doubled six times passes the deadline, so that time decides and not the count.
const RETRIES: usize = 6;
/// As long as ICE consent: who sends no handshake within it is not there.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// Records that the library may hold back, several kilobytes each: a client's four messages, and a few of its
/// ChangeCipherSpec, sent again after loss.
const QUEUE_MAX: usize = 8;

#[cfg(test)]
mod tests;
