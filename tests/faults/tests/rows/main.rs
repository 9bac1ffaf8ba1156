//! Each row of the table: what a channel must hold under a fault. `scripts/suite faults` shows
//! them at full length and prints their figures.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod crashes;
mod deadlines;
mod misbehaving;
mod names;
mod restarts;
mod runtimes;
mod same_host;

/// The program of a replica.
const REPLICA: &str = env!("CARGO_BIN_EXE_replica");
