//! Sockets and HTTP/2 connections, the seam under Sampan's channel and server.
//!
//! A [`Connection`] takes an `http::Request` and gives a response; a [`Listener`] gives
//! connections to serve. What moves the bytes is hidden here: nothing above this crate names it.

mod address;
mod incoming;
mod tls;

pub use address::{Address, InvalidAddress};
pub use incoming::{BodyError, Incoming, ResetReason};
pub use tls::{Certificate, Identity};
