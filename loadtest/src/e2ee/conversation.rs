//! What is said between members: writes the messages of the protocol, and reads those of others down to what they mean.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use aws_lc_rs::signature::Ed25519KeyPair;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;
use serde::Serialize;
use serde_json::Value;
use sotto_signaling::message::{Join, ParticipantId};
use zeroize::Zeroizing;

use super::bytes::{covered, to_base64url};
use super::derive::{Secret, ed25519, public_half, sign};
use super::encryption::Happening;
use super::envelope::{Envelope, read_object, write};
use super::hello::Hello;
use super::host_state::HostState;
use super::link::Link;
use super::membership::{Membership, PeerId, Verdict};
use super::messages::{Said, check_message, open_message, seal_message};
use super::name::tidy_name;
use super::pairwise::ConnectionKey;
use super::receiver_key::{Opened, Shown, base_key};
use super::sender_key::{LAST_STEP, SenderKeys};

/// What a message means, once it held.
pub enum Meaning {
    /// Nothing more is to be done.
    Nothing,
    /// The peer proved that it has the link's secret, and hands on the host state, where there is one.
    Ready(PeerId, Option<Value>),
    /// Somebody hands on a host state.
    HostState(Value),
    /// Their key came.
    Keyed,
    /// The peer has our key of that generation and step.
    Acknowledged(PeerId, u32, u8),
    /// The peer says something.
    Said(PeerId, String, Value),
    /// The peer leaves for good.
    Bye(PeerId),
}

/// Why a message did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It must be shown.
    Unverified(&'static str),
    /// Nobody need know.
    Refused(&'static str),
}

/// A frame that authenticated, whatever was in it.
pub struct Authenticated {
    /// Whose.
    pub peer: PeerId,
    /// Its place among theirs.
    pub opened: Opened,
    /// What it was the first to show.
    pub shown: Shown,
}

/// One connection of ours: its key, and who has our hello.
struct Connection {
    key: ConnectionKey,
    participant: ParticipantId,
    seq: u64,
    greeted: HashSet<ParticipantId>,
}

/// Our side of what is said.
pub struct Conversation {
    link: Arc<Link>,
    signing: Ed25519KeyPair,
    identity: [u8; 32],
    name: String,
    rng: ChaCha20Rng,
    connection: Option<Connection>,
    seq: u64,
}

impl Conversation {
    /// With a fresh identity out of `rng`.
    pub fn new(link: Arc<Link>, name: &str, mut rng: ChaCha20Rng) -> Self {
        let signing = ed25519(&random(&mut rng));
        let identity = public_half(&signing);
        Self { link, signing, identity, name: tidy_name(name), rng, connection: None, seq: 0 }
    }

    /// The call.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The request to enter the call.
    pub fn join(&self, nonce: &[u8; 32], host_name: &str) -> Join {
        self.link.join(nonce, host_name, &self.signing)
    }

    /// I.
    pub fn identity(&self) -> &[u8; 32] {
        &self.identity
    }

    /// A connection of ours begins; the others will all get its first hello.
    pub fn connect(&mut self, participant: ParticipantId, others: &[ParticipantId]) {
        self.seq += 1;
        let key = ConnectionKey::new(&random(&mut self.rng));
        let greeted = others.iter().copied().collect();
        self.connection = Some(Connection { key, participant, seq: self.seq, greeted });
    }

    /// Ours is over.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Somebody else's connection is over.
    pub fn forget(&mut self, participant: ParticipantId) {
        if let Some(connection) = &mut self.connection {
            connection.greeted.remove(&participant);
        }
    }

    /// Introduces us, to everyone where nobody is named.
    pub fn send_hello(&mut self, to: Option<ParticipantId>, out: &mut VecDeque<Happening>) {
        let Some(connection) = &mut self.connection else { return };
        let hello = Hello {
            identity: self.identity,
            key: *connection.key.public(),
            seq: connection.seq,
            participant: connection.participant,
            name: self.name.clone(),
        };
        connection.greeted.extend(to);
        let mut nonce = [0; super::hello::NONCE];
        self.rng.fill_bytes(&mut nonce);
        out.push_back(Happening::Send { to, data: hello.write(&self.link, &self.signing, nonce) });
    }

    /// Sends a key of ours, to whoever proved itself.
    pub fn send_key(
        &self,
        members: &mut Membership,
        peer: PeerId,
        (generation, step, base): (u32, u8, &Secret<32>),
        out: &mut VecDeque<Happening>,
    ) {
        if members.peer(peer).is_some_and(|peer| peer.takes_keys()) {
            let base = Zeroizing::new(to_base64url(base.as_slice()));
            let body = Key { generation, step, base: Some(&base) };
            send_pairwise(members, peer, "key", &body, out);
        }
    }

    /// Says something to the whole roster.
    pub fn broadcast(
        &self,
        members: &Membership,
        keys: &mut SenderKeys,
        kind: &str,
        body: &Value,
        out: &mut VecDeque<Happening>,
    ) {
        if self.connection.is_some() && members.roster().next().is_some() {
            let sealed = seal_message(keys, self.link.call_bytes(), &self.signing, kind, body);
            let data = write("message", Boxed { counter: None, r#box: to_base64url(&sealed) });
            out.push_back(Happening::Send { to: None, data });
        }
    }

    /// Says goodbye, for good.
    pub fn send_bye(&self, out: &mut VecDeque<Happening>) {
        if self.connection.is_some() {
            let statement = covered("bye", self.link.call_bytes(), &[&self.identity]);
            let signature = to_base64url(&sign(&self.signing, &statement));
            out.push_back(Happening::Send { to: None, data: write("bye", Bye { signature }) });
        }
    }

    /// Reads a message. With what it means comes what its frame, where it is one, was the first to show.
    ///
    /// # Errors
    /// Where it did not hold; it then changed nothing but perhaps what its frame showed.
    pub fn receive(
        &mut self,
        from: ParticipantId,
        message: &Envelope,
        members: &mut Membership,
        out: &mut VecDeque<Happening>,
    ) -> (Result<Meaning, Trouble>, Option<Authenticated>) {
        if self.connection.is_none() || !members.is_present(from) {
            return (Err(Trouble::Refused("stranger")), None);
        }
        match message.kind() {
            "hello" => (self.on_hello(from, message, members, out), None),
            kind @ ("ready" | "key" | "key-ack" | "tunnel" | "tunnel-over") => {
                (on_pairwise(from, kind, message, members, out), None)
            }
            "host-state" => {
                (message.object("state").map(Meaning::HostState).ok_or(Trouble::Refused("malformed")), None)
            }
            "message" => self.on_message(from, message, members),
            "bye" => (self.on_bye(from, message, members), None),
            _ => (Err(Trouble::Refused("type")), None),
        }
    }

    fn on_hello(
        &mut self,
        from: ParticipantId,
        message: &Envelope,
        members: &mut Membership,
        out: &mut VecDeque<Happening>,
    ) -> Result<Meaning, Trouble> {
        let (hello, verifying) = Hello::read(&self.link, message).ok_or(Trouble::Unverified("hello"))?;
        if hello.identity == self.identity {
            return Err(Trouble::Unverified("identity"));
        }
        let known = match members.judge(from, &hello) {
            Verdict::New => None,
            Verdict::Same(peer) => Some(peer),
            Verdict::Wrong(why) => return Err(Trouble::Unverified(why)),
        };
        if known.and_then(|peer| members.peer(peer)).is_some_and(|peer| peer.pair.is_some()) {
            return Ok(Meaning::Nothing);
        }
        let connection = self.connection.as_ref().ok_or(Trouble::Refused("stranger"))?;
        let pair = connection.key.agree(&self.link, &self.identity, &hello.identity, &hello.key);
        let pair = pair.ok_or(Trouble::Unverified("hello"))?;
        let greeted = connection.greeted.contains(&from);
        let peer = known.unwrap_or_else(|| members.meet(self.link.call_bytes(), hello, verifying));
        if let Some(peer) = members.peer_mut(peer) {
            peer.pair = Some(pair);
        }
        if !greeted {
            self.send_hello(Some(from), out);
        }
        send_ready(members, peer, out);
        Ok(Meaning::Nothing)
    }

    fn on_message(
        &self,
        from: ParticipantId,
        message: &Envelope,
        members: &mut Membership,
    ) -> (Result<Meaning, Trouble>, Option<Authenticated>) {
        let sealed = message.bytes("box");
        let id = members.of(from);
        let peer = id.and_then(|id| members.peer_mut(id)).filter(|peer| peer.on_roster());
        let (Some(id), Some(peer), Some(sealed)) = (id, peer, sealed) else {
            return (Err(Trouble::Refused("unpaired")), None);
        };
        match open_message(self.link.call_bytes(), peer, &sealed) {
            Said::Refused(refusal) => (Err(Trouble::Refused(refusal.name())), None),
            Said::NotTheirs { opened: (opened, shown), signed } => {
                let trouble = if signed { Trouble::Refused("malformed") } else { Trouble::Unverified("message") };
                (Err(trouble), Some(Authenticated { peer: id, opened, shown }))
            }
            Said::Message { kind, body, opened: (opened, shown) } => {
                let holds = kind == "alive" || check_message(&kind, &body).is_ok();
                let said = if holds { Ok(Meaning::Said(id, kind, body)) } else { Err(Trouble::Refused("malformed")) };
                (said, Some(Authenticated { peer: id, opened, shown }))
            }
        }
    }

    fn on_bye(&self, from: ParticipantId, message: &Envelope, members: &Membership) -> Result<Meaning, Trouble> {
        let id = members.of(from).ok_or(Trouble::Refused("unpaired"))?;
        let peer = members.peer(id).ok_or(Trouble::Refused("unpaired"))?;
        let signature = message.array::<64>("signature").ok_or(Trouble::Refused("unpaired"))?;
        let statement = covered("bye", self.link.call_bytes(), &[&peer.hello.identity]);
        let theirs = peer.verifying.verify_sig(&statement, &signature).is_ok();
        if theirs { Ok(Meaning::Bye(id)) } else { Err(Trouble::Unverified("bye")) }
    }
}

fn on_pairwise(
    from: ParticipantId,
    kind: &str,
    message: &Envelope,
    members: &mut Membership,
    out: &mut VecDeque<Happening>,
) -> Result<Meaning, Trouble> {
    const UNPAIRED: Trouble = Trouble::Refused("unpaired");
    const MALFORMED: Trouble = Trouble::Refused("malformed");
    let sealed = message.bytes("box").ok_or(UNPAIRED)?;
    let counter = message.count("counter").ok_or(UNPAIRED)?;
    let id = members.of(from).ok_or(UNPAIRED)?;
    let peer = members.peer_mut(id).ok_or(UNPAIRED)?;
    let opened = peer.pair.as_mut().ok_or(UNPAIRED)?.open(kind, counter, &sealed);
    let opened = opened.ok_or(Trouble::Unverified(if kind == "ready" { "ready" } else { "pair" }))?;
    let mut body = read_object(&opened).ok_or(MALFORMED)?;
    if kind == "ready" {
        // Whether it would take part in a tunnel is nothing to us, who never do.
        let state = body.remove("host").filter(|state| !state.is_null());
        return Ok(Meaning::Ready(id, state));
    }
    if !peer.takes_keys() {
        return Err(UNPAIRED);
    }
    if matches!(kind, "tunnel" | "tunnel-over") {
        // We told everyone that we take part in none.
        return Err(Trouble::Refused("tunnel"));
    }
    let field = |name: &str| body.get(name).and_then(Value::as_u64);
    let generation = field("generation").and_then(|value| u32::try_from(value).ok()).ok_or(MALFORMED)?;
    let step = field("step").and_then(|value| u8::try_from(value).ok()).filter(|&step| step <= LAST_STEP);
    let step = step.ok_or(MALFORMED)?;
    if kind == "key-ack" {
        return Ok(Meaning::Acknowledged(id, generation, step));
    }
    let base = body.get("base").and_then(Value::as_str).and_then(super::bytes::from_base64url).map(Zeroizing::new);
    let base = base.and_then(|base| base_key(&base)).ok_or(MALFORMED)?;
    if !peer.receiving.learn(generation, step, base) {
        return Err(Trouble::Unverified("key"));
    }
    send_pairwise(members, id, "key-ack", &Key { generation, step, base: None }, out);
    Ok(Meaning::Keyed)
}

/// Proves to a peer that we have the link's secret, unless the host keeps it out.
pub fn send_ready(members: &mut Membership, id: PeerId, out: &mut VecDeque<Happening>) {
    if members.refusal(id).is_some() {
        return;
    }
    let host = members.host_state().map(HostState::written);
    send_pairwise(members, id, "ready", &Ready { tunnel: false, host }, out);
    if let Some(peer) = members.peer_mut(id) {
        peer.greeted = true;
    }
}

fn send_pairwise(
    members: &mut Membership,
    peer: PeerId,
    kind: &str,
    body: &impl Serialize,
    out: &mut VecDeque<Happening>,
) {
    let Some(peer) = members.peer_mut(peer) else { return };
    let to = peer.hello.participant;
    let Some(pair) = &mut peer.pair else { return };
    let plaintext = Zeroizing::new(serde_json::to_vec(body).expect("a struct of texts and numbers is JSON"));
    let (counter, sealed) = pair.seal(kind, &plaintext);
    let data = write(kind, Boxed { counter: Some(counter), r#box: to_base64url(&sealed) });
    out.push_back(Happening::Send { to: Some(to), data });
}

fn random(rng: &mut ChaCha20Rng) -> Secret<32> {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut_slice());
    bytes
}

/// The body of `ready`.
#[derive(Serialize)]
struct Ready<H> {
    /// Whether a direct connection may be tried.
    tunnel: bool,
    host: Option<H>,
}

/// The body of `key` and `key-ack`.
#[derive(Serialize)]
struct Key<'a> {
    generation: u32,
    step: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<&'a str>,
}

/// The fields of pairwise messages, and without a counter of sealed ones.
#[derive(Serialize)]
struct Boxed {
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<u64>,
    r#box: String,
}

/// The fields of `bye`.
#[derive(Serialize)]
struct Bye {
    signature: String,
}
