//! What is decided about lengths, flags and statuses before tonic's code sees them.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sampan_wire::{
    Code as WireCode,
    frame::{FrameError, PREFIX_LEN},
};
use std::sync::Arc;
use tonic::{Code, Status};

/// What a stub takes where nobody set a limit: 4 MiB, as tonic does.
pub(super) const DEFAULT_LIMIT: usize = 4 << 20;

/// Padded or not, as gRPC's metadata may be. No laxer than tonic's.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

static STATUS: HeaderName = Status::GRPC_STATUS;

/// How tonic's own message limits begin their status, plain and percent-encoded.
const TONICS_TOO_LARGE: [&str; 4] = [
    "Error, decoded message length too large",
    "Error, encoded message length too large",
    "Error,%20decoded%20message%20length%20too%20large",
    "Error,%20encoded%20message%20length%20too%20large",
];

fn announced(prefix: &[u8; PREFIX_LEN]) -> usize {
    let [_, length @ ..] = *prefix;
    // A length that no usize holds is over any limit.
    usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX)
}

/// The message of `data` when it holds that one alone and whole.
///
/// # Errors
/// `data` again: look closer.
pub(super) fn only_message(mut data: Bytes, limit: usize) -> Result<Bytes, Bytes> {
    let is_plain = data.first_chunk::<PREFIX_LEN>().is_some_and(|prefix| {
        let len = announced(prefix);
        prefix[0] == 0 && len <= limit && data.len() - PREFIX_LEN == len
    });
    if is_plain {
        // In place: a second handle on the same bytes is an allocation.
        data.advance(PREFIX_LEN);
        return Ok(data);
    }
    Err(data)
}

/// Whether a message with these flags can be read: plain ones alone.
pub(super) fn check_flags(flags: u8) -> Result<(), Status> {
    match flags {
        0 => Ok(()),
        1 => Err(Status::internal(
            "a message is flagged as compressed, but no grpc-encoding says how",
        )),
        flags => Err(Status::internal(format!(
            "a message has the flag {flags}, which means nothing in gRPC"
        ))),
    }
}

/// Source: gRPC, "Status codes and their use".
pub(super) fn missing() -> Status {
    Status::unimplemented("the message that belongs here is missing")
}

/// Source: gRPC, "Status codes and their use".
pub(super) fn too_many() -> Status {
    Status::unimplemented("there is more than the one message that belongs here")
}

/// Whether these trailers say that a call went well.
pub(super) fn is_ok(trailers: &HeaderMap) -> bool {
    trailers.get(&STATUS).is_some_and(|status| status == "0")
}

pub(super) fn too_long(FrameError::TooLarge { len, limit }: FrameError) -> Status {
    too_large(len, limit)
}

pub(super) fn too_large(len: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!(
        "a message of {len} bytes is over the limit of {limit}"
    ))
}

/// Says RESOURCE_EXHAUSTED where tonic says that a message is too large.
pub(super) fn corrected(status: Status) -> Status {
    if status.code() != Code::OutOfRange || !is_tonics_too_large(status.message().as_bytes()) {
        return status;
    }
    Status::with_metadata(
        Code::ResourceExhausted,
        status.message(),
        status.metadata().clone(),
    )
}

/// The same in the headers or trailers of an answer.
pub(crate) fn correct_code(headers: &mut HeaderMap) {
    let is_out_of_range = headers.get(&STATUS).is_some_and(|code| code == "11");
    let message = || headers.get(Status::GRPC_MESSAGE);
    if is_out_of_range && message().is_some_and(|text| is_tonics_too_large(text.as_bytes())) {
        headers.insert(Status::GRPC_STATUS, HeaderValue::from_static("8"));
    }
}

fn is_tonics_too_large(message: &[u8]) -> bool {
    let begins = |text: &&str| message.starts_with(text.as_bytes());
    TONICS_TOO_LARGE.iter().any(begins)
}

/// Takes out what tonic's parser would panic on.
pub(super) fn clean(headers: &mut HeaderMap) {
    let is_bad = |value: &HeaderValue| BASE64.decode(value.as_bytes()).is_err();
    if headers.get(Status::GRPC_STATUS_DETAILS).is_some_and(is_bad) {
        headers.remove(Status::GRPC_STATUS_DETAILS);
    }
}

/// The status that headers or trailers carry, if they carry one.
pub(super) fn status_of(headers: &mut HeaderMap) -> Option<Status> {
    if !headers.contains_key(&STATUS) {
        return None;
    }
    clean(headers);
    Status::from_header_map(headers)
}

/// How an answer of this HTTP status ended that has no `grpc-status`.
pub(super) fn without_status(http: StatusCode) -> Status {
    if http == StatusCode::OK {
        return Status::unknown("the answer ended without a grpc-status");
    }
    let code = WireCode::from_http_status(http.as_u16());
    let text = format!("the answer is HTTP {http} and has no grpc-status");
    Status::new(Code::from_i32(code as i32), text)
}

/// What an error becomes: the status in its chain, or INTERNAL.
pub(super) fn status_from(error: Box<dyn std::error::Error + Send + Sync>) -> Status {
    Status::try_from_error(error).unwrap_or_else(|unknown| {
        let mut status = Status::internal(unknown.to_string());
        status.set_source(Arc::from(unknown));
        status
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_that_are_no_base64_are_left_out() {
        let with = |details: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", HeaderValue::from_static("5"));
            headers.insert("grpc-status-details-bin", details.parse().unwrap());
            status_of(&mut headers).unwrap()
        };
        assert_eq!(with("!!! no base64").code(), Code::NotFound);
        assert!(with("!!! no base64").details().is_empty());
        for good in ["aGk", "aGk="] {
            assert_eq!(with(good).details(), b"hi");
        }
    }

    #[test]
    fn an_out_of_range_of_the_users_own_stays() {
        let own = Status::out_of_range("page 7 of 3");
        let tonics = Status::out_of_range("Error, decoded message length too large: found 9");
        for (status, code) in [(own, Code::OutOfRange), (tonics, Code::ResourceExhausted)] {
            let mut response = status.clone().into_http::<()>();
            correct_code(response.headers_mut());
            let told = Status::from_header_map(response.headers()).unwrap();
            assert_eq!((told.code(), corrected(status).code()), (code, code));
        }
    }

    #[test]
    fn an_error_is_the_status_in_its_chain_or_internal() {
        #[derive(Debug, thiserror::Error)]
        #[error("wrapped")]
        struct Wrapped(#[source] Status);

        let wrapped = Wrapped(Status::aborted("x"));
        assert_eq!(status_from(wrapped.into()).code(), Code::Aborted);
        assert_eq!(status_from("what?".into()).code(), Code::Internal);
    }
}
