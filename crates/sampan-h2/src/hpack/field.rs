//! A field as the decoder keeps it: parsed once, when it is decoded or enters the table.

use bytes::{Buf, Bytes};
use http::header::{self, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{Decoded, FIELD_OVERHEAD_BYTES, Flaw, Path, Scheme};

/// The name of a field.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Method,
    Scheme,
    Authority,
    Path,
    Status,
    Protocol,
    Regular(HeaderName),
    /// No field may have this name. Its length still counts.
    Flawed(&'static str, usize),
}

/// A field, ready to be cloned into a [`Decoded`].
#[derive(Debug)]
pub(super) enum Field {
    Method(Method),
    Scheme(Scheme),
    Authority(HeaderValue),
    Path(Path),
    Status(StatusCode),
    Protocol(HeaderValue),
    Regular(HeaderName, HeaderValue),
    /// Kept in the table all the same: a flaw ends its stream, and the tables stay in step.
    Flawed(Name, &'static str),
}

/// A field and what it counts.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) field: Field,
    pub(super) bytes: usize,
}

// === impl Name ===

impl Name {
    pub(super) fn parse(name: &[u8]) -> Self {
        if name.first() == Some(&b':') {
            return match name {
                b":method" => Self::Method,
                b":scheme" => Self::Scheme,
                b":authority" => Self::Authority,
                b":path" => Self::Path,
                b":status" => Self::Status,
                b":protocol" => Self::Protocol,
                _ => Self::Flawed("unknown pseudo-header field", name.len()),
            };
        }
        if let Some(known) = known(name) {
            return Self::Regular(known);
        }
        match HeaderName::from_lowercase(name) {
            Ok(name) if is_connection_specific(&name) => {
                Self::Flawed("connection-specific field", name.as_str().len())
            }
            Ok(name) => Self::Regular(name),
            Err(_) => Self::Flawed("invalid field name", name.len()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Method | Self::Scheme | Self::Status => 7,
            Self::Authority => 10,
            Self::Path => 5,
            Self::Protocol => 9,
            Self::Regular(name) => name.as_str().len(),
            Self::Flawed(_, len) => *len,
        }
    }
}

/// Names that gRPC sends but does not index, or that no standard set has: no allocation for them.
fn known(name: &[u8]) -> Option<HeaderName> {
    Some(match name {
        b"grpc-status" => const { HeaderName::from_static("grpc-status") },
        b"grpc-message" => const { HeaderName::from_static("grpc-message") },
        b"grpc-timeout" => const { HeaderName::from_static("grpc-timeout") },
        b"grpc-encoding" => const { HeaderName::from_static("grpc-encoding") },
        b"grpc-accept-encoding" => const { HeaderName::from_static("grpc-accept-encoding") },
        b"grpc-status-details-bin" => const { HeaderName::from_static("grpc-status-details-bin") },
        b"grpc-previous-rpc-attempts" => {
            const { HeaderName::from_static("grpc-previous-rpc-attempts") }
        }
        b"grpc-trace-bin" => const { HeaderName::from_static("grpc-trace-bin") },
        b"grpc-tags-bin" => const { HeaderName::from_static("grpc-tags-bin") },
        b"traceparent" => const { HeaderName::from_static("traceparent") },
        b"tracestate" => const { HeaderName::from_static("tracestate") },
        b"x-request-id" => const { HeaderName::from_static("x-request-id") },
        _ => return None,
    })
}

/// Source: RFC 9113 section 8.2.2.
fn is_connection_specific(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
        || name == "keep-alive"
        || name == "proxy-connection"
}

// === impl Field ===

impl Field {
    /// Parses the value of a field; nothing is refused, what is wrong becomes [`Field::Flawed`].
    pub(super) fn new(name: Name, mut value: Bytes) -> Self {
        if let Name::Flawed(why, _) = name {
            return Self::Flawed(name, why);
        }
        if let (Some(b' ' | b'\t'), _) | (_, Some(b' ' | b'\t')) = (value.first(), value.last()) {
            // RFC 9113 section 8.2.1 forbids it; gRPC lets it be stripped, and peers do send it.
            if !matches!(name, Name::Regular(_)) {
                return Self::Flawed(name, "field value begins or ends with white space");
            }
            let is_text = |octet: &u8| !matches!(octet, b' ' | b'\t');
            let end = value.iter().rposition(is_text).map_or(0, |last| last + 1);
            value.truncate(end);
            value.advance(value.iter().position(is_text).unwrap_or(0));
        }
        match name {
            Name::Method => match Method::from_bytes(&value) {
                Ok(method) => Self::Method(method),
                Err(_) => Self::Flawed(name, "invalid :method"),
            },
            Name::Status => match StatusCode::from_bytes(&value) {
                Ok(status) => Self::Status(status),
                Err(_) => Self::Flawed(name, "invalid :status"),
            },
            Name::Scheme => match &value[..] {
                b"http" => Self::Scheme(Scheme::Http),
                b"https" => Self::Scheme(Scheme::Https),
                _ => match HeaderValue::from_maybe_shared(value.clone()) {
                    Ok(_) => Self::Scheme(Scheme::Other(value)),
                    Err(_) => Self::Flawed(name, "invalid :scheme"),
                },
            },
            Name::Path => match parse_path(value) {
                Some(path) => Self::Path(path),
                None => Self::Flawed(name, "invalid :path"),
            },
            Name::Authority => match HeaderValue::from_maybe_shared(value) {
                Ok(value) => Self::Authority(value),
                Err(_) => Self::Flawed(name, "invalid :authority"),
            },
            Name::Protocol => match HeaderValue::from_maybe_shared(value) {
                Ok(value) => Self::Protocol(value),
                Err(_) => Self::Flawed(name, "invalid :protocol"),
            },
            Name::Regular(header::TE) if value != "trailers" => {
                Self::Flawed(name, "te is not trailers")
            }
            Name::Regular(regular) => match HeaderValue::from_maybe_shared(value) {
                Ok(value) => Self::Regular(regular, value),
                Err(_) => Self::Flawed(Name::Regular(regular), "invalid octet in field value"),
            },
            Name::Flawed(why, _) => Self::Flawed(name, why),
        }
    }

    pub(super) fn name(&self) -> Name {
        match self {
            Self::Method(_) => Name::Method,
            Self::Scheme(_) => Name::Scheme,
            Self::Authority(_) => Name::Authority,
            Self::Path(_) => Name::Path,
            Self::Status(_) => Name::Status,
            Self::Protocol(_) => Name::Protocol,
            Self::Regular(name, _) => Name::Regular(name.clone()),
            Self::Flawed(name, _) => name.clone(),
        }
    }

    /// Name and value as they came, but for white space around the value; of one that is flawed
    /// they are not known any more.
    pub(super) fn octets(&self) -> Option<(&[u8], &[u8])> {
        Some(match self {
            Self::Method(method) => (b":method", method.as_str().as_bytes()),
            Self::Scheme(Scheme::Http) => (b":scheme", b"http"),
            Self::Scheme(Scheme::Https) => (b":scheme", b"https"),
            Self::Scheme(Scheme::Other(value)) => (b":scheme", value),
            Self::Authority(value) => (b":authority", value.as_bytes()),
            Self::Path(Path::Parsed(path)) => (b":path", path.as_str().as_bytes()),
            Self::Path(Path::Raw(value)) => (b":path", value.as_bytes()),
            Self::Status(status) => (b":status", status.as_str().as_bytes()),
            Self::Protocol(value) => (b":protocol", value.as_bytes()),
            Self::Regular(name, value) => (name.as_str().as_bytes(), value.as_bytes()),
            Self::Flawed(..) => return None,
        })
    }

    /// Marks a never-indexed literal, so that whoever passes it on keeps it so.
    pub(super) fn set_sensitive(&mut self) {
        match self {
            Self::Authority(value) | Self::Protocol(value) | Self::Regular(_, value) => {
                value.set_sensitive(true);
            }
            _ => {}
        }
    }
}

/// `None` when the value has octets that no field value may have.
fn parse_path(value: Bytes) -> Option<Path> {
    let raw = HeaderValue::from_maybe_shared(value.clone()).ok()?;
    if value.first() == Some(&b'/') || value == "*" {
        let len = value.len();
        if let Ok(path) = PathAndQuery::from_maybe_shared(value)
            // A fragment would be cut off.
            && path.as_str().len() == len
        {
            return Some(Path::Parsed(path));
        }
    }
    Some(Path::Raw(raw))
}

// === impl Entry ===

impl Entry {
    pub(super) fn new(name: Name, value: Bytes) -> Self {
        let bytes = name.len() + value.len() + FIELD_OVERHEAD_BYTES;
        Self {
            field: Field::new(name, value),
            bytes,
        }
    }
}

// === impl Decoded ===

impl Decoded {
    /// Stores an entry of a table. The caller has counted it and seen that there is no flaw yet.
    #[inline]
    pub(super) fn store(&mut self, field: &Field) {
        match field {
            Field::Regular(name, value) => {
                // The map has a limit of its own, far beyond any sensible list.
                if self.fields.try_append(name, value.clone()).is_err() {
                    self.flaw = Some(Flaw::TooLarge);
                }
            }
            Field::Method(method) => {
                store_pseudo(
                    &mut self.pseudo.method,
                    method,
                    &self.fields,
                    &mut self.flaw,
                );
            }
            Field::Scheme(scheme) => {
                store_pseudo(
                    &mut self.pseudo.scheme,
                    scheme,
                    &self.fields,
                    &mut self.flaw,
                );
            }
            Field::Authority(value) => {
                store_pseudo(
                    &mut self.pseudo.authority,
                    value,
                    &self.fields,
                    &mut self.flaw,
                );
            }
            Field::Path(path) => {
                store_pseudo(&mut self.pseudo.path, path, &self.fields, &mut self.flaw);
            }
            Field::Status(status) => {
                store_pseudo(
                    &mut self.pseudo.status,
                    status,
                    &self.fields,
                    &mut self.flaw,
                );
            }
            Field::Protocol(value) => {
                store_pseudo(
                    &mut self.pseudo.protocol,
                    value,
                    &self.fields,
                    &mut self.flaw,
                );
            }
            Field::Flawed(_, why) => self.flaw = Some(Flaw::Malformed(why)),
        }
    }

    /// The same for a field that is in no table and need not be cloned.
    pub(super) fn store_owned(&mut self, field: Field) {
        match field {
            Field::Regular(name, value) => {
                if self.fields.try_append(name, value).is_err() {
                    self.flaw = Some(Flaw::TooLarge);
                }
            }
            other => self.store(&other),
        }
    }
}

#[inline]
fn store_pseudo<T: Clone>(
    slot: &mut Option<T>,
    value: &T,
    fields: &HeaderMap,
    flaw: &mut Option<Flaw>,
) {
    if slot.is_some() {
        *flaw = Some(Flaw::Malformed("pseudo-header field twice"));
    } else if !fields.is_empty() {
        *flaw = Some(Flaw::Malformed("pseudo-header field after a regular one"));
    } else {
        *slot = Some(value.clone());
    }
}
