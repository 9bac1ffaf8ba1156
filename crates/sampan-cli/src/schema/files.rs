//! Types from files: `.proto` sources and encoded descriptor sets.

use crate::{args::SchemaArgs, failure::Failure};
use prost_reflect::DescriptorPool;
use std::path::{Path, PathBuf};

/// Types of the files that are named; none if no file is.
pub(crate) fn load(args: &SchemaArgs) -> Result<DescriptorPool, Failure> {
    if !args.protos.is_empty() {
        return compile(args);
    }
    let mut pool = DescriptorPool::new();
    for path in &args.protosets {
        add_set(path, &mut pool)?;
    }
    Ok(pool)
}

fn compile(args: &SchemaArgs) -> Result<DescriptorPool, Failure> {
    // protoc and grpcurl name files as imports do: relative to an import path.
    let files: Vec<PathBuf> = args
        .protos
        .iter()
        .map(|file| {
            let mut under = args.import_paths.iter().map(|root| root.join(file));
            under
                .find(|path| path.is_file())
                .unwrap_or_else(|| file.clone())
        })
        .collect();
    sampan_build::load(&files, &args.import_paths)
        .map_err(|error| Failure::because("cannot read the .proto files", error))
}

/// Adds an encoded `FileDescriptorSet`, as `protoc --include_imports -o` and `buf build` write.
fn add_set(path: &Path, pool: &mut DescriptorPool) -> Result<(), Failure> {
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::because(format!("cannot read {}", path.display()), error))?;
    pool.decode_file_descriptor_set(bytes.as_slice())
        .map_err(|error| {
            Failure::because(
                format!("{} is no complete descriptor set", path.display()),
                error,
            )
            .with_hint(Some(
                "make it with all imports: protoc --include_imports --descriptor_set_out"
                    .to_owned(),
            ))
        })
}
