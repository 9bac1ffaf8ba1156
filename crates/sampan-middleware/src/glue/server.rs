//! What the generated code of a server calls, once per request.
//!
//! A request that is there whole is decoded in the call itself; the box of the call then holds
//! the handler and nothing else.

use super::{
    collect::{Collected, Collector, Unread},
    edges,
    encode::{EncodedStream, encode},
    guarded::{Guarded, request_failure},
    handed,
};
use crate::{
    Body,
    compression::{self, Encoding, Encodings, ReceivedCompression, UnpackedBody},
    headers,
};
use bytes::Buf;
use futures_util::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use prost::Message;
use std::{
    any::Any,
    cell::Cell,
    convert::Infallible,
    future::{poll_fn, ready},
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body as TonicBody,
    codec::{CompressionEncoding, EnabledCompressionEncodings},
};

pub use by_tonic::{client_streaming_with, server_streaming_with, streaming_with, unary_with};

mod by_tonic;

/// What a generated server answers with.
pub type ServerFuture =
    Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a generated server was set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    accepted: EnabledCompressionEncodings,
    sent: EnabledCompressionEncodings,
    max_decoding: Option<usize>,
    max_encoding: Option<usize>,
}

static ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

thread_local! {
    static LEAN: Cell<bool> = const { Cell::new(false) };
}

/// Calls a service whose answer goes to Sampan's transport as it is: that adds `content-type`
/// by itself, so that no map is needed for it. Layers of users and other transports want it in
/// the headers: for them, this is not called.
pub fn lean<R>(call: impl FnOnce() -> R) -> R {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            LEAN.set(self.0);
        }
    }
    let _reset = Reset(LEAN.replace(true));
    call()
}

/// Answers a call of one message with one message.
pub fn unary<Q, A, B, F, Fut>(
    settings: Settings,
    request: http::Request<B>,
    handler: F,
) -> ServerFuture
where
    Q: Message + Default + 'static,
    A: Message + 'static,
    B: http_body::Body<Error: Into<BoxError> + Send> + Send + 'static,
    F: FnOnce(Request<Q>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Response<A>, Status>> + Send + 'static,
{
    if !settings.is_plain(request.headers()) {
        if settings.is_tonics() {
            let codec = tonic_prost::ProstCodec::<A, Q>::default();
            return unary_with(codec, settings, request, handler);
        }
        return match settings.unpacked(request) {
            Ok(request) => unary(settings, request, handler),
            Err(status) => refuse(status),
        };
    }
    let limit = settings.encoding_limit();
    let is_lean = LEAN.get();
    let answer = move |answer| one_answer(answer, limit, is_lean);
    one_request(settings, request, handler, answer)
}

/// Answers a call of one message with a stream.
pub fn server_streaming<Q, A, S, B, F, Fut>(
    settings: Settings,
    request: http::Request<B>,
    handler: F,
) -> ServerFuture
where
    Q: Message + Default + 'static,
    A: Message + 'static,
    S: Stream<Item = Result<A, Status>> + Send + 'static,
    B: http_body::Body<Error: Into<BoxError> + Send> + Send + 'static,
    F: FnOnce(Request<Q>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Response<S>, Status>> + Send + 'static,
{
    if !settings.is_plain(request.headers()) {
        if settings.is_tonics() {
            let codec = tonic_prost::ProstCodec::<A, Q>::default();
            return server_streaming_with(codec, settings, request, handler);
        }
        return match settings.unpacked(request) {
            Ok(request) => server_streaming(settings, request, handler),
            Err(status) => refuse(status),
        };
    }
    let limit = settings.encoding_limit();
    one_request(settings, request, handler, move |answer| {
        stream_answer(answer, limit)
    })
}

/// Answers a call of a stream with one message.
pub fn client_streaming<Q, A, B, F, Fut>(
    settings: Settings,
    request: http::Request<B>,
    handler: F,
) -> ServerFuture
where
    Q: Message + Default + 'static,
    A: Message + 'static,
    B: http_body::Body<Error: Into<BoxError> + Send> + Send + 'static,
    F: FnOnce(Request<Streaming<Q>>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Response<A>, Status>> + Send + 'static,
{
    if !settings.is_plain(request.headers()) {
        if settings.is_tonics() {
            let codec = tonic_prost::ProstCodec::<A, Q>::default();
            return client_streaming_with(codec, settings, request, handler);
        }
        return match settings.unpacked(request) {
            Ok(request) => client_streaming(settings, request, handler),
            Err(status) => refuse(status),
        };
    }
    let limit = settings.encoding_limit();
    let is_lean = LEAN.get();
    let call = handler(stream_request(settings, request));
    Box::pin(async move { Ok(one_answer(call.await, limit, is_lean)) })
}

/// Answers a call of a stream with a stream.
pub fn streaming<Q, A, S, B, F, Fut>(
    settings: Settings,
    request: http::Request<B>,
    handler: F,
) -> ServerFuture
where
    Q: Message + Default + 'static,
    A: Message + 'static,
    S: Stream<Item = Result<A, Status>> + Send + 'static,
    B: http_body::Body<Error: Into<BoxError> + Send> + Send + 'static,
    F: FnOnce(Request<Streaming<Q>>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Response<S>, Status>> + Send + 'static,
{
    if !settings.is_plain(request.headers()) {
        if settings.is_tonics() {
            let codec = tonic_prost::ProstCodec::<A, Q>::default();
            return streaming_with(codec, settings, request, handler);
        }
        return match settings.unpacked(request) {
            Ok(request) => streaming(settings, request, handler),
            Err(status) => refuse(status),
        };
    }
    let limit = settings.encoding_limit();
    let call = handler(stream_request(settings, request));
    Box::pin(async move { Ok(stream_answer(call.await, limit)) })
}

/// Answers a call of a method that the service does not have.
pub fn unimplemented() -> ServerFuture {
    refuse(Status::unimplemented(""))
}

// === impl Settings ===

impl Settings {
    /// Takes requests that are compressed so.
    pub fn accept_compressed(&mut self, encoding: CompressionEncoding) {
        self.accepted.enable(encoding);
    }

    /// Compresses answers so for callers who take it.
    pub fn send_compressed(&mut self, encoding: CompressionEncoding) {
        self.sent.enable(encoding);
    }

    /// Takes messages up to this size. Default: 4 MiB.
    pub const fn max_decoding_message_size(&mut self, limit: usize) {
        self.max_decoding = Some(limit);
    }

    /// Sends messages up to this size. Default: any.
    pub const fn max_encoding_message_size(&mut self, limit: usize) {
        self.max_encoding = Some(limit);
    }

    fn decoding_limit(&self) -> usize {
        self.max_decoding.unwrap_or(edges::DEFAULT_LIMIT)
    }

    fn encoding_limit(&self) -> usize {
        self.max_encoding.unwrap_or(usize::MAX)
    }

    /// Whether tonic's own code answers, since the service was told what to compress.
    fn is_tonics(&self) -> bool {
        !self.accepted.is_empty() || !self.sent.is_empty()
    }

    /// Whether neither the request is compressed nor the answer may be.
    fn is_plain(&self, headers: &HeaderMap) -> bool {
        !self.is_tonics()
            && headers::find(headers, &ENCODING).is_none_or(|encoding| encoding == "identity")
    }

    /// A compressed request, decompressed. All is taken that this build can read.
    fn unpacked<B>(&self, mut request: http::Request<B>) -> Result<http::Request<TonicBody>, Status>
    where
        B: http_body::Body<Error: Into<BoxError>> + Send + 'static,
    {
        let name = request.headers_mut().remove(&ENCODING);
        let name = name.unwrap_or_else(|| HeaderValue::from_static("identity"));
        let encoding = Encoding::of_name(name.as_bytes())
            .ok_or_else(|| compression::not_taken(&name, Encodings::ALL))?;
        let received = ReceivedCompression::new(encoding);
        request.extensions_mut().insert(received.clone());
        let limit = self.decoding_limit();
        Ok(request
            .map(|body| TonicBody::new(UnpackedBody::new(body, received, limit, request_failure))))
    }
}

// === requests ===

fn one_request<Q, T, B, F, Fut, G>(
    settings: Settings,
    request: http::Request<B>,
    handler: F,
    answer: G,
) -> ServerFuture
where
    Q: Message + Default + 'static,
    T: 'static,
    B: http_body::Body<Error: Into<BoxError> + Send> + Send + 'static,
    F: FnOnce(Request<Q>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Response<T>, Status>> + Send + 'static,
    G: FnOnce(Result<Response<T>, Status>) -> http::Response<Body> + Send + 'static,
{
    let (parts, body) = request.into_parts();
    let mut body = known(body);
    let mut collector = Collector::new(settings.decoding_limit());
    let mut cx = Context::from_waker(Waker::noop());
    match collector.poll_collect(Pin::new(&mut body), &mut cx) {
        Poll::Ready(collected) => {
            drop(body);
            match assemble(parts, collected) {
                Ok(request) => {
                    let call = handler(request);
                    Box::pin(async move { Ok(answer(call.await)) })
                }
                Err(status) => refuse(status),
            }
        }
        Poll::Pending => Box::pin(async move {
            let collected = poll_fn(|cx| collector.poll_collect(Pin::new(&mut body), cx)).await;
            drop(body);
            Ok(match assemble(parts, collected) {
                Ok(request) => answer(handler(request).await),
                Err(status) => super::told(status),
            })
        }),
    }
}

/// The body in the one type that all transports and layers give: it can be polled where it is.
fn known<B>(body: B) -> TonicBody
where
    B: http_body::Body<Error: Into<BoxError>> + Send + 'static,
{
    let mut body = Some(body);
    let known = (&mut body as &mut dyn Any).downcast_mut::<Option<TonicBody>>();
    if let Some(known) = known {
        return known.take().unwrap_or_default();
    }
    let bytes = |frame: http_body::Frame<B::Data>| {
        frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
    };
    body.map(|body| TonicBody::new(body.map_frame(bytes)))
        .unwrap_or_default()
}

fn assemble<Q: Message + Default>(
    parts: http::request::Parts,
    collected: Result<Collected, Unread>,
) -> Result<Request<Q>, Status> {
    let mut collected = collected.map_err(|unread| match unread {
        Unread::Wrong(status) => status,
        Unread::Broken(error) => request_failure(error),
    })?;
    let trailers = collected.trailers.take();
    let message = collected.into_message()?;
    let mut request = http::Request::from_parts(parts, message);
    if let Some(trailers) = trailers {
        request.headers_mut().extend(*trailers);
    }
    Ok(Request::from_http(request))
}

fn stream_request<Q, B>(settings: Settings, request: http::Request<B>) -> Request<Streaming<Q>>
where
    Q: Message + Default + 'static,
    B: http_body::Body<Error: Into<BoxError>> + Send + 'static,
{
    let limit = settings.decoding_limit();
    Request::from_http(request.map(|body| handed::requests(body, limit)))
}

// === answers ===

fn one_answer<A: Message>(
    answer: Result<Response<A>, Status>,
    limit: usize,
    is_lean: bool,
) -> http::Response<Body> {
    match answer.and_then(|answer| {
        let (metadata, message, extensions) = answer.into_parts();
        let body = Body::ok(encode(&message, limit)?);
        Ok(respond(metadata, extensions, body, is_lean))
    }) {
        Ok(response) => response,
        Err(status) => super::told(status),
    }
}

fn stream_answer<A, S>(answer: Result<Response<S>, Status>, limit: usize) -> http::Response<Body>
where
    A: Message + 'static,
    S: Stream<Item = Result<A, Status>> + Send + 'static,
{
    match answer {
        Ok(answer) => {
            let (metadata, messages, extensions) = answer.into_parts();
            let body = Body::new(EncodedStream::of_answer(messages, limit));
            respond(metadata, extensions, body, false)
        }
        Err(status) => super::told(status),
    }
}

fn respond(
    metadata: tonic::metadata::MetadataMap,
    extensions: tonic::Extensions,
    body: Body,
    is_lean: bool,
) -> http::Response<Body> {
    let mut response = http::Response::new(body);
    *response.version_mut() = http::Version::HTTP_2;
    *response.headers_mut() = super::sanitized(metadata);
    *response.extensions_mut() = extensions;
    if !is_lean {
        let grpc = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(CONTENT_TYPE, grpc);
    }
    response
}

fn refuse(status: Status) -> ServerFuture {
    Box::pin(ready(Ok(super::told(status))))
}
