//! The gateway as clients see it: every protocol, codec and shape of call against a service in
//! this process, and everything that can be wrong with a request.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod bad_input;
mod client;
mod discovery;
mod network;
mod shapes;
mod streaming;
mod talk;
