//! Speaking hints: they leave by our clock and not by their speaker's, so that their timing says nothing.

use std::time::Duration;

use serde_json::Value;

use crate::clock::Moment;

/// What is hinted at now.
#[derive(Default)]
pub struct Hints {
    hint: Option<(Value, Moment)>,
    say_at: Option<Moment>,
}

impl Hints {
    /// What to say from the next hint on, until nothing was set for a while.
    pub fn set(&mut self, now: Moment, body: Value) {
        self.hint = Some((body, now + LIFE));
        self.say_at.get_or_insert(now);
    }

    /// What is to be said now.
    pub fn take_due(&mut self, now: Moment) -> Option<Value> {
        self.say_at.take_if(|at| *at <= now)?;
        let (body, until) = self.hint.as_ref()?;
        if *until < now {
            return None;
        }
        self.say_at = Some(now + INTERVAL);
        Some(body.clone())
    }

    /// When something is to be said.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.say_at
    }
}

/// Between two hints: quick enough to follow a conversation.
const INTERVAL: Duration = Duration::from_millis(250);

/// After which a hint that is not renewed ends: the microphone is off, or its owner asleep.
const LIFE: Duration = Duration::from_millis(1_500);
