//! Messages that wait for their turn, so that the server's limit of messages per second is never passed.

use std::collections::VecDeque;
use std::time::Duration;

use sotto_signaling::message::ClientMessage;

use crate::clock::Moment;

/// A queue that flows at part of the server's rate, after a burst as large.
pub struct Outbox {
    rate: f64,
    tokens: f64,
    refilled: Moment,
    waiting: VecDeque<ClientMessage>,
}

impl Outbox {
    /// For a server that takes so many messages per second.
    pub fn new(now: Moment, limit: u32) -> Self {
        let rate = (f64::from(limit) * SHARE).max(1.0);
        Self { rate, tokens: rate, refilled: now, waiting: VecDeque::new() }
    }

    /// Adds a message.
    pub fn push(&mut self, message: ClientMessage) {
        self.waiting.push_back(message);
    }

    /// How many wait.
    pub fn backlog(&self) -> usize {
        self.waiting.len()
    }

    /// The next message that may be sent now.
    pub fn poll(&mut self, now: Moment) -> Option<ClientMessage> {
        if self.waiting.is_empty() {
            return None;
        }
        self.tokens = (self.tokens + now.since(self.refilled).as_secs_f64() * self.rate).min(self.rate);
        self.refilled = self.refilled.max(now);
        if self.tokens < 1.0 {
            return None;
        }
        self.tokens -= 1.0;
        self.waiting.pop_front()
    }

    /// When the next one may be sent, if one waits.
    pub fn next_timeout(&self) -> Option<Moment> {
        let missing = (1.0 - self.tokens).max(0.0) / self.rate;
        // A little later than exactly then, so that rounding never wakes the engine for nothing.
        (!self.waiting.is_empty()).then(|| self.refilled + Duration::from_secs_f64(missing) + Duration::from_micros(1))
    }
}

/// Part of the server's rate that flows, and again that may come in one burst: in no second do both pass the limit. The
/// page's figure.
const SHARE: f64 = 0.45;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_no_second_do_more_messages_leave_than_the_server_takes() {
        let mut outbox = Outbox::new(Moment(0), 100);
        let mut sent: Vec<Moment> = Vec::new();
        for _ in 0..300 {
            outbox.push(ClientMessage::Leave);
        }
        let mut now = Moment(5);
        while outbox.backlog() > 0 {
            while outbox.poll(now).is_some() {
                sent.push(now);
            }
            if let Some(next) = outbox.next_timeout() {
                assert!(next > now, "it moves on");
                now = next;
            }
        }
        assert_eq!(sent.len(), 300);
        for (n, start) in sent.iter().enumerate() {
            let within = sent[n..].iter().take_while(|at| at.since(*start) < Duration::from_secs(1)).count();
            assert!(within <= 100, "{within} messages in a second");
        }
        assert!(now.since(Moment(5)) < Duration::from_secs(7), "and no slower than it must");
    }

    #[test]
    fn an_empty_outbox_wakes_nobody() {
        let mut outbox = Outbox::new(Moment(0), 100);
        assert_eq!(outbox.next_timeout(), None);
        outbox.push(ClientMessage::Leave);
        assert!(outbox.poll(Moment(1)).is_some());
        assert_eq!(outbox.next_timeout(), None);
    }
}
