//! Which web pages of other origins may call: none, unless listed.
//!
//! | asked | listed | answer |
//! |---|---|---|
//! | preflight | yes | 204 with what is allowed |
//! | preflight | no | 403, and nothing is allowed |
//! | call | yes | the call's answer, readable by the page |
//! | call | no | the call's answer; the browser keeps it from the page |
//!
//! Source: Fetch standard, "CORS protocol".

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use sampan_middleware::Body;
use std::fmt::Write;

/// Request headers of the protocols, of authorization and of tracing.
const ALLOWED_HEADERS: &str = "content-type, connect-protocol-version, connect-timeout-ms, \
    connect-accept-encoding, connect-content-encoding, accept-encoding, content-encoding, \
    grpc-timeout, x-grpc-web, x-user-agent, authorization, traceparent, tracestate";
/// Response headers of the protocols; those of the call itself are added.
const EXPOSED_HEADERS: &str = "grpc-status, grpc-message, grpc-status-details-bin, \
    content-encoding, connect-content-encoding, x-request-id";
/// Browsers keep a preflight's answer for so many seconds; Chromium for no more than these.
const MAX_AGE: &str = "7200";

/// The origins whose pages may call the gateway. The default is none.
///
/// ```
/// use sampan_gateway::Cors;
///
/// let cors = Cors::allow_origins(["https://shop.example", "http://localhost:5173"])?
///     .with_headers(["x-session"])?;
/// # Ok::<(), sampan_gateway::InvalidCors>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cors {
    origins: Origins,
    credentials: bool,
    extra_headers: Vec<HeaderName>,
}

#[derive(Clone, Debug, Default)]
enum Origins {
    #[default]
    None,
    Listed(Vec<HeaderValue>),
    Any,
}

/// A rule that browsers would not understand, or that would let everybody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCors {
    /// An origin is a scheme, a host and maybe a port: no path, no `*`.
    #[error("\"{0}\" is no origin: write it as https://shop.example or http://localhost:8080")]
    Origin(String),
    /// Not the name of a header.
    #[error("\"{0}\" is no name of a header")]
    Header(String),
    /// Any page of the web could act with the user's cookies.
    #[error("credentials need a list of origins: any origin with credentials is not allowed")]
    CredentialsForAll,
}

// === impl Cors ===

impl Cors {
    /// No page of another origin may call.
    #[must_use]
    pub fn deny() -> Self {
        Self::default()
    }

    /// Pages of these origins may call, as `https://shop.example` or `http://localhost:5173`.
    ///
    /// # Errors
    /// [`InvalidCors::Origin`] for text that is no origin.
    pub fn allow_origins<O: AsRef<str>>(
        origins: impl IntoIterator<Item = O>,
    ) -> Result<Self, InvalidCors> {
        let origins = origins
            .into_iter()
            .map(|origin| parse_origin(origin.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            origins: Origins::Listed(origins),
            ..Self::default()
        })
    }

    /// Pages of any origin may call, without credentials.
    #[must_use]
    pub fn allow_any_origin() -> Self {
        Self {
            origins: Origins::Any,
            ..Self::default()
        }
    }

    /// Lets the listed origins send cookies and client certificates.
    ///
    /// # Errors
    /// [`InvalidCors::CredentialsForAll`] when any origin is allowed.
    pub fn with_credentials(mut self) -> Result<Self, InvalidCors> {
        if matches!(self.origins, Origins::Any) {
            return Err(InvalidCors::CredentialsForAll);
        }
        self.credentials = true;
        Ok(self)
    }

    /// Lets pages send these request headers too: the metadata of the application.
    ///
    /// # Errors
    /// [`InvalidCors::Header`] for text that is no name of a header.
    pub fn with_headers<N: AsRef<str>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidCors> {
        for name in names {
            let name = name.as_ref();
            let name =
                HeaderName::try_from(name).map_err(|_| InvalidCors::Header(name.to_owned()))?;
            self.extra_headers.push(name);
        }
        Ok(self)
    }

    /// Whether a request asks what a page may do.
    pub(crate) fn is_preflight(parts: &Parts) -> bool {
        parts.method == Method::OPTIONS
            && parts.headers.contains_key(header::ORIGIN)
            && parts
                .headers
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The answer to a preflight.
    pub(crate) fn preflight(&self, request: &HeaderMap) -> http::Response<Body> {
        let mut response = http::Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(
            header::VARY,
            HeaderValue::from_static(
                "origin, access-control-request-method, access-control-request-headers",
            ),
        );
        if !self.allow(request.get(header::ORIGIN), headers) {
            *response.status_mut() = StatusCode::FORBIDDEN;
            return response;
        }
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST"),
        );
        let mut allowed = ALLOWED_HEADERS.to_owned();
        for name in &self.extra_headers {
            let _ = write!(allowed, ", {name}");
        }
        if let Ok(allowed) = HeaderValue::try_from(allowed) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        }
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static(MAX_AGE),
        );
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }

    /// Lets a page of `origin`, if it may, read a response with all its metadata.
    pub(crate) fn expose(&self, origin: Option<&HeaderValue>, response: &mut HeaderMap) {
        if let Origins::Listed(_) = self.origins {
            // Also without an origin: a cache must not give a page the answer of another.
            response.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let mut exposed = EXPOSED_HEADERS.to_owned();
        for name in response.keys() {
            if !is_readable_anyway(name) && !EXPOSED_HEADERS.contains(name.as_str()) {
                let _ = write!(exposed, ", {name}");
            }
        }
        if self.allow(origin, response)
            && let Ok(exposed) = HeaderValue::try_from(exposed)
        {
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }

    /// Says whether the origin may call, to the caller and in the headers.
    fn allow(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) -> bool {
        let Some(origin) = origin else {
            return false;
        };
        let allowed = match &self.origins {
            Origins::None => return false,
            Origins::Any => HeaderValue::from_static("*"),
            Origins::Listed(origins) if origins.contains(origin) => origin.clone(),
            Origins::Listed(_) => return false,
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
        true
    }
}

/// An origin as browsers write it, in small letters.
fn parse_origin(text: &str) -> Result<HeaderValue, InvalidCors> {
    let invalid = || InvalidCors::Origin(text.to_owned());
    let (scheme, authority) = text.split_once("://").ok_or_else(invalid)?;
    let uri: Uri = text.parse().map_err(|_| invalid())?;
    let is_origin = !scheme.is_empty()
        && !authority.contains(['/', '?', '#', '@', '*'])
        && uri.host().is_some_and(|host| !host.is_empty());
    if !is_origin {
        return Err(invalid());
    }
    HeaderValue::try_from(text.to_ascii_lowercase()).map_err(|_| invalid())
}

/// What browsers let pages read without being told, and what pages have no use for.
fn is_readable_anyway(name: &HeaderName) -> bool {
    *name == header::CONTENT_TYPE
        || *name == header::CONTENT_LENGTH
        || *name == header::CACHE_CONTROL
        || *name == header::VARY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Cors {
        Cors::allow_origins(["https://Shop.example", "http://localhost:5173"]).unwrap()
    }

    fn from(origin: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))])
    }

    #[test]
    fn a_preflight_is_answered_for_listed_origins_alone() {
        let cors = listed().with_headers(["x-session"]).unwrap();
        let answer = cors.preflight(&from("https://shop.example"));
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        let header = |name: HeaderName| answer.headers()[name].to_str().unwrap();
        assert_eq!(
            header(header::ACCESS_CONTROL_ALLOW_ORIGIN),
            "https://shop.example"
        );
        assert_eq!(header(header::ACCESS_CONTROL_ALLOW_METHODS), "GET, POST");
        assert!(header(header::ACCESS_CONTROL_ALLOW_HEADERS).ends_with("tracestate, x-session"));
        assert_eq!(header(header::ACCESS_CONTROL_MAX_AGE), "7200");
        assert!(header(header::VARY).starts_with("origin"));

        for cors in [&cors, &Cors::deny()] {
            let refused = cors.preflight(&from("https://shop.example.evil"));
            assert_eq!(refused.status(), StatusCode::FORBIDDEN);
            assert!(
                refused
                    .headers()
                    .keys()
                    .all(|name| !name.as_str().starts_with("access-control-"))
            );
        }
    }

    #[test]
    fn a_page_may_read_the_metadata_of_its_answer() {
        let mut response = HeaderMap::new();
        response.insert("trailer-x-key", HeaderValue::from_static("1"));
        let request = from("http://localhost:5173");
        listed().expose(request.get(header::ORIGIN), &mut response);
        let exposed = response[header::ACCESS_CONTROL_EXPOSE_HEADERS]
            .to_str()
            .unwrap();
        assert!(exposed.starts_with("grpc-status, ") && exposed.ends_with(", trailer-x-key"));
        assert_eq!(response[header::VARY], "origin");

        let mut response = HeaderMap::new();
        listed().expose(None, &mut response);
        assert_eq!(response[header::VARY], "origin");
        assert_eq!(response.len(), 1);
    }

    #[test]
    fn any_origin_never_goes_with_credentials() {
        assert_eq!(
            Cors::allow_any_origin().with_credentials().unwrap_err(),
            InvalidCors::CredentialsForAll
        );
        let mut response = HeaderMap::new();
        let request = from("https://a.example");
        Cors::allow_any_origin().expose(request.get(header::ORIGIN), &mut response);
        assert_eq!(response[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!response.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));

        let mut response = HeaderMap::new();
        let request = from("https://shop.example");
        let cors = listed().with_credentials().unwrap();
        cors.expose(request.get(header::ORIGIN), &mut response);
        assert_eq!(response[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    }

    #[test]
    fn what_is_no_origin_is_refused_with_an_example() {
        for text in [
            "*",
            "null",
            "shop.example",
            "https://",
            "https://shop.example/",
            "https://*.example",
            "https://user@shop.example",
        ] {
            let refused = Cors::allow_origins([text]).unwrap_err();
            assert_eq!(refused, InvalidCors::Origin(text.to_owned()));
        }
    }
}
