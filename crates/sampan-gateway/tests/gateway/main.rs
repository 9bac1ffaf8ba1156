//! The gateway as clients see it: every protocol, codec and shape of call against a service in
//! this process, and everything that can be wrong with a request.

mod bad_input;
mod client;
mod shapes;
mod streaming;
mod talk;
