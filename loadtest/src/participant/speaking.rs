//! Who speaks, as the page hears and tells it: one digit four times a second inside the encryption, and from the
//! others' digits who is shown large.

use std::time::Duration;

use sotto_signaling::message::ParticipantId;

use crate::clock::Moment;

/// What a participant's own hints say, and when.
pub struct Hints {
    due: Option<Moment>,
    speaking: bool,
}

impl Hints {
    /// None until [`Hints::begin`].
    pub fn new() -> Self {
        Self { due: None, speaking: false }
    }

    /// From now on, first after `phase`, so that participants who came together do not tell together.
    pub fn begin(&mut self, now: Moment, phase: Duration) {
        self.due = Some(now + phase.min(INTERVAL));
    }

    /// No more.
    pub fn stop(&mut self) {
        self.due = None;
    }

    /// Whether what is told from now on is a raised voice.
    pub fn speak(&mut self, speaking: bool) {
        self.speaking = speaking;
    }

    /// The level to tell, where it is time.
    pub fn poll(&mut self, now: Moment) -> Option<u8> {
        let due = self.due.filter(|due| *due <= now)?;
        // A loop that was late tells one, not all that it missed.
        self.due = Some((due + INTERVAL).max(now));
        Some(if self.speaking { RAISED } else { RESTING })
    }

    /// When the next is due.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.due
    }
}

/// Levels of one participant in, "speaks" or "does not" out.
#[derive(Default)]
pub struct Speaker {
    heard: Option<Moment>,
    loud: Option<Moment>,
    speaking: bool,
}

impl Speaker {
    /// Takes a level as it was received; anything but a digit is silence. Tells whether they have begun to speak.
    pub fn hear(&mut self, now: Moment, level: &serde_json::Value) -> bool {
        let level = level.as_f64().filter(|level| (0.0..=9.0).contains(level)).map_or(0, |level| level as u8);
        let before = self.is_speaking(now);
        self.heard = Some(now);
        if level >= if before { STOP } else { START } {
            self.loud = Some(now);
        }
        self.speaking = self.is_speaking(now);
        self.speaking && !before
    }

    fn is_speaking(&self, now: Moment) -> bool {
        let within = |at: Option<Moment>, span| at.is_some_and(|at| now.since(at) < span);
        within(self.loud, HOLD) && within(self.heard, STALE)
    }
}

/// Whom one shows large: the last who began to speak, until another does.
#[derive(Default)]
pub struct Stage {
    on: Option<ParticipantId>,
}

impl Stage {
    /// Who is on it.
    pub fn on(&self) -> Option<ParticipantId> {
        self.on
    }

    /// Someone began to speak.
    pub fn enter(&mut self, id: ParticipantId) {
        self.on = Some(id);
    }

    /// Someone left.
    pub fn leave(&mut self, id: ParticipantId) {
        self.on = self.on.filter(|on| *on != id);
    }
}

/// Between two hints: the page's.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// A voice in the middle of speech, and a room without one, of 0 to 9.
const RAISED: u8 = 7;
const RESTING: u8 = 1;

/// From this level on someone speaks; they stop below [`STOP`] for [`HOLD`], so that pauses between words do not
/// flicker. The page's figures, as the next.
const START: u8 = 4;
const STOP: u8 = 3;
const HOLD: Duration = Duration::from_millis(700);

/// A speaker whose hints stop for so long is silent.
const STALE: Duration = Duration::from_millis(1_500);

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sotto_signaling::base64url::Base64Url;

    use super::*;

    fn ms(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    #[test]
    fn hints_come_at_a_constant_rate_and_say_the_voice() {
        let mut hints = Hints::new();
        assert_eq!((hints.poll(ms(1_000)), hints.next_timeout()), (None, None));
        hints.begin(ms(0), Duration::from_millis(100));
        assert_eq!(hints.poll(ms(99)), None);
        assert_eq!(hints.poll(ms(100)), Some(RESTING));
        hints.speak(true);
        assert_eq!(hints.poll(ms(349)), None);
        assert_eq!(hints.poll(ms(350)), Some(RAISED));
        assert_eq!(hints.poll(ms(5_000)), Some(RAISED));
        assert_eq!(hints.next_timeout(), Some(ms(5_000)), "one at most was late");
    }

    #[test]
    fn a_speaker_begins_once_and_ends_after_a_pause() {
        let mut speaker = Speaker::default();
        assert!(!speaker.hear(ms(0), &json!(3)));
        assert!(speaker.hear(ms(250), &json!(7)));
        assert!(!speaker.hear(ms(500), &json!(7)), "has begun already");
        assert!(!speaker.hear(ms(750), &json!(0)));
        assert!(!speaker.hear(ms(1_000), &json!(4)), "a pause between words");
        assert!(!speaker.hear(ms(1_250), &json!(0)));
        assert!(!speaker.hear(ms(1_750), &json!("7")), "not a number is silence");
        assert!(!speaker.hear(ms(2_000), &json!(70)), "nor is what is out of range a voice");
        assert!(speaker.hear(ms(2_250), &json!(5)));
    }

    #[test]
    fn who_left_is_not_on_stage() {
        let (a, b) = (ParticipantId(Base64Url([1; 8])), ParticipantId(Base64Url([2; 8])));
        let mut stage = Stage::default();
        stage.enter(a);
        stage.enter(b);
        stage.leave(a);
        assert!(stage.on() == Some(b));
        stage.leave(b);
        assert!(stage.on().is_none());
    }
}
