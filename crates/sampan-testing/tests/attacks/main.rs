//! Attacks on a server over raw sockets, one for each limit of a connection. Beside each, an
//! honest client on a connection of its own sees no error, and the server's memory stays bounded.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod floods;
mod headers;
mod honest;
mod raw;
mod resets;
mod sizes;
mod stalls;
mod streams;
mod target;
mod tls;

/// RFC 9113, section 7.
mod code {
    pub(crate) const PROTOCOL_ERROR: u32 = 1;
    pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
    pub(crate) const STREAM_CLOSED: u32 = 5;
    pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
    pub(crate) const REFUSED_STREAM: u32 = 7;
    pub(crate) const CANCEL: u32 = 8;
    pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
}
