//! What the relay can see of a call, what it cannot, and why, in the words of the transparency page.

use serde::Serialize;

use super::{Settings, TlsEnd};

/// Where TLS ends, and what follows from it.
#[derive(Serialize)]
pub struct Tls {
    ends: TlsEnd,
    meaning: &'static str,
}

/// One of the two ways in which a call is carried.
#[derive(Serialize)]
pub struct Mode {
    name: &'static str,
    /// Whether this relay carries calls so.
    on: bool,
    when: &'static str,
    sees: Vec<Seen>,
    cannot_see: Vec<Unseen>,
}

/// Something that passes through the relay's memory readable.
#[derive(Serialize)]
pub struct Seen {
    what: &'static str,
    why: &'static str,
    until: &'static str,
}

/// Something that the relay cannot read.
#[derive(Serialize)]
pub struct Unseen {
    what: &'static str,
    why: &'static str,
}

/// Something that is held in memory while it is needed, and in no file.
#[derive(Serialize)]
pub struct Held {
    what: &'static str,
    lifetime: &'static str,
}

/// Something that no setting makes the relay write down or tell.
#[derive(Serialize)]
pub struct Never {
    what: &'static str,
    why: &'static str,
}

/// Both modes, the tunnel first.
pub fn modes(settings: Settings) -> Vec<Mode> {
    let tunnel = Mode {
        name: "tunnel",
        on: settings.tunnel,
        when: if settings.tunnel {
            "two people are in the call, and both browsers take part"
        } else {
            "never: the operator turned the tunnel off, so calls of two are forwarded too"
        },
        sees: COMMON.iter().chain(TUNNEL).map(seen).collect(),
        cannot_see: TUNNEL_UNSEEN.iter().chain(COMMON_UNSEEN).map(unseen).collect(),
    };
    let forwarded = Mode {
        name: "forwarded",
        on: true,
        when: if settings.tunnel {
            "three or more are in the call, and for moments before the tunnel of two is up"
        } else {
            "always"
        },
        sees: COMMON.iter().chain(FORWARDED).map(seen).collect(),
        cannot_see: FORWARDED_UNSEEN.iter().chain(COMMON_UNSEEN).map(unseen).collect(),
    };
    vec![tunnel, forwarded]
}

/// What is held of open calls, and for how long.
pub fn in_memory(settings: Settings) -> Vec<Held> {
    let tunnel = settings.tunnel.then_some(TUNNEL_HELD);
    IN_MEMORY.iter().chain(tunnel.iter()).map(|&(what, lifetime)| Held { what, lifetime }).collect()
}

/// Who reads the way between a browser's page and the relay.
pub fn tls(end: TlsEnd) -> Tls {
    let meaning = match end {
        TlsEnd::Relay => {
            "the relay ends the TLS of page and signaling itself: nobody between it and a browser reads them"
        }
        TlsEnd::Proxy => {
            "a proxy before the relay ends the TLS of page and signaling, so it sees addresses, requests and what the \
             relay sees of signaling; what the proxy keeps, the relay cannot state"
        }
        TlsEnd::None => {
            "the relay serves page and signaling without TLS, as is right on one machine only: whoever is on the way \
             could read and change them"
        }
    };
    Tls { ends: end, meaning }
}

/// What is never stored, logged, counted or told.
pub fn never() -> Vec<Never> {
    NEVER.iter().map(|&(what, why)| Never { what, why }).collect()
}

fn seen(&(what, why, until): &(&'static str, &'static str, &'static str)) -> Seen {
    Seen { what, why, until }
}

fn unseen(&(what, why): &(&'static str, &'static str)) -> Unseen {
    Unseen { what, why }
}

const CONNECTION: &str = "the connection ends";
const CALL: &str = "the call ends";
const AT_ONCE: &str = "the packet is passed on";

const COMMON: &[(&str, &str, &str)] = &[
    ("the internet address of each participant", "packets could not be sent back to them otherwise", CONNECTION),
    (
        "what a browser sends with every request: its kind and version, its languages, the page's host name",
        "browsers send it unasked; the relay reads the host name and drops the rest",
        "the request is answered",
    ),
    (
        "the call's id, made from the link's public keys, and public keys that are made anew for each call",
        "they show that a joiner has the link; nobody is named by them beyond this call",
        CALL,
    ),
    ("how many are in a call, and when each comes and goes", "it brings them together", CALL),
    ("whether the host locked the call, and which keys were admitted or removed", "it turns others away", CALL),
    (
        "when sealed messages pass (keys, names, chat, speaking hints), how long they are, from whom and to whom",
        "it passes them on",
        "the message is passed on",
    ),
];

const TUNNEL: &[(&str, &str, &str)] = &[
    ("sizes and times of packets", "it passes them on, byte for byte", AT_ONCE),
    (
        "RTP headers, which stand readable before the encrypted media: a stream's number, a count, a time",
        "browsers encrypt what follows them; in this mode the relay has no use for them and does not look",
        AT_ONCE,
    ),
];

const FORWARDED: &[(&str, &str, &str)] = &[
    (
        "which of microphone, camera and screen each shares, and how large it is shown to whom",
        "it assigns who receives what",
        CONNECTION,
    ),
    (
        "sizes and times of packets, RTP headers, and which are lost",
        "it decides by them whom to send what",
        "a second or two later, when a lost packet is no longer asked for",
    ),
    (
        "the start of each encoded picture: 10 bytes of a VP8 key frame, 3 of others, and the codec's descriptor",
        "browsers do not take video whose start is encrypted; it tells key frames and the picture's size",
        "a second or two later, with the packet",
    ),
    (
        "the outer encryption's keys, of the way from a browser to the relay",
        "browsers demand that each hop is encrypted by itself; the media inside is encrypted once more",
        CONNECTION,
    ),
];

const COMMON_UNSEEN: &[(&str, &str)] = &[
    ("names, chat, reactions, who speaks", "sealed between the browsers with keys that never reach the relay"),
    ("the link's secret", "it stands behind the # of the link, which browsers do not send"),
    (
        "keys of the end-to-end encryption",
        "each pair of browsers agrees on them by X25519, with the link's secret mixed in",
    ),
];

const TUNNEL_UNSEEN: &[(&str, &str)] = &[
    (
        "sound, pictures, screens",
        "encrypted from browser to browser by DTLS-SRTP, whose fingerprints the browsers check end to end",
    ),
    ("any key of the media, the transport's included", "the relay is no party to the handshake that makes them"),
];

const FORWARDED_UNSEEN: &[(&str, &str)] = &[(
    "sound, pictures, screens",
    "each frame is encrypted by SFrame (RFC 9605) in the sender's browser, with a key that the relay never has",
)];

const IN_MEMORY: &[(&str, &str)] = &[
    (
        "addresses and ports",
        "until the participant's connection ends; media stops 15 seconds after the last sign of life",
    ),
    ("ids and public keys of participants and calls", "until the call ends"),
    ("keys of the outer encryption of forwarded connections", "until the connection ends; then overwritten"),
    (
        "the last packets of each stream, still end-to-end encrypted, for repairs",
        "a second; then later ones are written over them",
    ),
    ("sealed messages", "until they are passed on"),
    ("the row of a finished call", "until it is written"),
];

const TUNNEL_HELD: (&str, &str) =
    ("of a tunnel two addresses and the relay's own passwords for them, and no key", "until the tunnel ends");

const NEVER: &[(&str, &str)] = &[
    ("recordings", "there is no code that writes media down"),
    (
        "addresses, ids, names, keys, links or browsers' names in logs, metrics or errors",
        "the types that hold them cannot be printed, and tests plant them and search all output",
    ),
    ("memory dumps", "the relay turns them off for itself when it starts"),
    ("visitors of the page", "no request is logged, and there are no cookies and no third parties"),
];
