//! Facts of the gRPC protocol: status codes, timeouts, message framing, metadata and what a
//! method's author says about it. No IO, no async, no clock.

pub mod code;
pub mod policy;

pub use code::Code;
