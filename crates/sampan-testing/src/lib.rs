//! A service with every shape of call, and a proxy with every fault of a network, for tests of
//! Sampan and its peers.

mod echo;
mod fault_proxy;

pub use echo::Echo;
pub use fault_proxy::{FaultProxy, Faults};

/// Generated from `sampan/testing/v1/echo.proto`.
pub mod proto {
    #![allow(missing_docs, reason = "generated code")]
    sampan::include_proto!("sampan.testing.v1");
}
