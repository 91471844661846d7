//! What the program ends with, so that whatever started it knows how the run went.

use crate::report::{Outcome, Report};

/// The run ended, and no threshold broke.
pub const FINE: u8 = 0;
/// It could not be run.
pub const CANNOT_RUN: u8 = 1;
/// A threshold broke.
pub const THRESHOLD: u8 = 2;
/// The tester itself was the limit.
pub const TESTER: u8 = 3;
/// The relay was lost.
pub const RELAY_LOST: u8 = 4;

/// Of a run that has a report; the gravest of what happened.
pub fn of(report: &Report) -> u8 {
    match &report.outcome {
        Outcome::RelayLost { .. } => RELAY_LOST,
        Outcome::Failed { .. } => CANNOT_RUN,
        // What broke while the tester was the limit says nothing about the relay.
        _ if !report.tester.overloaded.is_empty() => TESTER,
        _ if report.thresholds.iter().any(|threshold| threshold.broken) => THRESHOLD,
        _ => FINE,
    }
}
