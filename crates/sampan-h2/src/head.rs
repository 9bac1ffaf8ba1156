//! From header fields to requests, responses and trailers.

use crate::{
    fit::{self, GRPC_STATUS},
    hpack::{Decoded, Path, Scheme},
};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST},
    uri,
};
use std::sync::Arc;

/// The head of a request as it came. Calls of one method have the same head again and again: it
/// is shared with those that came before, and only copied where one of its own is needed.
#[derive(Clone, Debug)]
pub struct RequestHead(Arc<Known<Request<()>>>);

/// The head of a response as it came; shared as a [`RequestHead`] is.
#[derive(Clone, Debug)]
pub struct ResponseHead(Arc<Known<Response<()>>>);

/// A head, and what is asked of it for each call.
#[derive(Debug)]
struct Known<H> {
    head: H,
    content_length: Option<u64>,
    is_grpc: bool,
}

/// What ends a body.
#[derive(Clone, Debug)]
pub enum Trailers {
    /// `grpc-status: 0` and nothing else.
    Ok,
    /// Anything else; rare, and large.
    Fields(Box<HeaderMap>),
}

/// A block that was decoded and is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The authority of a connection's latest request: nearly always that of the next.
pub(crate) type LatestAuthority = Option<(HeaderValue, uri::Authority)>;

/// Source: RFC 9113, 8.3.1.
pub(crate) fn request(
    decoded: Decoded,
    latest: &mut LatestAuthority,
) -> Result<RequestHead, Malformed> {
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
        let parsed = match latest {
            Some((latest, authority)) if *latest == text => Ok(authority.clone()),
            _ => uri::Authority::try_from(text.as_bytes()).inspect(|authority| {
                *latest = Some((text.clone(), authority.clone()));
            }),
        };
        match (parsed, known(&scheme)) {
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
    Ok(RequestHead(Arc::new(Known {
        content_length: content_length(request.headers())?,
        is_grpc: is_grpc(request.headers()),
        head: request,
    })))
}

fn known(scheme: &Scheme) -> Option<uri::Scheme> {
    match scheme {
        Scheme::Http => Some(uri::Scheme::HTTP),
        Scheme::Https => Some(uri::Scheme::HTTPS),
        Scheme::Other(_) => None,
    }
}

/// Source: RFC 9113, 8.3.2.
pub(crate) fn response(decoded: Decoded) -> Result<ResponseHead, Malformed> {
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
    let content_length = content_length(&decoded.fields)?;
    Ok(response_of(status, decoded.fields, content_length))
}

/// In the place of one that was too long to be kept.
pub(crate) fn response_too_long(list_bytes: usize, limit: u32) -> ResponseHead {
    let mut fields = fit::too_long("answer", list_bytes, limit);
    let (name, value) = fit::GRPC_TYPE;
    fields.insert(name, value);
    response_of(StatusCode::OK, fields, None)
}

fn response_of(status: StatusCode, fields: HeaderMap, content_length: Option<u64>) -> ResponseHead {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = fields;
    ResponseHead(Arc::new(Known {
        content_length,
        is_grpc: is_grpc(response.headers()),
        head: response,
    }))
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
        Trailers::Fields(Box::new(decoded.fields))
    })
}

/// What content-length promises. Twice the same is as good as once.
/// Source: RFC 9110, 8.6; RFC 9113, 8.1.1.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let digits = first.as_bytes();
    if !digits.iter().all(u8::is_ascii_digit) || values.any(|other| other != first) {
        return Err(Malformed);
    }
    let number = first.to_str().ok().and_then(|digits| digits.parse().ok());
    number.map(Some).ok_or(Malformed)
}

pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE);
    content_type.is_some_and(|text| is_grpc_type(text.as_bytes()))
}

pub(crate) fn is_grpc_type(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    matches!(rest, Some([] | [b'+' | b';', ..]))
}

// === impl RequestHead ===

impl RequestHead {
    /// What the peer sent, without pseudo-header fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.0.head.headers()
    }

    /// Whether `content-type` is one of gRPC's own: `application/grpc`, or that with `+` or `;`
    /// and more.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.0.is_grpc
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.0.content_length
    }

    /// A request with this head.
    #[must_use]
    pub fn into_request<B>(self, body: B) -> Request<B> {
        match Arc::try_unwrap(self.0) {
            Ok(own) => own.head.map(|()| body),
            Err(shared) => {
                let head = &shared.head;
                let mut request = Request::new(body);
                request.method_mut().clone_from(head.method());
                request.uri_mut().clone_from(head.uri());
                *request.version_mut() = head.version();
                *request.headers_mut() = head.headers().clone();
                request
            }
        }
    }
}

// === impl ResponseHead ===

impl ResponseHead {
    /// What the peer sent, without pseudo-header fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.0.head.headers()
    }

    /// The status of HTTP.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.head.status()
    }

    /// Whether `content-type` is one of gRPC's own: `application/grpc`, or that with `+` or `;`
    /// and more.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.0.is_grpc
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.0.content_length
    }

    /// A response with this head.
    #[must_use]
    pub fn into_response<B>(self, body: B) -> Response<B> {
        match Arc::try_unwrap(self.0) {
            Ok(own) => own.head.map(|()| body),
            Err(shared) => {
                let mut response = Response::new(body);
                *response.status_mut() = shared.head.status();
                *response.version_mut() = shared.head.version();
                *response.headers_mut() = shared.head.headers().clone();
                response
            }
        }
    }
}

// === impl Trailers ===

impl From<Trailers> for HeaderMap {
    fn from(trailers: Trailers) -> Self {
        match trailers {
            Trailers::Ok => Self::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]),
            Trailers::Fields(fields) => *fields,
        }
    }
}
