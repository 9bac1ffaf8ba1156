//! `grpc-status` and what goes with it, read from an upstream and written to clients.
//!
//! Parsed here and not by tonic, which panics on malformed `grpc-status-details-bin`.

use crate::neutral::End;
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use sampan_wire::{Code, percent};

pub(crate) const STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(crate) const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Base64 of binary metadata: written without padding, read with or without.
pub(crate) const BINARY: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Takes the status out of trailers, or out of the head of a response without a body; what
/// stays behind is metadata.
pub(crate) fn take(headers: &mut HeaderMap) -> Option<End> {
    let status = headers.remove(STATUS)?;
    let message = headers.remove(MESSAGE);
    let details = headers.remove(DETAILS);
    let code = std::str::from_utf8(status.as_bytes())
        .ok()
        .and_then(|digits| digits.parse().ok())
        .and_then(Code::from_u8)
        .unwrap_or(Code::Unknown);
    Some(End {
        code,
        message: message
            .map(|message| percent::decode(message.as_bytes()).into_owned())
            .unwrap_or_default(),
        details: details
            .and_then(|details| BINARY.decode(details).ok())
            .map(Bytes::from)
            .unwrap_or_default(),
        trailers: HeaderMap::new(),
    })
}

/// The trailers that say how a call ended, with those of the upstream.
pub(crate) fn trailers(end: End) -> HeaderMap {
    let mut trailers = end.trailers;
    trailers.insert(STATUS, HeaderValue::from(u16::from(end.code as u8)));
    if !end.message.is_empty() {
        let message = percent::encode(&end.message);
        if let Ok(message) = HeaderValue::from_str(&message) {
            trailers.insert(MESSAGE, message);
        }
    }
    if !end.details.is_empty()
        && let Ok(details) = HeaderValue::try_from(BINARY.encode(&end.details))
    {
        trailers.insert(DETAILS, details);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_status_that_is_no_number_is_unknown() {
        for status in ["", "x", "17", "-1", "256"] {
            let value = HeaderValue::from_str(status).unwrap();
            let mut headers = HeaderMap::from_iter([(STATUS, value)]);
            assert_eq!(take(&mut headers).unwrap().code, Code::Unknown, "{status}");
        }
        assert_eq!(take(&mut HeaderMap::new()), None);
    }

    #[test]
    fn malformed_details_are_left_out() {
        let mut headers = HeaderMap::new();
        headers.insert(STATUS, HeaderValue::from_static("5"));
        headers.insert(DETAILS, HeaderValue::from_static("*"));
        let end = take(&mut headers).unwrap();
        assert_eq!((end.code, end.details.len()), (Code::NotFound, 0));
    }

    proptest! {
        #[test]
        fn any_end_comes_back_from_its_trailers(
            code in 0..17_u8,
            message in any::<String>(),
            details in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let end = End {
                code: Code::from_u8(code).unwrap(),
                message,
                details: details.into(),
                trailers: HeaderMap::new(),
            };
            let mut written = trailers(end.clone());
            prop_assert_eq!(take(&mut written), Some(end));
            prop_assert!(written.is_empty());
        }
    }
}
