//! Which headers cross the gateway, and which belong to one side's connection or protocol.

use crate::{grpc_status::BINARY, neutral::Fault};
use base64::Engine;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::{collections::HashSet, net::IpAddr};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The metadata in a request's headers, with the client's address appended to
/// `x-forwarded-for`.
///
/// # Errors
/// INVALID_ARGUMENT for a `-bin` value that is not base64.
pub(crate) fn of_request(headers: &HeaderMap, client: Option<IpAddr>) -> Result<HeaderMap, Fault> {
    let connection = named_by_connection(headers);
    let mut metadata = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if belongs_to_request(name.as_str()) || connection.contains(name.as_str()) {
            continue;
        }
        if name.as_str().ends_with("-bin") && !is_base64(value) {
            return Err(Fault::malformed(format!(
                "malformed base64 in metadata {name}"
            )));
        }
        metadata.append(name.clone(), value.clone());
    }
    if let Some(client) = client {
        append_forwarded(&mut metadata, client);
    }
    Ok(metadata)
}

/// The metadata in an upstream's head or trailers.
pub(crate) fn of_response(mut headers: HeaderMap) -> HeaderMap {
    let foreign: Vec<HeaderName> = headers
        .keys()
        .filter(|name| belongs_to_response(name.as_str()))
        .cloned()
        .collect();
    for name in foreign {
        headers.remove(name);
    }
    headers
}

fn append_forwarded(metadata: &mut HeaderMap, client: IpAddr) {
    let mut all = String::new();
    for value in metadata.get_all(FORWARDED_FOR) {
        if let Ok(before) = value.to_str() {
            all.push_str(before);
            all.push_str(", ");
        }
    }
    all.push_str(&client.to_string());
    if let Ok(value) = HeaderValue::try_from(all) {
        metadata.insert(FORWARDED_FOR, value);
    }
}

/// What `connection` says is of this hop only.
fn named_by_connection(headers: &HeaderMap) -> HashSet<String> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

/// Several values of one name may be joined by commas.
fn is_base64(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .all(|part| BINARY.decode(part.trim_ascii()).is_ok())
}

fn belongs_to_request(name: &str) -> bool {
    sampan_wire::metadata::is_reserved(name)
        || name.starts_with("connect-")
        || name.starts_with("access-control-")
        || name.starts_with("proxy-")
        || name.starts_with("sec-")
        || matches!(
            name,
            "accept"
                | "accept-encoding"
                | "content-encoding"
                | "expect"
                | "grpc-accept-encoding"
                | "grpc-timeout"
                | "origin"
                | "priority"
                | "x-grpc-web"
        )
}

fn belongs_to_response(name: &str) -> bool {
    sampan_wire::metadata::is_reserved(name)
        || name.starts_with("access-control-")
        || name.starts_with("connect-")
        || name.starts_with("proxy-")
        || matches!(
            name,
            "accept-encoding"
                | "alt-svc"
                | "content-encoding"
                | "date"
                | "grpc-accept-encoding"
                | "server"
                | "strict-transport-security"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn only_the_clients_own_metadata_passes() {
        let sent = headers(&[
            ("authorization", "Bearer a"),
            ("x-key", "1"),
            ("x-key", "2"),
            ("trace-bin", "AQI,AQI="),
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("content-type", "application/json"),
            ("connect-timeout-ms", "5"),
            ("grpc-timeout", "5m"),
            ("grpc-status", "0"),
            ("origin", "https://a.example"),
            ("accept-encoding", "gzip"),
        ]);
        let expected = headers(&[
            ("authorization", "Bearer a"),
            ("x-key", "1"),
            ("x-key", "2"),
            ("trace-bin", "AQI,AQI="),
        ]);
        assert_eq!(of_request(&sent, None), Ok(expected));
    }

    #[test]
    fn the_clients_address_is_the_last_of_those_it_came_through() {
        let client = Some(IpAddr::from([10, 0, 0, 7]));
        let metadata = of_request(&HeaderMap::new(), client).unwrap();
        assert_eq!(metadata[FORWARDED_FOR], "10.0.0.7");
        let through = headers(&[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
        ]);
        let metadata = of_request(&through, client).unwrap();
        assert_eq!(metadata[FORWARDED_FOR], "1.1.1.1, 2.2.2.2, 10.0.0.7");
        assert_eq!(metadata.get_all(FORWARDED_FOR).iter().count(), 1);
    }

    #[test]
    fn binary_metadata_must_be_base64() {
        let refused = of_request(&headers(&[("trace-bin", "*")]), None).unwrap_err();
        assert!(refused.message.contains("trace-bin"), "{refused}");
    }

    #[test]
    fn an_upstream_cannot_open_cross_origin_access() {
        let answered = headers(&[("access-control-allow-origin", "*"), ("x-key", "1")]);
        assert_eq!(of_response(answered), headers(&[("x-key", "1")]));
    }
}
