//! What the programs that other projects' suites drive have in common.

pub mod certificates;
pub mod conformance;
pub mod flags;
pub mod interop;
pub mod recorded;
pub mod trailers;

/// What ends one of the programs.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
