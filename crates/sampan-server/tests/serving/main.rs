//! Servers over real sockets, with a service written by hand.

#![allow(missing_docs, reason = "tests")]

mod calls;
mod drain;
mod echo;
mod limits;
mod probe;
mod signals;
