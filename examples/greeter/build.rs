//! Generates the greeter from its .proto.

fn main() -> Result<(), sampan_build::Error> {
    sampan_build::compile(&["proto/greeter/v1/greeter.proto"])
}
