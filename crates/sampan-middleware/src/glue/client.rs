//! What the generated code of a client calls, once per call.

use super::{
    direct::{Direct, hand_over, is_channel},
    edges,
    encode::{EncodedStream, encode},
};
use crate::Body;
use answer::{one_answer, stream_answer, whole_answer};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{
    HeaderValue, Uri,
    header::{CONTENT_TYPE, TE},
    uri::PathAndQuery,
};
use http_body_util::Full;
use prost::Message;
use sampan_wire::policy::{CallFacts, Method};
use std::{any::TypeId, fmt, future::poll_fn, sync::OnceLock};
use tonic::{
    CancellationHandle, GrpcMethod, Request, Response, Status, Streaming,
    body::Body as TonicBody,
    client::GrpcService,
    codec::{CompressionEncoding, EnabledCompressionEncodings},
    metadata::MetadataMap,
    service::interceptor,
};
use tonic_prost::ProstCodec;

mod answer;
mod by_tonic;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One method as generated code knows it; made once, as a static.
pub struct Rpc {
    service: &'static str,
    name: &'static str,
    method: &'static Method,
    path: OnceLock<PathAndQuery>,
}

/// What a generated client is a thin face of.
#[derive(Clone)]
pub struct Client<T> {
    inner: T,
    origin: Uri,
    has_origin: bool,
    /// `inner` is a channel, and nothing is to be said in between.
    is_direct: bool,
    accepted: EnabledCompressionEncodings,
    sent: Option<CompressionEncoding>,
    max_decoding: Option<usize>,
    max_encoding: Option<usize>,
}

// === impl Rpc ===

impl Rpc {
    /// `name` of `service`, as the .proto writes them.
    #[must_use]
    pub const fn new(service: &'static str, name: &'static str, method: &'static Method) -> Self {
        Self {
            service,
            name,
            method,
            path: OnceLock::new(),
        }
    }

    fn path(&self) -> PathAndQuery {
        let path = || PathAndQuery::from_static(self.method.path());
        self.path.get_or_init(path).clone()
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rpc").field(&self.method.path()).finish()
    }
}

// === impl Client ===

impl<T> Client<T> {
    /// A client that calls by `inner`.
    pub fn new(inner: T) -> Self {
        Self::with_origin(inner, Uri::default())
    }

    /// A client whose requests carry the scheme and authority of `origin`, and its path before
    /// their own.
    pub fn with_origin(inner: T, origin: Uri) -> Self {
        let has_origin = origin != Uri::default();
        Self {
            inner,
            has_origin,
            is_direct: !has_origin && is_channel::<T>(),
            origin,
            accepted: EnabledCompressionEncodings::default(),
            sent: None,
            max_decoding: None,
            max_encoding: None,
        }
    }

    /// Compresses requests.
    #[must_use]
    pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
        self.sent = Some(encoding);
        self
    }

    /// Takes answers that are compressed so.
    #[must_use]
    pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
        self.accepted.enable(encoding);
        self
    }

    /// Takes messages up to this size. Default: 4 MiB.
    #[must_use]
    pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
        self.max_decoding = Some(limit);
        self
    }

    /// Sends messages up to this size. Default: any.
    #[must_use]
    pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
        self.max_encoding = Some(limit);
        self
    }

    fn decoding_limit(&self) -> usize {
        self.max_decoding.unwrap_or(edges::DEFAULT_LIMIT)
    }

    fn encoding_limit(&self) -> usize {
        self.max_encoding.unwrap_or(usize::MAX)
    }

    fn facts(&self, rpc: &'static Rpc) -> CallFacts {
        CallFacts {
            method: rpc.method,
            max_decoding_message_size: self.decoding_limit(),
        }
    }

    fn uri(&self, rpc: &'static Rpc) -> Uri {
        if self.has_origin {
            return under(self.origin.clone(), rpc.path());
        }
        rpc.path().into()
    }

    /// Whether tonic's own code has to make this call.
    fn is_tonics<M>(&self, request: &Request<M>) -> bool {
        self.sent.is_some()
            || !self.accepted.is_empty()
            || request.extensions().get::<CancellationHandle>().is_some()
    }
}

impl<T> Client<T>
where
    T: GrpcService<TonicBody>,
    T::ResponseBody: http_body::Body + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError>,
{
    /// Calls a method of one message that answers with one.
    ///
    /// # Errors
    /// The status that the call ended with.
    pub async fn unary<Q, A>(
        &mut self,
        request: Request<Q>,
        rpc: &'static Rpc,
    ) -> Result<Response<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        if self.is_tonics(&request) {
            let codec = ProstCodec::<Q, A>::default();
            return self.unary_with(codec, request, rpc).await;
        }
        if !self.is_direct {
            self.ready().await?;
        }
        let call = self.call_one(request, rpc)?;
        let answer = call
            .await
            .map_err(|error| edges::status_from(error.into()))?;
        let limit = self.decoding_limit();
        match whole_answer(answer, limit) {
            Ok(answer) => answer,
            Err(answer) => one_answer(answer, limit).await,
        }
    }

    /// Calls a method of one message that answers with a stream.
    ///
    /// # Errors
    /// The status that the call ended with before its stream began.
    pub async fn server_streaming<Q, A>(
        &mut self,
        request: Request<Q>,
        rpc: &'static Rpc,
    ) -> Result<Response<Streaming<A>>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        if self.is_tonics(&request) {
            let codec = ProstCodec::<Q, A>::default();
            return self.server_streaming_with(codec, request, rpc).await;
        }
        if !self.is_direct {
            self.ready().await?;
        }
        let call = self.call_one(request, rpc)?;
        let answer = call
            .await
            .map_err(|error| edges::status_from(error.into()))?;
        stream_answer(answer, self.decoding_limit())
    }

    /// Calls a method of a stream that answers with one message.
    ///
    /// # Errors
    /// The status that the call ended with.
    pub async fn client_streaming<S, A>(
        &mut self,
        request: Request<S>,
        rpc: &'static Rpc,
    ) -> Result<Response<A>, Status>
    where
        S: Stream<Item: Message + 'static> + Send + 'static,
        A: Message + Default + 'static,
    {
        if self.is_tonics(&request) {
            let codec = ProstCodec::<S::Item, A>::default();
            return self.client_streaming_with(codec, request, rpc).await;
        }
        self.ready().await?;
        let call = self.call_stream(request, rpc);
        let answer = call
            .await
            .map_err(|error| edges::status_from(error.into()))?;
        let limit = self.decoding_limit();
        match whole_answer(answer, limit) {
            Ok(answer) => answer,
            Err(answer) => one_answer(answer, limit).await,
        }
    }

    /// Calls a method of a stream that answers with a stream.
    ///
    /// # Errors
    /// The status that the call ended with before its stream began.
    pub async fn streaming<S, A>(
        &mut self,
        request: Request<S>,
        rpc: &'static Rpc,
    ) -> Result<Response<Streaming<A>>, Status>
    where
        S: Stream<Item: Message + 'static> + Send + 'static,
        A: Message + Default + 'static,
    {
        if self.is_tonics(&request) {
            let codec = ProstCodec::<S::Item, A>::default();
            return self.streaming_with(codec, request, rpc).await;
        }
        self.ready().await?;
        let call = self.call_stream(request, rpc);
        let answer = call
            .await
            .map_err(|error| edges::status_from(error.into()))?;
        stream_answer(answer, self.decoding_limit())
    }

    async fn ready(&mut self) -> Result<(), Status> {
        let ready = poll_fn(|cx| self.inner.poll_ready(cx)).await;
        ready.map_err(|error| {
            let error: BoxError = error.into();
            Status::unknown(format!("Service was not ready: {error}"))
        })
    }

    fn call_one<Q: Message>(
        &mut self,
        request: Request<Q>,
        rpc: &'static Rpc,
    ) -> Result<T::Future, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let message = encode(&message, self.encoding_limit())?;
        if self.is_direct {
            let direct = self.direct(rpc, Some(message));
            return Ok(self.call_directly(direct, metadata, extensions, TonicBody::empty()));
        }
        let body = TonicBody::new(Full::new(message));
        let request = self.prepare(metadata, extensions, body, rpc);
        Ok(self.inner.call(request))
    }

    fn call_stream<S>(&mut self, request: Request<S>, rpc: &'static Rpc) -> T::Future
    where
        S: Stream<Item: Message> + Send + 'static,
    {
        let (metadata, extensions, messages) = request.into_parts();
        let messages = messages.map(Ok);
        let body = EncodedStream::of_request(messages, self.encoding_limit());
        let body = TonicBody::new(body);
        if self.is_direct {
            let direct = self.direct(rpc, None);
            return self.call_directly(direct, metadata, extensions, body);
        }
        let request = self.prepare(metadata, extensions, body, rpc);
        self.inner.call(request)
    }

    fn direct(&self, rpc: &'static Rpc, message: Option<Bytes>) -> Direct {
        Direct {
            path: rpc.path(),
            method: rpc.method,
            max_decoding_message_size: self.decoding_limit(),
            message,
        }
    }

    fn call_directly(
        &mut self,
        direct: Direct,
        metadata: MetadataMap,
        extensions: tonic::Extensions,
        body: TonicBody,
    ) -> T::Future {
        let mut request = http::Request::new(body);
        *request.headers_mut() = super::sanitized(metadata);
        *request.extensions_mut() = extensions;
        hand_over(direct, || self.inner.call(request))
    }

    fn prepare(
        &self,
        metadata: MetadataMap,
        mut extensions: tonic::Extensions,
        body: TonicBody,
        rpc: &'static Rpc,
    ) -> http::Request<TonicBody> {
        extensions.insert(GrpcMethod::new(rpc.service, rpc.name));
        extensions.insert(self.facts(rpc));
        let mut request = http::Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = self.uri(rpc);
        *request.headers_mut() = super::sanitized(metadata);
        *request.extensions_mut() = extensions;
        if !ends_in_sampan::<T::ResponseBody>() {
            let headers = request.headers_mut();
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        }
        request
    }
}

impl<T: fmt::Debug> fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("inner", &self.inner)
            .field("origin", &self.origin)
            .field("accepted", &self.accepted)
            .field("sent", &self.sent)
            .field("max_decoding", &self.max_decoding)
            .field("max_encoding", &self.max_encoding)
            .finish()
    }
}

/// Whether what answers with such bodies is a channel of ours, or layers around one: its
/// transport adds `te` and `content-type` by itself, outside of the map.
fn ends_in_sampan<B: 'static>() -> bool {
    let body = TypeId::of::<B>();
    body == TypeId::of::<Body>() || body == TypeId::of::<interceptor::ResponseBody<Body>>()
}

fn under(origin: Uri, path: PathAndQuery) -> Uri {
    let mut parts = origin.into_parts();
    let before = parts.path_and_query.take();
    let joined = match before.as_ref().map(PathAndQuery::path) {
        None | Some("/") => None,
        Some(before) => format!("{before}{path}").parse().ok(),
    };
    parts.path_and_query = Some(joined.unwrap_or_else(|| path.clone()));
    Uri::from_parts(parts).unwrap_or_else(|_| path.into())
}
