//! What waits for one client to read: bounded in messages and in bytes, so that a slow reader costs only itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::limits::Limits;
use crate::message::{ErrorCode, ServerMessage};

/// The call's end. Dropping it ends the session without a word.
pub(crate) struct Outbox {
    queue: mpsc::Sender<Utf8Bytes>,
    bytes: Arc<AtomicUsize>,
    most_bytes: usize,
    ending: Option<oneshot::Sender<ErrorCode>>,
}

/// The session's end.
pub(crate) struct Waiting {
    queue: mpsc::Receiver<Utf8Bytes>,
    bytes: Arc<AtomicUsize>,
}

/// Tells the session why it must end.
pub(crate) type Verdict = oneshot::Receiver<ErrorCode>;

/// Both ends for one session.
pub(crate) fn outbox(limits: &Limits) -> (Outbox, Waiting, Verdict) {
    let (sender, queue) = mpsc::channel(limits.queued_messages);
    let (ending, verdict) = oneshot::channel();
    let bytes = Arc::new(AtomicUsize::new(0));
    let most_bytes = limits.queued_bytes;
    let waiting = Waiting { queue, bytes: Arc::clone(&bytes) };
    (Outbox { queue: sender, bytes, most_bytes, ending: Some(ending) }, waiting, verdict)
}

/// A message as it goes over the wire; cloning shares the bytes.
pub(crate) fn encode(message: &ServerMessage) -> Utf8Bytes {
    serde_json::to_string(message).expect("messages have string keys and plain values").into()
}

impl Outbox {
    /// Queues a message. When too much waits already, the session ends with `too-slow`.
    pub(crate) fn send(&mut self, text: Utf8Bytes) {
        if self.ending.is_none() {
            return;
        }
        let length = text.len();
        let waits = self.bytes.fetch_add(length, Relaxed);
        if waits + length > self.most_bytes || self.queue.try_send(text).is_err() {
            self.end(ErrorCode::TooSlow);
        }
    }

    /// Ends the session with an error; what was queued before goes out first, unless it was too slow.
    pub(crate) fn end(&mut self, code: ErrorCode) {
        if let Some(ending) = self.ending.take() {
            // A session that is gone has already ended.
            let _ = ending.send(code);
        }
    }
}

impl Waiting {
    /// The next message; `None` when the call dropped its end.
    pub(crate) async fn next(&mut self) -> Option<Utf8Bytes> {
        let text = self.queue.recv().await?;
        self.bytes.fetch_sub(text.len(), Relaxed);
        Some(text)
    }

    /// The next message that is already there.
    pub(crate) fn next_now(&mut self) -> Option<Utf8Bytes> {
        self.queue.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { queued_messages: 3, queued_bytes: 10, ..Limits::default() }
    }

    #[tokio::test]
    async fn a_message_too_many_ends_the_session_and_what_follows_is_dropped() {
        let (mut outbox, mut waiting, mut verdict) = outbox(&limits());
        for _ in 0..3 {
            outbox.send("x".into());
        }
        assert!(verdict.try_recv().is_err());
        outbox.send("x".into());
        assert_eq!(verdict.try_recv(), Ok(ErrorCode::TooSlow));
        outbox.send("x".into());
        let mut left = 0;
        while waiting.next_now().is_some() {
            left += 1;
        }
        assert_eq!(left, 3);
    }

    #[tokio::test]
    async fn bytes_count_until_they_are_read() {
        let (mut outbox, mut waiting, mut verdict) = outbox(&limits());
        for _ in 0..10 {
            outbox.send("12345678".into());
            assert!(waiting.next().await.is_some());
        }
        assert!(verdict.try_recv().is_err());
        outbox.send("12345678".into());
        outbox.send("123".into());
        assert_eq!(verdict.try_recv(), Ok(ErrorCode::TooSlow));
    }
}
