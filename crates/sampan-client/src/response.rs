//! Judges responses by gRPC's rules before any other code sees them.
//!
//! tonic's parser panics on details that are no base64, takes an end without a status for
//! success, and says OUT_OF_RANGE for a message that is too large: so all of that is decided
//! here.

use crate::{
    call::Call,
    compressed::Unpacking,
    endpoint::{Live, has_come},
    failure::{Failure, Fault, Scene},
    timers::Timer,
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE, uri::PathAndQuery};
use http_body::{Body as _, Frame, SizeHint};
use sampan_middleware::compression::ENCODING;
use sampan_transport::{Incoming, ResetReason};
use sampan_wire::{Code as WireCode, frame::LengthCheck};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::Instant;
use tonic::{Code, Status};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Padded or not, as gRPC's metadata may be. No laxer than tonic's.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the head of a response, and what came with it, says.
pub(crate) enum Answer {
    /// All is there, and well.
    Ok(Bytes),
    /// A status, and nothing else.
    Status,
    /// There is more to come. What the head says of the end holds only if nothing comes.
    Open(Option<Box<HeaderMap>>, Option<Box<Unpacking>>),
}

/// A response body that ends with a valid status, in its trailers or as an error, and with its
/// call's deadline.
pub(crate) struct ResponseBody {
    body: Option<Incoming>,
    /// The end, if the body gives nothing.
    doubtful: Option<Box<HeaderMap>>,
    lengths: LengthCheck,
    deadline: Option<Timer>,
    call: CallRef,
    unpacking: Option<Box<Unpacking>>,
}

/// Where a response comes from, for the messages of its failures.
#[derive(Clone, Debug)]
pub(crate) struct CallRef {
    pub(crate) path: PathAndQuery,
    pub(crate) live: Arc<Live>,
    pub(crate) attempts: u32,
    pub(crate) started: Instant,
}

/// Checks a response's head, and its message where all is there.
///
/// # Errors
///
/// When it is no gRPC response, an HTTP error of something in between, or too long.
pub(crate) fn check(
    response: &mut http::Response<Incoming>,
    call: &Call,
    live: &Live,
) -> Result<Answer, Failure> {
    let headers = response.headers();
    // Most have a content-type and nothing else.
    let (is_grpc, is_over, is_packed) = match headers.iter().next() {
        Some((name, value)) if headers.len() == 1 && *name == CONTENT_TYPE => {
            (is_grpc(value), false, false)
        }
        _ => (
            headers.get(CONTENT_TYPE).is_some_and(is_grpc),
            headers.contains_key(STATUS),
            headers.contains_key(ENCODING),
        ),
    };
    let mut doubtful = None;
    if is_over {
        clean(response.headers_mut());
        if response.body().is_end_stream() {
            return Ok(Answer::Status);
        }
        doubtful = Some(Box::new(take_status(response.headers_mut())));
    }
    if response.status() != http::StatusCode::OK {
        return Err(http_failure(response));
    }
    if !is_grpc {
        let what = content_type(response.headers());
        return Err(Failure::fault(
            Code::Unknown,
            format!("the answer is no gRPC: {what}"),
        ));
    }
    if is_packed && let Some(unpacking) = unpacking(response, call, live)? {
        // One message at a time: what all would become together is anybody's guess.
        return Ok(Answer::Open(doubtful, Some(Box::new(unpacking))));
    }
    if let Some(data) = response.body_mut().take_ok() {
        let limit = call.max_message_bytes();
        return match LengthCheck::new(limit.unwrap_or(usize::MAX)).look(&data) {
            Ok(()) => Ok(Answer::Ok(data)),
            Err(too_long) => Err(Failure::Fault(too_long.into())),
        };
    }
    if response.body().is_end_stream() {
        let what = "the answer has no status";
        return Err(Failure::fault(Code::Internal, what));
    }
    Ok(Answer::Open(doubtful, None))
}

/// What decompresses this answer, where that is for the channel to do: those above see it plain.
fn unpacking(
    response: &mut http::Response<Incoming>,
    call: &Call,
    live: &Live,
) -> Result<Option<Unpacking>, Failure> {
    let Some(name) = response.headers().get(ENCODING) else {
        return Ok(None);
    };
    let Some(unpacking) = call.unpacking(name, live)? else {
        return Ok(None);
    };
    response.headers_mut().remove(ENCODING);
    let received = unpacking.received.clone();
    response.extensions_mut().insert(received);
    Ok(Some(unpacking))
}

fn http_failure<B>(response: &http::Response<B>) -> Failure {
    let status = response.status();
    let code = Code::from_i32(WireCode::from_http_status(status.as_u16()) as i32);
    let what = format!(
        "the answer is HTTP {status}, {}; is a proxy in between?",
        content_type(response.headers())
    );
    Failure::fault(code, what)
}

fn is_grpc(content_type: &HeaderValue) -> bool {
    let rest = content_type.as_bytes().strip_prefix(b"application/grpc");
    // Not gRPC-Web, whose bodies are others.
    matches!(rest, Some([] | [b'+' | b';', ..]))
}

fn content_type(headers: &HeaderMap) -> String {
    match headers.get(CONTENT_TYPE) {
        Some(value) => format!("content-type {value:?}"),
        None => "without a content-type".to_owned(),
    }
}

/// Takes out what the next parser would choke on.
fn clean(headers: &mut HeaderMap) {
    let is_bad = |value: &HeaderValue| BASE64.decode(value.as_bytes()).is_err();
    if headers.get(DETAILS).is_some_and(is_bad) {
        headers.remove(DETAILS);
    }
}

/// What a head says of the call's end, taken out of it.
fn take_status(headers: &mut HeaderMap) -> HeaderMap {
    let names = [STATUS, Status::GRPC_MESSAGE, DETAILS];
    let told = names.map(|name| Some((name.clone(), headers.remove(name)?)));
    told.into_iter().flatten().collect()
}

// === impl ResponseBody ===

impl ResponseBody {
    pub(crate) fn new(
        doubtful: Option<Box<HeaderMap>>,
        body: Incoming,
        limit: Option<usize>,
        deadline: Option<Timer>,
        call: CallRef,
    ) -> Self {
        Self {
            body: Some(body),
            doubtful,
            lengths: LengthCheck::new(limit.unwrap_or(usize::MAX)),
            deadline,
            call,
            unpacking: None,
        }
    }

    /// Decompresses what comes.
    pub(crate) fn unpacked(mut self, unpacking: Option<Box<Unpacking>>) -> Self {
        self.unpacking = unpacking;
        self
    }

    /// The next message that came compressed, or could have.
    fn next_unpacked(&mut self) -> Option<Result<Frame<Bytes>, Status>> {
        let unpacking = self.unpacking.as_mut()?;
        match unpacking.unpacker.next() {
            Ok(None) => None,
            Ok(Some(message)) => {
                unpacking.received.note(message.was_compressed);
                Some(Ok(Frame::data(message.data)))
            }
            Err(error) => self.fail(error.into()),
        }
    }

    /// Whether it ends in the middle of a message.
    fn is_cut(&self) -> bool {
        let unpacking = self.unpacking.as_ref();
        unpacking.is_some_and(|unpacking| unpacking.unpacker.is_cut())
    }

    fn fail(&mut self, fault: Fault) -> Option<Result<Frame<Bytes>, Status>> {
        // Dropping what is left of it resets the stream.
        self.body = None;
        self.deadline = None;
        Some(Err(fault.into_status(self.call.scene())))
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.unpacking.is_none() {
            return this.poll_inner(cx);
        }
        loop {
            if let Some(message) = this.next_unpacked() {
                return Poll::Ready(Some(message));
            }
            let frame = ready!(this.poll_inner(cx));
            let frame = match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    if let Some(unpacking) = &mut this.unpacking {
                        unpacking.unpacker.push(data);
                    }
                    continue;
                }
                Some(Ok(Err(trailers))) => {
                    if this.is_cut() && trailers.trailers_ref().is_some_and(is_ok) {
                        let fault = Fault::new(Code::Internal, "the last message is cut short");
                        return Poll::Ready(this.fail(fault));
                    }
                    Some(Ok(trailers))
                }
                Some(Err(status)) => Some(Err(status)),
                None => None,
            };
            return Poll::Ready(frame);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.body, &self.unpacking) {
            (Some(body), None) => body.size_hint(),
            (Some(_), Some(_)) => SizeHint::default(),
            (None, _) => SizeHint::with_exact(0),
        }
    }
}

fn is_ok(trailers: &HeaderMap) -> bool {
    trailers.get(STATUS).is_some_and(|status| status == "0")
}

impl ResponseBody {
    /// What the connection gives, judged.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
            let Some(timer) = &mut this.deadline else {
                return Poll::Pending;
            };
            ready!(timer.poll(&this.call.live.timers, cx));
            let limit = timer.limit;
            let what = format!("deadline of {limit:?} exceeded before the end of the response");
            return Poll::Ready(this.fail(Fault::new(Code::DeadlineExceeded, what)));
        };
        let doubtful = this.doubtful.take();
        let frame = match frame {
            None if doubtful.is_some() => {
                this.body = None;
                this.deadline = None;
                return Poll::Ready(doubtful.map(|end| Ok(Frame::trailers(*end))));
            }
            None => {
                let fault = Fault::new(Code::Internal, "the response ended without a status");
                return Poll::Ready(this.fail(fault));
            }
            Some(Err(error)) => {
                let is_cancel = error.reset() == Some(ResetReason::Cancel);
                let fault = match &this.deadline {
                    Some(timer) if is_cancel && has_come(timer.at) => Fault::cancelled_late(),
                    _ => Fault::body(error),
                };
                return Poll::Ready(this.fail(fault));
            }
            Some(Ok(frame)) => frame,
        };
        let frame = match frame.into_trailers() {
            Ok(mut trailers) => {
                if !trailers.contains_key(STATUS) {
                    let fault = Fault::new(Code::Unknown, "the response's trailers have no status");
                    return Poll::Ready(this.fail(fault));
                }
                clean(&mut trailers);
                this.body = None;
                this.deadline = None;
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            Err(frame) => frame,
        };
        if let Some(data) = frame.data_ref()
            && let Err(too_long) = this.lengths.look(data)
        {
            return Poll::Ready(this.fail(too_long.into()));
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

// === impl CallRef ===

impl CallRef {
    fn scene(&self) -> Scene<'_> {
        Scene {
            path: self.path.as_str(),
            endpoint: Some(&self.live.endpoint),
            attempts: self.attempts,
            elapsed: self.started.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_that_are_no_base64_are_taken_out_and_others_stay() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(STATUS, HeaderValue::from_static("5"));
            headers.insert(DETAILS, HeaderValue::from_static(value));
            clean(&mut headers);
            headers
                .contains_key(DETAILS)
                .then(|| Status::from_header_map(&headers).unwrap())
        };
        assert!(with("!!! no base64").is_none());
        for good in ["aGk", "aGk="] {
            assert_eq!(with(good).unwrap().details(), b"hi");
        }
    }
}
