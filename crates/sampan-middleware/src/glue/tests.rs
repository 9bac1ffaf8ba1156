use super::*;
use crate::glue::server::{ServerFuture, Settings};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use sampan_wire::policy::{Method, MethodKind};
use std::{convert::Infallible, future::ready, sync::mpsc};
use tonic::{Code, Extensions, body::Body as TonicBody};
use tonic_prost::ProstCodec;
use tower::service_fn;

/// What the protocol sets itself, or nobody may set.
const RESERVED: [&str; 14] = [
    "connection",
    "content-length",
    "content-type",
    "grpc-encoding",
    "grpc-message",
    "grpc-message-type",
    "grpc-status",
    "grpc-status-details-bin",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

const LEFT: [&str; 5] = [
    "grpc-retry-pushback-ms",
    "grpc-tags-bin",
    "grpc-timeout",
    "grpc-trace-bin",
    "x-own",
];

/// Both, and each with a value that nobody else sets.
fn metadata() -> MetadataMap {
    let names = RESERVED.into_iter().chain(LEFT);
    let value = HeaderValue::from_static("aW5qZWN0ZWQ");
    MetadataMap::from_headers(
        names
            .map(|name| (HeaderName::from_static(name), value.clone()))
            .collect(),
    )
}

fn injected(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers
        .iter()
        .filter(|(_, value)| *value == "aW5qZWN0ZWQ")
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    names
}

fn request() -> Request<TonicBody> {
    let message = encode::encode(&b"q".to_vec(), usize::MAX).unwrap();
    Request::new(TonicBody::new(http_body_util::Full::new(message)))
}

/// The head and the trailers of an answer, as one.
async fn headers_of(answer: ServerFuture) -> HeaderMap {
    let (parts, body) = answer.await.unwrap().into_parts();
    let mut headers = parts.headers;
    if let Some(trailers) = body.collect().await.unwrap().trailers() {
        headers.extend(trailers.clone());
    }
    headers
}

#[tokio::test]
async fn answers_do_not_say_in_metadata_what_the_protocol_says_itself() {
    type Asked = tonic::Request<Vec<u8>>;
    type Answered<T> = Result<tonic::Response<T>, Status>;

    let failed = || Status::with_metadata(Code::NotFound, "no", metadata());
    let with = |message| tonic::Response::from_parts(metadata(), message, Extensions::default());
    let good = move |_: Asked| ready(Ok(with(b"hi".to_vec())));
    let bad = move |_: Asked| ready(Answered::<Vec<u8>>::Err(failed()));
    let late = move |_: Asked| {
        let messages = stream::iter([Ok(b"hi".to_vec()), Err(failed())]);
        let answer = tonic::Response::from_parts(metadata(), messages, Extensions::default());
        ready(Ok(answer))
    };
    let (set, codec) = (Settings::default(), ProstCodec::<Vec<u8>, Vec<u8>>::default);
    for answer in [
        server::unary(set, request(), good),
        server::unary(set, request(), bad),
        server::server_streaming(set, request(), late),
        server::unary_with(codec(), set, request(), good),
        server::unary_with(codec(), set, request(), bad),
        server::server_streaming_with(codec(), set, request(), late),
    ] {
        assert_eq!(injected(&headers_of(answer).await), LEFT);
    }
}

#[tokio::test]
async fn requests_do_not_say_in_metadata_what_the_protocol_says_itself() {
    static METHOD: Method = Method::new("/s/m", MethodKind::Unary);
    static RPC: Rpc = Rpc::new("s", "m", &METHOD);
    let (seen, heads) = mpsc::channel();
    let inner = service_fn(move |request: Request<TonicBody>| {
        seen.send(request.headers().clone()).unwrap();
        async { Ok::<_, Infallible>(Response::new(TonicBody::empty())) }
    });
    let mut client = Client::new(inner);
    let request = || tonic::Request::from_parts(metadata(), Extensions::default(), b"q".to_vec());
    client
        .unary::<_, Vec<u8>>(request(), &RPC)
        .await
        .unwrap_err();
    let codec = ProstCodec::<Vec<u8>, Vec<u8>>::default();
    client.unary_with(codec, request(), &RPC).await.unwrap_err();
    let heads: Vec<_> = heads.try_iter().collect();
    assert_eq!(heads.len(), 2);
    for head in heads {
        assert_eq!(injected(&head), LEFT);
    }
}
