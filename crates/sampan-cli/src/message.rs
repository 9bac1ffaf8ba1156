//! Messages as people write and read them: proto3 JSON and protobuf's text format.

mod split;

use crate::args::Format;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, MessageDescriptor, ReflectMessage, SerializeOptions,
    text_format::FormatOptions,
};
use sampan_wire::suggest;
use serde_json::Value;
pub(crate) use split::Splitter;
use std::collections::BTreeSet;

/// How messages are read and written in this run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MessageFormat {
    pub(crate) format: Format,
    pub(crate) emit_defaults: bool,
    pub(crate) allow_unknown_fields: bool,
}

/// Text that is no message of its type.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{fault}{}", did_you_mean(.meant.as_deref()))]
    Json {
        fault: serde_json::Error,
        meant: Option<String>,
    },
    #[error("{0}")]
    Text(prost_reflect::text_format::ParseError),
}

/// A message that JSON cannot show.
#[derive(Debug, thiserror::Error)]
#[error("cannot show {name} as JSON")]
pub(crate) struct WriteError {
    name: String,
    source: serde_json::Error,
}

fn did_you_mean(name: Option<&str>) -> String {
    name.map(|name| format!("; did you mean \"{name}\"?"))
        .unwrap_or_default()
}

// === impl MessageFormat ===

impl MessageFormat {
    /// Reads one message.
    pub(crate) fn read(
        self,
        message: MessageDescriptor,
        text: &str,
    ) -> Result<DynamicMessage, ReadError> {
        if self.format == Format::Text {
            return DynamicMessage::parse_text_format(message, text).map_err(ReadError::Text);
        }
        let options = DeserializeOptions::new().deny_unknown_fields(!self.allow_unknown_fields);
        let mut reader = serde_json::Deserializer::from_str(text);
        DynamicMessage::deserialize_with_options(message.clone(), &mut reader, &options)
            .and_then(|read| reader.end().map(|()| read))
            .map_err(|fault| ReadError::Json {
                meant: field_meant(&message, text),
                fault,
            })
    }

    /// Writes one message, without a line break at its end.
    pub(crate) fn write(self, message: &DynamicMessage) -> Result<String, WriteError> {
        if self.format == Format::Text {
            let options = FormatOptions::new()
                .pretty(true)
                .skip_default_fields(!self.emit_defaults)
                .expand_any(true);
            return Ok(message.to_text_format_with_options(&options));
        }
        let options = SerializeOptions::new().skip_default_fields(!self.emit_defaults);
        let mut text = Vec::new();
        let mut writer = serde_json::Serializer::pretty(&mut text);
        message
            .serialize_with_options(&mut writer, &options)
            .map_err(|source| WriteError {
                name: message.descriptor().full_name().to_owned(),
                source,
            })?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The field that was meant by the first key that the type does not have.
fn field_meant(message: &MessageDescriptor, text: &str) -> Option<String> {
    let Ok(Value::Object(object)) = serde_json::from_str(text) else {
        return None;
    };
    let wrong = object.keys().find(|key| {
        message.get_field_by_name(key).is_none() && message.get_field_by_json_name(key).is_none()
    })?;
    let fields: Vec<_> = message
        .fields()
        .map(|field| field.json_name().to_owned())
        .collect();
    suggest::nearest(wrong, fields.iter().map(String::as_str)).map(str::to_owned)
}

/// The types that JSON names by `@type`, at any depth.
pub(crate) fn named_types(text: &str) -> BTreeSet<String> {
    fn collect(value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(url)) = object.get("@type") {
                    names.insert(crate::schema::type_name(url).to_owned());
                }
                object.values().for_each(|value| collect(value, names));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, names)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    if text.contains("@type")
        && let Ok(value) = serde_json::from_str(text)
    {
        collect(&value, &mut names);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_reflect::DescriptorPool;

    fn of(name: &str) -> MessageDescriptor {
        DescriptorPool::global().get_message_by_name(name).unwrap()
    }

    #[test]
    fn json_is_read_and_written_as_proto3_says() {
        let format = MessageFormat::default();
        let message = format.read(
            of("google.protobuf.Method"),
            r#"{"request_streaming": true}"#,
        );
        assert_eq!(
            format.write(&message.unwrap()).unwrap(),
            "{\n  \"requestStreaming\": true\n}"
        );
        let duration = format
            .read(of("google.protobuf.Duration"), "\"1.5s\"")
            .unwrap();
        assert_eq!(format.write(&duration).unwrap(), "\"1.500s\"");
    }

    #[test]
    fn defaults_are_printed_when_asked_for() {
        let format = MessageFormat {
            emit_defaults: true,
            ..MessageFormat::default()
        };
        let message = format
            .read(of("google.protobuf.SourceContext"), "{}")
            .unwrap();
        assert_eq!(
            format.write(&message).unwrap(),
            "{\n  \"fileName\": \"\"\n}"
        );
    }

    #[test]
    fn an_unknown_field_names_what_was_meant_unless_it_is_allowed() {
        let text = r#"{"fileNmae": "x"}"#;
        let strict = MessageFormat::default();
        let error = strict
            .read(of("google.protobuf.SourceContext"), text)
            .unwrap_err();
        assert!(
            error.to_string().ends_with("did you mean \"fileName\"?"),
            "{error}"
        );
        let lenient = MessageFormat {
            allow_unknown_fields: true,
            ..strict
        };
        assert!(
            lenient
                .read(of("google.protobuf.SourceContext"), text)
                .is_ok()
        );
    }

    #[test]
    fn text_format_is_read_and_written() {
        let format = MessageFormat {
            format: Format::Text,
            ..MessageFormat::default()
        };
        let message = format
            .read(of("google.protobuf.SourceContext"), "file_name: 'x'")
            .unwrap();
        assert_eq!(format.write(&message).unwrap().trim(), "file_name: \"x\"");
        assert!(
            format
                .read(of("google.protobuf.SourceContext"), "{")
                .is_err()
        );
    }

    #[test]
    fn types_named_in_json_are_found_at_any_depth() {
        let text = r#"{"a": [{"@type": "type.googleapis.com/p.M", "b": {"@type": "q.N"}}]}"#;
        assert_eq!(
            named_types(text).into_iter().collect::<Vec<_>>(),
            ["p.M", "q.N"]
        );
        assert!(named_types("{").is_empty());
    }
}
