//! Generates the service that replicas serve.

fn main() -> Result<(), sampan_build::Error> {
    sampan_build::compile(&["proto/faults/v1/faults.proto"])
}
