//! What happens when: a run as a script of joins, leaves, turns of speaking and steps. It is told how long the run
//! goes on and who is there no more; everything random in it comes from the plan's seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::plan::{Plan, Scenario};

/// A participant's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The call, from 0.
    pub call: usize,
    /// The place in the call, from 0. Who comes in another's place has that index plus the participants of a call, so
    /// that the remainder says what it sends.
    pub index: usize,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Somebody joins.
    Join(Place),
    /// Somebody leaves.
    Leave(Place),
    /// Somebody raises the voice, or rests.
    Speak(Place, bool),
    /// Of a ramp: all of a step should be in; its measurement begins.
    Hold,
    /// Of a ramp: its measurement ends. Answered by [`Script::grow`] or [`Script::end`].
    Judge,
    /// The run is over.
    End,
}

/// What happens when.
pub struct Script {
    plan: Plan,
    rng: ChaCha8Rng,
    calls: Vec<Call>,
    due: BinaryHeap<Reverse<(Duration, u64, Due)>>,
    /// Of what is due at the same time, what was planned first comes first.
    planned: u64,
    acts: VecDeque<Act>,
    steps: usize,
}

#[derive(Default)]
struct Call {
    members: Vec<usize>,
    speaker: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Join(Place),
    Turn { call: usize },
    Change,
    Hold,
    Judge,
    End,
}

impl Script {
    /// The script of a plan that was checked.
    pub fn new(plan: &Plan) -> Self {
        let mut script = Self {
            plan: plan.clone(),
            rng: ChaCha8Rng::seed_from_u64(plan.seed),
            calls: Vec::new(),
            due: BinaryHeap::new(),
            planned: 0,
            acts: VecDeque::new(),
            steps: 0,
        };
        script.add_calls(Duration::ZERO, plan.calls);
        match plan.scenario {
            Scenario::Ramp => script.begin_step(Duration::ZERO),
            _ => script.plan_at(plan.duration, Due::End),
        }
        if plan.scenario == Scenario::Churn {
            script.plan_change(plan.join_over);
        }
        script
    }

    /// How far into the run something is to be done next.
    pub fn next_due(&self) -> Option<Duration> {
        if !self.acts.is_empty() {
            return Some(Duration::ZERO);
        }
        self.due.peek().map(|Reverse((at, ..))| *at)
    }

    /// What is to be done, so far into the run.
    pub fn poll(&mut self, elapsed: Duration) -> Option<Act> {
        while self.acts.is_empty() {
            let Reverse((at, _, due)) = *self.due.peek().filter(|Reverse((at, ..))| *at <= elapsed)?;
            self.due.pop();
            self.handle(at, due);
        }
        self.acts.pop_front()
    }

    /// Somebody is there no more, without having been told to leave.
    pub fn departed(&mut self, place: Place) {
        let Some(call) = self.calls.get_mut(place.call) else { return };
        call.members.retain(|&index| index != place.index);
        call.speaker = call.speaker.filter(|&speaker| speaker != place.index);
    }

    /// Begins the next step of a ramp, or ends it where it was the last.
    pub fn grow(&mut self, elapsed: Duration) {
        if self.steps >= self.plan.ramp.steps {
            return self.end();
        }
        self.add_calls(elapsed, self.plan.ramp.calls);
        self.begin_step(elapsed);
    }

    /// Nothing more happens but the end.
    pub fn end(&mut self) {
        self.due.clear();
        self.acts.push_back(Act::End);
    }

    /// Participants that the script has brought in and not taken out.
    pub fn present(&self) -> usize {
        self.calls.iter().map(|call| call.members.len()).sum()
    }

    /// Calls that it has begun.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    fn handle(&mut self, at: Duration, due: Due) {
        match due {
            Due::Join(place) => self.join(place),
            Due::Turn { call } => {
                self.turn(call);
                self.plan_at(at + self.plan.speaker_every, Due::Turn { call });
            }
            Due::Change => {
                self.change();
                self.plan_change(at);
            }
            Due::Hold => self.acts.push_back(Act::Hold),
            Due::Judge => self.acts.push_back(Act::Judge),
            Due::End => self.end(),
        }
    }

    /// Spreads the joins of new calls evenly, all first ones first: a call begins small and grows in all of them alike.
    fn add_calls(&mut self, from: Duration, calls: usize) {
        let first = self.calls.len();
        let (participants, all) = (self.plan.participants, self.plan.participants * calls);
        for (order, (index, call)) in
            (0..participants).flat_map(|index| (first..first + calls).map(move |call| (index, call))).enumerate()
        {
            let share = order as f64 / all.saturating_sub(1).max(1) as f64;
            self.plan_at(from + self.plan.join_over.mul_f64(share), Due::Join(Place { call, index }));
        }
        self.calls.resize_with(first + calls, Call::default);
        for call in first..first + calls {
            // All calls changing speakers in one instant would be a burst of key frames that no real load has.
            let phase = self.plan.speaker_every.mul_f64(self.rng.random_range(0.0..1.0));
            self.plan_at(from + phase, Due::Turn { call });
        }
    }

    fn begin_step(&mut self, from: Duration) {
        self.steps += 1;
        let hold = from + self.plan.join_over + SETTLE;
        self.plan_at(hold, Due::Hold);
        self.plan_at(hold + self.plan.ramp.hold, Due::Judge);
    }

    /// At random times, as many a second as planned: a Poisson process.
    fn plan_change(&mut self, from: Duration) {
        let wait = -self.rng.random_range(f64::EPSILON..1.0).ln() / self.plan.churn.per_second;
        let at = from + Duration::from_secs_f64(wait);
        if at + LAST_JOIN <= self.plan.duration {
            self.plan_at(at, Due::Change);
        }
    }

    fn change(&mut self) {
        let members = self.calls.iter().enumerate();
        let all: Vec<Place> = members
            .flat_map(|(call, members)| members.members.iter().map(move |&index| Place { call, index }))
            .collect();
        if all.is_empty() {
            return;
        }
        let leaver = all[self.rng.random_range(0..all.len())];
        self.acts.push_back(Act::Leave(leaver));
        self.departed(leaver);
        self.join(Place { index: leaver.index + self.plan.participants, ..leaver });
    }

    fn join(&mut self, place: Place) {
        self.calls[place.call].members.push(place.index);
        self.acts.push_back(Act::Join(place));
    }

    /// Another one of the call speaks, of those with a microphone.
    fn turn(&mut self, call: usize) {
        let (voices, participants) = (self.plan.microphones(), self.plan.participants);
        let speaker = self.calls[call].speaker;
        let can_speak = |index: &&usize| *index % participants < voices && Some(**index) != speaker;
        let others: Vec<usize> = self.calls[call].members.iter().filter(can_speak).copied().collect();
        if others.is_empty() {
            return;
        }
        let next = others[self.rng.random_range(0..others.len())];
        self.acts.extend(speaker.map(|index| Act::Speak(Place { call, index }, false)));
        self.acts.push_back(Act::Speak(Place { call, index: next }, true));
        self.calls[call].speaker = Some(next);
    }

    fn plan_at(&mut self, at: Duration, due: Due) {
        self.due.push(Reverse((at, self.planned, due)));
        self.planned += 1;
    }
}

/// A join takes well below this on a relay that is not overloaded; a step's figures begin after it.
const SETTLE: Duration = Duration::from_secs(1);
/// Nobody joins so shortly before the end, where there is nothing to be received any more.
const LAST_JOIN: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
