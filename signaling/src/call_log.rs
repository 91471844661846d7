//! What signaling tells the call log, as a trait: the relay stores it, tests stand in for it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where finished calls are counted.
pub trait CallLog: Send + Sync + 'static {
    /// Told exactly once for each call, when it ended. Returns at once; storing happens behind it.
    fn ended(&self, call: EndedCall);
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

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
