//! Bounds how often an Any may hold an Any.
//!
//! Why: to write an Any as JSON, what it holds is decoded and written in turn. Bytes that cost a
//! few letters a level would otherwise take a stack without end, and a process cannot survive
//! that.

use prost_reflect::{DynamicMessage, ReflectMessage, Value};

/// Far more than anybody means.
const MAX_DEPTH: usize = 16;

const ANY: &str = "google.protobuf.Any";
const TYPE_URL: u32 = 1;
const VALUE: u32 = 2;

/// Anys in one another deeper than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an Any holds an Any more than {MAX_DEPTH} times over")]
pub(super) struct TooDeep;

/// Whether `message` can be written.
pub(super) fn check(message: &DynamicMessage) -> Result<(), TooDeep> {
    if message
        .descriptor()
        .parent_pool()
        .get_message_by_name(ANY)
        .is_none()
    {
        return Ok(());
    }
    check_message(message, MAX_DEPTH)
}

fn check_message(message: &DynamicMessage, left: usize) -> Result<(), TooDeep> {
    if message.descriptor().full_name() == ANY {
        return check_held(message, left.checked_sub(1).ok_or(TooDeep)?);
    }
    message
        .fields()
        .try_for_each(|(_, value)| check_value(value, left))
}

fn check_value(value: &Value, left: usize) -> Result<(), TooDeep> {
    match value {
        Value::Message(message) => check_message(message, left),
        Value::List(values) => values.iter().try_for_each(|value| check_value(value, left)),
        Value::Map(values) => values
            .values()
            .try_for_each(|value| check_value(value, left)),
        _ => Ok(()),
    }
}

/// What an Any of a known type holds. Others are not followed when they are written either.
fn check_held(any: &DynamicMessage, left: usize) -> Result<(), TooDeep> {
    let (type_url, value) = (
        any.get_field_by_number(TYPE_URL),
        any.get_field_by_number(VALUE),
    );
    let name = type_url
        .as_deref()
        .and_then(Value::as_str)
        .and_then(|url| url.rsplit('/').next());
    let held = name.and_then(|name| any.descriptor().parent_pool().get_message_by_name(name));
    let (Some(held), Some(bytes)) = (held, value.as_deref().and_then(Value::as_bytes)) else {
        return Ok(());
    };
    match DynamicMessage::decode(held, bytes.clone()) {
        Ok(held) => check_message(&held, left),
        Err(_) => Ok(()),
    }
}
