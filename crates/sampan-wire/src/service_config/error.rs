//! Why a service config cannot be used.

use std::fmt;

/// A service config that cannot be used, with what would be right.
///
/// ```
/// let wrong = r#"{"methodConfig": [{"name": [{}], "timeout": "1m"}]}"#;
/// let error = sampan_wire::service_config::ServiceConfig::parse(wrong).unwrap_err();
/// assert_eq!(error.field(), "methodConfig[0].timeout");
/// assert_eq!(
///     error.to_string(),
///     "methodConfig[0].timeout is \"1m\"; it must be seconds with an s, such as \"0.25s\""
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ServiceConfigError {
    field: String,
    found: Found,
    wanted: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// As JSON, cut short.
    Value(String),
}

/// A value in a message is cut after so many letters.
const MAX_SHOWN: usize = 60;

// === impl ServiceConfigError ===

impl ServiceConfigError {
    pub(super) fn value(
        field: impl Into<String>,
        value: &serde_json::Value,
        wanted: impl Into<String>,
    ) -> Self {
        let text = value.to_string();
        let shown = match text.char_indices().nth(MAX_SHOWN) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text,
        };
        Self {
            field: field.into(),
            found: Found::Value(shown),
            wanted: wanted.into(),
        }
    }

    pub(super) fn missing(field: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            found: Found::Nothing,
            wanted: wanted.into(),
        }
    }

    /// The text as a whole.
    pub(super) fn text(why: impl Into<String>) -> Self {
        Self::missing("", why)
    }

    /// Where the fault is, such as `methodConfig[0].retryPolicy.maxAttempts`; empty when the
    /// text as a whole is wrong.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for ServiceConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            found,
            wanted,
        } = self;
        match found {
            Found::Nothing if field.is_empty() => f.write_str(wanted),
            Found::Nothing => write!(f, "{field} is missing; it must be {wanted}"),
            Found::Value(value) if field.is_empty() => {
                write!(f, "the whole is {value}; it must be {wanted}")
            }
            Found::Value(value) => write!(f, "{field} is {value}; it must be {wanted}"),
        }
    }
}
