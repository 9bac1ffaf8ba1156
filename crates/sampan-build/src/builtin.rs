//! The .proto files that are always there: Sampan's options and the HTTP annotations.
//!
//! They are copies of those under `/proto` of the repository: a published crate holds only what
//! lies in its own folder, and links do not survive every checkout. A test holds them equal.

use prost_reflect::DescriptorPool;
use protox::Compiler;
use protox::file::{File, FileResolver, GoogleFileResolver};

/// Name under which it is imported, and text.
pub(crate) const FILES: [(&str, &str); 3] = [
    (
        "google/api/annotations.proto",
        include_str!("../proto/google/api/annotations.proto"),
    ),
    (
        "google/api/http.proto",
        include_str!("../proto/google/api/http.proto"),
    ),
    (
        "sampan/v1/options.proto",
        include_str!("../proto/sampan/v1/options.proto"),
    ),
];

/// What the compiler itself brings.
pub(crate) const WELL_KNOWN: [&str; 12] = [
    "google/protobuf/any.proto",
    "google/protobuf/api.proto",
    "google/protobuf/compiler/plugin.proto",
    "google/protobuf/descriptor.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",
    "google/protobuf/field_mask.proto",
    "google/protobuf/source_context.proto",
    "google/protobuf/struct.proto",
    "google/protobuf/timestamp.proto",
    "google/protobuf/type.proto",
    "google/protobuf/wrappers.proto",
];

/// Sampan's options, compiled.
pub(crate) fn options() -> Option<DescriptorPool> {
    let mut compiler = Compiler::with_file_resolver(Resolver);
    compiler.open_file("sampan/v1/options.proto").ok()?;
    Some(compiler.descriptor_pool())
}

/// Finds the files that are always there.
pub(crate) struct Resolver;

// === impl Resolver ===

impl FileResolver for Resolver {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match FILES.iter().find(|(file, _)| *file == name) {
            Some((_, text)) => File::from_source(name, text),
            None => GoogleFileResolver::new().open_file(name),
        }
    }
}

/// Whether code is generated for this file only where its types are used.
pub(crate) fn contains(name: &str) -> bool {
    FILES.iter().any(|(file, _)| *file == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_files_in_the_package_are_those_of_the_repository() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
        for (name, text) in FILES {
            assert_eq!(
                std::fs::read_to_string(root.join(name)).unwrap(),
                text,
                "proto/{name} differs from crates/sampan-build/proto/{name}: copy the newer one"
            );
        }
    }

    #[test]
    fn every_built_in_file_compiles() {
        let mut compiler = Compiler::with_file_resolver(Resolver);
        for name in FILES.map(|(name, _)| name).into_iter().chain(WELL_KNOWN) {
            compiler.open_file(name).unwrap();
        }
    }
}
