//! JSON whose values know where they stand.
//!
//! `null` is the same as nothing, as in proto3 JSON. A key that is there twice is refused:
//! parsers differ in which of the two they take.

use super::{ServiceConfig, ServiceConfigError};
use crate::{Code, suggest};
use serde_core::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::{cell::RefCell, fmt, ops::RangeInclusive, time::Duration};

type Result<T, E = ServiceConfigError> = std::result::Result<T, E>;

/// A value and its place.
#[derive(Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
    unknown: &'a RefCell<Vec<String>>,
}

/// The fields of an object.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    node: Node<'a>,
}

/// A whole text.
pub(super) struct Document {
    value: Value,
    unknown: RefCell<Vec<String>>,
}

struct Unique(Value);

/// What `google.protobuf.Duration` can say.
const MAX_SECONDS: u64 = 315_576_000_000;

// === impl Document ===

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (len, most) = (text.len(), ServiceConfig::MAX_LEN);
        if len > most {
            let why = format!("the text has {len} bytes, more than {most}");
            return Err(ServiceConfigError::text(why));
        }
        let Unique(value) = serde_json::from_str(text)
            .map_err(|error| ServiceConfigError::text(format!("the text is no JSON: {error}")))?;
        let unknown = RefCell::default();
        Ok(Self { value, unknown })
    }

    pub(super) fn root(&self) -> Node<'_> {
        Node {
            value: &self.value,
            path: String::new(),
            unknown: &self.unknown,
        }
    }

    /// What nobody asked for, and what was probably meant.
    pub(super) fn into_unknown(self) -> Vec<String> {
        self.unknown.into_inner()
    }
}

// === impl Node ===

impl<'a> Node<'a> {
    pub(super) fn wrong(&self, wanted: impl Into<String>) -> ServiceConfigError {
        ServiceConfigError::value(&*self.path, self.value, wanted)
    }

    /// An object of which these fields are known.
    pub(super) fn object(&self, known: &[&str]) -> Result<Fields<'a>> {
        let fields = self.map()?;
        for key in fields.map.keys().filter(|key| !known.contains(&&***key)) {
            let mut told = fields.node.child(key);
            if let Some(meant) = suggest::nearest(key, known.iter().copied()) {
                told.push_str(&format!(" (did you mean {meant}?)"));
            }
            self.unknown.borrow_mut().push(told);
        }
        Ok(fields)
    }

    /// An object with keys of any name.
    pub(super) fn map(&self) -> Result<Fields<'a>> {
        let map = self.value.as_object();
        let map = map.ok_or_else(|| self.wrong("an object"))?;
        let node = self.clone();
        Ok(Fields { map, node })
    }

    pub(super) fn list(&self) -> Result<Vec<Self>> {
        let list = self.value.as_array();
        let list = list.ok_or_else(|| self.wrong("a list"))?;
        let with_place = |(at, value)| Self {
            value,
            path: format!("{}[{at}]", self.path),
            unknown: self.unknown,
        };
        Ok(list.iter().enumerate().map(with_place).collect())
    }

    pub(super) fn text(&self) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| self.wrong("a string"))
    }

    pub(super) fn boolean(&self) -> Result<bool> {
        let value = self.value.as_bool();
        value.ok_or_else(|| self.wrong("true or false"))
    }

    /// A whole number, written as a number.
    pub(super) fn integer(&self, range: RangeInclusive<u32>) -> Result<u32> {
        self.within(self.value.as_u64(), range)
    }

    /// A whole number, written as a number or, as proto3 JSON allows, as a string.
    pub(super) fn unsigned(&self, range: RangeInclusive<u32>) -> Result<u32> {
        let written = self.value.as_str().and_then(|text| text.parse().ok());
        self.within(self.value.as_u64().or(written), range)
    }

    fn within(&self, number: Option<u64>, range: RangeInclusive<u32>) -> Result<u32> {
        number
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                self.wrong(match (*range.start(), *range.end()) {
                    (0, u32::MAX) => "a whole number".to_owned(),
                    (least, u32::MAX) => format!("a whole number of {least} or more"),
                    (least, most) => format!("a whole number from {least} to {most}"),
                })
            })
    }

    pub(super) fn number(&self) -> Result<f64> {
        self.value.as_f64().ok_or_else(|| self.wrong("a number"))
    }

    pub(super) fn positive_number(&self) -> Result<f64> {
        let number = self.value.as_f64().filter(|number| *number > 0.0);
        number.ok_or_else(|| self.wrong("a number of more than 0"))
    }

    /// A duration as proto3 JSON writes it, never negative.
    pub(super) fn duration(&self) -> Result<Duration> {
        let text = self.value.as_str();
        text.and_then(parse_duration)
            .ok_or_else(|| self.wrong("seconds with an s, such as \"0.25s\""))
    }

    pub(super) fn positive_duration(&self) -> Result<Duration> {
        let duration = self.duration()?;
        if duration.is_zero() {
            return Err(self.wrong("more than \"0s\""));
        }
        Ok(duration)
    }

    /// A status by its number, or by its name in any case.
    pub(super) fn code(&self) -> Result<Code> {
        let number = self.value.as_u64().and_then(|code| u8::try_from(code).ok());
        let name = self.value.as_str().map(str::to_ascii_uppercase);
        number
            .and_then(Code::from_u8)
            .or_else(|| Code::from_name(&name?))
            .ok_or_else(|| self.wrong("a status, such as \"UNAVAILABLE\" or 14"))
    }
}

impl Node<'_> {
    fn child(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// `null` is nothing.
    pub(super) fn field(&self, name: &str) -> Option<Node<'a>> {
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        Some(Node {
            value,
            path: self.node.child(name),
            unknown: self.node.unknown,
        })
    }

    /// A field that has to be there.
    pub(super) fn required(&self, name: &str, wanted: &str) -> Result<Node<'a>> {
        self.field(name)
            .ok_or_else(|| ServiceConfigError::missing(self.node.child(name), wanted))
    }

    /// Reads a field if it is there.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Node<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.field(name).map(|node| read(&node)).transpose()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Node<'a>)> {
        self.map
            .keys()
            .filter_map(|key| Some((key.as_str(), self.field(key)?)))
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }
}

// === impl Unique ===

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visit;

        impl<'de> Visitor<'de> for Visit {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> std::result::Result<Unique, E> {
                Ok(Unique(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> std::result::Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> std::result::Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> std::result::Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> std::result::Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> std::result::Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> std::result::Result<Unique, A::Error> {
                let mut values = Vec::new();
                while let Some(Unique(value)) = list.next_element()? {
                    values.push(value);
                }
                Ok(Unique(values.into()))
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut entries: A,
            ) -> std::result::Result<Unique, A::Error> {
                let mut map = Map::new();
                while let Some((key, Unique(value))) = entries.next_entry::<String, _>()? {
                    if map.contains_key(&key) {
                        let why = format_args!("the key {key:?} is there twice");
                        return Err(de::Error::custom(why));
                    }
                    map.insert(key, value);
                }
                Ok(Unique(map.into()))
            }
        }

        deserializer.deserialize_any(Visit)
    }
}

/// `"1.5s"`: digits, at most nine more behind a point, an s. Source: proto3's JSON mapping.
fn parse_duration(text: &str) -> Option<Duration> {
    let (seconds, fraction) = match text.strip_suffix('s')?.split_once('.') {
        Some((_, fraction)) if fraction.is_empty() || fraction.len() > 9 => return None,
        Some(parts) => parts,
        None => (text.strip_suffix('s')?, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let seconds = seconds
        .parse()
        .ok()
        .filter(|&seconds| seconds <= MAX_SECONDS)?;
    let nanos = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_proto3_writes_them() {
        for (text, expected) in [
            ("0s", Some(Duration::ZERO)),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("0.000000001s", Some(Duration::from_nanos(1))),
            ("315576000000s", Some(Duration::from_secs(MAX_SECONDS))),
            ("315576000001s", None),
            ("1", None),
            ("1.s", None),
            (".5s", None),
            ("1.0000000001s", None),
            ("-1s", None),
            ("+1s", None),
            ("1e3s", None),
            ("1 s", None),
            ("1ms", None),
            ("s", None),
            ("", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_with_its_place() {
        let error = Document::parse("{\"a\": {\n\"b\": 1, \"b\": 2}}")
            .err()
            .unwrap();
        let error = error.to_string();
        assert!(
            error.contains("the key \"b\" is there twice at line 2"),
            "{error}"
        );
    }

    #[test]
    fn text_without_an_end_of_depth_is_refused() {
        assert!(Document::parse(&"[".repeat(100_000)).is_err());
        assert!(Document::parse(&" ".repeat(ServiceConfig::MAX_LEN + 1)).is_err());
    }

    proptest! {
        #[test]
        fn a_written_duration_is_read_back(seconds in 0..=MAX_SECONDS, nanos in 0u32..1_000_000_000) {
            let text = format!("{seconds}.{nanos:09}s");
            prop_assert_eq!(parse_duration(&text), Some(Duration::new(seconds, nanos)));
        }
    }
}
