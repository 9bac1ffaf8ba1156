//! `sampan/v1/options.proto` as Rust types. Field by field the same; a test compares.

use prost_types::Duration;
use sampan_wire::policy::CompressionPolicy;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MethodPolicy {
    #[prost(message, optional, tag = "1")]
    pub(crate) timeout: Option<Duration>,
    #[prost(oneof = "Repeat", tags = "2, 3")]
    pub(crate) repeat: Option<Repeat>,
    #[prost(message, optional, tag = "4")]
    pub(crate) cache: Option<CachePolicy>,
    #[prost(int32, tag = "5")]
    pub(crate) compression: i32,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Repeat {
    #[prost(message, tag = "2")]
    Retry(RetryPolicy),
    #[prost(message, tag = "3")]
    Hedge(HedgePolicy),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RetryPolicy {
    #[prost(uint32, tag = "1")]
    pub(crate) max_attempts: u32,
    #[prost(int32, repeated, tag = "2")]
    pub(crate) retryable_codes: Vec<i32>,
    #[prost(message, optional, tag = "3")]
    pub(crate) initial_backoff: Option<Duration>,
    #[prost(message, optional, tag = "4")]
    pub(crate) max_backoff: Option<Duration>,
    #[prost(double, tag = "5")]
    pub(crate) backoff_multiplier: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HedgePolicy {
    #[prost(uint32, tag = "1")]
    pub(crate) max_attempts: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) delay: Option<Duration>,
    #[prost(int32, repeated, tag = "3")]
    pub(crate) non_fatal_codes: Vec<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CachePolicy {
    #[prost(message, optional, tag = "1")]
    pub(crate) ttl: Option<Duration>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) vary: Vec<String>,
    #[prost(int32, tag = "3")]
    pub(crate) scope: i32,
    #[prost(message, optional, tag = "4")]
    pub(crate) stale_while_revalidate: Option<Duration>,
    #[prost(message, optional, tag = "5")]
    pub(crate) stale_if_error: Option<Duration>,
}

/// Number of `CachePolicy.Scope.PUBLIC`.
pub(crate) const SCOPE_PUBLIC: i32 = 1;

/// A number of `MethodPolicy.Compression`. None: it says nothing, or is none.
pub(crate) const fn compression(number: i32) -> Option<CompressionPolicy> {
    match number {
        1 => Some(CompressionPolicy::Identity),
        2 => Some(CompressionPolicy::Gzip),
        3 => Some(CompressionPolicy::Deflate),
        4 => Some(CompressionPolicy::Zstd),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;
    use prost_reflect::{DynamicMessage, MessageDescriptor, Value};

    /// Encodes one field after the other from the .proto's own types, and counts those that
    /// come back out of ours.
    fn assert_same<M: prost::Message + Default>(shape: &MessageDescriptor) {
        for field in shape.fields() {
            let value = match field.kind() {
                prost_reflect::Kind::Message(inner) => Value::Message(DynamicMessage::new(inner)),
                prost_reflect::Kind::Uint32 => Value::U32(7),
                prost_reflect::Kind::Double => Value::F64(7.5),
                prost_reflect::Kind::String => Value::String("seven".to_owned()),
                prost_reflect::Kind::Enum(_) => Value::EnumNumber(1),
                other => panic!("{}: no sample of {other:?}", field.full_name()),
            };
            let value = if field.is_list() {
                Value::List(vec![value])
            } else {
                value
            };
            let mut message = DynamicMessage::new(shape.clone());
            message.set_field(&field, value);
            let ours: M = message.transcode_to().unwrap();
            let mut back = DynamicMessage::new(shape.clone());
            back.transcode_from(&ours).unwrap();
            assert_eq!(back, message, "{}", field.full_name());
        }
    }

    #[test]
    fn these_types_are_those_of_the_proto() {
        let pool = builtin::options().unwrap();
        let shape = |name: &str| pool.get_message_by_name(name).unwrap();
        assert_same::<MethodPolicy>(&shape("sampan.v1.MethodPolicy"));
        assert_same::<RetryPolicy>(&shape("sampan.v1.RetryPolicy"));
        assert_same::<HedgePolicy>(&shape("sampan.v1.HedgePolicy"));
        assert_same::<CachePolicy>(&shape("sampan.v1.CachePolicy"));
        let scope = pool
            .get_enum_by_name("sampan.v1.CachePolicy.Scope")
            .unwrap();
        assert_eq!(
            scope.get_value_by_name("PUBLIC").unwrap().number(),
            SCOPE_PUBLIC
        );
        let ways = pool.get_enum_by_name("sampan.v1.MethodPolicy.Compression");
        for value in ways.unwrap().values() {
            let name = compression(value.number()).map(|way| way.name().to_ascii_uppercase());
            assert_eq!(name.as_deref().unwrap_or("UNSPECIFIED"), value.name());
        }
        for value in pool.get_enum_by_name("sampan.v1.Code").unwrap().values() {
            let code = sampan_wire::Code::from_name(value.name()).unwrap();
            assert_eq!(code as i32, value.number());
        }
    }
}
