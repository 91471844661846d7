//! A call in virtual time: members, an honest server, and a clock that moves only when a test says so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use sotto_signaling::base64url::Base64Url;
use sotto_signaling::message::{ParticipantId, Stream};

use crate::clock::Moment;
use crate::e2ee::{Encryption, Happening, Link, Opened, Refusal};
use crate::engine::Codec;

/// What a member was told by its encryption, without what it sent.
pub enum Told {
    Entered(ParticipantId, String),
    Left(ParticipantId),
    KeyFrame,
    Keyed(ParticipantId),
    Message(ParticipantId, String, Value),
    Unverified(ParticipantId, String),
}

/// One member of the call.
pub struct Member {
    pub encryption: Encryption,
    pub told: Vec<(Moment, Told)>,
}

/// Something on its way through the server.
#[derive(Clone)]
pub struct Delivery {
    pub from: ParticipantId,
    pub to: ParticipantId,
    pub data: String,
}

type Meddle = Box<dyn FnMut(Delivery) -> Vec<Delivery>>;

/// The server, honest unless a test gives it a `meddle`, and the clock.
pub struct World {
    pub now: Moment,
    pub link: Arc<Link>,
    pub members: BTreeMap<u8, Member>,
    /// The id of each member's latest connection, and whether it is connected.
    connections: BTreeMap<u8, ParticipantId>,
    ids: u8,
    under_way: VecDeque<Delivery>,
    pub meddle: Meddle,
    /// Everything relayed.
    pub log: Vec<Delivery>,
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
            log: Vec::new(),
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
        self.members.insert(name, Member { encryption, told: Vec::new() });
    }

    /// Connects a member, for the first time or again; the others are told that its old connection left.
    pub fn connect(&mut self, name: u8) {
        self.disconnect(name);
        let id = ParticipantId(Base64Url([name, self.ids, 0, 0, 0, 0, 0, 0]));
        self.ids += 1;
        let others: Vec<_> = self.connections.values().copied().collect();
        self.connections.insert(name, id);
        let now = self.now;
        self.member(name).encryption.joined(now, id, &others);
        for other in self.connected().into_iter().filter(|&other| other != name) {
            self.member(other).encryption.arrived(now, id);
        }
        self.quiet();
    }

    /// The server says that a member left, if it was there.
    pub fn disconnect(&mut self, name: u8) {
        let Some(id) = self.connections.remove(&name) else { return };
        let now = self.now;
        for other in self.connected() {
            self.member(other).encryption.departed(now, id);
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

    pub fn id(&self, name: u8) -> ParticipantId {
        self.connections[&name]
    }

    /// Delivers what is said until nobody has anything to say.
    pub fn quiet(&mut self) {
        loop {
            self.collect();
            let Some(delivery) = self.under_way.pop_front() else { return };
            self.log.push(delivery.clone());
            for Delivery { from, to, data } in (self.meddle)(delivery) {
                let receiver = self.connections.iter().find(|(_, id)| **id == to).map(|(&name, _)| name);
                let now = self.now;
                if let Some(receiver) = receiver {
                    self.member(receiver).encryption.receive(now, from, &data);
                }
            }
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.quiet();
        let next = |world: &Self| {
            world.connected().iter().filter_map(|name| world.members[name].encryption.next_timeout()).min()
        };
        while let Some(at) = next(self).filter(|&at| at <= end) {
            self.now = self.now.max(at);
            let now = self.now;
            for name in self.connected() {
                self.member(name).encryption.handle_timeout(now);
            }
            self.quiet();
        }
        self.now = end;
    }

    /// Sends a frame of one stream to one member; what comes out.
    pub fn film(&mut self, from: u8, to: u8) -> Result<Opened, Refusal> {
        let sealed = self.seal(from);
        self.render(from, to, &sealed)
    }

    pub fn seal(&mut self, from: u8) -> Vec<u8> {
        let mut sealed = Vec::new();
        assert!(self.member(from).encryption.protect(Stream::Camera, Codec::Vp8, &FRAME, &mut sealed));
        assert!(sealed[..10] == FRAME[..10] && sealed[10..] != FRAME[10..]);
        sealed
    }

    pub fn render(&mut self, from: u8, to: u8, sealed: &[u8]) -> Result<Opened, Refusal> {
        let (from, now, mut frame) = (self.id(from), self.now, vec![1, 2, 3]);
        let opened = self.member(to).encryption.open(from, Stream::Camera, Codec::Vp8, sealed, &mut frame, now)?;
        assert_eq!(frame, FRAME);
        Ok(opened)
    }

    pub fn connected(&self) -> Vec<u8> {
        self.connections.keys().copied().collect()
    }

    /// Takes what every member wants to send and was told.
    fn collect(&mut self) {
        let everyone = self.connections.clone();
        for (name, id) in &everyone {
            let now = self.now;
            let member = self.member(*name);
            let mut sent = Vec::new();
            while let Some(happening) = member.encryption.poll() {
                let told = match happening {
                    Happening::Send { to, data } => {
                        sent.push((to, data));
                        continue;
                    }
                    Happening::Entered { id, name } => Told::Entered(id, name),
                    Happening::Left { id } => Told::Left(id),
                    Happening::KeyFrame => Told::KeyFrame,
                    Happening::Keyed { id } => Told::Keyed(id),
                    Happening::Message { from, kind, body } => Told::Message(from, kind, body),
                    Happening::Unverified { id, why } => Told::Unverified(id, why.to_owned()),
                };
                member.told.push((now, told));
            }
            for (to, data) in sent {
                let receivers = everyone.values().copied().filter(|other| other != id);
                let receivers: Vec<_> = to.map_or_else(|| receivers.collect(), |to| vec![to]);
                let deliver = |to| Delivery { from: *id, to, data: data.clone() };
                self.under_way.extend(receivers.into_iter().map(deliver));
            }
        }
    }
}

impl Member {
    /// What it was told since the last time.
    pub fn news(&mut self) -> Vec<Told> {
        self.told.drain(..).map(|(_, told)| told).collect()
    }

    /// What could not be verified.
    pub fn trouble(&self) -> Vec<&str> {
        let why = |(_, told): &'_ (Moment, Told)| match told {
            Told::Unverified(_, why) => Some(why.clone()),
            _ => None,
        };
        let _ = why;
        self.told
            .iter()
            .filter_map(|(_, told)| if let Told::Unverified(_, why) = told { Some(why.as_str()) } else { None })
            .collect()
    }
}

/// A VP8 key frame.
pub const FRAME: [u8; 40] = {
    let mut frame = [7; 40];
    let mut at = 0;
    while at < 10 {
        frame[at] = [0x50, 1, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xf0, 0][at];
        at += 1;
    }
    frame
};
