//! A full, controlling ICE agent (RFC 8445) of one socket against a lite one with host candidates: checks, nomination,
//! consent (RFC 7675), restarts. `rtc-stun` reads and writes the messages; `rtc-ice`'s agent would bring gathering,
//! mDNS, its own randomness and no round-trip times, all to choose among one or two addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, RngExt};
use rand_chacha::ChaCha20Rng;
use rtc_crypto::RTCCryptoProvider;
use rtc_stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FingerprintAttr;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};
use zeroize::Zeroizing;

use crate::clock::Moment;

/// One end's short-term credentials (RFC 8445, section 5.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user-name fragment.
    pub ufrag: String,
    /// The password.
    pub password: Zeroizing<String>,
}

/// The agent.
pub struct Ice {
    provider: Arc<dyn RTCCryptoProvider>,
    tie_breaker: u64,
    local: Credentials,
    remote: Option<Credentials>,
    candidates: Vec<SocketAddr>,
    /// Answered a check under the current credentials; to be nominated.
    valid: Option<SocketAddr>,
    /// Nominated under the current credentials.
    nominated: bool,
    selected: Option<SocketAddr>,
    /// Checks that were not answered yet, oldest first.
    pending: Vec<Check>,
    /// When to send the next checks.
    next: Option<Moment>,
    /// Since when nothing was answered.
    silent_since: Moment,
    round_trip: Option<Duration>,
    lost: bool,
}

/// What came of a datagram or a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to tell.
    Nothing,
    /// This address was nominated; media goes there from now on.
    Nominated(SocketAddr),
    /// Nothing is answered any more, or never was. Told once until the next start.
    Lost(&'static str),
}

struct Check {
    id: TransactionId,
    to: SocketAddr,
    sent: Moment,
    nominates: bool,
}

impl Credentials {
    /// New ones, of 8 and 24 characters as browsers make them.
    pub fn random(random: &mut ChaCha20Rng) -> Self {
        let mut text = |count: usize| -> String {
            (0..count).map(|_| char::from(CHARACTERS[usize::from(random.random::<u8>() % 64)])).collect()
        };
        Self { ufrag: text(8), password: Zeroizing::new(text(24)) }
    }
}

impl Ice {
    /// An agent that has nobody to check yet.
    pub fn new(provider: Arc<dyn RTCCryptoProvider>, local: Credentials, random: &mut ChaCha20Rng) -> Self {
        Self {
            provider,
            tie_breaker: random.next_u64(),
            local,
            remote: None,
            candidates: Vec::new(),
            valid: None,
            nominated: false,
            selected: None,
            pending: Vec::new(),
            next: None,
            silent_since: Moment::default(),
            round_trip: None,
            lost: false,
        }
    }

    /// Begins checks under these credentials, unless they are those in use. A path in use stays in use until another
    /// is nominated.
    pub fn start(&mut self, now: Moment, local: &Credentials, remote: &Credentials, candidates: &[SocketAddr]) {
        if self.remote.as_ref() == Some(remote) && self.local == *local && self.candidates == candidates {
            return;
        }
        self.local = local.clone();
        self.remote = Some(remote.clone());
        self.candidates = candidates.to_vec();
        (self.valid, self.nominated, self.lost) = (None, false, false);
        self.pending.clear();
        self.next = Some(now);
        self.silent_since = now;
    }

    /// Where media goes.
    pub fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    /// The smoothed round trip of the checks.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.next
    }

    /// Takes a STUN message; `send` is given what to answer and where. Only what authenticates counts.
    pub fn handle_datagram(
        &mut self,
        now: Moment,
        datagram: &[u8],
        random: &mut ChaCha20Rng,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) -> Outcome {
        let Some(remote) = &self.remote else { return Outcome::Nothing };
        let mut message = Message::new();
        // Requests are none of a lite agent's business, errors leave the check to be repeated.
        if message.unmarshal_binary(datagram).is_err() || message.typ != BINDING_SUCCESS {
            return Outcome::Nothing;
        }
        let Some(place) = self.pending.iter().position(|check| check.id == message.transaction_id) else {
            return Outcome::Nothing;
        };
        let key = remote.password.as_bytes();
        if MessageIntegrity::check(&mut message, key, self.provider.crypto()).is_err() {
            return Outcome::Nothing;
        }
        let check = self.pending.swap_remove(place);
        self.pending.retain(|other| other.sent > check.sent || other.to != check.to);
        let sample = now.since(check.sent);
        self.round_trip = Some(self.round_trip.map_or(sample, |known| (known * 7 + sample) / 8));
        self.silent_since = now;
        if check.nominates && !self.nominated {
            self.nominated = true;
            self.selected = Some(check.to);
            self.next = Some(now + consent_interval(random));
            return Outcome::Nominated(check.to);
        }
        if self.nominated {
            self.next = Some(now + consent_interval(random));
        } else if self.valid.is_none() {
            self.valid = Some(check.to);
            self.check(now, check.to, true, random, send);
            self.next = Some(now + RETRY);
        }
        Outcome::Nothing
    }

    /// Sends the checks that are due.
    pub fn handle_timeout(
        &mut self,
        now: Moment,
        random: &mut ChaCha20Rng,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) -> Outcome {
        if self.next.is_none_or(|next| now < next) {
            return Outcome::Nothing;
        }
        let patience = if self.nominated { CONSENT_LOST } else { NEVER_ANSWERED };
        if now.since(self.silent_since) > patience && !self.lost {
            self.lost = true;
            self.next = Some(now + RETRY_LATER);
            return Outcome::Lost(if self.nominated {
                "the relay answers no consent checks any more"
            } else {
                "the relay answers no connectivity checks"
            });
        }
        let eager = !self.nominated && now.since(self.silent_since) < EAGER;
        self.next = Some(now + if eager { RETRY } else { RETRY_LATER });
        match self.selected.filter(|_| self.nominated).or(self.valid) {
            Some(to) => self.check(now, to, !self.nominated, random, send),
            None => {
                for place in 0..self.candidates.len() {
                    self.check(now, self.candidates[place], false, random, send);
                }
            }
        }
        Outcome::Nothing
    }

    fn check(
        &mut self,
        now: Moment,
        to: SocketAddr,
        nominates: bool,
        random: &mut ChaCha20Rng,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) {
        let Some(remote) = &self.remote else { return };
        let id = TransactionId(random.random());
        let mut message = Message::new();
        message.set_type(BINDING_REQUEST);
        message.transaction_id = id;
        message.write_header();
        message.add(ATTR_USERNAME, format!("{}:{}", remote.ufrag, self.local.ufrag).as_bytes());
        message.add(ATTR_ICE_CONTROLLING, &self.tie_breaker.to_be_bytes());
        message.add(ATTR_PRIORITY, &PRIORITY.to_be_bytes());
        if nominates {
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        let integrity = MessageIntegrity::new_raw_integrity_with_provider(
            remote.password.as_bytes().to_vec(),
            self.provider.crypto(),
        );
        let written = integrity.add_to(&mut message).and_then(|()| FingerprintAttr.add_to(&mut message));
        written.expect("a short message with a key can be authenticated");
        if self.pending.len() == PENDING_MAX {
            self.pending.remove(0);
        }
        self.pending.push(Check { id, to, sent: now, nominates });
        send(to, &message.raw);
    }
}

/// RFC 7675, section 5.1: five seconds, less or more by a fifth.
fn consent_interval(random: &mut ChaCha20Rng) -> Duration {
    Duration::from_millis(random.random_range(4000..6000))
}

/// RFC 8839, section 5.4: the characters that ICE credentials may have, 64 of them.
const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Of a peer-reflexive candidate (RFC 8445, section 5.1.2.1): type preference 110, the only address, component 1.
const PRIORITY: u32 = (110 << 24) + (65_535 << 8) + 255;
/// Between two checks while it is being connected: browsers check about as often.
const RETRY: Duration = Duration::from_millis(100);
/// How long it is that eager.
const EAGER: Duration = Duration::from_secs(2);
/// Between two checks afterwards, and between consent checks that stay unanswered.
const RETRY_LATER: Duration = Duration::from_millis(500);
/// Without an answer to a consent check: an outage of some seconds is survived without a restart, as by browsers, and
/// the relay, which consents for 15 s, is still there when the restart begins.
const CONSENT_LOST: Duration = Duration::from_secs(12);
/// Without an answer to any check.
const NEVER_ANSWERED: Duration = Duration::from_secs(10);
/// Unanswered checks that are remembered: those of some seconds.
const PENDING_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const RELAY: ([u8; 4], u16) = ([192, 0, 2, 1], 3478);

    struct Bench {
        ice: Ice,
        random: ChaCha20Rng,
        now: Moment,
        remote: Credentials,
        sent: Vec<(SocketAddr, Vec<u8>)>,
    }

    impl Bench {
        fn new() -> Self {
            let mut random = ChaCha20Rng::seed_from_u64(1);
            let provider = rtc_crypto::default_provider().unwrap();
            let (local, remote) = (Credentials::random(&mut random), Credentials::random(&mut random));
            let mut ice = Ice::new(provider, local.clone(), &mut random);
            let now = Moment(1_000_000_000);
            ice.start(now, &local, &remote, &[RELAY.into()]);
            Bench { ice, random, now, remote, sent: Vec::new() }
        }

        fn pass(&mut self, by: Duration) -> Outcome {
            self.now = self.now + by;
            self.ice.handle_timeout(self.now, &mut self.random, &mut |to, bytes| self.sent.push((to, bytes.to_vec())))
        }

        /// The relay answers the latest check under this password.
        fn answer(&mut self, password: &str) -> Outcome {
            let mut request = Message::new();
            request.unmarshal_binary(&self.sent.last().unwrap().1).unwrap();
            let mut answer = Message::new();
            answer.set_type(BINDING_SUCCESS);
            answer.transaction_id = request.transaction_id;
            answer.write_header();
            let crypto = self.ice.provider.crypto();
            let key = password.as_bytes().to_vec();
            MessageIntegrity::new_raw_integrity_with_provider(key, crypto).add_to(&mut answer).unwrap();
            FingerprintAttr.add_to(&mut answer).unwrap();
            self.now = self.now + Duration::from_millis(20);
            let send = &mut |to, bytes: &[u8]| self.sent.push((to, bytes.to_vec()));
            self.ice.handle_datagram(self.now, &answer.raw, &mut self.random, send)
        }

        fn nominates(&self) -> bool {
            let mut request = Message::new();
            request.unmarshal_binary(&self.sent.last().unwrap().1).unwrap();
            request.contains(ATTR_USE_CANDIDATE)
        }
    }

    #[test]
    fn a_path_is_nominated_only_after_it_answered() {
        let mut bench = Bench::new();
        assert_eq!(bench.pass(Duration::ZERO), Outcome::Nothing);
        assert!(!bench.nominates());
        let password = bench.remote.password.clone();
        assert_eq!(bench.answer("not the password"), Outcome::Nothing);
        assert_eq!(bench.sent.len(), 1, "a forged answer changes nothing");
        assert_eq!(bench.answer(&password), Outcome::Nothing);
        assert!(bench.nominates());
        assert_eq!(bench.answer(&password), Outcome::Nominated(RELAY.into()));
        assert!(bench.ice.round_trip().unwrap() >= Duration::from_millis(20));
        let next = bench.ice.next_timeout().unwrap();
        assert!((4000..6000).contains(&next.since(bench.now).as_millis()), "consent is asked for every five seconds");
    }

    #[test]
    fn a_relay_that_falls_silent_is_told_once() {
        let mut bench = Bench::new();
        let password = bench.remote.password.clone();
        bench.pass(Duration::ZERO);
        bench.answer(&password);
        bench.answer(&password);
        let told = (0..200).filter(|_| matches!(bench.pass(Duration::from_millis(250)), Outcome::Lost(_))).count();
        assert_eq!(told, 1);
    }

    #[test]
    fn a_restart_keeps_the_path_until_it_is_nominated_anew() {
        let mut bench = Bench::new();
        let password = bench.remote.password.clone();
        bench.pass(Duration::ZERO);
        bench.answer(&password);
        bench.answer(&password);
        let (local, remote) = (Credentials::random(&mut bench.random), Credentials::random(&mut bench.random));
        let elsewhere = SocketAddr::from(([192, 0, 2, 2], 1));
        bench.ice.start(bench.now, &local, &remote, &[elsewhere]);
        bench.remote = remote.clone();
        assert_eq!(bench.ice.selected(), Some(RELAY.into()));
        bench.pass(Duration::ZERO);
        bench.answer(&remote.password);
        assert_eq!(bench.answer(&remote.password), Outcome::Nominated(elsewhere));
    }
}
