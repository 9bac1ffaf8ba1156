//! `sampan describe`: services, methods, messages and enums as .proto text; or what holds for
//! methods.

mod policy;
mod print;

use crate::{
    args::{ConnectionArgs, DescribeArgs, SchemaArgs, Task},
    dial,
    failure::Failure,
    message::MessageFormat,
    output,
    schema::Symbol,
};
pub(crate) use print::method;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};

pub(crate) async fn run(args: &DescribeArgs) -> Result<(), Failure> {
    if args.policy {
        return policy::run(args).await;
    }
    let (address, symbol) = Task::address_and_symbol(&args.words, args.schema.has_files())?;
    let (address, symbol) = (address.as_deref(), symbol.as_deref());
    show(
        &args.connection,
        &args.schema,
        address,
        symbol,
        args.msg_template,
    )
    .await
}

/// Prints one symbol, or every service.
pub(crate) async fn show(
    connection: &ConnectionArgs,
    schema: &SchemaArgs,
    address: Option<&str>,
    symbol: Option<&str>,
    with_template: bool,
) -> Result<(), Failure> {
    let mut schema = dial::open(connection, schema, address).await?.schema;
    let names = match symbol {
        Some(name) => vec![name.to_owned()],
        None => schema.services().await?.into_iter().collect(),
    };
    for name in names {
        let symbol = schema.symbol(&name).await?;
        let (name, kind, text) = (symbol.full_name(), symbol.kind(), print::symbol(&symbol));
        output::print(&format!("{name} is {kind}:\n{text}"))?;
        if let Symbol::Message(message) = &symbol
            && with_template
        {
            let format = MessageFormat {
                emit_defaults: true,
                ..MessageFormat::default()
            };
            let template = format
                .write(&template(message, &mut Vec::new()))
                .map_err(|error| Failure::because("cannot make a template", error))?;
            output::print(&format!("\nMessage template:\n{template}\n"))?;
        }
    }
    Ok(())
}

/// A message with one entry in each list and an empty message in each field; a type within
/// itself stays away.
fn template(message: &MessageDescriptor, around: &mut Vec<String>) -> DynamicMessage {
    let mut filled = DynamicMessage::new(message.clone());
    // Well-known types have a JSON of their own, which their default shows.
    if message.package_name() == "google.protobuf" {
        return filled;
    }
    around.push(message.full_name().to_owned());
    for field in message.fields() {
        let one = match field.kind() {
            _ if field.is_map() => continue,
            Kind::Message(inner) if around.iter().any(|name| name == inner.full_name()) => continue,
            // These have no JSON without content.
            Kind::Message(inner) if inner.full_name() == "google.protobuf.Any" => continue,
            Kind::Message(inner) if inner.full_name() == "google.protobuf.Value" => continue,
            Kind::Message(inner) => Value::Message(template(&inner, around)),
            // Of a oneof the last member would win; the first is shown.
            _ if field.containing_oneof().is_some() => continue,
            kind => Value::default_value(&kind),
        };
        let is_taken = field.containing_oneof().is_some_and(|oneof| {
            !oneof.is_synthetic() && oneof.fields().any(|member| filled.has_field(&member))
        });
        if !is_taken {
            let value = if field.is_list() {
                Value::List(vec![one])
            } else {
                one
            };
            filled.set_field(&field, value);
        }
    }
    around.pop();
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_template_shows_every_field_and_ends_where_a_type_holds_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.proto");
        let text = "syntax = \"proto3\"; package p; import \"google/protobuf/duration.proto\";
            message Tree {
              string name = 1;
              Leaf leaf = 2;
              repeated Tree branches = 3;
              google.protobuf.Duration age = 4;
              oneof either { Leaf a = 5; Leaf b = 6; }
            }
            message Leaf { repeated int64 sizes = 1; Tree on = 2; }";
        std::fs::write(&path, text).unwrap();
        let pool = sampan_build::load(&[path], &[folder.path()]).unwrap();
        let tree = pool.get_message_by_name("p.Tree").unwrap();
        let format = MessageFormat {
            emit_defaults: true,
            ..MessageFormat::default()
        };
        let written = format.write(&template(&tree, &mut Vec::new())).unwrap();
        let leaf = json!({ "sizes": ["0"] });
        assert_eq!(
            serde_json::from_str::<Value>(&written).unwrap(),
            json!({ "name": "", "leaf": leaf, "branches": [], "age": "0s", "a": leaf })
        );
    }
}
