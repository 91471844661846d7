//! The load tester's secrets have no way to be printed, and erase themselves: this file does not compile otherwise.

use std::fmt::{Debug, Display};

use static_assertions::{assert_impl_all, assert_not_impl_any};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::conversation::Conversation;
use super::derive::Secret;
use super::encryption::{Encryption, Happening};
use super::hello::Hello;
use super::host_state::{HostState, Said};
use super::link::Link;
use super::membership::{Membership, Peer};
use super::pairwise::{ConnectionKey, Pair};
use super::receiver_key::ReceiverKeys;
use super::sender_key::{BaseKey, SenderKeys};
use super::sframe::SframeKey;
use crate::engine::light::description::Answer;
use crate::engine::light::dtls::{Dtls, Identity, Progress};
use crate::engine::light::ice::{Credentials, Ice};
use crate::engine::light::srtp::{Direction, Keys};

assert_not_impl_any!(Link: Debug, Display);
assert_not_impl_any!(Hello: Debug, Display);
assert_not_impl_any!(Peer: Debug, Display);
assert_not_impl_any!(Membership: Debug, Display);
assert_not_impl_any!(HostState: Debug, Display);
assert_not_impl_any!(Said: Debug, Display);
assert_not_impl_any!(Conversation: Debug, Display);
assert_not_impl_any!(Encryption: Debug, Display);
assert_not_impl_any!(Happening: Debug, Display);
assert_not_impl_any!(ConnectionKey: Debug, Display);
assert_not_impl_any!(Pair: Debug, Display);
assert_not_impl_any!(BaseKey: Debug, Display);
assert_not_impl_any!(SenderKeys: Debug, Display);
assert_not_impl_any!(ReceiverKeys: Debug, Display);
assert_not_impl_any!(SframeKey: Debug, Display);
assert_not_impl_any!(Credentials: Debug, Display);
assert_not_impl_any!(Ice: Debug, Display);
assert_not_impl_any!(Identity: Debug, Display);
assert_not_impl_any!(Dtls: Debug, Display);
assert_not_impl_any!(Progress: Debug, Display);
assert_not_impl_any!(Keys: Debug, Display);
assert_not_impl_any!(Direction: Debug, Display);
assert_not_impl_any!(Answer: Debug, Display);
assert_not_impl_any!(crate::cli::Secret: Display);
assert_not_impl_any!(crate::relay_url::RelayUrl: Display);

// Every derived secret is of this type; ciphers lie in aws-lc, which erases all memory that it frees.
assert_impl_all!(Secret<32>: ZeroizeOnDrop);
assert_impl_all!(crate::cli::Secret: ZeroizeOnDrop);
const _: fn(&Credentials) -> &Zeroizing<String> = |credentials| &credentials.password;
