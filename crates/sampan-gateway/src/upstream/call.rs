//! One call to an upstream: the neutral form on this side, gRPC on the other.

use super::Caller;
use crate::{
    grpc_status, metadata,
    neutral::{Answer, End, Event, Events, Fault, Messages},
    routes::Method,
};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use http_body::{Body as _, Frame};
use http_body_util::Full;
use sampan_middleware::Body;
use sampan_wire::{
    Code,
    frame::{FrameDecoder, FrameError, PREFIX_LEN, encode_prefix},
    policy::{MaxDecodingMessageSize, MethodKind},
    timeout,
};
use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until, timeout_at},
};
use tonic::Status;
use tower_service::Service;

/// How long the one message of a request may take to arrive when the call has no deadline.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The deadline of unary calls within the process when nobody sets one; a channel has its own.
const LOCAL_DEADLINE: Duration = Duration::from_secs(30);

/// A call, all in protobuf.
pub(crate) struct Call {
    pub(crate) method: Arc<Method>,
    pub(crate) metadata: HeaderMap,
    pub(crate) deadline: Option<Instant>,
    pub(crate) messages: Messages,
    pub(crate) max_message_bytes: usize,
}

/// A request body of many messages. A fault of the client's is told to the response, because
/// the upstream only sees that the stream broke.
struct Upload {
    messages: Messages,
    fault: Option<oneshot::Sender<Fault>>,
}

/// A response as it arrives, until its deadline. Whoever has its end drops it.
struct Download {
    body: Body,
    decoder: FrameDecoder,
    deadline: Option<Pin<Box<Sleep>>>,
    upload_fault: UploadFault,
}

/// Waits for a fault of the request's stream, as long as there can be one.
struct UploadFault(Option<oneshot::Receiver<Fault>>);

// === impl Call ===

impl Call {
    /// Runs the call up to the head of its answer. Dropping the future or the answer cancels
    /// the call.
    pub(crate) async fn run(mut self) -> Answer {
        if self.method.caller.is_local() && self.method.kind == MethodKind::Unary {
            self.deadline
                .get_or_insert_with(|| Instant::now() + LOCAL_DEADLINE);
        }
        match self.answer().await {
            Ok(answer) => answer,
            Err(fault) => Answer::ended(fault),
        }
    }

    async fn answer(self) -> Result<Answer, Fault> {
        let Self {
            method,
            metadata,
            deadline,
            messages,
            max_message_bytes,
        } = self;
        let (body, mut upload_fault) = if method.kind.has_single_request() {
            let until = deadline.unwrap_or_else(|| Instant::now() + UPLOAD_TIMEOUT);
            let message = timeout_at(until, only_message(messages))
                .await
                .map_err(|_| Fault::deadline_exceeded())??;
            let body = tonic::body::Body::new(Full::new(framed(&message)));
            (body, UploadFault(None))
        } else {
            let (tell, fault) = oneshot::channel();
            let upload = Upload {
                messages,
                fault: Some(tell),
            };
            (tonic::body::Body::new(upload), UploadFault(Some(fault)))
        };
        let request = request(&method, metadata, deadline, max_message_bytes, body)?;
        let mut caller: Caller = method.caller.clone();
        let mut expiry = deadline.map(|at| Box::pin(sleep_until(at)));
        let answered = tokio::select! {
            biased;
            fault = upload_fault.wait() => return Err(fault),
            answered = caller.call(request) => answered,
            () = expired(expiry.as_mut()) => return Err(Fault::deadline_exceeded()),
        };
        let response = match answered {
            Ok(response) => response,
            Err(status) => return Ok(Answer::ended(ended_by(&status))),
        };
        let (metadata, body) = match read_head(response) {
            Ok(flowing) => flowing,
            Err(end) => return Ok(Answer::ended(end.into_end())),
        };
        let download = Download {
            body,
            decoder: FrameDecoder::new(max_message_bytes),
            deadline: expiry,
            upload_fault,
        };
        Ok(Answer {
            metadata,
            events: Events::Flowing(Box::pin(download)),
        })
    }
}

/// A head that ends its call.
enum HeadEnd {
    Said(Box<End>),
    Wrong(Fault),
}

impl HeadEnd {
    fn into_end(self) -> End {
        match self {
            Self::Said(end) => *end,
            Self::Wrong(fault) => fault.into(),
        }
    }
}

/// The gRPC request of a call.
fn request(
    method: &Method,
    metadata: HeaderMap,
    deadline: Option<Instant>,
    max_message_bytes: usize,
    body: tonic::body::Body,
) -> Result<Request<tonic::body::Body>, Fault> {
    let mut request = Request::new(body);
    *request.method_mut() = http::Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = method.path.clone().into();
    *request.headers_mut() = metadata;
    let headers = request.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    if let Some(deadline) = deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Fault::deadline_exceeded());
        }
        if let Ok(left) = HeaderValue::try_from(timeout::format(left)) {
            headers.insert("grpc-timeout", left);
        }
    }
    let extensions = request.extensions_mut();
    extensions.insert(method.kind);
    extensions.insert(MaxDecodingMessageSize(max_message_bytes));
    Ok(request)
}

/// The metadata and the body of a response that flows.
fn read_head(response: Response<Body>) -> Result<(HeaderMap, Body), HeadEnd> {
    let (mut head, body) = response.into_parts();
    if let Some(mut end) = grpc_status::take(&mut head.headers) {
        end.trailers = metadata::of_response(head.headers);
        return Err(HeadEnd::Said(Box::new(end)));
    }
    if head.status != http::StatusCode::OK {
        return Err(HeadEnd::Wrong(Fault::new(
            Code::from_http_status(head.status.as_u16()),
            format!("the upstream answered with HTTP status {}", head.status),
        )));
    }
    let is_grpc = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        return Err(HeadEnd::Wrong(Fault::new(
            Code::Unknown,
            "the upstream's answer is not gRPC",
        )));
    }
    Ok((metadata::of_response(head.headers), body))
}

/// The message of a request that has exactly one.
async fn only_message(mut messages: Messages) -> Result<Bytes, Fault> {
    let Some(message) = messages.next().await else {
        return Err(Fault::new(
            Code::Unimplemented,
            "the method takes one message and none came",
        ));
    };
    let message = message?;
    match messages.next().await {
        None => Ok(message),
        Some(Err(fault)) => Err(fault),
        Some(Ok(_)) => Err(Fault::new(
            Code::Unimplemented,
            "the method takes one message and more came",
        )),
    }
}

fn framed(message: &[u8]) -> Bytes {
    // Longer messages were refused when they arrived.
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut bytes = BytesMut::with_capacity(PREFIX_LEN + message.len());
    bytes.put_slice(&encode_prefix(false, len));
    bytes.put_slice(message);
    bytes.freeze()
}

fn ended_by(status: &Status) -> End {
    End {
        code: u8::try_from(i32::from(status.code()))
            .ok()
            .and_then(Code::from_u8)
            .unwrap_or(Code::Unknown),
        message: status.message().to_owned(),
        details: Bytes::copy_from_slice(status.details()),
        trailers: metadata::of_response(status.metadata().clone().into_headers()),
    }
}

async fn expired(expiry: Option<&mut Pin<Box<Sleep>>>) {
    match expiry {
        Some(expiry) => expiry.await,
        None => std::future::pending().await,
    }
}

// === impl UploadFault ===

impl UploadFault {
    async fn wait(&mut self) -> Fault {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Pending for ever once the upload has ended well.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let Some(fault) = &mut self.0 else {
            return Poll::Pending;
        };
        let told = ready!(Pin::new(fault).poll(cx));
        self.0 = None;
        match told {
            Ok(fault) => Poll::Ready(fault),
            Err(_) => Poll::Pending,
        }
    }
}

// === impl Upload ===

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(match ready!(self.messages.as_mut().poll_next(cx)) {
            None => None,
            Some(Ok(message)) => Some(Ok(Frame::data(framed(&message)))),
            Some(Err(fault)) => {
                if let Some(tell) = self.fault.take() {
                    // Nobody listens any more when the response has ended.
                    let _ = tell.send(fault.clone());
                }
                Some(Err(fault.into()))
            }
        })
    }
}

// === impl Download ===

impl Download {
    /// The next event of the body alone.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            match self.decoder.next() {
                Ok(Some(frame)) if frame.flags == 0 => {
                    return Poll::Ready(Some(Event::Message(frame.payload)));
                }
                Ok(Some(_)) => return fault("the upstream's answer is compressed or malformed"),
                Ok(None) => {}
                Err(FrameError::TooLarge { limit, .. }) => {
                    return Poll::Ready(Some(Event::End(Fault::too_large(limit).into())));
                }
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(_)) if self.is_late() => return late(),
                Some(Err(status)) => return Poll::Ready(Some(Event::End(ended_by(&status)))),
                None => return fault("the upstream's answer has no status"),
            };
            let mut trailers = match frame.into_data() {
                Ok(chunk) => {
                    self.decoder.push(chunk);
                    continue;
                }
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => trailers,
                    Err(_) => continue,
                },
            };
            let Some(mut end) = grpc_status::take(&mut trailers) else {
                return fault("the upstream's answer has no status");
            };
            if end.is_ok() && !self.decoder.is_empty() {
                return fault("the upstream's answer ends inside a message");
            }
            end.trailers = metadata::of_response(trailers);
            return Poll::Ready(Some(Event::End(end)));
        }
    }

    /// Whether the deadline has passed: an upstream that knows it may cut the stream first.
    fn is_late(&self) -> bool {
        self.deadline
            .as_ref()
            .is_some_and(|deadline| deadline.deadline() <= Instant::now())
    }
}

impl Stream for Download {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Poll::Ready(fault) = self.upload_fault.poll(cx) {
            return Poll::Ready(Some(Event::End(fault.into())));
        }
        if let Poll::Ready(event) = self.poll_body(cx) {
            return Poll::Ready(event);
        }
        match &mut self.deadline {
            Some(deadline) => {
                ready!(deadline.as_mut().poll(cx));
                late()
            }
            None => Poll::Pending,
        }
    }
}

fn late() -> Poll<Option<Event>> {
    let end = Fault::deadline_exceeded().into();
    Poll::Ready(Some(Event::End(end)))
}

fn fault(message: &'static str) -> Poll<Option<Event>> {
    let end = Fault::new(Code::Internal, message).into();
    Poll::Ready(Some(Event::End(end)))
}
