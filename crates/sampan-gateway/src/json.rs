//! Messages between JSON and protobuf, by their descriptors.
//!
//! Strict where parsers are known to differ: duplicate keys, two fields of one oneof, deep
//! nesting, text behind the value and, unless allowed, unknown fields are refused.
//!
//! Source: protobuf "ProtoJSON Format"; descriptors do the mapping by prost-reflect.

mod any_depth;
mod strict;

use crate::neutral::Fault;
use bytes::{Bytes, BytesMut};
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use sampan_wire::Code;
use serde::de::DeserializeSeed;

/// How deep objects and lists may lie in one another.
pub(crate) const MAX_DEPTH: usize = 64;

/// How JSON is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JsonSettings {
    /// Skips fields that the message does not have instead of refusing them.
    pub(crate) allow_unknown_fields: bool,
}

/// Reads a message in JSON and writes it as protobuf.
pub(crate) fn to_proto(
    settings: JsonSettings,
    message: &MessageDescriptor,
    json: &[u8],
) -> Result<Bytes, Fault> {
    let malformed = |error: serde_json::Error| Fault::malformed(format!("malformed JSON: {error}"));
    let mut scanned = serde_json::Deserializer::from_slice(json);
    strict::Scan::new(message)
        .deserialize(&mut scanned)
        .map_err(malformed)?;
    scanned.end().map_err(malformed)?;

    let options = DeserializeOptions::new().deny_unknown_fields(!settings.allow_unknown_fields);
    let mut read = serde_json::Deserializer::from_slice(json);
    let message = DynamicMessage::deserialize_with_options(message.clone(), &mut read, &options)
        .map_err(malformed)?;
    Ok(encoded(&message))
}

/// Reads a message in protobuf and writes it as JSON.
pub(crate) fn from_proto(message: &MessageDescriptor, proto: Bytes) -> Result<Bytes, Fault> {
    let unwritable = |reason: String| {
        Fault::new(
            Code::Internal,
            format!("the answer cannot be written as JSON: {reason}"),
        )
    };
    let message = DynamicMessage::decode(message.clone(), proto)
        .map_err(|error| unwritable(error.to_string()))?;
    any_depth::check(&message).map_err(|too_deep| unwritable(too_deep.to_string()))?;
    let mut json = Vec::new();
    message
        .serialize_with_options(
            &mut serde_json::Serializer::new(&mut json),
            &SerializeOptions::new(),
        )
        .map_err(|error| unwritable(error.to_string()))?;
    Ok(json.into())
}

fn encoded(message: &DynamicMessage) -> Bytes {
    let mut bytes = BytesMut::with_capacity(message.encoded_len());
    message.encode_raw(&mut bytes);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const STRICT: JsonSettings = JsonSettings {
        allow_unknown_fields: false,
    };

    fn both_ways(json: &str) -> Result<String, String> {
        let message = testing::message("test.v1.Kinds");
        let proto = to_proto(STRICT, &message, json.as_bytes()).map_err(|fault| {
            assert_eq!(fault.code, Code::InvalidArgument);
            fault.message.into_owned()
        })?;
        let json = from_proto(&message, proto).map_err(|fault| fault.to_string())?;
        Ok(String::from_utf8(json.to_vec()).unwrap())
    }

    #[test]
    fn every_kind_has_its_json_form() {
        for (json, expected) in [
            (
                r#"{"big": 9007199254740993}"#,
                r#"{"big":"9007199254740993"}"#,
            ),
            (r#"{"big": "-5"}"#, r#"{"big":"-5"}"#),
            (r#"{"raw": "-_8"}"#, r#"{"raw":"+/8="}"#),
            (r#"{"ratio": "NaN"}"#, r#"{"ratio":"NaN"}"#),
            (r#"{"level": 1}"#, r#"{"level":"LEVEL_HIGH"}"#),
            (r#"{"level": "LEVEL_HIGH"}"#, r#"{"level":"LEVEL_HIGH"}"#),
            (r#"{"snake_name": "a"}"#, r#"{"snakeName":"a"}"#),
            (r#"{"took": "1.5s"}"#, r#"{"took":"1.500s"}"#),
            (
                r#"{"at": "2020-01-02T03:04:05Z"}"#,
                r#"{"at":"2020-01-02T03:04:05Z"}"#,
            ),
            (
                r#"{"free": {"a": [1, null]}}"#,
                r#"{"free":{"a":[1.0,null]}}"#,
            ),
            (r#"{"counts": {"b": 2}}"#, r#"{"counts":{"b":2}}"#),
            (r#"{"snakeName": null, "nested": null}"#, "{}"),
            (r#"{"either": null, "or": 3}"#, r#"{"or":3}"#),
            ("{}", "{}"),
        ] {
            assert_eq!(both_ways(json).as_deref(), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_parsers_disagree_about_is_refused() {
        for (json, reason) in [
            ("", "EOF"),
            ("{} {}", "trailing"),
            ("[]", "invalid type"),
            (r#"{"big": 1, "big": 1}"#, "duplicate field \"big\""),
            (
                r#"{"snake_name": "a", "snakeName": "b"}"#,
                "duplicate field \"snakeName\"",
            ),
            (r#"{"nested": {"big": 1, "b\u0069g": 2}}"#, "duplicate"),
            (r#"{"many": [{"big": 1, "big": 2}]}"#, "duplicate"),
            (r#"{"counts": {"a": 1, "a": 2}}"#, "duplicate"),
            (r#"{"free": {"a": 1, "a": 2}}"#, "duplicate"),
            (r#"{"either": "a", "or": 1}"#, "oneof"),
            (r#"{"bigg": 1}"#, "bigg"),
            (r#"{"nested": {"bigg": 1}}"#, "bigg"),
            (r#"{"big": 1.5}"#, "malformed JSON"),
            (r#"{"big": 99999999999999999999}"#, "malformed JSON"),
            (r#"{"level": "LEVEL_NONE"}"#, "LEVEL_NONE"),
            (r#"{"took": "1"}"#, "malformed JSON"),
            (r#"{"raw": "*"}"#, "malformed JSON"),
            (r#"{"snakeName": "\ud800"}"#, "malformed JSON"),
        ] {
            let refused = both_ways(json).unwrap_err();
            assert!(refused.contains(reason), "{json}: {refused}");
        }
    }

    #[test]
    fn depth_is_bounded_before_anything_is_built() {
        let nested = |depth: usize| {
            format!("{}{}", r#"{"nested":"#.repeat(depth - 1), "{}") + &"}".repeat(depth - 1)
        };
        assert!(both_ways(&nested(MAX_DEPTH)).is_ok());
        let refused = both_ways(&nested(MAX_DEPTH + 1)).unwrap_err();
        assert!(refused.contains("deeper than 64"), "{refused}");
        let lists = format!(
            "{}{}{}{}",
            r#"{"free":{"a":"#,
            "[".repeat(63),
            "]".repeat(63),
            "}}"
        );
        assert!(both_ways(&lists).unwrap_err().contains("deeper than 64"));
    }

    #[test]
    fn unknown_fields_pass_only_where_allowed_and_their_inside_is_checked_too() {
        let message = testing::message("test.v1.Kinds");
        let lenient = JsonSettings {
            allow_unknown_fields: true,
        };
        let json = br#"{"bigg": {"a": [1]}, "or": 3}"#;
        assert!(to_proto(lenient, &message, json).is_ok());
        assert!(to_proto(STRICT, &message, json).is_err());
        assert!(to_proto(lenient, &message, br#"{"bigg": {"a": 1, "a": 2}}"#).is_err());
    }

    #[test]
    fn bytes_that_are_no_message_are_the_upstreams_fault() {
        let message = testing::message("test.v1.Kinds");
        let refused = from_proto(&message, Bytes::from_static(b"\xff")).unwrap_err();
        assert_eq!(refused.code, Code::Internal);
    }

    /// An Any in an Any, so many times over, in protobuf.
    fn nested_any(depth: usize) -> Bytes {
        let mut held = Vec::new();
        let innermost = std::iter::once("test.v1.Kinds");
        let names = innermost.chain(std::iter::repeat("google.protobuf.Any"));
        for name in names.take(depth) {
            let any = prost_reflect::prost_types::Any {
                type_url: format!("type.googleapis.com/{name}"),
                value: held,
            };
            held = any.encode_to_vec();
        }
        // Field 14 of Kinds.
        let mut kinds = vec![14 << 3 | 2];
        prost::encoding::encode_varint(held.len() as u64, &mut kinds);
        kinds.extend(held);
        kinds.into()
    }

    #[test]
    fn anys_in_anys_are_bounded_before_they_are_written() {
        let message = testing::message("test.v1.Kinds");
        assert!(from_proto(&message, nested_any(15)).is_ok());
        for depth in [17, 1_000] {
            let refused = from_proto(&message, nested_any(depth)).unwrap_err();
            assert!(refused.message.contains("an Any holds"), "{refused}");
        }
        let json = r#"{"what":{"@type":"type.googleapis.com/test.v1.Said","text":"a"}}"#;
        assert_eq!(both_ways(json).as_deref(), Ok(json));
        let unknown = r#"{"what":{"@type":"type.googleapis.com/test.v1.None"}}"#;
        assert!(both_ways(unknown).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(json in "[\\[\\]{}\":,a-z0-9\\\\ ]{0,40}") {
            let message = testing::message("test.v1.Kinds");
            let _ = to_proto(STRICT, &message, json.as_bytes());
        }
    }
}
