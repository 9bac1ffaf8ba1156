//! Calls that tonic's own `Grpc` makes: compressed ones, those of a user's codec, and those
//! that can be cancelled by a handle.

use super::{BoxError, Client, Rpc};
use crate::glue::{edges, guarded::Guarded, sanitized};
use futures_util::Stream;
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::{
    GrpcMethod, Request, Response, Status, Streaming,
    body::Body as TonicBody,
    client::{Grpc, GrpcService},
    codec::Codec,
    metadata::MetadataMap,
};

/// The service of a client for the time of one call, with its answers guarded.
struct Lent<'a, T> {
    inner: &'a mut T,
    limit: usize,
    is_of_one: bool,
}

pin_project! {
    struct LentFuture<F> {
        #[pin]
        call: F,
        limit: usize,
        is_of_one: bool,
    }
}

macro_rules! by_tonic {
    ($(#[$doc:meta])* $name:ident, $method:ident, $is_of_one:literal, $request:ty, $answer:ty $(, $stream:ident)?) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// The status that the call ended with.
        pub async fn $name<C, $($stream)?>(
            &mut self,
            codec: C,
            request: Request<$request>,
            rpc: &'static Rpc,
        ) -> Result<Response<$answer>, Status>
        where
            C: Codec,
            C::Encode: Send + Sync + 'static,
            C::Decode: Send + Sync + 'static,
            $($stream: Stream<Item = C::Encode> + Send + 'static,)?
        {
            self.ready().await?;
            let request = self.tell(request, rpc);
            let answer = self
                .grpc($is_of_one).$method(request, rpc.path(), codec).await;
            answer.map_err(edges::corrected)
        }
    };
}

// === impl Client ===

impl<T> Client<T>
where
    T: GrpcService<TonicBody>,
    T::ResponseBody: http_body::Body + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError>,
{
    by_tonic!(
        /// Like [`unary`](Self::unary), with a codec of the user's.
        unary_with, unary, true, C::Encode, C::Decode
    );
    by_tonic!(
        /// Like [`server_streaming`](Self::server_streaming), with a codec of the user's.
        server_streaming_with, server_streaming, false, C::Encode, Streaming<C::Decode>
    );
    by_tonic!(
        /// Like [`client_streaming`](Self::client_streaming), with a codec of the user's.
        client_streaming_with, client_streaming, true, S, C::Decode, S
    );
    by_tonic!(
        /// Like [`streaming`](Self::streaming), with a codec of the user's.
        streaming_with, streaming, false, S, Streaming<C::Decode>, S
    );

    fn tell<M>(&self, mut request: Request<M>, rpc: &'static Rpc) -> Request<M> {
        let metadata = std::mem::take(request.metadata_mut());
        *request.metadata_mut() = MetadataMap::from_headers(sanitized(metadata));
        let extensions = request.extensions_mut();
        extensions.insert(GrpcMethod::new(rpc.service, rpc.name));
        extensions.insert(self.facts(rpc));
        request
    }

    fn grpc(&mut self, is_of_one: bool) -> Grpc<Lent<'_, T>> {
        let lent = Lent {
            limit: self.decoding_limit(),
            is_of_one,
            inner: &mut self.inner,
        };
        let mut grpc = Grpc::with_origin(lent, self.origin.clone())
            .max_decoding_message_size(self.max_decoding.unwrap_or(edges::DEFAULT_LIMIT))
            .max_encoding_message_size(self.max_encoding.unwrap_or(usize::MAX));
        if let Some(encoding) = self.sent {
            grpc = grpc.send_compressed(encoding);
        }
        let mut accepted = self.accepted;
        let mut reversed = Vec::new();
        while let Some(encoding) = accepted.pop() {
            reversed.push(encoding);
        }
        for encoding in reversed.into_iter().rev() {
            grpc = grpc.accept_compressed(encoding);
        }
        grpc
    }
}

// === impl Lent ===

impl<T> tower_service::Service<http::Request<TonicBody>> for Lent<'_, T>
where
    T: GrpcService<TonicBody>,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError>,
{
    type Response = http::Response<Guarded<T::ResponseBody>>;
    type Error = Status;
    type Future = LentFuture<T::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| edges::status_from(error.into()))
    }

    fn call(&mut self, request: http::Request<TonicBody>) -> Self::Future {
        LentFuture {
            call: self.inner.call(request),
            limit: self.limit,
            is_of_one: self.is_of_one,
        }
    }
}

// === impl LentFuture ===

impl<F, B, E> Future for LentFuture<F>
where
    F: Future<Output = Result<http::Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<http::Response<Guarded<B>>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.call.poll(cx));
        let mut answer = answer.map_err(|error| edges::status_from(error.into()))?;
        edges::clean(answer.headers_mut());
        edges::correct_code(answer.headers_mut());
        let (limit, is_of_one) = (*this.limit, *this.is_of_one);
        Poll::Ready(Ok(answer.map(|body| {
            let body = Guarded::answer(body, limit);
            if is_of_one { body.of_one() } else { body }
        })))
    }
}
