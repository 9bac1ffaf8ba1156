//! Generates the stubs from the same .proto.

fn main() {
    let proto = "../echo/proto/bench/v1/echo.proto";
    println!("cargo::rerun-if-changed={proto}");
    volo_build::Builder::protobuf()
        .add_service(proto)
        .include_dirs(vec!["../echo/proto".into()])
        .filename("bench.rs".into())
        .write()
        .expect("the stubs can be generated");
}
