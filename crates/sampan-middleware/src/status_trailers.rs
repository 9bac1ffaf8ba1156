//! The trailers that say how a response ended.
//!
//! Why: an HTTP/2 server that meets an error in a body resets the stream, and the caller sees a
//! broken call in place of the status. So an error becomes the last frame.

use http::{HeaderMap, HeaderValue};
use sampan_wire::metadata::is_reserved;
use tonic::{Status, metadata::MetadataMap};

/// What `status` looks like as trailers, without metadata that users may not set.
#[must_use]
pub fn trailers(status: &Status) -> HeaderMap {
    if has_reserved(status.metadata().as_ref()) {
        return trailers(&stripped(status.clone()));
    }
    let mut trailers = HeaderMap::new();
    if let Err(unfit) = status.add_header(&mut trailers) {
        // A status that no header can hold is told by its code alone.
        trailers.clear();
        let code = HeaderValue::from(unfit.code() as i32);
        trailers.insert(Status::GRPC_STATUS, code);
    }
    trailers
}

/// Takes out of what a user has set what the protocol sets itself.
pub(crate) fn strip(headers: &mut HeaderMap) {
    if has_reserved(headers) {
        let names: Vec<_> = headers.keys().cloned().collect();
        for name in names.iter().filter(|name| is_reserved(name.as_str())) {
            headers.remove(name);
        }
    }
}

/// The same of a status: one that came from another server still has some.
pub(crate) fn stripped(mut status: Status) -> Status {
    if !status.metadata().is_empty() {
        let mut headers = std::mem::take(status.metadata_mut()).into_headers();
        strip(&mut headers);
        *status.metadata_mut() = MetadataMap::from_headers(headers);
    }
    status
}

fn has_reserved(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| is_reserved(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_with_its_message_percent_encoded() {
        let trailers = trailers(&Status::deadline_exceeded("over time"));
        assert_eq!(trailers["grpc-status"], "4");
        assert_eq!(trailers["grpc-message"], "over%20time");
    }
}
