//! What is said at the end of a call, no longer than the peer takes it.

use crate::hpack::FIELD_OVERHEAD_BYTES;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use sampan_wire::percent;

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_TYPE: (HeaderName, HeaderValue) =
    (CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The size of a list. Source: RFC 9113, 6.5.2.
pub(crate) fn list_bytes<'a>(
    fields: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> usize {
    fields
        .into_iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD_BYTES)
        .sum()
}

/// Shortens the status of a call that failed, so that its code arrives: a list over the limit
/// would be the peer's to refuse, status and all. First go the details, then as much of the message
/// as it takes; where more is too much, the user's metadata.
pub(crate) fn shorten(fields: &mut HeaderMap, most: usize) {
    let has_failed = fields.get(&GRPC_STATUS).is_some_and(|code| code != "0");
    if !has_failed || list_bytes(&*fields) <= most {
        return;
    }
    fields.remove(GRPC_STATUS_DETAILS);
    let message = fields.get(&GRPC_MESSAGE).cloned();
    if list_bytes(&*fields).saturating_sub(most) > message.as_ref().map_or(0, HeaderValue::len) {
        let kept = [GRPC_STATUS, GRPC_MESSAGE, CONTENT_TYPE];
        let kept = kept.map(|name| fields.remove(&name).map(|value| (name, value)));
        *fields = kept.into_iter().flatten().collect();
    }
    let excess = list_bytes(&*fields).saturating_sub(most);
    let Some(message) = message.filter(|_| excess > 0) else {
        return;
    };
    let cut = percent::cut(message.as_bytes(), message.len().saturating_sub(excess));
    match HeaderValue::from_bytes(cut) {
        Ok(cut) if !cut.is_empty() => fields.insert(GRPC_MESSAGE, cut),
        _ => fields.remove(GRPC_MESSAGE),
    };
}

/// How a call ends `whose` headers were too long: RESOURCE_EXHAUSTED.
pub(crate) fn too_long(whose: &str, list_bytes: usize, limit: u32) -> HeaderMap {
    let text =
        format!("the {whose}'s headers of {list_bytes} bytes are over the limit of {limit} bytes");
    let mut fields = HeaderMap::new();
    fields.insert(GRPC_STATUS, HeaderValue::from_static("8"));
    if let Ok(text) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)) {
        fields.insert(GRPC_MESSAGE, text);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(message: usize, details: usize, own: usize) -> HeaderMap {
        let value = |len| "x".repeat(len).parse::<HeaderValue>().unwrap();
        HeaderMap::from_iter([
            (GRPC_STATUS, HeaderValue::from_static("5")),
            (GRPC_MESSAGE, value(message)),
            (GRPC_STATUS_DETAILS, value(details)),
            (HeaderName::from_static("x-own"), value(own)),
        ])
    }

    #[test]
    fn a_status_is_cut_to_its_limit_and_keeps_its_code() {
        for (message, details, own, keeps_own) in [
            (20_000, 10, 10, true),
            (10, 20_000, 10, true),
            (10, 10, 20_000, false),
            (20_000, 20_000, 20_000, false),
        ] {
            let mut fields = status(message, details, own);
            shorten(&mut fields, 16_384);
            let bytes = list_bytes(&fields);
            assert!(bytes <= 16_384, "{bytes}");
            assert!(
                message < 1000 || bytes == 16_384,
                "no more is cut than has to be"
            );
            assert_eq!(fields[GRPC_STATUS], "5");
            assert!(!fields[GRPC_MESSAGE].is_empty());
            assert_eq!(fields.contains_key("x-own"), keeps_own);
        }
        let mut short = status(1, 1, 1);
        shorten(&mut short, 16_384);
        assert_eq!(short, status(1, 1, 1));
        shorten(&mut short, 0);
        assert_eq!(short.len(), 1);
    }
}
