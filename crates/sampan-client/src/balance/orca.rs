//! Reads what endpoints say in their trailers.
//!
//! Source: gRFC A51 for load reports, A6 for pushback.

use super::LoadReport;
use http::{HeaderMap, HeaderName};
use sampan_wire::orca;
use std::time::Duration;

const REPORT: HeaderName = HeaderName::from_static(orca::TRAILER);
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// For how long an endpoint asks to be left alone. An order not to retry says nothing of that.
pub(crate) fn pushback(trailers: &HeaderMap) -> Option<Duration> {
    let value = trailers.get(PUSHBACK)?.to_str().ok()?;
    value.parse().ok().map(Duration::from_millis)
}

/// The report in a call's trailers; None when there is none, or it cannot be read.
pub(crate) fn load_report(trailers: &HeaderMap) -> Option<LoadReport> {
    LoadReport::from_base64(trailers.get(REPORT)?.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_a_number_of_milliseconds_pushes_back() {
        let told = |value| {
            let mut trailers = HeaderMap::new();
            trailers.insert(PUSHBACK, HeaderValue::from_static(value));
            pushback(&trailers)
        };
        assert_eq!(told("250"), Some(Duration::from_millis(250)));
        assert_eq!(told("-1"), None);
        assert_eq!(told("soon"), None);
        assert_eq!(pushback(&HeaderMap::new()), None);
    }
}
