//! Servers over real sockets, with a service written by hand.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test that cannot go on says so"
)]

mod calls;
mod compat;
mod drain;
mod echo;
mod limits;
mod probe;
mod reflection;
mod shedding;
mod signals;
mod spans;
mod threads;
