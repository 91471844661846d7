//! What the relay's core holds of people cannot be printed: this file does not compile where it can.

use std::fmt::{Debug, Display};

use static_assertions::assert_not_impl_any;

use super::call::Call;
use super::context::{Context, Routes};
use super::latch::Latches;
use super::link::Link;
use super::participant::Participant;
use super::publication::Publication;
use super::subscription::Subscription;
use super::tunnel::Tunnel;

assert_not_impl_any!(Call: Debug, Display);
assert_not_impl_any!(Context<'static>: Debug, Display);
assert_not_impl_any!(Latches: Debug, Display);
assert_not_impl_any!(Link: Debug, Display);
assert_not_impl_any!(Participant: Debug, Display);
assert_not_impl_any!(Publication: Debug, Display);
assert_not_impl_any!(Routes: Debug, Display);
assert_not_impl_any!(Subscription: Debug, Display);
assert_not_impl_any!(Tunnel: Debug, Display);
