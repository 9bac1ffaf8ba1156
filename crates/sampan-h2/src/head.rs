//! From header fields to requests, responses and trailers.

use crate::hpack::{Decoded, Path, Scheme};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version,
    header::{CONTENT_LENGTH, HOST},
    uri,
};

/// The head of a message, as it is remembered.
#[derive(Clone, Debug)]
pub(crate) enum Head {
    Request(Request<()>),
    Response(Response<()>),
}

/// What ends a body.
#[derive(Clone, Debug)]
pub enum Trailers {
    /// `grpc-status: 0` and nothing else.
    Ok,
    /// Anything else.
    Fields(HeaderMap),
}

/// A block that was decoded and is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Source: RFC 9113, 8.3.1.
pub(crate) fn request(decoded: Decoded) -> Result<Request<()>, Malformed> {
    let Decoded {
        pseudo,
        mut fields,
        flaw: None,
        ..
    } = decoded
    else {
        return Err(Malformed);
    };
    let (Some(method), Some(scheme), Some(Path::Parsed(path)), None, None) = (
        pseudo.method,
        pseudo.scheme,
        pseudo.path,
        pseudo.status,
        pseudo.protocol,
    ) else {
        return Err(Malformed);
    };
    if path == "*" && method != Method::OPTIONS {
        return Err(Malformed);
    }
    let mut parts = uri::Parts::default();
    if let Some(text) = pseudo.authority {
        // What gRPC's C core says for a Unix socket is no authority of a URI. It is kept where
        // HTTP/1 has it.
        match (uri::Authority::try_from(text.as_bytes()), known(&scheme)) {
            (Ok(authority), Some(scheme)) => {
                parts.authority = Some(authority);
                parts.scheme = Some(scheme);
            }
            _ => {
                fields.entry(HOST).or_insert(text);
            }
        }
    }
    parts.path_and_query = Some(path);
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Malformed)?;
    *request.headers_mut() = fields;
    Ok(request)
}

fn known(scheme: &Scheme) -> Option<uri::Scheme> {
    match scheme {
        Scheme::Http => Some(uri::Scheme::HTTP),
        Scheme::Https => Some(uri::Scheme::HTTPS),
        Scheme::Other(_) => None,
    }
}

/// Source: RFC 9113, 8.3.2.
pub(crate) fn response(decoded: Decoded) -> Result<Response<()>, Malformed> {
    let pseudo = decoded.pseudo;
    let (Some(status), None, None, None, None, None) = (
        pseudo.status,
        decoded.flaw,
        pseudo.method,
        pseudo.path,
        pseudo.scheme,
        pseudo.authority,
    ) else {
        return Err(Malformed);
    };
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = decoded.fields;
    Ok(response)
}

/// Source: RFC 9113, 8.1.
pub(crate) fn trailers(decoded: Decoded) -> Result<Trailers, Malformed> {
    let pseudo = decoded.pseudo;
    let has_pseudo = pseudo.status.is_some()
        || pseudo.method.is_some()
        || pseudo.path.is_some()
        || pseudo.scheme.is_some()
        || pseudo.authority.is_some()
        || pseudo.protocol.is_some();
    if has_pseudo || decoded.flaw.is_some() {
        return Err(Malformed);
    }
    let is_ok = decoded.fields.len() == 1
        && decoded.fields.get(&GRPC_STATUS).map(HeaderValue::as_bytes) == Some(b"0");
    Ok(if is_ok {
        Trailers::Ok
    } else {
        Trailers::Fields(decoded.fields)
    })
}

/// What content-length promises, when it says a number.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

// === impl Trailers ===

impl From<Trailers> for HeaderMap {
    fn from(trailers: Trailers) -> Self {
        match trailers {
            Trailers::Ok => Self::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]),
            Trailers::Fields(fields) => fields,
        }
    }
}
