//! Generates the same service twice: by Sampan for Sampan, by tonic for its peer. The messages
//! are the same types in both.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const PROTO: &str = "proto/bench/v1/echo.proto";
    sampan_build::configure().bytes(".").compile(&[PROTO])?;

    let peer = std::path::Path::new(&std::env::var("OUT_DIR")?).join("tonic");
    std::fs::create_dir_all(&peer)?;
    tonic_prost_build::configure()
        .bytes(".")
        .extern_path(".bench.v1", "crate::service::sampan_stubs")
        .out_dir(peer)
        .compile_fds(protox::compile([PROTO], ["proto"])?)?;
    Ok(())
}
