//! Descriptors for tests.

use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::sync::LazyLock;

/// What tests/proto describes.
pub(crate) static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proto");
    let set = protox::compile(["test/v1/test.proto"], [root]).unwrap();
    DescriptorPool::from_file_descriptor_set(set).unwrap()
});

pub(crate) fn message(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(name).unwrap()
}
