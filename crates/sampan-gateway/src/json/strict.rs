//! A pass over JSON that builds nothing and refuses what the mapping would let through:
//! deep nesting, a key twice, a field by both its names, two fields of one oneof.

use super::MAX_DEPTH;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::{collections::HashSet, fmt};

/// One value, and what is known of it.
pub(super) struct Scan {
    shape: Shape,
    depth: usize,
}

/// What a value's keys mean.
#[derive(Clone)]
enum Shape {
    /// Fields of this message.
    Message(MessageDescriptor),
    /// Keys of a map whose values have the shape that the field's entries have.
    Map(MessageDescriptor),
    /// Just keys: JSON forms of well-known types, unknown fields, scalars.
    Free,
}

/// Whether a value was `null`, which sets no field.
type IsNull = bool;

// === impl Scan ===

impl Scan {
    pub(super) fn new(message: &MessageDescriptor) -> Self {
        Self {
            shape: Shape::of_message(message),
            depth: 0,
        }
    }

    fn deeper<E: Error>(&self) -> Result<usize, E> {
        if self.depth < MAX_DEPTH {
            Ok(self.depth + 1)
        } else {
            Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}")))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Scan {
    type Value = IsNull;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<IsNull, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan {
    type Value = IsNull;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<IsNull, E> {
        Ok(true)
    }

    fn visit_bool<E>(self, _: bool) -> Result<IsNull, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<IsNull, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<IsNull, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<IsNull, E> {
        Ok(false)
    }

    fn visit_str<E>(self, _: &str) -> Result<IsNull, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<IsNull, A::Error> {
        let depth = self.deeper()?;
        let shape = self.shape;
        while list
            .next_element_seed(Self {
                shape: shape.clone(),
                depth,
            })?
            .is_some()
        {}
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<IsNull, A::Error> {
        let depth = self.deeper()?;
        let mut keys = HashSet::new();
        let mut oneofs = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let field = self.shape.field(&key);
            let shape = self.shape.of_value(field.as_ref());
            let is_null = map.next_value_seed(Self { shape, depth })?;
            if let Some(field) = &field
                && !is_null
                && let Some(oneof) = field.containing_oneof()
                && !oneofs.insert(oneof.name().to_owned())
            {
                return Err(A::Error::custom(format_args!(
                    "two fields of oneof \"{}\"",
                    oneof.name()
                )));
            }
            let known_as = match &field {
                Some(field) => field.json_name().to_owned(),
                None => key,
            };
            if let Some(known_as) = keys.replace(known_as) {
                return Err(A::Error::custom(format_args!(
                    "duplicate field \"{known_as}\""
                )));
            }
        }
        Ok(false)
    }
}

// === impl Shape ===

impl Shape {
    fn of_message(message: &MessageDescriptor) -> Self {
        if message.package_name() == "google.protobuf" {
            Self::Free
        } else {
            Self::Message(message.clone())
        }
    }

    /// The field that a key names by either of its names.
    fn field(&self, key: &str) -> Option<FieldDescriptor> {
        let Self::Message(message) = self else {
            return None;
        };
        message
            .get_field_by_json_name(key)
            .or_else(|| message.get_field_by_name(key))
    }

    /// The shape of the value of a key: of `field`, if the key names one.
    fn of_value(&self, field: Option<&FieldDescriptor>) -> Self {
        let values;
        let field = match (self, field) {
            (Self::Map(entry), _) => {
                values = entry.map_entry_value_field();
                &values
            }
            (_, Some(field)) => field,
            (_, None) => return Self::Free,
        };
        match field.kind() {
            Kind::Message(entry) if entry.is_map_entry() => Self::Map(entry),
            Kind::Message(message) => Self::of_message(&message),
            _ => Self::Free,
        }
    }
}
