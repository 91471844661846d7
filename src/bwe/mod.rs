//! Bandwidth: what publishers need to know to estimate theirs.

pub mod arrivals;
