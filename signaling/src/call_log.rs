//! What signaling tells the call log, as a trait: the relay stores it, tests stand in for it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where finished calls are counted.
pub trait CallLog: Send + Sync + 'static {
    /// Told exactly once for each call, when it ended. Returns at once; storing happens behind it. The receipt is of
    /// the very row that is stored.
    fn ended(&self, call: EndedCall) -> Receipt;
    /// What would be stored if the call ended now, for who leaves it earlier. Stores nothing.
    fn receipt(&self, call: EndedCall) -> Receipt;
    /// Everything that is stored, field by field, as the transparency page shows it.
    fn transparency(&self) -> BoxFuture<'_, Result<serde_json::Value, TransparencyError>>;
}

/// A finished call: all that is ever told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedCall {
    /// From the first join to the last leave.
    pub duration: Duration,
    /// The most participants it held at one time.
    pub peak_participants: u32,
    /// Why it ended.
    pub reason: EndReason,
}

/// What is kept of a call and for how long, as its participants are told when they leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Days for which rows are kept; 0 when none is.
    pub retention_days: u32,
    /// Nothing where nothing is stored.
    pub row: Option<ReceiptRow>,
}

/// The stored row, but for its random id, which nobody needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptRow {
    /// The day, in UTC, on which the call ended, as ISO 8601.
    pub ended_day: String,
    /// How long it lasted, rounded up.
    pub duration_minutes: u32,
    /// The most people who were in it at one time.
    pub peak_participants: u32,
    /// Why it ended.
    pub end_reason: EndReason,
    /// When the row is erased, in Unix seconds.
    pub expires_at: i64,
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// The last participant left.
    Completed,
    /// The media plane lost it.
    Failed,
    /// The relay was stopped while it ran.
    Drained,
}

impl EndReason {
    /// Every reason with its name in the log.
    pub const ALL: [(EndReason, &'static str); 3] =
        [(EndReason::Completed, "completed"), (EndReason::Failed, "failed"), (EndReason::Drained, "drained")];

    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            EndReason::Completed => "completed",
            EndReason::Failed => "failed",
            EndReason::Drained => "drained",
        }
    }
}

/// The call log cannot be read now.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the call log cannot be read now")]
pub struct TransparencyError;
