//! HTTP/2 as gRPC uses it, without IO, async code or a clock.
//!
//! Bytes go in, events and bytes come out; `now` is an argument. Every limit is checked as bytes
//! arrive, before they are kept. Sources: RFC 9113 (HTTP/2) and RFC 7541 (HPACK).

pub mod hpack;
