//! A service with every shape of call, for tests of Sampan and its peers.

mod echo;

pub use echo::Echo;

/// Generated from `sampan/testing/v1/echo.proto`.
pub mod proto {
    #![allow(missing_docs, reason = "generated code")]
    sampan::include_proto!("sampan.testing.v1");
}
