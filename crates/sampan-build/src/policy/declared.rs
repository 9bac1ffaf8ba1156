//! What a method's options say, for tools that look at descriptors of any origin.

use super::options::{self, MethodPolicy, SCOPE_PUBLIC};
use prost::Message;
use prost_reflect::MethodDescriptor;
use prost_types::Duration as ProtoDuration;
use sampan_wire::{
    Code,
    policy::{
        CacheRule, CacheScope, CodeSet, Declared, HedgePolicy, Idempotency, MethodKind, Repeat,
        RetryPolicy,
    },
};
use std::time::Duration;

/// As much of `google.protobuf.MethodOptions` as matters here. A server's reflection may lack
/// the file that defines our option; its number is enough.
#[derive(Clone, PartialEq, Message)]
struct MethodOptions {
    #[prost(int32, optional, tag = "34")]
    idempotency_level: Option<i32>,
    #[prost(message, optional, tag = "51407")]
    policy: Option<MethodPolicy>,
}

/// What the .proto says of a method, by its descriptor.
///
/// Values that [`compile`](crate::compile) would refuse count as not said.
#[must_use]
pub fn declared(method: &MethodDescriptor) -> Declared {
    let service = method.parent_service();
    let options = method.options().encode_to_vec();
    let options = MethodOptions::decode(&*options).unwrap_or_default();
    let policy = options.policy.unwrap_or_default();
    Declared {
        path: format!("/{}/{}", service.full_name(), method.name()),
        kind: Some(
            match (method.is_client_streaming(), method.is_server_streaming()) {
                (false, false) => MethodKind::Unary,
                (true, false) => MethodKind::ClientStreaming,
                (false, true) => MethodKind::ServerStreaming,
                (true, true) => MethodKind::Bidirectional,
            },
        ),
        idempotency: match options.idempotency_level {
            Some(1) => Idempotency::NoSideEffects,
            Some(2) => Idempotency::Idempotent,
            _ => Idempotency::Unknown,
        },
        timeout: duration(policy.timeout),
        repeat: policy.repeat.map(|repeat| match repeat {
            options::Repeat::Retry(retry) => Repeat::Retry(self::retry(&retry)),
            options::Repeat::Hedge(hedge) => Repeat::Hedge(self::hedge(&hedge)),
        }),
        cache: policy.cache.as_ref().and_then(cache),
        compression: options::compression(policy.compression),
    }
}

fn retry(retry: &options::RetryPolicy) -> RetryPolicy {
    let multiplier = Some(retry.backoff_multiplier).filter(|multiplier| *multiplier > 0.0);
    RetryPolicy {
        max_attempts: retry.max_attempts,
        retryable_codes: codes(&retry.retryable_codes),
        initial_backoff: duration(retry.initial_backoff)
            .unwrap_or(RetryPolicy::DEFAULT_INITIAL_BACKOFF),
        max_backoff: duration(retry.max_backoff).unwrap_or(RetryPolicy::DEFAULT_MAX_BACKOFF),
        backoff_multiplier: multiplier.unwrap_or(RetryPolicy::DEFAULT_BACKOFF_MULTIPLIER),
    }
}

fn hedge(hedge: &options::HedgePolicy) -> HedgePolicy {
    HedgePolicy {
        max_attempts: hedge.max_attempts,
        delay: duration(hedge.delay).unwrap_or_default(),
        non_fatal_codes: codes(&hedge.non_fatal_codes),
    }
}

fn cache(cache: &options::CachePolicy) -> Option<CacheRule> {
    Some(CacheRule {
        ttl: duration(cache.ttl)?,
        vary: cache.vary.clone(),
        scope: if cache.scope == SCOPE_PUBLIC {
            CacheScope::Public
        } else {
            CacheScope::Private
        },
        stale_while_revalidate: duration(cache.stale_while_revalidate).unwrap_or_default(),
        stale_if_error: duration(cache.stale_if_error).unwrap_or_default(),
    })
}

fn codes(numbers: &[i32]) -> CodeSet {
    let codes = numbers
        .iter()
        .filter_map(|number| u8::try_from(*number).ok());
    codes.filter_map(Code::from_u8).collect()
}

/// Zero and less are the same as nothing.
fn duration(duration: Option<ProtoDuration>) -> Option<Duration> {
    let duration = Duration::try_from(duration?).ok()?;
    Some(duration).filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_reflect::DescriptorPool;
    use sampan_wire::policy::CompressionPolicy;

    const FILE: &str = r#"
        syntax = "proto3";
        package p;
        import "google/protobuf/empty.proto";
        import "sampan/v1/options.proto";
        service S {
          rpc Read(google.protobuf.Empty) returns (google.protobuf.Empty) {
            option idempotency_level = NO_SIDE_EFFECTS;
            option (sampan.v1.method) = {
              timeout: { nanos: 250000000 }
              retry: { max_attempts: 3 retryable_codes: [UNAVAILABLE] }
              cache: { ttl: { seconds: 2 } vary: "x-user" scope: PUBLIC }
              compression: ZSTD
            };
          }
          rpc Watch(google.protobuf.Empty) returns (stream google.protobuf.Empty) {
            option idempotency_level = IDEMPOTENT;
            option (sampan.v1.method).hedge = { max_attempts: 2 non_fatal_codes: [ABORTED] };
          }
          rpc Plain(stream google.protobuf.Empty) returns (google.protobuf.Empty);
        }
    "#;

    fn read(pool: &DescriptorPool) -> Vec<Declared> {
        let service = pool.get_service_by_name("p.S").unwrap();
        service.methods().map(|method| declared(&method)).collect()
    }

    #[test]
    fn options_are_read_also_where_nobody_has_the_file_that_defines_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.proto");
        std::fs::write(&path, FILE).unwrap();
        let whole = crate::load(&[path], &[folder.path()]).unwrap();
        let [reads, watch, plain] = &read(&whole)[..] else {
            panic!("three methods");
        };
        assert_eq!(reads.path, "/p.S/Read");
        assert_eq!(reads.timeout, Some(Duration::from_millis(250)));
        let retry = RetryPolicy::new(3, &[Code::Unavailable]);
        assert_eq!(reads.repeat, Some(Repeat::Retry(retry)));
        let cache = reads.cache.as_ref().unwrap();
        assert_eq!(
            (&cache.vary[..], cache.scope),
            (&["x-user".to_owned()][..], CacheScope::Public)
        );
        assert_eq!(reads.compression, Some(CompressionPolicy::Zstd));
        assert_eq!(watch.compression, None);
        let hedge = HedgePolicy {
            max_attempts: 2,
            delay: Duration::ZERO,
            non_fatal_codes: CodeSet::of(&[Code::Aborted]),
        };
        assert_eq!(watch.repeat, Some(Repeat::Hedge(hedge)));
        assert_eq!(watch.idempotency, Idempotency::Idempotent);
        assert_eq!(plain.kind, Some(MethodKind::ClientStreaming));
        assert_eq!((plain.repeat, plain.timeout), (None, None));

        // As a server tells it whose reflection has only its own file.
        let bytes = strip(&whole.encode_to_vec());
        let bare = DescriptorPool::decode(&*bytes).unwrap();
        assert!(bare.get_extension_by_name("sampan.v1.method").is_none());
        assert_eq!(read(&bare), read(&whole));
    }

    /// The files without ours, options as they were.
    fn strip(set: &[u8]) -> Vec<u8> {
        #[derive(Clone, PartialEq, Message)]
        struct Files {
            #[prost(bytes = "vec", repeated, tag = "1")]
            file: Vec<Vec<u8>>,
        }
        #[derive(Clone, PartialEq, Message)]
        struct File {
            #[prost(string, tag = "1")]
            name: String,
            #[prost(string, tag = "2")]
            package: String,
            #[prost(string, repeated, tag = "3")]
            dependency: Vec<String>,
            #[prost(bytes = "vec", repeated, tag = "6")]
            service: Vec<Vec<u8>>,
            #[prost(string, tag = "12")]
            syntax: String,
        }
        let mut files = Files::decode(set).unwrap();
        files.file.retain_mut(|bytes| {
            let mut file = File::decode(&**bytes).unwrap();
            if file.package == "p" {
                file.dependency.retain(|path| !path.starts_with("sampan/"));
                *bytes = file.encode_to_vec();
            }
            !file.package.starts_with("sampan")
        });
        files.encode_to_vec()
    }
}
