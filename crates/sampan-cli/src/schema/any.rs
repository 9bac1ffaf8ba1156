//! Types that a message names only when it arrives: google.protobuf.Any.
//!
//! The JSON of an Any needs the type that it holds. One that nobody knows is shown with its
//! bytes, as grpcurl does: `{"@type": "…", "@value": "base64"}`. For that the pool gets a
//! stand-in of the same name, which has these bytes as its only field.

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage, Value};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use std::collections::BTreeSet;

const ANY: &str = "google.protobuf.Any";
const TYPE_URL: u32 = 1;
const VALUE: u32 = 2;

/// An Any may hold an Any; so often over it is followed.
pub(super) const MAX_DEPTH: usize = 16;

/// Sees the type name and the bytes of an Any; gives back bytes to put in their place.
type Change<'a> = dyn FnMut(&str, &Bytes) -> Option<Bytes> + 'a;

/// The name in a type URL: what follows the last slash.
pub(crate) fn type_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// Anys within Anys deeper than [`MAX_DEPTH`]: writing them would take a stack without end.
#[derive(Debug, thiserror::Error)]
#[error("an Any holds an Any more than {MAX_DEPTH} times over")]
pub(super) struct TooDeep;

/// The types of Anys in `message`, as deep as types are known, that its pool lacks.
pub(super) fn unknown_types(message: &DynamicMessage) -> Result<BTreeSet<String>, TooDeep> {
    let pool = message.descriptor().parent_pool().clone();
    let mut unknown = BTreeSet::new();
    let mut copy = message.clone();
    visit(&mut copy, MAX_DEPTH, &mut |name, _| {
        if pool.get_message_by_name(name).is_none() {
            unknown.insert(name.to_owned());
        }
        None
    })?;
    Ok(unknown)
}

/// Moves what Anys of these types hold into the only field of their stand-in.
pub(super) fn wrap_opaque(
    message: &mut DynamicMessage,
    opaque: &BTreeSet<String>,
) -> Result<(), TooDeep> {
    if opaque.is_empty() {
        return Ok(());
    }
    visit(message, MAX_DEPTH, &mut |name, held| {
        // prost encodes bytes by themselves as a message whose field 1 they are.
        opaque.contains(name).then(|| held.encode_to_vec().into())
    })
}

/// Adds the stand-in for a type that nobody knows; a name that no type can have is left out.
pub(super) fn add_opaque(name: &str, pool: &mut DescriptorPool) {
    let (package, message) = name.rsplit_once('.').unwrap_or(("", name));
    let field = FieldDescriptorProto {
        name: Some("value".to_owned()),
        json_name: Some("@value".to_owned()),
        number: Some(1),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::Bytes.into()),
        ..FieldDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some(format!("stand-in/{name}")),
        package: Some(package.to_owned()),
        message_type: vec![DescriptorProto {
            name: Some(message.to_owned()),
            field: vec![field],
            ..DescriptorProto::default()
        }],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    // Refused where the name is taken by something else; printing then names the type.
    let _ = pool.add_file_descriptor_proto(file);
}

/// Adds google.protobuf.Any if it is not there.
pub(super) fn add_itself(pool: &mut DescriptorPool) {
    let known = DescriptorPool::global();
    if pool.get_message_by_name(ANY).is_none()
        && let Some(any) = known.get_message_by_name(ANY)
    {
        // Cannot clash: the type is not there, and this file needs no other.
        let _ = pool.add_file_descriptor_proto(any.parent_file_descriptor_proto().clone());
    }
}

/// Shows each Any in `message` to `change`, outermost first. Goes into what an Any holds where
/// that type is known, `depth` times.
fn visit(
    message: &mut DynamicMessage,
    depth: usize,
    change: &mut Change<'_>,
) -> Result<(), TooDeep> {
    if message.descriptor().full_name() == ANY {
        return visit_any(message, depth, change);
    }
    message
        .fields_mut()
        .try_for_each(|(_, value)| visit_value(value, depth, change))
}

fn visit_value(value: &mut Value, depth: usize, change: &mut Change<'_>) -> Result<(), TooDeep> {
    match value {
        Value::Message(message) => visit(message, depth, change),
        Value::List(values) => values
            .iter_mut()
            .try_for_each(|it| visit_value(it, depth, change)),
        Value::Map(values) => values
            .values_mut()
            .try_for_each(|it| visit_value(it, depth, change)),
        _ => Ok(()),
    }
}

fn visit_any(
    any: &mut DynamicMessage,
    depth: usize,
    change: &mut Change<'_>,
) -> Result<(), TooDeep> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(TooDeep);
    };
    let url = any
        .get_field_by_number(TYPE_URL)
        .map(|url| url.into_owned());
    let held = any.get_field_by_number(VALUE).map(|held| held.into_owned());
    let (Some(Value::String(url)), Some(Value::Bytes(held))) = (url, held) else {
        return Ok(());
    };
    let name = type_name(&url);
    if name.is_empty() {
        return Ok(());
    }
    let mut changed = change(name, &held);
    if changed.is_none()
        && let Some(held_type) = any.descriptor().parent_pool().get_message_by_name(name)
        && let Ok(mut inner) = DynamicMessage::decode(held_type, held.clone())
    {
        let mut inner_changed = false;
        visit(&mut inner, depth, &mut |name, held| {
            let changed = change(name, held);
            inner_changed |= changed.is_some();
            changed
        })?;
        changed = inner_changed.then(|| inner.encode_to_vec().into());
    }
    if let Some(bytes) = changed {
        any.set_field_by_number(VALUE, Value::Bytes(bytes));
    }
    Ok(())
}
