//! The built command against real servers.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod call;
mod gateway;
mod inspect;
mod peer;
mod run;
mod usage;
