//! The others of a call: who is connected and publishes what, says the relay; who they are, says the encryption; and
//! from both what to ask for, and how large.

use sotto_signaling::media::Kind;
use sotto_signaling::message::{ParticipantId, RosterEntry, Stream};

use super::key_change::KeyChange;
use super::speaking::{Speaker, Stage};
use crate::clock::Moment;
use crate::media::Origin;

/// The others, in the order in which they came.
#[derive(Default)]
pub struct Roster {
    others: Vec<Other>,
    stage: Stage,
    /// Whether something else may be wanted than when that was last asked.
    changed: bool,
}

/// One of the others.
pub struct Other {
    /// Who.
    pub id: ParticipantId,
    /// What they publish.
    pub streams: Vec<Stream>,
    /// Whether the encryption vouches for them.
    pub is_authentic: bool,
    /// Where their frames come from, where they are of this tester.
    pub origin: Option<Origin>,
    /// How their keys change.
    pub key_change: KeyChange,
    /// Whether the encryption has vouched for them, over whatever connection of ours, and has not taken it back.
    has_entered: bool,
    /// Whether it ever did.
    was_authentic: bool,
    speaker: Speaker,
}

/// What is shown, and how large.
#[derive(Clone, Copy)]
pub struct View {
    /// Pictures at most.
    pub watch: Option<usize>,
    /// Lines of the one on stage.
    pub stage_height: u32,
}

impl Roster {
    /// A new connection: these are in the call. Whom we knew must prove themselves anew, by their key.
    pub fn reset(&mut self, entries: &[RosterEntry]) {
        let mut before = std::mem::take(&mut self.others);
        self.others = entries.iter().map(|entry| Other::new(entry.id, entry.streams.clone())).collect();
        for other in &mut self.others {
            let Some(known) = before.iter_mut().find(|known| known.id == other.id) else { continue };
            (other.has_entered, other.was_authentic) = (known.has_entered, known.was_authentic);
            other.origin = known.origin;
            std::mem::swap(&mut other.key_change, &mut known.key_change);
        }
        self.stage = Stage::default();
        self.changed = true;
    }

    /// Someone joined.
    pub fn arrived(&mut self, now: Moment, id: ParticipantId) {
        self.told(now, id);
        self.others.push(Other::new(id, Vec::new()));
    }

    /// Someone left.
    pub fn departed(&mut self, now: Moment, id: ParticipantId) {
        self.doubted(now, id);
        let Some(place) = self.others.iter().position(|other| other.id == id) else { return };
        self.changed = true;
        if !self.others.remove(place).was_authentic {
            self.others.iter_mut().for_each(|other| other.key_change.never_entered(id));
        }
    }

    /// Someone publishes a stream.
    pub fn published(&mut self, id: ParticipantId, stream: Stream) {
        if let Some(other) = self.get(id).filter(|other| !other.streams.contains(&stream)) {
            other.streams.push(stream);
            self.changed = true;
        }
    }

    /// No longer.
    pub fn unpublished(&mut self, id: ParticipantId, stream: Stream) {
        if let Some(other) = self.get(id) {
            other.streams.retain(|each| *each != stream);
            self.changed = true;
        }
    }

    /// The encryption vouches for someone.
    pub fn entered(&mut self, id: ParticipantId, origin: Option<Origin>) {
        if let Some(other) = self.get(id) {
            (other.is_authentic, other.has_entered, other.origin) = (true, true, origin);
            other.was_authentic = true;
            self.changed = true;
        }
    }

    /// Someone's key came: who had entered before we came back is authentic again.
    pub fn keyed(&mut self, id: ParticipantId) {
        if let Some(other) = self.get(id) {
            other.is_authentic |= other.has_entered;
            self.changed = true;
        }
    }

    /// It no longer does; a goodbye may come before the server says that they left.
    pub fn doubted(&mut self, now: Moment, id: ParticipantId) {
        self.stage.leave(id);
        let Some(other) = self.get(id) else { return };
        other.has_entered = false;
        if std::mem::take(&mut other.is_authentic) {
            self.changed = true;
            self.told(now, id);
        }
    }

    /// Someone tells how loud they are.
    pub fn heard(&mut self, now: Moment, id: ParticipantId, level: &serde_json::Value) {
        let Some(other) = self.get(id) else { return };
        if other.speaker.hear(now, level) {
            self.stage.enter(id);
            self.changed = true;
        }
    }

    /// One of them.
    pub fn get(&mut self, id: ParticipantId) -> Option<&mut Other> {
        self.others.iter_mut().find(|other| other.id == id)
    }

    /// Whether [`Roster::wanted`] may have changed since the last call: with many others it is not made for nothing.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// What should be subscribed, with the height of each: all sound, and as many pictures as are watched, the one on
    /// stage among them and large. A single picture is large without anybody's word.
    pub fn wanted(&self, view: View) -> Vec<(ParticipantId, Stream, u32)> {
        let authentic = || self.others.iter().filter(|other| other.is_authentic);
        let of = |kind| {
            authentic().flat_map(move |other| {
                other.streams.iter().filter(move |stream| stream.kind() == kind).map(move |stream| (other.id, *stream))
            })
        };
        let mut wanted: Vec<_> = of(Kind::Audio).map(|(id, stream)| (id, stream, AUDIO)).collect();
        let mut pictures: Vec<_> = of(Kind::Video).collect();
        // Who is on stage is watched for certain; the sort keeps the order of the others.
        pictures.sort_by_key(|(id, _)| self.stage.on() != Some(*id));
        let alone = pictures.len() == 1;
        pictures.truncate(view.watch.unwrap_or(usize::MAX));
        wanted.extend(pictures.into_iter().map(|(id, stream)| {
            let is_large = alone || stream == Stream::Screen || self.stage.on() == Some(id);
            (id, stream, if is_large { view.stage_height } else { SMALL.min(view.stage_height) })
        }));
        wanted
    }

    fn told(&mut self, now: Moment, about: ParticipantId) {
        for other in self.others.iter_mut().filter(|other| other.id != about) {
            other.key_change.told(now, about);
        }
    }
}

impl Other {
    fn new(id: ParticipantId, streams: Vec<Stream>) -> Self {
        let key_change = KeyChange::new();
        Self {
            id,
            streams,
            is_authentic: false,
            origin: None,
            key_change,
            has_entered: false,
            was_authentic: false,
            speaker: Speaker::default(),
        }
    }
}

/// "Height" with which the page asks for sound.
const AUDIO: u32 = 1;

/// Lines of a tile beside the stage.
const SMALL: u32 = 180;

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sotto_signaling::base64url::Base64Url;

    use super::*;

    fn id(n: u8) -> ParticipantId {
        ParticipantId(Base64Url([n; 8]))
    }

    fn roster(of: u8) -> Roster {
        let mut roster = Roster::default();
        let entry = |n| RosterEntry { id: id(n), streams: vec![Stream::Microphone, Stream::Camera] };
        roster.reset(&(0..of).map(entry).collect::<Vec<_>>());
        (0..of).for_each(|n| roster.entered(id(n), None));
        roster
    }

    fn pictures(roster: &Roster, watch: Option<usize>) -> Vec<(u8, u32)> {
        let wanted = roster.wanted(View { watch, stage_height: 720 });
        let pictures = wanted.iter().filter(|(_, stream, _)| *stream == Stream::Camera);
        pictures.map(|(id, _, height)| (id.0.0[0], *height)).collect()
    }

    #[test]
    fn nothing_is_asked_of_who_is_not_authentic() {
        let mut roster = roster(1);
        assert_eq!(roster.wanted(View { watch: None, stage_height: 720 }).len(), 2);
        roster.doubted(Moment(0), id(0));
        assert!(roster.wanted(View { watch: None, stage_height: 720 }).is_empty());
        roster.arrived(Moment(0), id(1));
        roster.published(id(1), Stream::Microphone);
        assert!(roster.wanted(View { watch: None, stage_height: 720 }).is_empty());
        roster.entered(id(1), None);
        assert_eq!(roster.wanted(View { watch: None, stage_height: 720 }).len(), 1);
    }

    #[test]
    fn the_speaker_is_large_and_watched_for_certain() {
        let mut roster = roster(3);
        assert_eq!(pictures(&roster, None), [(0, 180), (1, 180), (2, 180)]);
        roster.heard(Moment(0), id(2), &json!(7));
        assert_eq!(pictures(&roster, None), [(2, 720), (0, 180), (1, 180)]);
        assert_eq!(pictures(&roster, Some(2)), [(2, 720), (0, 180)]);
        assert_eq!(pictures(&roster, Some(0)), []);
        roster.departed(Moment(0), id(2));
        assert_eq!(pictures(&roster, Some(1)), [(0, 180)]);
    }

    #[test]
    fn a_single_picture_is_large() {
        assert_eq!(pictures(&roster(1), None), [(0, 720)]);
    }

    #[test]
    fn all_voices_are_heard_however_few_are_watched() {
        let roster = roster(4);
        let wanted = roster.wanted(View { watch: Some(1), stage_height: 720 });
        assert_eq!(wanted.iter().filter(|(_, stream, _)| *stream == Stream::Microphone).count(), 4);
    }
}
