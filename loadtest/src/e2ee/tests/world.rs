//! A call in virtual time: members, an honest server, and a clock that moves only when a test says so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use sotto_signaling::base64url::Base64Url;
use sotto_signaling::message::{ParticipantId, Stream};

use super::page::Page;
use super::{hex, unhex};
use crate::clock::Moment;
use crate::e2ee::bytes::array_from_base64url;
use crate::e2ee::{Encryption, Happening, Link};
use crate::engine::Codec;

/// What a member was told by its encryption.
#[derive(Clone, PartialEq)]
pub enum Told {
    Entered(ParticipantId, String),
    Left(ParticipantId),
    /// By the page, in place of the two above.
    Roster(Vec<(ParticipantId, String)>),
    /// By the page.
    Code(String),
    KeyFrame,
    Removed,
    Keyed(ParticipantId),
    Message(ParticipantId, String, Value),
    Unverified(ParticipantId, String),
}

/// One member of the call.
pub struct Member {
    pub party: Party,
    /// With the time at which it was told.
    pub told: Vec<(Moment, Told)>,
}

/// What speaks for a member.
pub enum Party {
    Peer(Box<Encryption>),
    Page(Page),
}

/// Something on its way through the server.
#[derive(Clone)]
pub struct Delivery {
    pub from: ParticipantId,
    pub to: ParticipantId,
    pub data: String,
    pub at: Moment,
}

impl Delivery {
    /// Its type.
    pub fn kind(&self) -> String {
        let message: Value = serde_json::from_str(&self.data).expect("members say JSON");
        message["type"].as_str().expect("messages have a type").to_owned()
    }

    /// Whom it introduces, where it is a hello.
    fn introduced(&self) -> Option<(u8, [u8; 32])> {
        let message: Value = serde_json::from_str(&self.data).expect("members say JSON");
        let identity = array_from_base64url(message["identity"].as_str()?).expect("an identity has 32 bytes");
        Some((self.from.0.0[0], identity))
    }
}

type Meddle = Box<dyn FnMut(Delivery) -> Vec<Delivery>>;

/// The server, honest unless a test gives it a `meddle`, and the clock.
pub struct World {
    pub now: Moment,
    pub link: Arc<Link>,
    pub members: BTreeMap<u8, Member>,
    /// The id of each connected member.
    connections: BTreeMap<u8, ParticipantId>,
    ids: u8,
    under_way: VecDeque<Delivery>,
    pub meddle: Meddle,
    /// Whose pairwise messages to whom wait, since their order counts.
    pub slow: Vec<(ParticipantId, ParticipantId)>,
    waiting: Vec<Delivery>,
    /// Everything relayed.
    pub log: Vec<Delivery>,
    identities: BTreeMap<u8, [u8; 32]>,
}

impl World {
    pub fn new() -> Self {
        Self {
            now: Moment(1_000_000_000),
            link: Arc::new(Link::host([5; 32])),
            members: BTreeMap::new(),
            connections: BTreeMap::new(),
            ids: 0,
            under_way: VecDeque::new(),
            meddle: Box::new(|delivery| vec![delivery]),
            slow: Vec::new(),
            waiting: Vec::new(),
            log: Vec::new(),
            identities: BTreeMap::new(),
        }
    }

    /// A call of so many, settled.
    pub fn of(members: u8) -> Self {
        let mut world = Self::new();
        for name in 0..members {
            world.join(name);
        }
        world
    }

    /// Adds a member and lets the call settle.
    pub fn join(&mut self, name: u8) {
        self.add(name);
        self.connect(name);
        self.pass(Duration::from_millis(1_500));
    }

    /// Adds a member that is not connected.
    pub fn add(&mut self, name: u8) {
        let rng = ChaCha20Rng::from_seed([name; 32]);
        let encryption = Encryption::new(self.link.clone(), &format!("Peer {name}"), rng);
        self.put(name, Party::Peer(Box::new(encryption)));
    }

    /// Adds a member that is the page, and lets the call settle.
    pub fn join_page(&mut self, name: u8) {
        let invite = self.link.invite_fragment();
        self.open_page(name, &invite);
    }

    /// The same with the host's link.
    pub fn join_host(&mut self, name: u8) {
        let host = self.link.host_fragment().expect("the link is the host's");
        self.open_page(name, &host);
    }

    /// The page does what only the host may.
    pub fn host(&mut self, name: u8, method: &str, request: Value) {
        let now = self.now;
        let Party::Page(page) = self.party(name) else { panic!("{name} is no page") };
        page.ask(now, method, request);
        self.quiet();
    }

    fn open_page(&mut self, name: u8, fragment: &str) {
        let link = format!("https://sotto.test/c#{fragment}");
        self.put(name, Party::Page(Page::open(self.now, &link, &format!("Page {name}"))));
        self.connect(name);
        self.pass(Duration::from_millis(1_500));
    }

    /// Connects a member, for the first time or again; the others are told that its old connection left.
    pub fn connect(&mut self, name: u8) {
        self.disconnect(name);
        let id = ParticipantId(Base64Url([name, self.ids, 0, 0, 0, 0, 0, 0]));
        self.ids += 1;
        let others: Vec<_> = self.connections.values().copied().collect();
        self.connections.insert(name, id);
        let now = self.now;
        match self.party(name) {
            Party::Peer(peer) => peer.joined(now, id, &others),
            Party::Page(page) => {
                page.ask(now, "joined", json!({ "participant": id, "others": others }));
            }
        }
        for other in self.connected().into_iter().filter(|&other| other != name) {
            self.announce(other, id);
        }
        self.quiet();
    }

    /// The server tells a member that a connection came.
    pub fn announce(&mut self, to: u8, id: ParticipantId) {
        let now = self.now;
        match self.party(to) {
            Party::Peer(peer) => peer.arrived(now, id),
            Party::Page(page) => {
                page.ask(now, "arrived", json!({ "participant": id }));
            }
        }
    }

    /// The server says that a member left, if it was there.
    pub fn disconnect(&mut self, name: u8) {
        let Some(id) = self.connections.remove(&name) else { return };
        let now = self.now;
        for other in self.connected() {
            match self.party(other) {
                Party::Peer(peer) => peer.departed(now, id),
                Party::Page(page) => {
                    page.ask(now, "departed", json!({ "participant": id }));
                }
            }
        }
        self.quiet();
    }

    /// A member's connection goes nowhere any more, and nobody is told.
    pub fn cut(&mut self, name: u8) {
        self.connections.remove(&name);
    }

    pub fn member(&mut self, name: u8) -> &mut Member {
        self.members.get_mut(&name).expect("the test added it")
    }

    pub fn peer(&mut self, name: u8) -> &mut Encryption {
        match self.party(name) {
            Party::Peer(peer) => peer,
            Party::Page(_) => panic!("{name} is a page"),
        }
    }

    pub fn id(&self, name: u8) -> ParticipantId {
        self.connections[&name]
    }

    /// I of a member that has said hello.
    pub fn identity(&self, name: u8) -> [u8; 32] {
        self.identities[&name]
    }

    pub fn connected(&self) -> Vec<u8> {
        self.connections.keys().copied().collect()
    }

    /// Delivers what is said until nobody has anything to say.
    pub fn quiet(&mut self) {
        loop {
            self.collect();
            let Some(delivery) = self.under_way.pop_front() else { return };
            self.log.push(delivery.clone());
            self.identities.extend(delivery.introduced());
            if self.slow.contains(&(delivery.from, delivery.to)) && delivery.kind() != "message" {
                self.waiting.push(delivery);
                continue;
            }
            for Delivery { from, to, data, .. } in (self.meddle)(delivery) {
                let receiver = self.connections.iter().find(|(_, id)| **id == to).map(|(&name, _)| name);
                if let Some(receiver) = receiver {
                    self.deliver(receiver, from, &data);
                }
            }
        }
    }

    /// What waits arrives after all.
    pub fn hurry(&mut self) {
        self.slow.clear();
        self.under_way.extend(std::mem::take(&mut self.waiting));
        self.quiet();
    }

    /// The server delivers something to a member.
    pub fn deliver(&mut self, to: u8, from: ParticipantId, data: &str) {
        let now = self.now;
        match self.party(to) {
            Party::Peer(peer) => peer.receive(now, from, data),
            Party::Page(page) => {
                page.ask(now, "receive", json!({ "from": from, "data": data }));
            }
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.quiet();
        while let Some(at) = self.next_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            let now = self.now;
            for name in self.connected() {
                match self.party(name) {
                    Party::Peer(peer) => peer.handle_timeout(now),
                    Party::Page(page) if page.next_timeout().is_some_and(|at| at <= now) => {
                        page.ask(now, "nothing", json!({}));
                    }
                    Party::Page(_) => {}
                }
            }
            self.quiet();
        }
        self.now = end;
    }

    pub fn say(&mut self, from: u8, kind: &str, body: Value) {
        let now = self.now;
        match self.party(from) {
            Party::Peer(peer) => peer.say(now, kind, body).expect("the test says what can be said"),
            Party::Page(page) => {
                page.ask(now, "send", json!({ "kind": kind, "body": body }));
            }
        }
        self.quiet();
    }

    /// Says goodbye and leaves.
    pub fn bye(&mut self, name: u8) {
        let now = self.now;
        match self.party(name) {
            Party::Peer(peer) => peer.bye(now),
            Party::Page(page) => {
                page.ask(now, "close", json!({}));
            }
        }
        self.quiet();
        self.disconnect(name);
    }

    /// Sends a camera's key frame from one to the other; why it was not rendered, where it was not.
    pub fn film(&mut self, from: u8, to: u8) -> Result<(), &'static str> {
        let sealed = self.seal(from);
        self.render(from, to, &sealed)
    }

    pub fn seal(&mut self, from: u8) -> Vec<u8> {
        let (now, mut sealed) = (self.now, Vec::new());
        match self.party(from) {
            Party::Peer(peer) => assert!(peer.protect(Stream::Camera, Codec::Vp8, &FRAME, &mut sealed)),
            Party::Page(page) => {
                let frame = json!({ "stream": Stream::Camera, "codec": "vp8", "frame": hex(&FRAME) });
                sealed = unhex(page.ask(now, "protect", frame).as_str().expect("the frame may be sent"));
            }
        }
        assert!(sealed[..10] == FRAME[..10] && !sealed.windows(10).any(|part| part == &FRAME[10..20]));
        sealed
    }

    pub fn render(&mut self, from: u8, to: u8, sealed: &[u8]) -> Result<(), &'static str> {
        let from = self.id(from);
        self.render_from(from, to, sealed)
    }

    pub fn render_from(&mut self, from: ParticipantId, to: u8, sealed: &[u8]) -> Result<(), &'static str> {
        let (now, mut frame) = (self.now, vec![1, 2, 3]);
        match self.party(to) {
            Party::Peer(peer) => {
                peer.open(from, Stream::Camera, Codec::Vp8, sealed, &mut frame, now).map_err(|why| why.name())?;
            }
            Party::Page(page) => {
                let sealed = json!({
                    "participant": from, "stream": Stream::Camera, "codec": "vp8", "sealed": hex(sealed),
                });
                frame = unhex(page.ask(now, "render", sealed).as_str().ok_or("the page did not render it")?);
            }
        }
        assert_eq!(frame, FRAME);
        Ok(())
    }

    /// Whom everyone connected films, and whether all of it is rendered.
    pub fn all_see_all(&mut self) -> bool {
        let all = self.connected();
        let pairs = all.iter().flat_map(|&from| all.iter().map(move |&to| (from, to))).filter(|(from, to)| from != to);
        let pairs: Vec<_> = pairs.collect();
        pairs.into_iter().all(|(from, to)| self.film(from, to).is_ok())
    }

    /// The verification code as a member has it.
    pub fn code(&mut self, name: u8) -> String {
        let codes = |told: &[(Moment, Told)]| {
            told.iter().rev().find_map(|(_, told)| if let Told::Code(code) = told { Some(code.clone()) } else { None })
        };
        let Member { party, told } = self.member(name);
        match party {
            Party::Peer(peer) => peer.verification_code(),
            Party::Page(_) => codes(told).expect("the page shows a code"),
        }
    }

    /// The others whom a member has on its roster.
    pub fn roster(&mut self, name: u8) -> Vec<ParticipantId> {
        let Member { party, told } = self.member(name);
        let mut roster: Vec<_> = match party {
            Party::Peer(peer) => peer.roster().collect(),
            Party::Page(_) => {
                let rosters = told.iter().rev();
                let last = rosters.filter_map(|(_, told)| if let Told::Roster(all) = told { Some(all) } else { None });
                last.map(|all| all.iter().map(|(id, _)| *id).collect()).next().unwrap_or_default()
            }
        };
        roster.sort_by_key(|id| id.0);
        roster
    }

    fn put(&mut self, name: u8, party: Party) {
        self.members.insert(name, Member { party, told: Vec::new() });
    }

    fn party(&mut self, name: u8) -> &mut Party {
        &mut self.member(name).party
    }

    fn next_timeout(&self) -> Option<Moment> {
        let timeouts = self.connections.keys().filter_map(|name| match &self.members[name].party {
            Party::Peer(peer) => peer.next_timeout(),
            Party::Page(page) => page.next_timeout(),
        });
        timeouts.min()
    }

    /// Takes what every member wants to send and was told.
    fn collect(&mut self) {
        let now = self.now;
        for (name, id) in self.connections.clone() {
            let member = self.member(name);
            let mut sent = Vec::new();
            match &mut member.party {
                Party::Peer(peer) => {
                    while let Some(happening) = peer.poll() {
                        match taken(happening) {
                            Ok(message) => sent.push(message),
                            Err(told) => member.told.push((now, told)),
                        }
                    }
                }
                Party::Page(page) => {
                    sent.extend(page.sent.drain(..));
                    member.told.extend(page.told.drain(..).map(|told| (now, told)));
                }
            }
            for (to, data) in sent {
                let others = self.connections.values().copied().filter(|other| *other != id);
                let receivers: Vec<_> = to.map_or_else(|| others.collect(), |to| vec![to]);
                let deliver = |to| Delivery { from: id, to, data: data.clone(), at: now };
                self.under_way.extend(receivers.into_iter().map(deliver));
            }
        }
    }
}

impl Member {
    /// What could not be verified.
    pub fn trouble(&self) -> Vec<String> {
        let why = |told: &(_, Told)| if let Told::Unverified(_, why) = &told.1 { Some(why.clone()) } else { None };
        self.told.iter().filter_map(why).collect()
    }

    /// What others said, by kind, and when.
    pub fn messages(&self, wanted: &str) -> Vec<(Moment, Value)> {
        let body = |(at, told): &(Moment, Told)| match told {
            Told::Message(_, kind, body) if kind == wanted => Some((*at, body.clone())),
            _ => None,
        };
        self.told.iter().filter_map(body).collect()
    }

    /// When it was told to make key frames.
    pub fn switches(&self) -> Vec<Moment> {
        self.told.iter().filter(|(_, told)| *told == Told::KeyFrame).map(|(at, _)| *at).collect()
    }
}

fn taken(happening: Happening) -> Result<(Option<ParticipantId>, String), Told> {
    Err(match happening {
        Happening::Send { to, data } => return Ok((to, data)),
        Happening::Entered { id, name } => Told::Entered(id, name),
        Happening::Left { id } => Told::Left(id),
        Happening::KeyFrame => Told::KeyFrame,
        Happening::Removed => Told::Removed,
        Happening::Keyed { id } => Told::Keyed(id),
        Happening::Message { from, kind, body } => Told::Message(from, kind, body),
        Happening::Unverified { id, why } => Told::Unverified(id, why.to_owned()),
    })
}

/// A VP8 key frame with contents that can be told from chance.
pub const FRAME: [u8; 40] = *b"\x50\x01\x00\x9d\x01\x2a\x40\x01\xf0\x00plaintext that nobody may see.";
