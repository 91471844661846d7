//! The `sotto` binary: configuration, workers, signaling, call log, drain.

fn main() {}
