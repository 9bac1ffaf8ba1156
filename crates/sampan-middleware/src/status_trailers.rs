//! The trailers that say how a response ended.
//!
//! Why: an HTTP/2 server that meets an error in a body resets the stream, and the caller sees a
//! broken call in place of the status. So an error becomes the last frame.

use http::{HeaderMap, HeaderValue};
use tonic::Status;

/// What `status` looks like as trailers.
#[must_use]
pub fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(unfit) = status.add_header(&mut trailers) {
        // A status that no header can hold is told by its code alone.
        trailers.clear();
        let code = HeaderValue::from(unfit.code() as i32);
        trailers.insert(Status::GRPC_STATUS, code);
    }
    trailers
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
