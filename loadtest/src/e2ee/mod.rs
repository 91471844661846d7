//! End-to-end encryption as the page has it: the links, the key agreement among participants, and the frames (SFrame,
//! RFC 9605). Sans-IO; [`Encryption`] is one participant's whole side of it.
//!
//! Follow a newcomer: its `hello` is judged by the `membership`, `pairwise` keys let it prove itself, `rekey`
//! decides which `sender_key` it is sent, and its `receiver_key`s open what the others send from then on.

mod bytes;
mod code;
mod conversation;
mod derive;
mod encryption;
mod envelope;
mod frame;
mod hello;
mod hint;
mod host_state;
mod link;
mod membership;
mod messages;
mod name;
mod pairwise;
mod presence;
mod receiver_key;
mod reception;
mod rekey;
mod roster;
mod sender_key;
mod sframe;

pub use encryption::{Encryption, Happening};
pub use link::{Link, LinkError};
pub use messages::Unsayable;
pub use receiver_key::{Opened, Refusal};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod unprintable;
