//! The slots of one receiver: m-lines in which publications come and go, in pairs of one audio and one video.

use crate::media::{Direction, Kind, Line, ParticipantKey};
use crate::message::Stream;

/// A publication: one stream of one participant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Publication {
    pub(crate) participant: ParticipantKey,
    pub(crate) stream: Stream,
}

/// What shares a pair, so that lips match: microphone with camera, a screen with its sound.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    participant: ParticipantKey,
    screen: bool,
}

/// The k-th audio and the k-th video m-line on which the participant receives form pair k.
#[derive(Default)]
pub(crate) struct Slots {
    audio: Vec<Slot>,
    video: Vec<Slot>,
    /// One count for all slots of the receiver, so that a number never comes back even if a MID does.
    epoch: u32,
    /// Counts releases: tells which slot has been empty longest.
    releases: u64,
}

struct Slot {
    mid: String,
    epoch: u32,
    held: Option<Held>,
    /// The release after which it was empty; 0 when it never held anything.
    released: u64,
}

#[derive(Clone, Copy)]
struct Held {
    publication: Publication,
    acknowledged: bool,
}

/// A slot named for the outside, at one epoch.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: String,
    pub(crate) epoch: u32,
}

/// What a publication held until now.
pub(crate) struct Released {
    pub(crate) place: Place,
    /// The media plane forwards into it.
    pub(crate) bound: bool,
}

/// There is no such slot.
pub(crate) struct NoSuchSlot;

impl Publication {
    pub(crate) fn group(self) -> Group {
        Group { participant: self.participant, screen: matches!(self.stream, Stream::Screen | Stream::ScreenAudio) }
    }
}

impl Slots {
    /// Takes over the m-lines of a new negotiation. Slots that are still there keep what they hold; what lost its
    /// slot, or its place beside its partner, is told so that it can wait for another.
    pub(crate) fn renegotiate(&mut self, lines: &[Line]) -> Vec<Released> {
        let mut before: Vec<Slot> = self.audio.drain(..).chain(self.video.drain(..)).collect();
        for line in lines.iter().filter(|line| line.direction == Direction::Receives) {
            let known = before.iter().position(|slot| slot.mid == line.mid);
            let slot = known.map_or_else(|| Slot::new(&line.mid), |i| before.swap_remove(i));
            self.of_kind(line.kind).push(slot);
        }
        let mut lost: Vec<Released> = before.into_iter().filter_map(|mut slot| slot.empty(0)).collect();
        for pair in 0..self.pairs() {
            if let (Some(audio), Some(video)) = (group_of(&self.audio, pair), group_of(&self.video, pair))
                && audio != video
            {
                self.releases += 1;
                lost.extend(self.audio[pair].empty(self.releases));
            }
        }
        lost
    }

    /// How many pairs there are; the last one may be half a pair.
    pub(crate) fn pairs(&self) -> usize {
        self.audio.len().max(self.video.len())
    }

    /// Whether the publication holds a slot.
    pub(crate) fn holds(&self, publication: Publication) -> bool {
        self.all().any(|slot| slot.held.is_some_and(|held| held.publication == publication))
    }

    /// Gives the publication a slot: beside its partner, or else in the pair that has been empty longest, because a
    /// receiver may still have packets of the last owner under way.
    pub(crate) fn place(&mut self, publication: Publication) -> Option<Place> {
        let pair = self.pair_for(publication)?;
        self.epoch += 1;
        let epoch = self.epoch;
        let slot = &mut self.of_kind(publication.stream.kind())[pair];
        slot.held = Some(Held { publication, acknowledged: false });
        slot.epoch = epoch;
        Some(Place { slot: slot.mid.clone(), epoch })
    }

    /// Empties the slot that the publication holds.
    pub(crate) fn release(&mut self, publication: Publication) -> Option<Released> {
        self.releases += 1;
        let releases = self.releases;
        let slot = self.all_mut().find(|slot| slot.held.is_some_and(|held| held.publication == publication))?;
        slot.empty(releases)
    }

    /// The client has pointed the slot at what was assigned. `None` when that is no longer, or already, so.
    pub(crate) fn acknowledge(&mut self, mid: &str, epoch: u32) -> Result<Option<Publication>, NoSuchSlot> {
        let slot = self.all_mut().find(|slot| slot.mid == mid).ok_or(NoSuchSlot)?;
        let current = slot.epoch == epoch;
        Ok(slot.held.as_mut().filter(|held| current && !held.acknowledged).map(|held| {
            held.acknowledged = true;
            held.publication
        }))
    }

    /// The slot into which the media plane forwards the publication.
    pub(crate) fn bound(&self, publication: Publication) -> Option<&str> {
        let is_bound = |held: Held| held.acknowledged && held.publication == publication;
        self.all().find(|slot| slot.held.is_some_and(is_bound)).map(|slot| slot.mid.as_str())
    }

    fn pair_for(&self, publication: Publication) -> Option<usize> {
        let (own, other) = match publication.stream.kind() {
            Kind::Audio => (&self.audio, &self.video),
            Kind::Video => (&self.video, &self.audio),
        };
        let free = |pair: &usize| own[*pair].held.is_none();
        let partner = (0..own.len()).find(|pair| group_of(other, *pair) == Some(publication.group()));
        match partner {
            Some(pair) => Some(pair).filter(free),
            None => (0..own.len())
                .filter(|pair| free(pair) && group_of(other, *pair).is_none())
                .min_by_key(|pair| own[*pair].released.max(other.get(*pair).map_or(0, |slot| slot.released))),
        }
    }

    fn of_kind(&mut self, kind: Kind) -> &mut Vec<Slot> {
        match kind {
            Kind::Audio => &mut self.audio,
            Kind::Video => &mut self.video,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Slot> {
        self.audio.iter().chain(&self.video)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.audio.iter_mut().chain(&mut self.video)
    }
}

impl Slot {
    fn new(mid: &str) -> Self {
        Self { mid: mid.to_owned(), epoch: 0, held: None, released: 0 }
    }

    fn empty(&mut self, releases: u64) -> Option<Released> {
        let held = self.held.take()?;
        self.released = releases;
        let place = Place { slot: self.mid.clone(), epoch: self.epoch };
        Some(Released { place, bound: held.acknowledged })
    }
}

fn group_of(slots: &[Slot], pair: usize) -> Option<Group> {
    slots.get(pair)?.held.map(|held| held.publication.group())
}

#[cfg(test)]
impl Slots {
    /// Every held slot: its MID, pair, epoch, owner and whether it is bound.
    pub(crate) fn held(&self) -> Vec<(String, usize, u32, Publication, bool)> {
        let of = |slots: &[Slot]| {
            let held = |(pair, slot): (usize, &Slot)| {
                slot.held.map(|held| (slot.mid.clone(), pair, slot.epoch, held.publication, held.acknowledged))
            };
            slots.iter().enumerate().filter_map(held).collect::<Vec<_>>()
        };
        [of(&self.audio), of(&self.video)].concat()
    }

    /// Whether the publication would get a slot now.
    pub(crate) fn has_place_for(&self, publication: Publication) -> bool {
        self.pair_for(publication).is_some()
    }
}
