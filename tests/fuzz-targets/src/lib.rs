//! Bodies of the fuzz targets, shared by `fuzz/` (nightly, libFuzzer) and the stable tests that
//! replay the kept corpus, and the comparison of our HPACK with somebody else's.
//!
//! A body panics when something that must hold does not.

pub mod connection;
pub mod differential;
pub mod frames;
pub mod hpack;
pub mod seed;
