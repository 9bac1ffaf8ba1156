//! The descriptors of the health service with `List`, which tonic-health's have not.

use prost::{DecodeError, Message};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, MessageOptions,
    MethodDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

const CHECK_RESPONSE: &str = ".grpc.health.v1.HealthCheckResponse";
const LIST_REQUEST: &str = "HealthListRequest";
const LIST_RESPONSE: &str = "HealthListResponse";
const ENTRY: &str = "StatusesEntry";

/// Encoded.
pub(crate) fn descriptors() -> Result<Vec<u8>, DecodeError> {
    let mut set = FileDescriptorSet::decode(tonic_health::pb::FILE_DESCRIPTOR_SET)?;
    for file in &mut set.file {
        for service in file.service.iter_mut().filter(|one| one.name() == "Health") {
            service.method.push(MethodDescriptorProto {
                name: Some("List".to_owned()),
                input_type: Some(absolute(LIST_REQUEST)),
                output_type: Some(absolute(LIST_RESPONSE)),
                ..Default::default()
            });
            file.message_type.push(message(LIST_REQUEST, Vec::new()));
            file.message_type.push(list_response());
        }
    }
    Ok(set.encode_to_vec())
}

/// `map<string, HealthCheckResponse> statuses = 1;`
fn list_response() -> DescriptorProto {
    let key = field("key", 1, Label::Optional, Type::String);
    let mut value = field("value", 2, Label::Optional, Type::Message);
    value.type_name = Some(CHECK_RESPONSE.to_owned());
    let mut entry = message(ENTRY, vec![key, value]);
    entry.options = Some(MessageOptions {
        map_entry: Some(true),
        ..Default::default()
    });
    let mut statuses = field("statuses", 1, Label::Repeated, Type::Message);
    statuses.type_name = Some(format!("{}.{ENTRY}", absolute(LIST_RESPONSE)));
    let mut response = message(LIST_RESPONSE, vec![statuses]);
    response.nested_type.push(entry);
    response
}

fn absolute(name: &str) -> String {
    format!(".grpc.health.v1.{name}")
}

fn message(name: &str, fields: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto {
        name: Some(name.to_owned()),
        field: fields,
        ..Default::default()
    }
}

fn field(name: &str, number: i32, label: Label, kind: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(kind.into()),
        json_name: Some(name.to_owned()),
        ..Default::default()
    }
}
