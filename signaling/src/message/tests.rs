use super::*;
use crate::call_log::EndReason;

const PROTOCOL: &str = include_str!("../../PROTOCOL.md");

fn participant() -> ParticipantId {
    ParticipantId(Base64Url([7; 8]))
}

/// Every message of a client as it stands on the wire.
const FROM_CLIENT: [(&str, &str); 15] = [
    ("offer", r#"{"type":"offer","id":3,"sdp":"v=0\r\n"}"#),
    ("publish", r#"{"type":"publish","stream":"screen-audio","mid":"4"}"#),
    ("unpublish", r#"{"type":"unpublish","stream":"screen"}"#),
    ("subscribe", r#"{"type":"subscribe","participant":"BwcHBwcHBwc","stream":"camera","height":720}"#),
    ("unsubscribe", r#"{"type":"unsubscribe","participant":"BwcHBwcHBwc","stream":"microphone"}"#),
    ("assigned", r#"{"type":"assigned","slot":"5","epoch":2}"#),
    ("relay", r#"{"type":"relay","to":"BwcHBwcHBwc","data":"sealed"}"#),
    ("relay", r#"{"type":"relay","data":"sealed"}"#),
    ("tunnel", r#"{"type":"tunnel","peer":"BwcHBwcHBwc"}"#),
    ("tunnel-end", r#"{"type":"tunnel-end"}"#),
    ("detach", r#"{"type":"detach"}"#),
    (
        "host",
        concat!(
            r#"{"type":"host","state":{"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","#,
            r#""host":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","counter":9007199254740991,"locked":true,"#,
            r#""admitted":["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],"removed":[],"signature":"#,
            r#""AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}"#
        ),
    ),
    ("knock", r#"{"type":"knock","data":"sealed"}"#),
    ("ping", r#"{"type":"ping","t":1.5}"#),
    ("leave", r#"{"type":"leave"}"#),
];

fn state() -> HostState {
    let zero = Base64Url([0; 32]);
    let (admitted, removed, signature) = (vec![], vec![zero], Base64Url([0; 64]));
    HostState { key: zero, host: zero, counter: 1, locked: true, admitted, removed, signature }
}

fn from_server() -> Vec<(&'static str, ServerMessage, &'static str)> {
    let (participant, stream) = (participant(), Stream::Camera);
    let limits = ToldLimits { participants: 100, pairs: 24, tunnel: true, relay: 24576, rate: 100 };
    let streams = vec![Stream::Microphone, stream];
    let participants = vec![RosterEntry { id: participant, streams }];
    let slot = || "5".to_owned();
    vec![
        (
            "welcome",
            ServerMessage::Welcome { v: 1, nonce: Base64Url([0; 32]) },
            r#"{"type":"welcome","v":1,"nonce":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#,
        ),
        (
            "joined",
            ServerMessage::Joined { participant, participants, limits },
            concat!(
                r#"{"type":"joined","participant":"BwcHBwcHBwc","#,
                r#""participants":[{"id":"BwcHBwcHBwc","streams":["microphone","camera"]}],"#,
                r#""limits":{"participants":100,"pairs":24,"tunnel":true,"relay":24576,"rate":100}}"#
            ),
        ),
        ("slots", ServerMessage::Slots { pairs: 2 }, r#"{"type":"slots","pairs":2}"#),
        ("answer", ServerMessage::Answer { id: 3, sdp: "v=0".into() }, r#"{"type":"answer","id":3,"sdp":"v=0"}"#),
        (
            "published",
            ServerMessage::Published { participant, stream },
            r#"{"type":"published","participant":"BwcHBwcHBwc","stream":"camera"}"#,
        ),
        (
            "unpublished",
            ServerMessage::Unpublished { participant, stream },
            r#"{"type":"unpublished","participant":"BwcHBwcHBwc","stream":"camera"}"#,
        ),
        (
            "assign",
            ServerMessage::Assign { slot: slot(), epoch: 2, participant, stream },
            r#"{"type":"assign","slot":"5","epoch":2,"participant":"BwcHBwcHBwc","stream":"camera"}"#,
        ),
        ("release", ServerMessage::Release { slot: slot(), epoch: 2 }, r#"{"type":"release","slot":"5","epoch":2}"#),
        (
            "tunnel",
            ServerMessage::Tunnel {
                peer: participant,
                ufrag: "Xk2m".into(),
                pwd: "pwd".into(),
                candidates: vec!["1 1 udp 2130706431 192.0.2.1 3478 typ host".into()],
            },
            concat!(
                r#"{"type":"tunnel","peer":"BwcHBwcHBwc","ufrag":"Xk2m","pwd":"pwd","#,
                r#""candidates":["1 1 udp 2130706431 192.0.2.1 3478 typ host"]}"#
            ),
        ),
        (
            "waiting",
            ServerMessage::Waiting { participant, state: state() },
            concat!(
                r#"{"type":"waiting","participant":"BwcHBwcHBwc","#,
                r#""state":{"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","#,
                r#""host":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","counter":1,"locked":true,"#,
                r#""admitted":[],"removed":["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],"signature":"#,
                r#""AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}"#
            ),
        ),
        (
            "knock",
            ServerMessage::Knock { id: participant, data: "sealed".into() },
            r#"{"type":"knock","id":"BwcHBwcHBwc","data":"sealed"}"#,
        ),
        ("knock-end", ServerMessage::KnockEnd { id: participant }, r#"{"type":"knock-end","id":"BwcHBwcHBwc"}"#),
        (
            "receipt",
            ServerMessage::Receipt {
                r#final: true,
                retention_days: 7,
                row: Some(ReceiptRow {
                    ended_day: "2026-11-22".into(),
                    duration_minutes: 31,
                    peak_participants: 3,
                    end_reason: EndReason::Completed,
                    expires_at: 1_764_417_600,
                }),
            },
            concat!(
                r#"{"type":"receipt","final":true,"retention_days":7,"row":{"ended_day":"2026-11-22","#,
                r#""duration_minutes":31,"peak_participants":3,"end_reason":"completed","expires_at":1764417600}}"#
            ),
        ),
        (
            "receipt",
            ServerMessage::Receipt { r#final: false, retention_days: 0, row: None },
            r#"{"type":"receipt","final":false,"retention_days":0,"row":null}"#,
        ),
        (
            "relay",
            ServerMessage::Relay { from: participant, data: "sealed".into() },
            r#"{"type":"relay","from":"BwcHBwcHBwc","data":"sealed"}"#,
        ),
        ("participant", ServerMessage::Participant { id: participant }, r#"{"type":"participant","id":"BwcHBwcHBwc"}"#),
        ("left", ServerMessage::Left { id: participant }, r#"{"type":"left","id":"BwcHBwcHBwc"}"#),
        ("pong", ServerMessage::Pong { t: Some(7.into()) }, r#"{"type":"pong","t":7}"#),
        (
            "closing",
            ServerMessage::Closing { reason: ClosingReason::Draining, seconds: 30 },
            r#"{"type":"closing","reason":"draining","seconds":30}"#,
        ),
        (
            "error",
            ErrorCode::TooFast.message(),
            r#"{"type":"error","code":"too-fast","message":"too many messages","fatal":true}"#,
        ),
    ]
}

#[test]
fn every_message_of_a_client_is_read_and_written_as_documented() {
    for (name, text) in FROM_CLIENT {
        let message: ClientMessage = serde_json::from_str(text).unwrap_or_else(|_| panic!("{name} is not read"));
        assert_eq!(serde_json::to_string(&message).unwrap(), text);
    }
}

#[test]
fn every_message_of_the_server_is_written_and_read_as_documented() {
    for (name, message, text) in from_server() {
        assert_eq!(serde_json::to_string(&message).unwrap(), text, "{name}");
        let read: ServerMessage = serde_json::from_str(text).unwrap_or_else(|_| panic!("{name} is not read"));
        assert_eq!(serde_json::to_string(&read).unwrap(), text, "{name}");
    }
}

/// A client with its name on the wire; the match makes a new variant fail to compile until it stands here.
fn name_of(message: &ServerMessage) -> &'static str {
    match message {
        ServerMessage::Welcome { .. } => "welcome",
        ServerMessage::Joined { .. } => "joined",
        ServerMessage::Slots { .. } => "slots",
        ServerMessage::Answer { .. } => "answer",
        ServerMessage::Published { .. } => "published",
        ServerMessage::Unpublished { .. } => "unpublished",
        ServerMessage::Assign { .. } => "assign",
        ServerMessage::Release { .. } => "release",
        ServerMessage::Tunnel { .. } => "tunnel",
        ServerMessage::Waiting { .. } => "waiting",
        ServerMessage::Knock { .. } => "knock",
        ServerMessage::KnockEnd { .. } => "knock-end",
        ServerMessage::Receipt { .. } => "receipt",
        ServerMessage::Relay { .. } => "relay",
        ServerMessage::Participant { .. } => "participant",
        ServerMessage::Left { .. } => "left",
        ServerMessage::Pong { .. } => "pong",
        ServerMessage::Closing { .. } => "closing",
        ServerMessage::Error { .. } => "error",
    }
}

#[test]
fn the_protocol_document_holds_every_message_as_an_example() {
    assert!(from_server().iter().all(|(name, message, _)| name_of(message) == *name));
    for (name, ..) in from_server() {
        assert!(examples("←").iter().any(|(known, _)| known == name), "{name}");
    }
    for name in FROM_CLIENT.map(|(name, _)| name).into_iter().chain(["join"]) {
        assert!(examples("→").iter().any(|(known, _)| known == name), "{name}");
    }
}

#[test]
fn every_example_of_the_protocol_document_is_a_message() {
    for (name, text) in examples("→") {
        let read = serde_json::from_str::<ClientMessage>(&text);
        assert!(read.is_ok_and(|message| !matches!(message, ClientMessage::Unknown)), "{name}: {text}");
    }
    for (name, text) in examples("←") {
        let read = serde_json::from_str::<ServerMessage>(&text);
        assert!(read.is_ok_and(|message| name_of(&message) == name), "{name}: {text}");
    }
}

/// The lines of the document's example blocks: an arrow, then the message.
fn examples(arrow: &str) -> Vec<(String, String)> {
    let lines = PROTOCOL.lines().filter_map(|line| line.strip_prefix(arrow)).map(str::trim);
    lines
        .map(|text| {
            let value: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("not JSON: {text}"));
            (value["type"].as_str().expect("examples have a type").to_owned(), text.to_owned())
        })
        .collect()
}

#[test]
fn the_protocol_document_lists_every_error_with_its_severity() {
    for (code, name) in ErrorCode::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), name);
        let fatal = if code.is_fatal() { "yes" } else { "no" };
        let row = format!("| `{name}` | {fatal} |");
        assert!(PROTOCOL.lines().any(|line| line.starts_with(&row)), "{row}");
    }
}

#[test]
fn an_unknown_type_is_told_from_a_malformed_message() {
    let read = |text: &str| serde_json::from_str::<ClientMessage>(text);
    assert!(matches!(read(r#"{"type":"dance","with":["you"]}"#), Ok(ClientMessage::Unknown)));
    assert!(matches!(read(r#"{"type":"leave","extra":{"a":1}}"#), Ok(ClientMessage::Leave)));
    for text in ["", "{}", "[]", "7", r#"{"type":7}"#, r#"{"type":"offer"}"#, r#"{"type":"join","v":1}"#] {
        assert!(read(text).is_err(), "{text}");
    }
    let nested = format!(r#"{{"type":"leave","x":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(read(&nested).is_err());
}

#[test]
fn a_height_is_rounded_up_and_kept_within_bounds() {
    let height = |number: &str| {
        let text = format!(r#"{{"type":"subscribe","participant":"BwcHBwcHBwc","stream":"camera","height":{number}}}"#);
        match serde_json::from_str(&text) {
            Ok(ClientMessage::Subscribe { height, .. }) => height,
            _ => panic!("not read: {number}"),
        }
    };
    assert_eq!(["359.2", "0", "-5", "1e300"].map(height), [360, 0, 0, 16_384]);
}

#[test]
fn a_pong_has_the_very_number_of_its_ping() {
    let long = format!("123.4{}", "5".repeat(117));
    for number in [long.as_str(), "1234.5", "0.1", "1763791234567.8901", "3"] {
        let ping = serde_json::from_str(&format!(r#"{{"type":"ping","t":{number}}}"#)).unwrap();
        let ClientMessage::Ping { t } = ping else { panic!("a ping is read as a ping") };
        let pong = serde_json::to_value(ServerMessage::Pong { t }).unwrap();
        assert_eq!(pong["t"].as_f64(), number.parse::<f64>().ok(), "{number}");
    }
}
