//! tonic's published example programs, written anew by tonic's public API, each once.
//!
//! The programs are in `src/programs`. [`on_tonic`] and [`on_sampan`] include the same files
//! after different `use` lines: the whole of a migration. `tests/pairs.rs` runs each server
//! against each client, tonic's and Sampan's, and holds what they heard against each other.

pub mod codec;
pub mod on_sampan;
pub mod on_tonic;

/// What the programs fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
