//! Facts of the gRPC protocol: status codes, timeouts, message framing, metadata, load reports and
//! what a method's author says about it. No IO, no async, no clock.

pub mod code;
pub mod compression;
pub mod copy;
pub mod frame;
pub mod metadata;
pub mod orca;
pub mod percent;
pub mod policy;
pub mod room;
pub mod service_config;
pub mod suggest;
pub mod timeout;

pub use code::Code;
