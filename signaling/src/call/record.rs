//! What a call's row is made of, and the receipts of it.

use std::sync::Arc;

use tokio::time::Instant;

use crate::call_log::{CallLog, EndReason, EndedCall, Receipt};
use crate::message::ServerMessage;

/// Becomes the call's one row when it is closed; at the latest when it is dropped, however the call ends.
pub(super) struct Record {
    call_log: Arc<dyn CallLog>,
    running: Option<Running>,
    /// Of the row, once there is one.
    written: Option<Receipt>,
}

struct Running {
    began: Instant,
    peak: usize,
}

impl Record {
    pub(super) fn new(call_log: Arc<dyn CallLog>) -> Self {
        Self { call_log, running: None, written: None }
    }

    /// Someone joined, and so many are there now. The first one begins the call.
    pub(super) fn count(&mut self, now: Instant, present: usize) {
        self.written = None;
        let running = self.running.get_or_insert(Running { began: now, peak: 0 });
        running.peak = running.peak.max(present);
    }

    /// Makes the row, once.
    pub(super) fn close(&mut self, reason: EndReason) {
        if let Some(running) = self.running.take() {
            self.written = Some(self.call_log.ended(running.ended(reason)));
        }
    }

    /// What is stored, or would be if the call ended now.
    pub(super) fn receipt(&self) -> ServerMessage {
        let expected = || {
            let running = self.running.as_ref()?;
            Some(self.call_log.receipt(running.ended(EndReason::Completed)))
        };
        let r#final = self.written.is_some();
        let receipt = self.written.clone().or_else(expected);
        let Receipt { retention_days, row } = receipt.expect("who is told has joined, so the call runs or has its row");
        ServerMessage::Receipt { r#final, retention_days, row }
    }
}

impl Running {
    fn ended(&self, reason: EndReason) -> EndedCall {
        let peak_participants = u32::try_from(self.peak).unwrap_or(u32::MAX);
        EndedCall { duration: self.began.elapsed(), peak_participants, reason }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // It was not closed: a panic.
        self.close(EndReason::Failed);
    }
}
