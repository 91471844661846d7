//! The ICE-lite responder (RFC 8445): answers authenticated checks, remembers the paths they came by, follows the
//! peer's nomination, and knows until when the peer consents to be sent to (RFC 7675).

use std::time::{Duration, Instant};

use arrayvec::{ArrayString, ArrayVec};
use aws_lc_rs::hmac;

pub use super::stun::StunError;
use super::stun::{Request, username_of};
use crate::relay::outbox::Path;
use crate::session::IceParameters;

/// One participant's end of ICE.
pub struct IceLite {
    current: Credentials,
    /// Before an ICE restart; they keep the selected path alive until the new ones nominate one.
    previous: Option<Credentials>,
    /// Paths that passed a check, most recently checked last.
    paths: ArrayVec<Path, PATHS_MAX>,
    selected: Option<Path>,
    /// Last authenticated check on the selected path, or on any path while none is selected.
    checked: Option<Instant>,
}

/// What an authentic check changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What the path may now be used for.
    pub standing: Standing,
    /// A path that had to make room, and whose datagrams count as a stranger's from now on.
    pub forgotten: Option<Path>,
    /// An ICE restart is complete: the credentials before it are void.
    pub restarted: bool,
}

/// Where a path stands after a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Answered with an error; nothing changed.
    Refused,
    /// Valid as it was before: datagrams from it are the participant's.
    Known,
    /// Valid for the first time.
    Valid,
    /// Nominated just now: what is sent to the participant takes this path from here on.
    Selected,
}

impl IceLite {
    /// A responder without any valid path.
    pub fn new(parameters: &IceParameters) -> Self {
        let current = Credentials::new(parameters);
        IceLite { current, previous: None, paths: ArrayVec::new(), selected: None, checked: None }
    }

    /// Takes the parameters of a renegotiation. Another ufrag of ours begins an ICE restart (RFC 8445, section 9);
    /// media keeps the selected path until a check under the new credentials nominates one.
    pub fn update(&mut self, parameters: &IceParameters) {
        if self.current.local_ufrag == parameters.local_ufrag {
            return;
        }
        let old = std::mem::replace(&mut self.current, Credentials::new(parameters));
        // Two restarts in a row: the path was selected under the older credentials, so those stay.
        if self.previous.is_none() && self.selected.is_some() {
            self.previous = Some(old);
        }
    }

    /// Answers a Binding request into `reply`. Whatever is not authentic gets no reply, changes nothing and allocates
    /// nothing; replies are at most 1.5 times as long as their request, an IPv6 address included.
    pub fn handle_request(
        &mut self,
        now: Instant,
        path: Path,
        bytes: &[u8],
        reply: &mut Vec<u8>,
    ) -> Result<Outcome, StunError> {
        let request = Request::parse(bytes)?;
        let is_current = self.current.names(request.username());
        let credentials = match (&self.previous, is_current) {
            (_, true) => &self.current,
            (Some(previous), false) if previous.names(request.username()) => previous,
            _ => return Err(StunError::Username),
        };
        request.authenticate(&credentials.key)?;

        if !request.unknown().is_empty() {
            request.write_unknown_attribute(&credentials.key, reply);
            return Ok(Outcome::REFUSED);
        }
        if request.controlled {
            request.write_role_conflict(&credentials.key, reply);
            return Ok(Outcome::REFUSED);
        }
        request.write_success(path.remote, &credentials.key, reply);
        Ok(self.note_check(now, path, is_current, request.nominates))
    }

    /// The nominated path.
    pub fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Whether a path passed a check and is still remembered.
    pub fn is_valid(&self, path: &Path) -> bool {
        self.paths.contains(path)
    }

    /// Every remembered path, at most eight.
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// When to stop sending, unless another check arrives; `None` before the first one.
    pub fn consent_deadline(&self) -> Option<Instant> {
        self.checked.map(|checked| checked + CONSENT)
    }

    /// Ufrags of ours under which checks are answered: the current one and, during a restart, the one before.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current).chain(&self.previous).map(|credentials| credentials.local_ufrag.as_str())
    }

    fn note_check(&mut self, now: Instant, path: Path, is_current: bool, nominates: bool) -> Outcome {
        let (known, forgotten) = self.remember(path);
        // The latest nomination wins: a controlling peer that faces a lite one nominates what it sends on.
        let selects = nominates && is_current && (self.selected != Some(path) || self.previous.is_some());
        let restarted = selects && self.previous.take().is_some();
        if selects {
            self.selected = Some(path);
        }
        if self.selected.is_none_or(|selected| selected == path) {
            self.checked = Some(now);
        }
        let standing = match (selects, known) {
            (true, _) => Standing::Selected,
            (false, true) => Standing::Known,
            (false, false) => Standing::Valid,
        };
        Outcome { standing, forgotten, restarted }
    }

    /// Moves a path to the end of the list, forgetting the least recently checked one that is not in use if it is full.
    fn remember(&mut self, path: Path) -> (bool, Option<Path>) {
        let position = self.paths.iter().position(|&known| known == path);
        if let Some(position) = position {
            self.paths.remove(position);
        }
        let mut forgotten = None;
        if self.paths.is_full() {
            let oldest = self.paths.iter().position(|&known| Some(known) != self.selected).unwrap_or(0);
            forgotten = Some(self.paths.remove(oldest));
        }
        self.paths.push(path);
        (position.is_some(), forgotten)
    }
}

impl Outcome {
    const REFUSED: Outcome = Outcome { standing: Standing::Refused, forgotten: None, restarted: false };
}

/// The relay's half of USERNAME in something that looks like a Binding request: whose check this may be. Nothing in it
/// is authenticated.
pub fn ufrag_of(datagram: &[u8]) -> Option<&[u8]> {
    let username = username_of(datagram)?;
    let colon = username.iter().position(|&byte| byte == b':')?;
    Some(&username[..colon])
}

struct Credentials {
    local_ufrag: ArrayString<8>,
    remote_ufrag: Option<String>,
    key: hmac::Key,
}

impl Credentials {
    fn new(parameters: &IceParameters) -> Self {
        Credentials {
            local_ufrag: parameters.local_ufrag,
            remote_ufrag: parameters.remote_ufrag.clone(),
            key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, parameters.local_pwd.as_bytes()),
        }
    }

    fn names(&self, username: &[u8]) -> bool {
        let ours = self.local_ufrag.as_bytes();
        let theirs = username.strip_prefix(ours).and_then(|rest| rest.strip_prefix(b":"));
        theirs.is_some_and(|theirs| self.remote_ufrag.as_ref().is_none_or(|known| known.as_bytes() == theirs))
    }
}

/// How long an authentic check on the selected path lets us send. RFC 7675 allows 30 s; browsers check every 2.5 s
/// (Chromium) or 5 s (Firefox), so 15 s forgives the loss of two checks in a row and stops sooner for the dead.
const CONSENT: Duration = Duration::from_secs(15);
/// Remembered paths per participant: two interfaces times two address families, doubled for a NAT that rebinds. The
/// rest of an offer's candidates are checked and answered, but the oldest is forgotten.
const PATHS_MAX: usize = 8;

#[cfg(test)]
mod tests;
