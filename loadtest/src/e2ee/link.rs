//! Links and admission: what the fragment of a link gives its holder, the call id that commits to it, and the
//! signature that lets a holder into the call.

use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use sotto_signaling::base64url::Base64Url;
use sotto_signaling::message::{CallId, Join, VERSION};
use zeroize::{Zeroize, Zeroizing};

use super::bytes::{covered, from_base64url, join, to_base64url};
use super::derive::{SALT, Secret, aes256, ed25519, hkdf, public_half, sha256, sign};

/// The secrets of a call, as its link gives them. Shared by all participants of one call.
pub struct Link {
    /// M, where the link is the host's.
    host_secret: Option<Secret<32>>,
    /// S.
    invite_secret: Secret<32>,
    /// h: says whose call this is.
    host: [u8; 16],
    call: [u8; 16],
    admission: Ed25519KeyPair,
    psk: Secret<32>,
    mac: hmac::Key,
    profile: LessSafeKey,
}

/// The text is no link of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the link is not complete: behind its `#` stand 43 characters (the host's) or 64 (an invitation); copy all of it"
)]
pub struct LinkError;

impl Link {
    /// The host's link with the secret M.
    pub fn host(secret: [u8; 32]) -> Self {
        let secret = Zeroizing::new(secret);
        let host = hash_of_host(&public_half(&host_key(&secret)));
        let invite = hkdf(secret.as_slice(), SALT, &[b"invite"]);
        Self::with(Some(secret), invite, host)
    }

    /// A host or invite link, or its fragment.
    ///
    /// # Errors
    /// Where the fragment is neither.
    pub fn parse(url_or_fragment: &str) -> Result<Self, LinkError> {
        let fragment = url_or_fragment.split_once('#').map_or(url_or_fragment, |(_, fragment)| fragment);
        let bytes = Zeroizing::new(from_base64url(fragment).ok_or(LinkError)?);
        match (<[u8; SECRET]>::try_from(bytes.as_slice()), bytes.split_at_checked(SECRET)) {
            (Ok(mut secret), _) => {
                let link = Self::host(secret);
                secret.zeroize();
                Ok(link)
            }
            (Err(_), Some((invite, host))) => {
                let host = host.try_into().map_err(|_| LinkError)?;
                let mut secret = Zeroizing::new([0; SECRET]);
                secret.copy_from_slice(invite);
                Ok(Self::with(None, secret, host))
            }
            _ => Err(LinkError),
        }
    }

    /// What stands behind the `#` of the host's link; `None` where this was made from an invitation.
    pub fn host_fragment(&self) -> Option<Zeroizing<String>> {
        let secret = self.host_secret.as_ref()?;
        Some(Zeroizing::new(to_base64url(secret.as_slice())))
    }

    /// What stands behind the `#` of the link for guests.
    pub fn invite_fragment(&self) -> Zeroizing<String> {
        let both = Zeroizing::new([self.invite_secret.as_slice(), &self.host].concat());
        Zeroizing::new(to_base64url(&both))
    }

    /// The call that this opens.
    pub fn call(&self) -> CallId {
        CallId(Base64Url(self.call))
    }

    /// The raw call id, which every signature and every frame covers.
    pub(super) fn call_bytes(&self) -> &[u8; 16] {
        &self.call
    }

    /// Salt of every pairwise key.
    pub(super) fn psk(&self) -> &Secret<32> {
        &self.psk
    }

    /// Authenticates hellos.
    pub(super) fn mac(&self) -> &hmac::Key {
        &self.mac
    }

    /// Seals names.
    pub(super) fn profile(&self) -> &LessSafeKey {
        &self.profile
    }

    /// Whether the host of this call has that public key.
    pub(super) fn is_hosted_by(&self, key: &[u8; 32]) -> bool {
        hash_of_host(key) == self.host
    }

    /// The host's key pair; `None` where this was made from an invitation.
    #[cfg(test)]
    pub(super) fn host_key(&self) -> Option<Ed25519KeyPair> {
        self.host_secret.as_ref().map(host_key)
    }

    /// The request to enter the call with the identity that `signing` is. `nonce` is the server's, used once; `host_name`
    /// the page's, so that what is signed is of no use on another server.
    pub(super) fn join(&self, nonce: &[u8; 32], host_name: &str, signing: &Ed25519KeyPair) -> Join {
        let (admission, identity) = (public_half(&self.admission), public_half(signing));
        let fields = |last| [nonce.as_slice(), host_name.as_bytes(), last];
        let admitted = covered("join", &self.call, &fields(&identity));
        let proven = covered("proof", &self.call, &fields(&admission));
        Join {
            v: VERSION,
            call: self.call(),
            admission: Base64Url(admission),
            host: Base64Url(self.host),
            identity: Base64Url(identity),
            signature: Base64Url(sign(&self.admission, &admitted)),
            proof: Base64Url(sign(signing, &proven)),
        }
    }

    fn with(host_secret: Option<Secret<32>>, invite_secret: Secret<32>, host: [u8; HOST_HASH]) -> Self {
        let derive = |name: &str| hkdf::<32>(invite_secret.as_slice(), SALT, &[name.as_bytes()]);
        let admission = ed25519(&derive("admission"));
        let hash = sha256(&join(&[b"sotto/1 call", &public_half(&admission), &host]));
        let mut call = [0; 16];
        call.copy_from_slice(&hash[..16]);
        Self {
            call,
            admission,
            psk: derive("psk"),
            mac: hmac::Key::new(hmac::HMAC_SHA256, derive("mac").as_slice()),
            profile: aes256(&derive("profile")),
            host_secret,
            invite_secret,
            host,
        }
    }
}

fn host_key(secret: &Secret<32>) -> Ed25519KeyPair {
    ed25519(&hkdf(secret.as_slice(), SALT, &[b"host"]))
}

fn hash_of_host(key: &[u8; 32]) -> [u8; HOST_HASH] {
    let mut hash = [0; HOST_HASH];
    hash.copy_from_slice(&sha256(key)[..HOST_HASH]);
    hash
}

/// Bytes of M, 43 characters in a link, and of S.
const SECRET: usize = 32;

/// Bytes of h; with S 64 characters in a link.
const HOST_HASH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_link_and_its_invite_link_open_the_same_call() {
        let host = Link::host([7; 32]);
        let fragment = host.host_fragment().unwrap();
        assert_eq!((fragment.len(), host.invite_fragment().len()), (43, 64));
        for text in [format!("https://sotto.example/c#{}", *host.invite_fragment()), host.invite_fragment().to_string()]
        {
            let guest = Link::parse(&text).unwrap();
            assert!(guest.call() == host.call() && *guest.psk == *host.psk && guest.host == host.host);
            assert!(guest.host_fragment().is_none());
            assert_eq!(guest.invite_fragment(), host.invite_fragment());
        }
        let again = Link::parse(&format!("/c#{}", *fragment)).unwrap();
        assert_eq!(again.host_fragment().unwrap(), fragment);
        assert!(Link::host([8; 32]).call() != host.call());
    }

    #[test]
    fn a_link_that_is_cut_short_or_has_another_length_opens_nothing() {
        let host = Link::host([7; 32]);
        let (fragment, invite) = (host.host_fragment().unwrap(), host.invite_fragment());
        for wrong in ["", "#", "https://sotto.example/c#", &fragment[..42], &invite[..62], &format!("{}AAAA", *invite)]
        {
            assert_eq!(Link::parse(wrong).err(), Some(LinkError), "{wrong}");
        }
    }

    #[test]
    fn the_server_admits_who_joins_with_it() {
        let link = Link::host([9; 32]);
        let nonce = sotto_signaling::admission::Nonce::random();
        let join = link.join(&nonce.sent().0, "sotto.example", &ed25519(&Zeroizing::new([3; 32])));
        assert!(nonce.admit(&join, &["sotto.example".to_owned()]).is_ok());
    }
}
