//! Addresses, ids, credentials and keys have no way to be printed: a line that tried would not compile. Keys erase
//! themselves. This file does not compile where one of these types can be printed.

use std::fmt::{Debug, Display};

use static_assertions::{assert_impl_all, assert_not_impl_any};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::audit::canary::Canary;
use crate::audit::forms::Pattern;
use crate::call_log::CallLog;
use crate::call_log::store::{Kept, Row, Store};
use crate::config::Tls;
use crate::media::{Carrier, Home, Service};
use crate::relay::command::{CallKey, Command, Event, LegKey, ParticipantKey, Source};
use crate::relay::outbox::{Outbox, Path, Run};
use crate::relay::{Datagram, Relay};
use crate::sdp::{Answer, Negotiation};
use crate::session::{IceParameters, Incoming, Session, Slot, Ssrc};
use crate::transparency::Settings;
use crate::transport::dtls::{Certificate, Handshake, Progress};
use crate::transport::ice::{IceLite, Outcome};
use crate::transport::srtp::{Inbound, MasterKey, Outbound, SrtpKeys};
use crate::udp::{Batch, Socket};
use crate::worker::{Handle, Worker};

// Addresses, and what holds them.
assert_not_impl_any!(Path: Debug, Display);
assert_not_impl_any!(Run: Debug, Display);
assert_not_impl_any!(Outbox: Debug, Display);
assert_not_impl_any!(Datagram<'static>: Debug, Display);
assert_not_impl_any!(Outcome: Debug, Display);
assert_not_impl_any!(Home: Debug, Display);
assert_not_impl_any!(Carrier: Debug, Display);
assert_not_impl_any!(Service: Debug, Display);
assert_not_impl_any!(Relay: Debug, Display);
assert_not_impl_any!(Batch: Debug, Display);
assert_not_impl_any!(Socket: Debug, Display);
assert_not_impl_any!(Handle: Debug, Display);
assert_not_impl_any!(Worker: Debug, Display);
// Ids.
assert_not_impl_any!(CallKey: Debug, Display);
assert_not_impl_any!(ParticipantKey: Debug, Display);
assert_not_impl_any!(LegKey: Debug, Display);
assert_not_impl_any!(Source: Debug, Display);
assert_not_impl_any!(Command: Debug, Display);
assert_not_impl_any!(Event: Debug, Display);
assert_not_impl_any!(Ssrc: Display);
// Descriptions and credentials.
assert_not_impl_any!(Session: Debug, Display);
assert_not_impl_any!(IceParameters: Debug, Display);
assert_not_impl_any!(Incoming: Debug, Display);
assert_not_impl_any!(Slot: Debug, Display);
assert_not_impl_any!(IceLite: Debug, Display);
assert_not_impl_any!(Negotiation: Debug, Display);
assert_not_impl_any!(Answer: Debug, Display);
// Keys.
assert_not_impl_any!(MasterKey: Debug, Display);
assert_not_impl_any!(SrtpKeys: Debug, Display);
assert_not_impl_any!(Inbound: Debug, Display);
assert_not_impl_any!(Outbound: Debug, Display);
assert_not_impl_any!(Certificate: Debug, Display);
assert_not_impl_any!(Handshake: Debug, Display);
assert_not_impl_any!(Progress: Debug, Display);
assert_not_impl_any!(Tls: Display);
// Records, and what an audit looks for.
assert_not_impl_any!(Row: Debug, Display);
assert_not_impl_any!(Kept: Debug, Display);
assert_not_impl_any!(Store: Debug, Display);
assert_not_impl_any!(CallLog: Debug, Display);
assert_not_impl_any!(Canary: Debug, Display);
assert_not_impl_any!(Pattern: Debug, Display);
// What is stated is stated field by field, never as a whole.
assert_not_impl_any!(Settings: Debug, Display);

// Keys are overwritten before their memory is given back. Inbound and Outbound hold their ciphers alone.
assert_impl_all!(MasterKey: ZeroizeOnDrop);
assert_impl_all!(SrtpKeys: ZeroizeOnDrop);
assert_impl_all!(Certificate: ZeroizeOnDrop);
const _: fn(&IceParameters) -> &Zeroizing<String> = |ice| &ice.local_pwd;
const _: fn(&Tls) -> &Zeroizing<Vec<u8>> = |tls| &tls.key;

#[test]
fn where_a_debug_is_needed_it_prints_no_byte() {
    let tls = Tls { certificate: b"jackdaw".to_vec(), key: Zeroizing::new(b"jackdaw".to_vec()) };
    assert_eq!((format!("{:?}", Ssrc(172_870_142)), format!("{tls:?}")), ("Ssrc(..)".to_owned(), "Tls(..)".to_owned()));
}
