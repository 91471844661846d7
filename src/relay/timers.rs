//! When which link needs attention: a heap with one live entry per link, so that an idle relay sleeps and
//! a busy one never scans.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// A link's place on this worker. Places are used again; the serial never is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index of the call.
    pub call: usize,
    /// Where in it.
    pub end: End,
    /// Counts every link that ever was.
    pub serial: u64,
}

/// What a link of a call ends in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The session of the participant with this index.
    Session(usize),
    /// The leg on this side of the tunnel.
    Leg(usize),
}

/// A link's own side of its heap entry.
#[derive(Default)]
pub struct Alarm(Option<Instant>);

impl Alarm {
    /// Whether the entry that fired at `at` is the live one; it is consumed then.
    pub fn fired(&mut self, at: Instant) -> bool {
        let live = self.0 == Some(at);
        if live {
            self.0 = None;
        }
        live
    }
}

/// All deadlines of a worker.
#[derive(Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Place)>>,
}

impl Timers {
    /// Makes sure that the link is called at `at` or earlier.
    pub fn arm(&mut self, place: Place, alarm: &mut Alarm, at: Instant) {
        if alarm.0.is_some_and(|armed| armed <= at) {
            return;
        }
        alarm.0 = Some(at);
        self.heap.push(Reverse((at, place)));
    }

    /// The earliest deadline. It may belong to somebody who has left, or who was called earlier since: that costs one
    /// spare wake-up.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// How many entries wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Takes an entry that is due.
    pub fn pop(&mut self, now: Instant) -> Option<(Instant, Place)> {
        self.next().filter(|&at| at <= now)?;
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_the_earliest_arming_of_a_link_fires() {
        let start = Instant::now();
        let (mut timers, mut alarm) = (Timers::default(), Alarm::default());
        let place = Place { call: 0, end: End::Session(0), serial: 1 };
        timers.arm(place, &mut alarm, start + Duration::from_secs(2));
        timers.arm(place, &mut alarm, start + Duration::from_secs(3));
        timers.arm(place, &mut alarm, start + Duration::from_secs(1));
        assert_eq!(timers.heap.len(), 2);
        let mut fired = 0;
        while let Some((at, _)) = timers.pop(start + Duration::from_secs(9)) {
            fired += u32::from(alarm.fired(at));
        }
        assert_eq!(fired, 1);
        assert_eq!(timers.next(), None, "nothing to do, nothing to wake up for");
    }
}
