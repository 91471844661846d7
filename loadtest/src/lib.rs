//! Synthetic participants for Sotto: they join, connect, encrypt and measure as real ones do, and report what they saw.
//!
//! Follow a frame: [`media`] makes it, [`e2ee`] seals it, an [`engine`] carries it, [`media`] puts it together again at
//! the other side, and [`report`] says how that went. [`participant`] is what one of them does, told the time.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests begin virtual time somewhere"))]

pub mod cli;
pub mod clock;
pub mod conductor;
pub mod e2ee;
pub mod engine;
pub mod fleet;
pub mod impair;
pub mod measure;
pub mod media;
pub mod participant;
pub mod plan;
pub mod process;
pub mod progress;
pub mod quantity;
pub mod relay_process;
pub mod relay_url;
pub mod report;
pub mod scenario;
pub mod signaling;
pub mod threshold;
