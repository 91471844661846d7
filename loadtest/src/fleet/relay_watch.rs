//! Tells from what participants see whether the relay is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Moment;
use crate::participant::{PeerId, Update};

/// Who is connected and who was.
#[derive(Default)]
pub struct RelayWatch {
    connected: BTreeSet<PeerId>,
    lost: BTreeSet<PeerId>,
    /// Since when nobody is connected, with what the last one saw.
    dark: Option<(Moment, String)>,
    told: bool,
}

impl RelayWatch {
    /// Takes note of what a participant tells. Answers with what should be told besides.
    pub fn handle_update(&mut self, update: &Update) -> Option<Update> {
        match update {
            Update::Joined { peer, .. } | Update::Rejoined { peer, .. } => {
                self.lost.remove(peer);
                self.connected.insert(*peer);
                self.dark = None;
            }
            // Media alone may be lost by an outage that is part of the run.
            Update::Lost { peer, at, signaling: true, reason } => {
                self.connected.remove(peer);
                self.lost.insert(*peer);
                self.note_dark(*at, reason);
            }
            Update::Gone { peer, .. } => {
                self.connected.remove(peer);
                self.lost.remove(peer);
                if self.lost.is_empty() {
                    self.dark = None;
                }
            }
            Update::Unreachable { since, reason, .. } => return self.tell(*since, reason.clone()),
            Update::Lost { .. } | Update::Second { .. } | Update::RelayLost { .. } => {}
        }
        None
    }

    /// Answers with what should be told once nobody was connected for too long.
    pub fn handle_timeout(&mut self, now: Moment) -> Option<Update> {
        self.next_timeout().filter(|at| *at <= now)?;
        let (since, reason) = self.dark.take()?;
        self.tell(since, format!("all participants lost it at once; one said: {reason}"))
    }

    /// When to call [`RelayWatch::handle_timeout`].
    pub fn next_timeout(&self) -> Option<Moment> {
        self.dark.as_ref().filter(|_| !self.told).map(|(since, _)| *since + DARK)
    }

    fn note_dark(&mut self, at: Moment, reason: &str) {
        // Of one alone something else may be at fault.
        if self.connected.is_empty() && self.lost.len() > 1 && self.dark.is_none() {
            self.dark = Some((at, reason.to_owned()));
        }
    }

    fn tell(&mut self, since: Moment, reason: String) -> Option<Update> {
        (!std::mem::replace(&mut self.told, true)).then_some(Update::RelayLost { since, reason })
    }
}

/// Longer than a rejoin takes; a relay that is gone must be told within 10 s.
const DARK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn joined(peer: usize) -> Update {
        Update::Joined { peer: PeerId(peer), at: Moment(0), took: Duration::ZERO }
    }

    fn lost(peer: usize, at: u64, signaling: bool) -> Update {
        Update::Lost { peer: PeerId(peer), at: Moment(at * SECOND), signaling, reason: "it broke".into() }
    }

    fn watch(peers: usize) -> RelayWatch {
        let mut watch = RelayWatch::default();
        (0..peers).for_each(|peer| assert!(watch.handle_update(&joined(peer)).is_none()));
        watch
    }

    #[test]
    fn a_relay_that_all_lost_for_five_seconds_is_gone_and_that_is_told_once() {
        let mut watch = watch(2);
        assert!(watch.handle_update(&lost(0, 1, true)).is_none());
        assert_eq!(watch.next_timeout(), None, "one is still connected");
        watch.handle_update(&lost(1, 2, true));
        assert_eq!(watch.next_timeout(), Some(Moment(7 * SECOND)));
        assert!(watch.handle_timeout(Moment(6 * SECOND)).is_none());
        let told = watch.handle_timeout(Moment(7 * SECOND));
        assert!(matches!(told, Some(Update::RelayLost { since: Moment(at), .. }) if at == 2 * SECOND));
        let unreachable = Update::Unreachable { peer: PeerId(0), since: Moment(0), reason: String::new() };
        assert!(watch.handle_update(&unreachable).is_none());
        assert_eq!(watch.next_timeout(), None);
    }

    #[test]
    fn a_relay_at_which_one_is_back_is_not_gone() {
        let mut watch = watch(2);
        watch.handle_update(&lost(0, 1, true));
        watch.handle_update(&lost(1, 1, true));
        watch.handle_update(&Update::Rejoined { peer: PeerId(1), at: Moment(3 * SECOND), after: Duration::ZERO });
        assert!(watch.handle_timeout(Moment(9 * SECOND)).is_none());
    }

    #[test]
    fn an_outage_of_media_is_no_end_of_the_relay() {
        let mut watch = watch(2);
        watch.handle_update(&lost(0, 1, false));
        watch.handle_update(&lost(1, 1, false));
        assert_eq!(watch.next_timeout(), None);
    }

    #[test]
    fn a_relay_that_refuses_for_long_is_gone() {
        let mut watch = watch(1);
        let unreachable = Update::Unreachable { peer: PeerId(0), since: Moment(SECOND), reason: "refused".into() };
        let told = watch.handle_update(&unreachable);
        assert!(matches!(told, Some(Update::RelayLost { since: Moment(SECOND), reason }) if reason == "refused"));
    }
}
