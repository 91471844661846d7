//! How long a sender's new key takes after somebody came or left (e2ee.md, rules 13 and 14): from the server's news to
//! the first frame under it.

use std::time::Duration;

use sotto_signaling::message::ParticipantId;

use crate::clock::Moment;

/// What is known of one sender's keys.
pub struct KeyChange {
    /// Of the last frame that authenticated.
    latest: Option<(u32, u8)>,
    /// The first news that no key has followed.
    news: Option<News>,
}

#[derive(Clone, Copy)]
struct News {
    at: Moment,
    about: ParticipantId,
}

impl KeyChange {
    /// No frame has come yet.
    pub fn new() -> Self {
        Self { latest: None, news: None }
    }

    /// The server says that someone came or left. Counts where frames of this sender have come; what comes before the
    /// key changes is one change with it.
    pub fn told(&mut self, now: Moment, about: ParticipantId) {
        if self.latest.is_some() && self.news.is_none() {
            self.news = Some(News { at: now, about });
        }
    }

    /// Someone of the news left before anyone let them in, so that no key follows.
    pub fn never_entered(&mut self, about: ParticipantId) {
        self.news = self.news.filter(|news| news.about != about);
    }

    /// A frame authenticated. Answers with how long the change took, where this frame completes one.
    pub fn authenticated(&mut self, at: Moment, generation: u32, step: u8) -> Option<Duration> {
        let key = (generation, step);
        let newer = self.latest.is_some_and(|latest| latest < key);
        self.latest = self.latest.max(Some(key));
        if !newer {
            return None;
        }
        let news = self.news.take()?;
        let took = at.since(news.at);
        (took <= LONGEST).then_some(took)
    }
}

/// A change that comes later is not the answer to that news. The protocol's own limit is near 8 s in the largest calls.
const LONGEST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use sotto_signaling::base64url::Base64Url;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn id(n: u8) -> ParticipantId {
        ParticipantId(Base64Url([n; 8]))
    }

    #[test]
    fn a_change_lasts_from_the_news_to_the_first_frame_under_a_newer_key() {
        let mut change = KeyChange::new();
        change.told(Moment(0), id(1));
        assert_eq!(change.authenticated(Moment(SECOND), 5, 0), None, "the first key ever is no change");
        change.told(Moment(2 * SECOND), id(2));
        change.told(Moment(3 * SECOND), id(3));
        assert_eq!(change.authenticated(Moment(3 * SECOND), 5, 0), None);
        assert_eq!(change.authenticated(Moment(4 * SECOND), 5, 1), Some(Duration::from_secs(2)));
        assert_eq!(change.authenticated(Moment(5 * SECOND), 5, 0), None, "a late frame of the old key");
        assert_eq!(change.authenticated(Moment(5 * SECOND), 5, 1), None);
    }

    #[test]
    fn who_was_never_let_in_causes_no_change() {
        let mut change = KeyChange::new();
        change.authenticated(Moment(0), 1, 0);
        change.told(Moment(0), id(1));
        change.never_entered(id(1));
        change.told(Moment(9 * SECOND), id(2));
        assert_eq!(change.authenticated(Moment(10 * SECOND), 2, 0), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_change_long_after_is_not_counted() {
        let mut change = KeyChange::new();
        change.authenticated(Moment(0), 1, 0);
        change.told(Moment(0), id(1));
        assert_eq!(change.authenticated(Moment(60 * SECOND), 1, 1), None);
    }
}
