//! The rich error model: `google.rpc.Status` in `grpc-status-details-bin`.
//!
//! The detail types of google/rpc/error_details.proto are known even where the server's own
//! files do not import them.
//!
//! Source: <https://google.aip.dev/193>.

use bytes::Bytes;
use prost::{DecodeError, Message};
use prost_reflect::DescriptorPool;
use prost_types::Any;

const FILE_NAME: &str = "google/rpc/error_details.proto";
const FILE: &str = include_str!("../../proto/google/rpc/error_details.proto");

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// The encoded Anys of an encoded `google.rpc.Status`.
pub(super) fn split(details: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    let status = RpcStatus::decode(details)?;
    Ok(status
        .details
        .iter()
        .map(|detail| detail.encode_to_vec().into())
        .collect())
}

/// Adds the standard detail types if `name` is one of them; whether it was.
pub(super) fn add(name: &str, pool: &mut DescriptorPool) -> bool {
    if !name.starts_with("google.rpc.") {
        return false;
    }
    let Ok(known) = compile() else { return false };
    known.get_message_by_name(name).is_some()
        && pool
            .add_file_descriptor_protos(known.file_descriptor_protos().cloned())
            .is_ok()
}

fn compile() -> Result<DescriptorPool, protox::Error> {
    use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

    #[derive(Debug)]
    struct BuiltIn;

    impl FileResolver for BuiltIn {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            if name == FILE_NAME {
                File::from_source(name, FILE)
            } else {
                Err(protox::Error::file_not_found(name))
            }
        }
    }

    let mut resolver = ChainFileResolver::new();
    resolver.add(BuiltIn);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file(FILE_NAME)?;
    Ok(compiler.descriptor_pool())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_details_are_known_and_nothing_else_is() {
        let mut pool = DescriptorPool::new();
        assert!(add("google.rpc.RetryInfo", &mut pool));
        assert!(pool.get_message_by_name("google.rpc.BadRequest").is_some());
        assert!(!add("google.rpc.Nothing", &mut pool));
        assert!(!add("orders.v1.Detail", &mut pool));
    }

    #[test]
    fn details_that_are_no_status_are_refused() {
        assert!(split(&[0xff, 0xff]).is_err());
        assert_eq!(split(&[]).unwrap(), Vec::<Bytes>::new());
    }
}
