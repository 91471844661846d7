//! One hop between a participant and the relay: which paths are the participant's (ICE), whose keys it has (DTLS), and
//! the protection of what goes over it (SRTP).

pub mod dtls;
pub mod ice;
mod reassembly;
pub mod srtp;
mod stun;
