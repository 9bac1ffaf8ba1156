//! Generates every service twice: by tonic for tonic, by Sampan for Sampan.

use prost::Message;
use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    const PROTOS: [&str; 3] = [
        "proto/helloworld.proto",
        "proto/routeguide.proto",
        "proto/echo.proto",
    ];
    const OPTIONS: &str = "proto/options.proto";
    let out = std::env::var("OUT_DIR")?;
    let tonic = Path::new(&out).join("tonic");
    fs::create_dir_all(&tonic)?;

    let descriptors = protox::compile(PROTOS, ["proto"])?;
    fs::write(tonic.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .out_dir(&tonic)
        .compile_fds(descriptors)?;
    sampan_build::configure()
        .include("proto")
        .compile(&PROTOS)?;

    // The same with what changes the code most.
    let codec = "crate::codec::Countdown";
    tonic_prost_build::configure()
        .out_dir(&tonic)
        .use_arc_self(true)
        .generate_default_stubs(true)
        .codec_path(codec)
        .client_attribute(".", "#[must_use]")
        .compile_fds(protox::compile([OPTIONS], ["proto"])?)?;
    sampan_build::configure()
        .include("proto")
        .use_arc_self(true)
        .generate_default_stubs(true)
        .codec_path(codec)
        .client_attribute(".", "#[must_use]")
        .compile(&[OPTIONS])?;
    Ok(())
}
