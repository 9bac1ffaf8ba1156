//! Drives the engine of `sampan-h2` over a socket.
//!
//! Callers and handlers share the engine under a lock, under which they only append frames and
//! look at their own stream. One writer at a time takes what was appended and writes it without
//! the lock; whoever comes meanwhile leaves it to that writer.

pub(crate) mod client;
mod handover;
pub(crate) mod input;
mod io;
pub(crate) mod outgoing;
pub(crate) mod server;
pub(crate) mod shared;
pub(crate) mod stream;
