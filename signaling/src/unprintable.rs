//! Ids, signatures, messages and credentials have no way to be printed: this file does not compile where one has.

use std::fmt::{Debug, Display};

use static_assertions::assert_not_impl_any;
use zeroize::Zeroizing;

use crate::admission::Nonce;
use crate::base64url::Base64Url;
use crate::call::Call;
use crate::directory::Directory;
use crate::host::{HostState, Ruling};
use crate::media::{Negotiated, ParticipantKey, PublishedMid, TunnelLeg};
use crate::message::{CallId, ClientMessage, Join, ParticipantId, RosterEntry, ServerMessage};
use crate::outbox::{Outbox, Waiting};
use crate::room::{Effect, Room};
use crate::server::Server;
use crate::session::Session;

assert_not_impl_any!(CallId: Debug, Display);
assert_not_impl_any!(ParticipantId: Debug, Display);
assert_not_impl_any!(Nonce: Debug, Display);
assert_not_impl_any!(Join: Debug, Display);
assert_not_impl_any!(ClientMessage: Debug, Display);
assert_not_impl_any!(ServerMessage: Debug, Display);
assert_not_impl_any!(RosterEntry: Debug, Display);
assert_not_impl_any!(HostState: Debug, Display);
assert_not_impl_any!(Ruling: Debug, Display);
assert_not_impl_any!(TunnelLeg: Debug, Display);
assert_not_impl_any!(Negotiated: Debug, Display);
assert_not_impl_any!(PublishedMid: Debug, Display);
assert_not_impl_any!(Room: Debug, Display);
assert_not_impl_any!(Effect: Debug, Display);
assert_not_impl_any!(Call: Debug, Display);
assert_not_impl_any!(Session: Debug, Display);
assert_not_impl_any!(Outbox: Debug, Display);
assert_not_impl_any!(Waiting: Debug, Display);
assert_not_impl_any!(Directory: Debug, Display);
assert_not_impl_any!(Server: Debug, Display);
assert_not_impl_any!(Base64Url<32>: Display);
assert_not_impl_any!(ParticipantKey: Display);

// The one secret that passes through here is overwritten.
const _: fn(&TunnelLeg) -> &Zeroizing<String> = |leg| &leg.pwd;

#[test]
fn where_a_debug_is_needed_it_prints_no_byte() {
    assert_eq!(format!("{:?}", Base64Url([7; 32])), "Base64Url(..)");
    assert_eq!(format!("{:?}", ParticipantKey(172_870_142)), "ParticipantKey(..)");
}
