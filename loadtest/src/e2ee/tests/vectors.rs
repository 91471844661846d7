//! Known answers for everything but the bare frame, between these peers and the page: one side makes its file again
//! from the inputs in it and finds it unchanged, and makes the other's from the inputs in that.

use std::path::PathBuf;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sotto_signaling::base64url::Base64Url;
use sotto_signaling::message::{ParticipantId, Stream};
use zeroize::Zeroizing;

use super::{hex, unhex};
use crate::e2ee::bytes::{covered, to_base64url};
use crate::e2ee::code::verification_code;
use crate::e2ee::derive::{Secret, ed25519, public_half, sign};
use crate::e2ee::envelope::{Envelope, write};
use crate::e2ee::frame::{MESSAGES, Metadata, clear_bytes, stream_number};
use crate::e2ee::hello::Hello;
use crate::e2ee::host_state::{self, HostState};
use crate::e2ee::link::Link;
use crate::e2ee::membership::Membership;
use crate::e2ee::messages::{Said, open_message, seal_message};
use crate::e2ee::name::tidy_name;
use crate::e2ee::pairwise::{ConnectionKey, Pair};
use crate::e2ee::receiver_key::ReceiverKeys;
use crate::e2ee::roster::roster_digest;
use crate::e2ee::sender_key::{SenderKeys, ratchet};
use crate::engine::Codec;

#[test]
fn what_the_peers_make_of_known_keys_is_what_the_vectors_have() {
    let inputs = serde_json::from_value(inputs()).expect("the inputs are whole");
    let written = text(&answer(inputs));
    let path = path("agreement-loadtest.json");
    if std::env::var_os("WRITE_VECTORS").is_some() {
        std::fs::write(&path, &written).expect("the vectors folder is writable");
    }
    let committed = std::fs::read_to_string(&path).expect("the vectors are committed");
    assert!(committed == written, "agreement-loadtest.json differs from what is made: WRITE_VECTORS=1 writes it");
}

#[test]
fn the_peers_make_of_the_same_keys_what_the_page_makes_of_them() {
    let theirs = page();
    let Answer { inputs, answers } = answer(serde_json::from_value(theirs.clone()).expect("the inputs are whole"));
    for (name, value) in serde_json::to_value(&answers).expect("answers are JSON").as_object().expect("a struct") {
        assert_eq!(Some(value), theirs.get(name), "{name}");
    }
    let committed = std::fs::read_to_string(path("agreement-page.json")).expect("the vectors are committed");
    assert_eq!(text(&Answer { inputs, answers }), committed);
}

#[test]
fn the_peers_open_what_the_page_sealed() {
    let Answer { inputs, answers } = serde_json::from_value(page()).expect("the vectors are whole");
    let (link, [ana, ben]) = open(&inputs);
    let hello = Envelope::read(&answers.hellos[0]).expect("a hello is a message");
    let (hello, verifying) = Hello::read(&link, &hello).expect("their hello holds");
    assert_eq!((hello.name.as_str(), hello.seq, hello.identity), ("Ana", inputs.members[0].seq, ana.identity));
    let mut pair = pair_of(&link, &ben, &ana);
    for sealed in answers.pairwise.iter().filter(|sealed| sealed.inputs.from == 0) {
        let message = Envelope::read(&sealed.data).expect("it is a message");
        let (counter, body) = (message.count("counter").unwrap(), message.bytes("box").unwrap());
        assert_eq!(pair.open(&sealed.inputs.kind, counter + 1, &body), None);
        let opened = pair.open(&sealed.inputs.kind, counter, &body).expect("it opens once");
        assert_eq!(*opened, sealed.inputs.body.as_bytes());
        assert_eq!(pair.open(&sealed.inputs.kind, counter, &body), None);
    }
    let mut members = Membership::default();
    let peer = members.meet(link.call_bytes(), hello, verifying);
    let peer = members.peer_mut(peer).expect("it was met");
    for state in &answers.host_states {
        let mut state = serde_json::to_value(state).expect("it is JSON");
        assert!(HostState::read(&link, &state).is_some(), "{state}");
        state["locked"] = (!state["locked"].as_bool().expect("it is locked or not")).into();
        assert!(HostState::read(&link, &state).is_none(), "{state}");
    }
    for FrameAnswer { inputs: frame, sealed } in &answers.frames {
        let sealed = unhex(sealed);
        let clear = clear_bytes(codec(&frame.codec), &sealed).expect("it is a frame");
        peer.receiving = receiving(&inputs, &link, &ana, frame.generation);
        let mut out = Vec::new();
        let stream = stream_number(frame.stream);
        let (opened, _) = peer.receiving.open(stream, &sealed, clear, &mut out).expect("it opens");
        assert_eq!((opened.generation, opened.step, opened.counter), (frame.generation, frame.step, frame.counter));
        assert_eq!(hex(&out), frame.frame);
    }
    for MessageAnswer { inputs: message, data } in &answers.messages {
        peer.receiving = receiving(&inputs, &link, &ana, message.generation);
        let sealed = Envelope::read(data).and_then(|envelope| envelope.bytes("box")).expect("it is a message");
        let Said::Message { kind, body, .. } = open_message(link.call_bytes(), peer, &sealed) else {
            panic!("{} does not open", message.kind);
        };
        assert_eq!((kind, body), (message.kind.clone(), message.body.clone()));
    }
}

/// Inputs and what the protocol makes of them. Byte strings are hexadecimal where nothing on the wire is base64url.
#[derive(Serialize, Deserialize)]
struct Answer {
    #[serde(flatten)]
    inputs: Inputs,
    #[serde(flatten)]
    answers: Answers,
}

#[derive(Clone, Serialize, Deserialize)]
struct Inputs {
    host_secret: String,
    nonce: String,
    host_name: String,
    members: Vec<MemberInput>,
    pairwise_inputs: Vec<PairwiseInput>,
    base: String,
    frame_inputs: Vec<FrameInput>,
    message_inputs: Vec<MessageInput>,
    host_state_inputs: Vec<HostStateInput>,
    name_inputs: Vec<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct MemberInput {
    identity_seed: String,
    key_seed: String,
    participant: ParticipantId,
    seq: u64,
    name: String,
    name_nonce: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct PairwiseInput {
    from: usize,
    #[serde(rename = "type")]
    kind: String,
    body: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct FrameInput {
    generation: u32,
    step: u8,
    stream: Stream,
    codec: String,
    counter: u64,
    frame: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct MessageInput {
    generation: u32,
    step: u8,
    counter: u64,
    kind: String,
    body: Value,
}

/// `host` is a member's place, the others are identities.
#[derive(Clone, Serialize, Deserialize)]
struct HostStateInput {
    host: usize,
    counter: u64,
    locked: bool,
    admitted: Vec<Base64Url<32>>,
    removed: Vec<Base64Url<32>>,
}

#[derive(Serialize, Deserialize)]
struct Answers {
    link: LinkAnswer,
    join: String,
    proof: String,
    hellos: Vec<String>,
    pairwise: Vec<PairwiseAnswer>,
    bye: String,
    steps: Vec<String>,
    frames: Vec<FrameAnswer>,
    messages: Vec<MessageAnswer>,
    host_states: Vec<host_state::Written>,
    /// The place of the one that counts, of them all.
    latest: usize,
    /// Without a host state, and with each.
    alive: Vec<String>,
    code: String,
    names: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct LinkAnswer {
    invite: String,
    call: String,
    admission: String,
    host: String,
    psk: String,
}

#[derive(Serialize, Deserialize)]
struct PairwiseAnswer {
    #[serde(flatten)]
    inputs: PairwiseInput,
    data: String,
}

#[derive(Serialize, Deserialize)]
struct FrameAnswer {
    #[serde(flatten)]
    inputs: FrameInput,
    sealed: String,
}

#[derive(Serialize, Deserialize)]
struct MessageAnswer {
    #[serde(flatten)]
    inputs: MessageInput,
    data: String,
}

struct Member {
    signing: Ed25519KeyPair,
    identity: [u8; 32],
    key: ConnectionKey,
}

/// Everything that the protocol makes of some keys, beside them.
fn answer(inputs: Inputs) -> Answer {
    let (link, members) = open(&inputs);
    let [ana, _] = &members;
    let nonce = unhex(&inputs.nonce).try_into().expect("a nonce has 32 bytes");
    let join = link.join(&nonce, &inputs.host_name, &ana.signing);
    let bye = sign(&ana.signing, &covered("bye", link.call_bytes(), &[&ana.identity]));
    let identities = || members.iter().map(|member| member.identity).collect::<Vec<_>>();
    let hellos = inputs.members.iter().zip(&members).map(|(input, member)| hello(&link, input, member)).collect();
    let states: Vec<_> = inputs.host_state_inputs.iter().map(|input| host_state(&link, &members, input)).collect();
    let latest = (0..states.len()).reduce(|best, at| if states[at].supersedes(&states[best]) { at } else { best });
    let counters = [0].into_iter().chain(states.iter().map(|state| state.said().counter));
    let answers = Answers {
        link: LinkAnswer {
            invite: link.invite_fragment().to_string(),
            call: hex(link.call_bytes()),
            admission: hex(&join.admission.0),
            host: hex(&join.host.0),
            psk: hex(link.psk().as_slice()),
        },
        join: hex(&join.signature.0),
        proof: hex(&join.proof.0),
        hellos,
        pairwise: pairwise(&inputs, &link, &members),
        bye: write("bye", json!({ "signature": to_base64url(&bye) })),
        steps: (0..=8).map(|step| hex(base_of(&inputs, step).as_slice())).collect(),
        frames: inputs.frame_inputs.iter().map(|input| seal_frame(&inputs, &link, ana, input)).collect(),
        messages: inputs.message_inputs.iter().map(|input| say(&inputs, &link, ana, input)).collect(),
        host_states: states.iter().map(HostState::written).collect(),
        latest: latest.expect("there are host states"),
        alive: counters.map(|counter| hex(&roster_digest(link.call_bytes(), identities(), counter))).collect(),
        code: verification_code(link.call_bytes(), identities()),
        names: inputs.name_inputs.iter().map(|name| tidy_name(name)).collect(),
    };
    Answer { inputs, answers }
}

fn open(inputs: &Inputs) -> (Link, [Member; 2]) {
    let member = |at: usize| {
        let input = &inputs.members[at];
        let signing = ed25519(&secret(&input.identity_seed));
        let identity = public_half(&signing);
        let checked = UnparsedPublicKey::new(&ED25519, identity);
        assert!(checked.verify(b"it", &sign(&signing, b"it")).is_ok());
        Member { identity, key: ConnectionKey::new(&secret(&input.key_seed)), signing }
    };
    (Link::parse(&inputs.host_secret).expect("it is a link"), [member(0), member(1)])
}

fn hello(link: &Link, input: &MemberInput, member: &Member) -> String {
    let hello = Hello {
        identity: member.identity,
        key: *member.key.public(),
        seq: input.seq,
        participant: input.participant,
        name: tidy_name(&input.name),
    };
    hello.write(link, &member.signing, unhex(&input.name_nonce).try_into().expect("a nonce has 12 bytes"))
}

fn host_state(link: &Link, members: &[Member; 2], input: &HostStateInput) -> HostState {
    let all = |identities: &[Base64Url<32>]| identities.iter().map(|identity| identity.0).collect();
    let said = host_state::Said {
        host: members[input.host].identity,
        counter: input.counter,
        locked: input.locked,
        admitted: all(&input.admitted),
        removed: all(&input.removed),
    };
    HostState::sign(link, &link.host_key().expect("the link is the host's"), said)
}

fn pair_of(link: &Link, ours: &Member, theirs: &Member) -> Pair {
    ours.key.agree(link, &ours.identity, &theirs.identity, theirs.key.public()).expect("both are keys")
}

fn pairwise(inputs: &Inputs, link: &Link, [ana, ben]: &[Member; 2]) -> Vec<PairwiseAnswer> {
    let mut pairs = [pair_of(link, ana, ben), pair_of(link, ben, ana)];
    let seal = |input: &PairwiseInput| {
        let (counter, sealed) = pairs[input.from].seal(&input.kind, input.body.as_bytes());
        let data = serde_json::to_string(&input.kind).expect("a text is JSON");
        let data = format!(r#"{{"v":1,"type":{data},"counter":{counter},"box":"{}"}}"#, to_base64url(&sealed));
        PairwiseAnswer { inputs: input.clone(), data }
    };
    inputs.pairwise_inputs.iter().map(seal).collect()
}

fn base_of(inputs: &Inputs, step: u8) -> Secret<32> {
    (0..step).fold(secret(&inputs.base), |base, _| ratchet(&base))
}

/// A sender whose next frame of that stream is under that generation, step and counter.
fn sending(inputs: &Inputs, link: &Link, sender: &Member, at: (u32, u8, u64), stream: u8) -> SenderKeys {
    let metadata = Metadata::new(link.call_bytes(), &sender.identity);
    let mut keys = SenderKeys::new(metadata, ChaCha20Rng::from_seed([0; 32]));
    let (generation, step, counter) = at;
    keys.resume((generation, step, base_of(inputs, step)), stream, counter);
    keys
}

fn receiving(inputs: &Inputs, link: &Link, sender: &Member, generation: u32) -> ReceiverKeys {
    let mut keys = ReceiverKeys::new(Metadata::new(link.call_bytes(), &sender.identity));
    assert!(keys.learn(generation, 0, secret(&inputs.base)));
    keys
}

fn seal_frame(inputs: &Inputs, link: &Link, sender: &Member, input: &FrameInput) -> FrameAnswer {
    let stream = stream_number(input.stream);
    let mut keys = sending(inputs, link, sender, (input.generation, input.step, input.counter), stream);
    let mut sealed = Vec::new();
    assert!(keys.protect(stream, codec(&input.codec), &unhex(&input.frame), &mut sealed));
    FrameAnswer { inputs: input.clone(), sealed: hex(&sealed) }
}

fn say(inputs: &Inputs, link: &Link, sender: &Member, input: &MessageInput) -> MessageAnswer {
    let mut keys = sending(inputs, link, sender, (input.generation, input.step, input.counter), MESSAGES);
    let sealed = seal_message(&mut keys, link.call_bytes(), &sender.signing, &input.kind, &input.body);
    let data = write("message", json!({ "box": to_base64url(&sealed) }));
    MessageAnswer { inputs: input.clone(), data }
}

fn codec(name: &str) -> Codec {
    match name {
        "opus" => Codec::Opus,
        "vp8" => Codec::Vp8,
        "vp9" => Codec::Vp9,
        other => panic!("{other} is no codec"),
    }
}

/// As it stands in the file: ASCII alone, so that no direction override stands in it.
fn text(answer: &Answer) -> String {
    let json = serde_json::to_string_pretty(answer).expect("the vectors are plain values") + "\n";
    let escape = |unit: u16| match u8::try_from(unit) {
        Ok(byte @ (b'\n' | b' '..=b'~')) => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    json.encode_utf16().map(escape).collect()
}

fn page() -> Value {
    let text = std::fs::read_to_string(path("agreement-page.json")).expect("the vectors are committed");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../tests/e2ee/vectors", name].iter().collect()
}

fn secret(text: &str) -> Secret<32> {
    Zeroizing::new(unhex(text).try_into().expect("a secret has 32 bytes"))
}

fn inputs() -> Value {
    let frame = |generation: u32, step: u8, stream: &str, codec: &str, counter: u64, frame: String| {
        json!({ "generation": generation, "step": step, "stream": stream, "codec": codec, "counter": counter,
            "frame": frame })
    };
    let message = |generation: u32, step: u8, counter: u64, kind: &str, body: Value| json!({ "generation": generation, "step": step, "counter": counter, "kind": kind, "body": body });
    let state = |host: usize, counter: u64, locked: bool, admitted: &[u8], removed: &[u8]| {
        let all = |bytes: &[u8]| bytes.iter().map(|&byte| to_base64url(&[byte; 32])).collect::<Vec<_>>();
        json!({ "host": host, "counter": counter, "locked": locked, "admitted": all(admitted), "removed": all(removed) })
    };
    let pairwise = |from: u8, kind: &str, body: Value| json!({ "from": from, "type": kind, "body": body.to_string() });
    json!({
        "host_secret": to_base64url(&[0x31; 32]),
        "nonce": "d1".repeat(32),
        "host_name": "127.0.0.1:8080",
        "members": [
            { "identity_seed": "41".repeat(32), "key_seed": "42".repeat(32), "participant": "AAAAAAAAAAA", "seq": 0,
              "name": "\u{2067}Peer\t\u{e9}\u{301} 1\u{ad}", "name_nonce": "ff".repeat(12) },
            { "identity_seed": "51".repeat(32), "key_seed": "52".repeat(32), "participant": "CAcGBQQDAgE", "seq": 77,
              "name": "\u{1d15e}", "name_nonce": "00".repeat(12) },
        ],
        "pairwise_inputs": [
            pairwise(1, "ready", json!({ "tunnel": false, "host": null })),
            pairwise(0, "ready", json!({ "tunnel": true, "host": null })),
            pairwise(0, "key", json!({ "generation": 1, "step": 3, "base": to_base64url(&[0xfe; 32]) })),
            pairwise(1, "key-ack", json!({ "generation": 1, "step": 3 })),
            pairwise(0, "key-ack", json!({ "generation": u32::MAX, "step": 8 })),
            pairwise(0, "tunnel", json!({ "description": "v=0\r\n\u{fc}" })),
            pairwise(1, "tunnel-over", json!({ "path": "forwarded" })),
        ],
        "base": "c3".repeat(32),
        "frame_inputs": [
            frame(0, 0, "camera", "vp8", 0, "10".to_owned() + &"00".repeat(1_149)),
            frame(0, 1, "camera", "vp8", 6, "31".to_owned() + &"5b".repeat(200)),
            frame(2, 2, "microphone", "opus", 8, "fcfffe".to_owned()),
            frame(255, 7, "screen", "vp9", 65_536, "a2".repeat(77)),
            frame(256, 8, "screen-audio", "opus", 1 << 32, "00".to_owned()),
            frame(1 << 24, 4, "camera", "vp8", (1 << 53) - 1, "70030000".to_owned() + &"9d012a000000".repeat(3)),
        ],
        "message_inputs": [
            message(0, 0, 0, "alive", json!({ "roster": to_base64url(&[9; 32]) })),
            message(0, 8, 7, "speaking", json!({ "on": true })),
            message(9, 1, 70_000, "chat", json!({ "id": "1", "text": "\u{1f44b} \u{7f}\u{0}\"/" })),
            message(u32::MAX, 0, 255, "state", json!({ "hand": false })),
            message(2, 3, 4, "mute", json!({})),
        ],
        "host_state_inputs": [
            state(0, 1, false, &[], &[]),
            state(1, 2, true, &[3, 9, 255], &[4]),
            state(1, 2, true, &[3, 10], &[]),
            state(1, 2, true, &[3], &[4, 5]),
            state(0, (1 << 32) - 1, false, &[], &[0, 1, 2]),
            state(0, (1 << 53) - 1, true, &[7], &[7, 8]),
            state(1, (1 << 53) - 1, true, &[7], &[7, 8]),
        ],
        "name_inputs": ["Peer 17", "a\u{85}b\u{2029}c\u{600}", "\u{212b}ngstr\u{f6}m", "\u{1f469}".repeat(30), "  ", "a\u{feff}b"],
    })
}
