//! The blind tunnel of two people: the relay ends ICE on each side (RFC 8445, lite) and passes every other datagram on as
//! it came. DTLS, SRTP and data channels are between the browsers; nothing here holds a key of theirs, or could.
//! What passes is known by its address alone: whoever forges one is refused by the browser at the other end.

use crate::session::IceParameters;

use super::bucket::Bucket;
use super::command::LegKey;
use super::context::Context;
use super::counters::{Drop, Protocol};
use super::link::Link;
use super::outbox::{Class, Path};
use super::timers::End;

/// A call's tunnel: no leg, one that waits, or two that lead to each other.
#[derive(Default)]
pub struct Tunnel {
    legs: [Option<Leg>; 2],
}

/// One side: a browser's way to the relay.
struct Leg {
    key: LegKey,
    other: LegKey,
    link: Link,
    budget: Bucket,
}

impl Tunnel {
    /// Makes a leg, or gives one that exists new credentials. A leg that does not belong to the tunnel that is there
    /// ends it.
    pub fn connect(
        &mut self,
        call: usize,
        (key, other): (LegKey, LegKey),
        ice: &IceParameters,
        context: &mut Context<'_>,
    ) {
        if key == other {
            return;
        }
        if self.legs.iter().flatten().any(|leg| !leg.is_between(key, other)) {
            self.end(context);
        }
        let side = match self.side_of(key) {
            Some(side) => side,
            None => self.insert(call, (key, other), ice, context),
        };
        let leg = self.legs[side].as_mut().expect("it was found, or has just been made");
        leg.link.ice.update(ice);
        leg.link.publish_ufrags(context);
    }

    /// Takes a leg away. The other one waits for its successor.
    pub fn end_leg(&mut self, key: LegKey, context: &mut Context<'_>) {
        let Some(side) = self.side_of(key) else { return };
        context.counters.tunnels -= u64::from(self.is_whole());
        if let Some(mut leg) = self.legs[side].take() {
            leg.link.release(context);
        }
    }

    /// Takes both legs away.
    pub fn end(&mut self, context: &mut Context<'_>) {
        for key in self.legs.each_ref().map(|leg| leg.as_ref().map(|leg| leg.key)).into_iter().flatten() {
            self.end_leg(key, context);
        }
    }

    /// Answers a check that names the leg on this side.
    pub fn handle_check(&mut self, side: usize, path: Path, bytes: &[u8], context: &mut Context<'_>) {
        let Some(leg) = &mut self.legs[side] else { return };
        if !leg.link.answer_check(path, bytes, context) {
            return;
        }
        if let Some(at) = leg.link.ice.consent_deadline() {
            leg.link.arm(at, context);
        }
    }

    /// Passes on a datagram that came by a path of the leg on this side. `protocol` is what its first bytes say.
    pub fn forward(&mut self, side: usize, protocol: Option<Protocol>, bytes: &[u8], context: &mut Context<'_>) {
        context.counters.received[Protocol::Tunnel as usize].add(bytes.len());
        let [first, second] = &mut self.legs;
        let (from, to) = if side == 0 { (first, second) } else { (second, first) };
        let (Some(from), Some(to)) = (from, to.as_ref().filter(|to| to.link.consents(context.now))) else {
            return context.drop(Drop::Early);
        };
        if bytes.len() > LONGEST {
            return context.drop(Drop::Oversize);
        }
        if !from.budget.afford(bytes.len() + COST, context.now) {
            return context.drop(Drop::Rate);
        }
        let written = context.out.push(to.link.run, class(protocol, bytes), |arena| arena.extend_from_slice(bytes));
        if written > 0 {
            context.counters.sent[Protocol::Tunnel as usize].add(written);
        }
    }

    /// Stops sending to whoever no longer consents, and forgets its addresses until another check comes.
    pub fn handle_timeout(&mut self, side: usize, context: &mut Context<'_>) {
        let Some(leg) = &mut self.legs[side] else { return };
        match leg.link.ice.consent_deadline() {
            Some(at) if at > context.now => leg.link.arm(at, context),
            _ => leg.link.forget_paths(context),
        }
    }

    /// Whether both legs are there.
    pub fn is_whole(&self) -> bool {
        self.legs.iter().all(Option::is_some)
    }

    /// The links of the legs that are there.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.legs.iter().flatten().map(|leg| &leg.link)
    }

    /// The link of the leg on this side.
    pub fn link_mut(&mut self, side: usize) -> Option<&mut Link> {
        self.legs[side].as_mut().map(|leg| &mut leg.link)
    }

    fn insert(
        &mut self,
        call: usize,
        (key, other): (LegKey, LegKey),
        ice: &IceParameters,
        context: &mut Context<'_>,
    ) -> usize {
        let side = self.legs.iter().position(Option::is_none).expect("two legs of one pair are found by their keys");
        let link = Link::new(call, End::Leg(side), ice, context);
        self.legs[side] = Some(Leg { key, other, link, budget: Bucket::new(RATE, BURST, context.now) });
        context.counters.tunnels += u64::from(self.is_whole());
        side
    }

    fn side_of(&self, key: LegKey) -> Option<usize> {
        self.legs.iter().position(|leg| leg.as_ref().is_some_and(|leg| leg.key == key))
    }
}

impl Leg {
    fn is_between(&self, one: LegKey, another: LegKey) -> bool {
        (self.key, self.other) == (one, another) || (self.key, self.other) == (another, one)
    }
}

/// What may be dropped first where the socket is full. The relay was told no payload types, and needs none: sound is what
/// comes in small packets. The end of a frame may be small too, and then waits as sound would.
fn class(protocol: Option<Protocol>, bytes: &[u8]) -> Class {
    match protocol {
        Some(Protocol::Video) if bytes.len() > LONGEST_SOUND => Class::Video,
        Some(Protocol::Video) => Class::Audio,
        _ => Class::Control,
    }
}

/// An Ethernet frame carries no more, headers included; browsers stay below 1,250. Anything longer would leave in
/// fragments.
const LONGEST: usize = 1_500;
/// Opus at 128 kbit/s in packets of 20 ms takes 320 bytes, headers and tag below 80.
const LONGEST_SOUND: usize = 400;
/// Bytes a second of each leg, 20 Mbit/s: four times what browsers send with camera and screen together. More is no call,
/// and a relay that passes anything on must not be anybody's free pipe.
const RATE: f64 = 2_500_000.0;
/// A fifth of a second at that rate: two large key frames, or a browser's probe of the path, at once.
const BURST: f64 = 500_000.0;
/// Charged for each datagram beside its length: what it costs the relay hardly depends on its length, so that tiny ones
/// are capped at 25,000 a second.
const COST: usize = 100;

#[cfg(test)]
mod tests;
