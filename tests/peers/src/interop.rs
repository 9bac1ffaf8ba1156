//! gRPC's interop cases: a server, and a client for each case.

mod cases;
mod compression;
mod negative;
mod orca;
mod server;
mod soak;

pub use cases::{CASES, Dial, run};
pub use compression::COMPRESSION_CASES;
pub use negative::NEGATIVE_CASES;
pub use server::service;
pub use soak::SoakSettings;

use proto::{Payload, SimpleRequest, SimpleResponse};

/// Generated from `grpc/testing/test.proto`.
pub mod proto {
    #![allow(missing_docs, reason = "generated code")]
    sampan::include_proto!("grpc.testing");
}

const INITIAL: &str = "x-grpc-test-echo-initial";
const TRAILING: &str = "x-grpc-test-echo-trailing-bin";
const LARGE_REQUEST: usize = 271_828;
const LARGE_RESPONSE: usize = 314_159;

fn zeros(bytes: usize) -> Payload {
    Payload {
        body: vec![0; bytes],
        ..Payload::default()
    }
}

fn large() -> SimpleRequest {
    sized(LARGE_REQUEST, LARGE_RESPONSE)
}

fn sized(request: usize, response: usize) -> SimpleRequest {
    SimpleRequest {
        response_size: i32::try_from(response).unwrap_or(i32::MAX),
        payload: Some(zeros(request)),
        ..SimpleRequest::default()
    }
}

fn size(response: &SimpleResponse) -> usize {
    response
        .payload
        .as_ref()
        .map_or(0, |payload| payload.body.len())
}
