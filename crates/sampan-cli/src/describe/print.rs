//! .proto text of descriptors, in the style that grpcurl prints: types by full name with a
//! leading dot, spaces within a method's parentheses.

use crate::schema::Symbol;
use prost_reflect::{
    Cardinality, DynamicMessage, EnumDescriptor, EnumValueDescriptor, ExtensionDescriptor,
    FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor, OneofDescriptor,
    ServiceDescriptor, Syntax, Value,
};
use std::fmt::Write as _;

/// The text of one symbol, with a line break at its end.
pub(crate) fn symbol(symbol: &Symbol) -> String {
    let mut text = Text::default();
    match symbol {
        Symbol::Service(service) => text.service(service),
        Symbol::Method(method) => text.method(method),
        Symbol::Message(message) => text.message(message),
        Symbol::Enum(values) => text.enumeration(values),
        Symbol::EnumValue(value) => text.enum_value(value),
        Symbol::Field(field) => text.field(field),
        Symbol::Oneof(oneof) => text.oneof(oneof),
        Symbol::Extension(extension) => text.extension(extension),
    }
    text.text
}

/// The text of a method.
pub(crate) fn method(method: &MethodDescriptor) -> String {
    symbol(&Symbol::Method(method.clone()))
}

#[derive(Default)]
struct Text {
    text: String,
    depth: usize,
}

// === impl Text ===

impl Text {
    fn line(&mut self, line: &str) {
        let indent = "  ".repeat(self.depth);
        let _ = writeln!(self.text, "{indent}{line}");
    }

    fn block(&mut self, head: &str, body: impl FnOnce(&mut Self)) {
        self.line(&format!("{head} {{"));
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line("}");
    }

    /// The comment above a definition, where the file still has it.
    fn comment(&mut self, file: &FileDescriptor, path: &[i32]) {
        let source = file.file_descriptor_proto().source_code_info.as_ref();
        let place = source.and_then(|info| info.location.iter().find(|place| place.path == path));
        for line in place
            .and_then(|place| place.leading_comments.as_deref())
            .unwrap_or("")
            .lines()
        {
            self.line(format!("//{line}").trim_end());
        }
    }

    fn options(&mut self, options: &DynamicMessage) {
        for (name, value) in option_list(options) {
            self.line(&format!("option {name} = {value};"));
        }
    }

    fn service(&mut self, service: &ServiceDescriptor) {
        self.comment(&service.parent_file(), service.path());
        self.block(&format!("service {}", service.name()), |text| {
            text.options(&service.options());
            for method in service.methods() {
                text.method(&method);
            }
        });
    }

    fn method(&mut self, method: &MethodDescriptor) {
        self.comment(&method.parent_service().parent_file(), method.path());
        let side = |is_stream, message: &MessageDescriptor| {
            format!(
                "( {}.{} )",
                if is_stream { "stream " } else { "" },
                message.full_name()
            )
        };
        let head = format!(
            "rpc {} {} returns {}",
            method.name(),
            side(method.is_client_streaming(), &method.input()),
            side(method.is_server_streaming(), &method.output())
        );
        let options = method.options();
        if option_list(&options).is_empty() {
            self.line(&format!("{head};"));
        } else {
            self.block(&head, |text| text.options(&options));
        }
    }

    fn message(&mut self, message: &MessageDescriptor) {
        self.comment(&message.parent_file(), message.path());
        self.block(&format!("message {}", message.name()), |text| {
            text.message_body(message)
        });
    }

    fn message_body(&mut self, message: &MessageDescriptor) {
        self.options(&message.options());
        let proto = message.descriptor_proto();
        let mut oneofs_done = Vec::new();
        // In the order of the file, not of the numbers.
        for field in proto
            .field
            .iter()
            .filter_map(|field| message.get_field_by_name(field.name()))
        {
            match field
                .containing_oneof()
                .filter(|oneof| !oneof.is_synthetic())
            {
                None => self.field(&field),
                Some(oneof) if oneofs_done.contains(&oneof.name().to_owned()) => {}
                Some(oneof) => {
                    oneofs_done.push(oneof.name().to_owned());
                    self.oneof(&oneof);
                }
            }
        }
        for range in message.extension_ranges() {
            self.line(&format!(
                "extensions {};",
                span(range.start, range.end - 1, MAX_FIELD)
            ));
        }
        let ranges: Vec<_> = message
            .reserved_ranges()
            .map(|range| span(range.start, range.end - 1, MAX_FIELD))
            .collect();
        self.reserved(&ranges, message.reserved_names());
        for inner in message
            .child_messages()
            .filter(|inner| !inner.is_map_entry())
        {
            if !is_body_of_group(message, &inner) {
                self.message(&inner);
            }
        }
        for inner in message.child_enums() {
            self.enumeration(&inner);
        }
    }

    fn reserved<'a>(&mut self, ranges: &[String], names: impl Iterator<Item = &'a str>) {
        if !ranges.is_empty() {
            self.line(&format!("reserved {};", ranges.join(", ")));
        }
        let names: Vec<_> = names.map(|name| format!("\"{name}\"")).collect();
        if !names.is_empty() {
            self.line(&format!("reserved {};", names.join(", ")));
        }
    }

    fn oneof(&mut self, oneof: &OneofDescriptor) {
        self.comment(&oneof.parent_file(), oneof.path());
        self.block(&format!("oneof {}", oneof.name()), |text| {
            text.options(&oneof.options());
            for field in oneof.fields() {
                text.field(&field);
            }
        });
    }

    fn field(&mut self, field: &FieldDescriptor) {
        self.comment(&field.parent_file(), field.path());
        let label = label(field);
        let options = field_options(
            field.field_descriptor_proto(),
            &field.options(),
            &field.kind(),
        );
        if let (true, Kind::Message(body)) = (field.is_group(), field.kind()) {
            let head = format!("{label}group {} = {}{options}", body.name(), field.number());
            self.block(&head, |text| text.message_body(&body));
            return;
        }
        let type_name = match field.kind() {
            Kind::Message(entry) if field.is_map() => format!(
                "map<{}, {}>",
                type_name(&entry.map_entry_key_field().kind()),
                type_name(&entry.map_entry_value_field().kind())
            ),
            kind => type_name(&kind),
        };
        self.line(&format!(
            "{label}{type_name} {} = {}{options};",
            field.name(),
            field.number()
        ));
    }

    fn extension(&mut self, extension: &ExtensionDescriptor) {
        self.comment(&extension.parent_file(), extension.path());
        let label = if extension.is_list() {
            "repeated "
        } else {
            "optional "
        };
        let kind = extension.kind();
        let options = field_options(
            extension.field_descriptor_proto(),
            &extension.options(),
            &kind,
        );
        let (name, number) = (extension.name(), extension.number());
        self.block(
            &format!("extend .{}", extension.containing_message().full_name()),
            |text| {
                text.line(&format!(
                    "{label}{} {name} = {number}{options};",
                    type_name(&kind)
                ));
            },
        );
    }

    fn enumeration(&mut self, values: &EnumDescriptor) {
        self.comment(&values.parent_file(), values.path());
        self.block(&format!("enum {}", values.name()), |text| {
            text.options(&values.options());
            for value in values.values() {
                text.enum_value(&value);
            }
            let ranges: Vec<_> = values
                .reserved_ranges()
                .map(|range| span(*range.start(), *range.end(), i32::MAX))
                .collect();
            text.reserved(&ranges, values.reserved_names());
        });
    }

    fn enum_value(&mut self, value: &EnumValueDescriptor) {
        self.comment(&value.parent_file(), value.path());
        let options: Vec<_> = option_list(&value.options())
            .into_iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        let options = bracketed(&options);
        self.line(&format!("{} = {}{options};", value.name(), value.number()));
    }
}

const MAX_FIELD: u32 = 536_870_911;

fn span<N: Copy + PartialEq + std::fmt::Display>(first: N, last: N, max: N) -> String {
    if first == last {
        first.to_string()
    } else if last == max {
        format!("{first} to max")
    } else {
        format!("{first} to {last}")
    }
}

fn is_body_of_group(message: &MessageDescriptor, inner: &MessageDescriptor) -> bool {
    message
        .fields()
        .any(|field| field.is_group() && field.kind().as_message() == Some(inner))
}

fn label(field: &FieldDescriptor) -> &'static str {
    let is_member = field
        .containing_oneof()
        .is_some_and(|oneof| !oneof.is_synthetic());
    match field.cardinality() {
        _ if field.is_map() || is_member => "",
        Cardinality::Repeated => "repeated ",
        Cardinality::Required => "required ",
        Cardinality::Optional if field.parent_file().syntax() == Syntax::Proto2 => "optional ",
        Cardinality::Optional if field.field_descriptor_proto().proto3_optional() => "optional ",
        Cardinality::Optional => "",
    }
}

fn type_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => format!(".{}", message.full_name()),
        Kind::Enum(values) => format!(".{}", values.full_name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

/// ` [default = 1, deprecated = true]`, or nothing.
fn field_options(
    proto: &prost_types::FieldDescriptorProto,
    options: &DynamicMessage,
    kind: &Kind,
) -> String {
    let mut list = Vec::new();
    if let Some(default) = &proto.default_value {
        let quoted = matches!(kind, Kind::String | Kind::Bytes);
        let default = if quoted {
            format!("{default:?}")
        } else {
            default.clone()
        };
        list.push(format!("default = {default}"));
    }
    if let Some(json) = &proto.json_name
        && *json != default_json_name(proto.name())
    {
        list.push(format!("json_name = {json:?}"));
    }
    list.extend(
        option_list(options)
            .into_iter()
            .map(|(name, value)| format!("{name} = {value}")),
    );
    bracketed(&list)
}

fn bracketed(options: &[String]) -> String {
    if options.is_empty() {
        String::new()
    } else {
        format!(" [{}]", options.join(", "))
    }
}

/// The JSON name of a field that names no other: `_x` becomes `X`.
fn default_json_name(name: &str) -> String {
    let mut json = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        if letter == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            json.push(letter.to_ascii_uppercase());
        } else {
            json.push(letter);
        }
    }
    json
}

/// Names and values of options, extensions among them.
fn option_list(options: &DynamicMessage) -> Vec<(String, String)> {
    let own = options
        .fields()
        .filter(|(field, _)| options.has_field(field))
        .flat_map(|(field, value)| each(field.name().to_owned(), value, &field.kind()));
    let extended = options.extensions().flat_map(|(extension, value)| {
        each(
            format!("({})", extension.full_name()),
            value,
            &extension.kind(),
        )
    });
    own.chain(extended).collect()
}

/// A repeated option is written once for each of its values.
fn each(name: String, value: &Value, kind: &Kind) -> Vec<(String, String)> {
    match value {
        Value::List(values) => values
            .iter()
            .map(|value| (name.clone(), constant(value, kind)))
            .collect(),
        value => vec![(name, constant(value, kind))],
    }
}

fn constant(value: &Value, kind: &Kind) -> String {
    match (value, kind) {
        (Value::EnumNumber(number), Kind::Enum(values)) => values
            .get_value(*number)
            .map_or_else(|| number.to_string(), |value| value.name().to_owned()),
        (Value::Message(message), _) => match message.to_text_format() {
            text if text.is_empty() => "{}".to_owned(),
            text => format!("{{ {text} }}"),
        },
        (value, _) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_reflect::DescriptorPool;

    const FILE: &str = r#"
        syntax = "proto3";
        package p;
        import "google/api/annotations.proto";
        import "google/protobuf/duration.proto";
        // Keeps things.
        service Store {
          // Gives one thing.
          rpc Get(Thing) returns (stream Thing) {
            option idempotency_level = NO_SIDE_EFFECTS;
            option (google.api.http) = { get: "/v1/{name}" };
          }
          rpc Put(stream Thing) returns (Thing);
        }
        message Thing {
          option deprecated = true;
          string name = 1 [json_name = "label"];
          optional int32 size = 2;
          repeated .p.Thing parts = 3;
          map<string, google.protobuf.Duration> times = 4;
          oneof kind {
            Color color = 5;
            bytes raw = 6 [deprecated = true];
          }
          reserved 7, 10 to 12, 100 to max;
          reserved "old";
          enum Color {
            NONE = 0;
            RED = 1;
          }
        }
    "#;

    fn pool() -> DescriptorPool {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.proto");
        std::fs::write(&path, FILE).unwrap();
        sampan_build::load(&[path], &[folder.path()]).unwrap()
    }

    fn described(name: &str) -> String {
        symbol(&Symbol::find(&pool(), name).unwrap())
    }

    #[test]
    fn a_service_shows_its_methods_with_comments_and_options() {
        assert_eq!(
            described("p.Store"),
            "// Keeps things.\n\
             service Store {\n  \
               // Gives one thing.\n  \
               rpc Get ( .p.Thing ) returns ( stream .p.Thing ) {\n    \
                 option idempotency_level = NO_SIDE_EFFECTS;\n    \
                 option (google.api.http) = { get:\"/v1/{name}\" };\n  \
               }\n  \
               rpc Put ( stream .p.Thing ) returns ( .p.Thing );\n\
             }\n"
        );
    }

    #[test]
    fn a_message_shows_everything_that_its_source_says() {
        assert_eq!(
            described("p.Thing"),
            "message Thing {\n  \
               option deprecated = true;\n  \
               string name = 1 [json_name = \"label\"];\n  \
               optional int32 size = 2;\n  \
               repeated .p.Thing parts = 3;\n  \
               map<string, .google.protobuf.Duration> times = 4;\n  \
               oneof kind {\n    \
                 .p.Thing.Color color = 5;\n    \
                 bytes raw = 6 [deprecated = true];\n  \
               }\n  \
               reserved 7, 10 to 12, 100 to max;\n  \
               reserved \"old\";\n  \
               enum Color {\n    \
                 NONE = 0;\n    \
                 RED = 1;\n  \
               }\n\
             }\n"
        );
    }

    #[test]
    fn a_symbol_may_be_a_part_of_another() {
        assert_eq!(
            described("p.Store.Put"),
            "rpc Put ( stream .p.Thing ) returns ( .p.Thing );\n"
        );
        assert_eq!(described("p.Thing.size"), "optional int32 size = 2;\n");
        assert_eq!(described("p.Thing.RED"), "RED = 1;\n");
        assert_eq!(
            described("google.api.http"),
            "extend .google.protobuf.MethodOptions {\n  \
               optional .google.api.HttpRule http = 72295728;\n\
             }\n"
        );
    }

    #[test]
    fn what_is_printed_compiles_to_the_same() {
        let head = "syntax = \"proto3\";\npackage p;\nimport \"google/api/annotations.proto\";\n\
                    import \"google/protobuf/duration.proto\";\n";
        let text = format!("{head}{}{}", described("p.Store"), described("p.Thing"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.proto");
        std::fs::write(&path, text).unwrap();
        let again = sampan_build::load(&[path], &[folder.path()]).unwrap();
        for name in ["p.Store", "p.Thing"] {
            assert_eq!(
                symbol(&Symbol::find(&again, name).unwrap()),
                described(name)
            );
        }
    }
}
