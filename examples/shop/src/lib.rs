//! The shop: a set of services that calls itself through Sampan, and a page to watch it.
//!
//! Each module is one service; `src/bin` holds one small binary for each. README.md names
//! their settings.

pub mod catalog;
pub mod config;
pub mod gateway;
pub mod orders;
pub mod payments;
pub mod support;
pub mod tracking;

mod chain;
mod keeper;
mod moment;
mod stopping;
mod upstream;

/// Generated from `proto/shop/v1/*.proto`.
pub mod proto {
    #![allow(missing_docs, reason = "generated code")]
    sampan::include_proto!("shop.v1");
}
