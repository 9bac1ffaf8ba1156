//! What generated clients and servers do at run time. Generated code is thin: one call of
//! [`client`] or [`server`] per method.
//!
//! Why not tonic's own `Grpc`: per call it costs two 8 KiB buffers, a codec behind a pointer, a
//! boxed stream of one message and two maps of headers. One message in and one out need none
//! of that. It also has edges that these modules round off:
//!
//! | where | tonic | here |
//! |---|---|---|
//! | a message over the limit | OUT_OF_RANGE | RESOURCE_EXHAUSTED |
//! | not exactly one message where one belongs | INTERNAL, or ignored | UNIMPLEMENTED |
//! | `grpc-status-details-bin` that is no base64 | panic | a status without details |
//! | a request that was reset | a proper end of its stream | UNAVAILABLE |
//! | an error that is no status | UNKNOWN | INTERNAL |
//!
//! Compression that a stub or a service was told to do itself, codecs of users and calls with a `CancellationHandle` go through
//! tonic's `Grpc`, with the same edges rounded off around it.

pub mod client;
mod collect;
pub mod direct;
mod edges;
mod encode;
mod guarded;
mod handed;
mod pieces;
pub mod server;

pub use crate::Body;
pub use client::{Client, Rpc};

use crate::status_trailers::{strip, stripped};
use tonic::{Status, metadata::MetadataMap};

#[cfg(test)]
mod tests;

/// What users may set of the headers of a call.
fn sanitized(metadata: MetadataMap) -> http::HeaderMap {
    let mut headers = metadata.into_headers();
    strip(&mut headers);
    headers
}

/// An answer that is this status alone.
fn told(status: Status) -> http::Response<Body> {
    stripped(status).into_http()
}
