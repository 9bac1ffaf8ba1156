//! Calls that tonic's own `Grpc` answers: compressed ones, and those of a user's codec.

use super::{BoxError, Guarded, ServerFuture, Settings};
use crate::{
    Body,
    glue::{edges, sanitized},
    status_trailers::stripped,
};
use futures_util::{Stream, TryStreamExt, stream::MapErr};
use std::pin::Pin;
use tonic::{
    Request, Response, Status, Streaming,
    codec::Codec,
    metadata::MetadataMap,
    server::{
        ClientStreamingService, Grpc, ServerStreamingService, StreamingService, UnaryService,
    },
};

/// A closure as tonic wants to see its handlers.
struct Handler<F>(Option<F>);

/// A stream of answers whose status says nothing that users may not set.
type Stripped<S> = MapErr<S, fn(Status) -> Status>;

type Handled<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

macro_rules! by_tonic {
    ($(#[$doc:meta])* $name:ident, $method:ident, $guarded:expr, $request:ty, $answer:ty $(, $stream:ident)?) => {
        $(#[$doc])*
        pub fn $name<C, $($stream,)? B, F, Fut>(
            codec: C,
            settings: Settings,
            request: http::Request<B>,
            handler: F,
        ) -> ServerFuture
        where
            C: Codec + Send + 'static,
            C::Encode: Sync,
            C::Decode: Sync,
            $($stream: Stream<Item = Result<C::Encode, Status>> + Send + 'static,)?
            B: http_body::Body<Error: Into<BoxError> + Send> + Send + 'static,
            F: FnOnce(Request<$request>) -> Fut + Send + 'static,
            Fut: Future<Output = Result<Response<$answer>, Status>> + Send + 'static,
        {
            Box::pin(async move {
                let limit = settings.decoding_limit();
                let guarded = $guarded;
                let request = request.map(|body| guarded(Guarded::request(body, limit)));
                let mut grpc = settings.grpc(codec);
                let answer = grpc.$method(Handler(Some(handler)), request).await;
                Ok(finish(answer))
            })
        }
    };
}

by_tonic!(
    /// Like [`unary`](super::unary), with a codec of the user's.
    unary_with, unary, Guarded::of_one, C::Decode, C::Encode
);
by_tonic!(
    /// Like [`server_streaming`](super::server_streaming), with a codec of the user's.
    server_streaming_with, server_streaming, Guarded::of_one, C::Decode, S, S
);
by_tonic!(
    /// Like [`client_streaming`](super::client_streaming), with a codec of the user's.
    client_streaming_with, client_streaming, std::convert::identity, Streaming<C::Decode>, C::Encode
);
by_tonic!(
    /// Like [`streaming`](super::streaming), with a codec of the user's.
    streaming_with, streaming, std::convert::identity, Streaming<C::Decode>, S, S
);

fn finish(mut answer: http::Response<tonic::body::Body>) -> http::Response<Body> {
    edges::correct_code(answer.headers_mut());
    answer.map(Body::from)
}

// === impl Settings ===

impl Settings {
    fn grpc<C: Codec>(&self, codec: C) -> Grpc<C> {
        Grpc::new(codec)
            .apply_compression_config(self.accepted, self.sent)
            .apply_max_message_size_config(self.max_decoding, self.max_encoding)
    }
}

// === impl Handler ===

impl<F> Handler<F> {
    fn run<Q, T, R, Fut>(&mut self, request: Request<Q>, shape: fn(T) -> R) -> Handled<R>
    where
        F: FnOnce(Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>> + Send + 'static,
        T: Send + 'static,
        R: 'static,
    {
        match self.0.take() {
            Some(handler) => {
                let call = handler(request);
                Box::pin(async move {
                    let (metadata, answer, extensions) = call.await.map_err(stripped)?.into_parts();
                    let metadata = MetadataMap::from_headers(sanitized(metadata));
                    Ok(Response::from_parts(metadata, shape(answer), extensions))
                })
            }
            // tonic calls it once.
            None => Box::pin(async { Err(Status::internal("called twice")) }),
        }
    }
}

impl<Q, A, F, Fut> UnaryService<Q> for Handler<F>
where
    A: Send + 'static,
    F: FnOnce(Request<Q>) -> Fut,
    Fut: Future<Output = Result<Response<A>, Status>> + Send + 'static,
{
    type Response = A;
    type Future = Handled<A>;

    fn call(&mut self, request: Request<Q>) -> Handled<A> {
        self.run(request, std::convert::identity)
    }
}

impl<Q, A, F, Fut> ClientStreamingService<Q> for Handler<F>
where
    A: Send + 'static,
    F: FnOnce(Request<Streaming<Q>>) -> Fut,
    Fut: Future<Output = Result<Response<A>, Status>> + Send + 'static,
{
    type Response = A;
    type Future = Handled<A>;

    fn call(&mut self, request: Request<Streaming<Q>>) -> Handled<A> {
        self.run(request, std::convert::identity)
    }
}

impl<Q, A, S, F, Fut> ServerStreamingService<Q> for Handler<F>
where
    S: Stream<Item = Result<A, Status>> + Send + 'static,
    F: FnOnce(Request<Q>) -> Fut,
    Fut: Future<Output = Result<Response<S>, Status>> + Send + 'static,
{
    type Response = A;
    type ResponseStream = Stripped<S>;
    type Future = Handled<Stripped<S>>;

    fn call(&mut self, request: Request<Q>) -> Handled<Stripped<S>> {
        self.run(request, |answers| answers.map_err(stripped))
    }
}

impl<Q, A, S, F, Fut> StreamingService<Q> for Handler<F>
where
    S: Stream<Item = Result<A, Status>> + Send + 'static,
    F: FnOnce(Request<Streaming<Q>>) -> Fut,
    Fut: Future<Output = Result<Response<S>, Status>> + Send + 'static,
{
    type Response = A;
    type ResponseStream = Stripped<S>;
    type Future = Handled<Stripped<S>>;

    fn call(&mut self, request: Request<Streaming<Q>>) -> Handled<Stripped<S>> {
        self.run(request, |answers| answers.map_err(stripped))
    }
}
