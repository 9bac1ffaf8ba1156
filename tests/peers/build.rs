//! Generates the services of the suites.

fn main() -> Result<(), sampan_build::Error> {
    sampan_build::compile(&[
        "proto/grpc/testing/test.proto",
        "proto/connectrpc/conformance/v1/conformance.proto",
    ])
}
