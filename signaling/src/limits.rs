//! Every cap of signaling with its default and the reason for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one server holds and allows at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls at one time.
    pub calls: usize,
    /// Participants in one call.
    pub participants: usize,
    /// Publications in one call.
    pub publications: usize,
    /// Slot pairs of one participant.
    pub pairs: usize,
    /// Clients that wait outside one locked call.
    pub waiting: usize,
    /// Whether two people may have a tunnel.
    pub tunnel: bool,
    /// Open TCP connections.
    pub connections: usize,
    /// Open WebSockets.
    pub sockets: usize,
    /// Bytes of one message from a client.
    pub message_bytes: usize,
    /// Bytes of `data` in one `relay` message.
    pub relay_bytes: usize,
    /// Bytes of `data` in one `knock` message.
    pub knock_bytes: usize,
    /// Knocks per second from one client, sustained; four times as many may come at once.
    pub knocks_per_second: u32,
    /// Messages per second from one client, sustained; four times as many may come at once.
    pub messages_per_second: u32,
    /// Bytes per second from one client, sustained; four times as many may come at once.
    pub bytes_per_second: u32,
    /// Messages that wait for one client to read.
    pub queued_messages: usize,
    /// Bytes that wait for one client to read.
    pub queued_bytes: usize,
    /// From the first byte of a connection, or of a later request on it, to the end of the request's header.
    pub header_timeout: Duration,
    /// From `welcome` to `join`.
    pub join_timeout: Duration,
    /// Between two WebSocket pings of the server.
    pub ping_interval: Duration,
    /// Without any frame of the client.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 1_000,                            // beyond what one machine's media plane carries
            participants: 100,  // each join sends every member a few messages: quadratic beyond this
            publications: 400,  // all four streams of every participant
            pairs: 24,          // two screens of tiles; an offer of 48 m-lines stays below `message_bytes`
            waiting: 16,        // more than a host looks through; each costs the members a knock
            tunnel: true,       // the least that the relay can hold and do for two people
            connections: 8_192, // a quarter of the usual limit of open files, with room for TLS memory
            sockets: 4_096,     // calls × participants is far more; memory stays below 100 MB when all idle
            message_bytes: 256 * 1024, // a browser's offer with 48 m-lines and all codecs is near 200 KiB
            relay_bytes: 24 * 1024, // the longest end-to-end message, a full host state, is 17 KiB sealed and encoded
            knock_bytes: 2 * 1024, // a hello with the longest name is half of it
            knocks_per_second: 1, // each goes to every member
            messages_per_second: 100, // a joiner of a full call sends three messages to each of 99 at once
            bytes_per_second: 256 * 1024, // one largest offer each second
            queued_messages: 1_024, // what 99 others send to a newcomer at once, three times over
            queued_bytes: 1024 * 1024, // four of the largest answers
            header_timeout: Duration::from_secs(10), // long for a person's worst network, short for who holds sockets
            join_timeout: Duration::from_secs(10), // covers PBKDF2 and key generation on a slow phone
            ping_interval: Duration::from_secs(15), // below the 30 s after which home routers forget a TCP flow
            idle_timeout: Duration::from_secs(45), // three lost pings
        }
    }
}

/// What a client is told in `joined`.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct ToldLimits {
    /// Participants in one call.
    pub participants: u32,
    /// Slot pairs of one participant.
    pub pairs: u32,
    /// Whether two people may have a tunnel.
    pub tunnel: bool,
    /// Bytes of a relay message's `data`.
    pub relay: u32,
    /// Messages per second.
    pub rate: u32,
}

impl Limits {
    /// The part that clients are told.
    pub fn told(&self) -> ToldLimits {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        ToldLimits {
            participants: number(self.participants),
            pairs: number(self.pairs),
            tunnel: self.tunnel,
            relay: number(self.relay_bytes),
            rate: self.messages_per_second,
        }
    }
}
