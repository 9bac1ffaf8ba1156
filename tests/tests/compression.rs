//! Compressed messages from generated stubs to handlers and back, and what is refused.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::Full;
use sampan::{
    Channel, Code, Request, Response, Server, Status, Streaming,
    codec::CompressionEncoding,
    compression::{Compression, Encoding, ReceivedCompression, leave_next_plain},
    policy::CallPolicy,
};
use sampan_testing::proto::{
    EchoRequest, EchoResponse, FailRequest, StreamRequest,
    echo_client::EchoClient,
    echo_server::{Echo, EchoServer},
};
use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};
use tower::{Service, util::MapRequestLayer};

const LONG: usize = 20_000;

/// Says how its requests came.
#[derive(Clone, Copy)]
struct Spy;

type Answers = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

/// How the latest message came.
fn how(received: Option<&ReceivedCompression>) -> String {
    match received.filter(|received| received.was_compressed()) {
        Some(received) => received.encoding().to_string(),
        None => "plain".to_owned(),
    }
}

fn zeros(text: String, bytes: usize, index: u32) -> EchoResponse {
    EchoResponse {
        text,
        payload: vec![0; bytes],
        index,
    }
}

#[tonic::async_trait]
impl Echo for Spy {
    async fn unary(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let how = how(request.extensions().get());
        let message = request.into_inner();
        let bytes = usize::try_from(message.answer_bytes).unwrap();
        let mut response = Response::new(zeros(how, bytes, 0));
        if message.text == "plain, please" {
            response.disable_compression();
        }
        Ok(response)
    }

    type ServerStreamStream = Answers;

    async fn server_stream(
        &self,
        request: Request<StreamRequest>,
    ) -> Result<Response<Answers>, Status> {
        let answers = (0..request.into_inner().count).map(|index| {
            // Every other is left as it is.
            if index % 2 == 1 {
                leave_next_plain();
            }
            Ok(zeros(String::new(), LONG, index))
        });
        Ok(Response::new(stream::iter(answers).boxed()))
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        let received = request.extensions().get::<ReceivedCompression>().cloned();
        let mut requests = request.into_inner();
        let mut hows = Vec::new();
        while requests.message().await?.is_some() {
            hows.push(how(received.as_ref()));
        }
        Ok(Response::new(zeros(hows.join(", "), 0, 0)))
    }

    type BidiStream = Answers;

    async fn bidi(&self, _: Request<Streaming<EchoRequest>>) -> Result<Response<Answers>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn fail(&self, _: Request<FailRequest>) -> Result<Response<EchoResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Serves until the test ends; gives the target and what `grpc-encoding`s came in.
async fn serve(
    service: EchoServer<Spy>,
    compression: Option<Compression>,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let mut server = Server::builder()
        .listen("127.0.0.1:0".parse::<sampan::Address>().unwrap())
        .lame_duck(Duration::ZERO)
        .layer(MapRequestLayer::new(move |request: http::Request<_>| {
            let told = |name| match request.headers().get(name) {
                Some(value) => value.to_str().unwrap().to_owned(),
                None => "none".to_owned(),
            };
            let note = format!(
                "{} takes {}",
                told("grpc-encoding"),
                told("grpc-accept-encoding")
            );
            notes.lock().unwrap().push(note);
            request
        }))
        .add_service(service);
    if let Some(compression) = compression {
        server = server.compression(compression);
    }
    let server = server.bind().await.unwrap();
    let target = server.local_addresses()[0].to_string();
    tokio::spawn(server.serve());
    (target, seen)
}

fn client(target: &str, compression: Option<Compression>) -> EchoClient<Channel> {
    let mut channel = Channel::configure(target);
    if let Some(compression) = compression {
        channel = channel.compression(compression);
    }
    EchoClient::new(channel.build().unwrap())
}

fn asks(payload: usize, answer_bytes: usize) -> EchoRequest {
    EchoRequest {
        payload: vec![0; payload],
        answer_bytes: u32::try_from(answer_bytes).unwrap(),
        ..EchoRequest::default()
    }
}

/// How a call's request and its answer were compressed.
async fn exchanged(
    client: &mut EchoClient<Channel>,
    request: impl tonic::IntoRequest<EchoRequest>,
) -> (String, String) {
    let response = client.unary(request).await.unwrap();
    let answer = how(response.extensions().get());
    (response.into_inner().text, answer)
}

fn both(text: &str) -> (String, String) {
    (text.to_owned(), text.to_owned())
}

#[tokio::test]
async fn messages_are_compressed_both_ways_in_every_encoding() {
    assert_eq!(Encoding::ALL.len(), 3, "built with all of them");
    for &encoding in Encoding::ALL {
        let compression = Compression::new(encoding).with_same_host(true);
        let (target, seen) = serve(EchoServer::new(Spy), Some(compression)).await;
        let mut client = client(&target, Some(compression));
        let found = exchanged(&mut client, asks(LONG, LONG)).await;
        assert_eq!(found, both(encoding.name()));
        let note = format!("{encoding} takes gzip,deflate,zstd,identity");
        assert_eq!(*seen.lock().unwrap(), [note]);
    }
}

#[tokio::test]
async fn short_messages_and_one_host_are_left_alone() {
    let gzip = Compression::new(Encoding::Gzip);
    let (target, seen) = serve(EchoServer::new(Spy), Some(gzip.always())).await;
    let found = exchanged(&mut client(&target, Some(gzip)), asks(LONG, LONG)).await;
    assert_eq!(found, both("plain"));
    assert_eq!(*seen.lock().unwrap(), ["none takes none"]);

    let (target, _) = serve(EchoServer::new(Spy), Some(gzip.with_same_host(true))).await;
    let mut there = client(&target, Some(gzip.with_same_host(true)));
    assert_eq!(exchanged(&mut there, asks(900, 900)).await, both("plain"));
    let (request, answer) = exchanged(&mut there, asks(900, LONG)).await;
    assert_eq!((request.as_str(), answer.as_str()), ("plain", "gzip"));
    // A server that is on the same host as its caller does not compress for it.
    let (target, _) = serve(EchoServer::new(Spy), Some(gzip)).await;
    let (request, answer) =
        exchanged(&mut client(&target, Some(gzip.always())), asks(9, LONG)).await;
    assert_eq!((request.as_str(), answer.as_str()), ("gzip", "plain"));
}

#[tokio::test]
async fn a_call_and_a_handler_say_it_for_themselves() {
    let gzip = Compression::new(Encoding::Gzip).always();
    let (target, _) = serve(EchoServer::new(Spy), Some(gzip)).await;
    let mut client = client(&target, Some(gzip));
    let mut request = Request::new(asks(LONG, LONG));
    let own = CallPolicy::new().with_compression(Compression::none());
    request.extensions_mut().insert(own);
    assert_eq!(exchanged(&mut client, request).await, both("plain"));
    let mut message = asks(LONG, LONG);
    message.text = "plain, please".to_owned();
    let (request, answer) = exchanged(&mut client, message).await;
    assert_eq!((request.as_str(), answer.as_str()), ("gzip", "plain"));
}

#[tokio::test]
async fn a_stream_leaves_out_the_messages_that_it_names() {
    let gzip = Compression::new(Encoding::Gzip).always();
    let (target, _) = serve(EchoServer::new(Spy), Some(gzip)).await;
    let mut client = client(&target, Some(gzip));
    let requests = stream::iter(0..4).map(|index| {
        if index == 1 {
            leave_next_plain();
        }
        asks(LONG, 0)
    });
    let answer = client.client_stream(requests).await.unwrap().into_inner();
    assert_eq!(answer.text, "gzip, plain, gzip, gzip");

    let request = StreamRequest {
        count: 5,
        ..StreamRequest::default()
    };
    let answers = client.server_stream(request).await.unwrap();
    let received = answers.extensions().get::<ReceivedCompression>().cloned();
    let received = received.unwrap();
    let mut answers = answers.into_inner();
    let mut flags = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.payload.len(), LONG);
        flags.push(received.was_compressed());
    }
    assert_eq!(flags, [true, false, true, false, true]);
}

#[tokio::test]
async fn a_message_that_grows_over_the_limit_is_resource_exhausted_on_both_sides() {
    let gzip = Compression::new(Encoding::Gzip).always();
    let (target, _) = serve(EchoServer::new(Spy), Some(gzip)).await;
    let mut client = client(&target, Some(gzip));
    let bomb = 32 << 20;
    for request in [asks(bomb, 0), asks(0, bomb)] {
        let status = client.unary(request).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains("decompressed"), "{status}");
    }
    assert!(client.unary(asks(LONG, LONG)).await.is_ok());
}

#[tokio::test]
async fn an_encoding_that_a_server_does_not_take_is_unimplemented_and_those_it_takes_are_told() {
    let only_gzip =
        Compression::none().with_taken(sampan::compression::Encodings::NONE.with(Encoding::Gzip));
    for (compression, name, list) in [
        (None, "br", "gzip,deflate,zstd,identity"),
        (Some(only_gzip), "zstd", "gzip,identity"),
    ] {
        let (target, _) = serve(EchoServer::new(Spy), compression).await;
        let status = raw(&target, Some(name), &[0; 5]).await;
        assert_eq!(status.code(), Code::Unimplemented, "{status}");
        assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), list);
    }
}

/// Sends one message as it is, with a `grpc-encoding` or without.
async fn raw(target: &str, encoding: Option<&str>, message: &'static [u8]) -> Status {
    let mut request = http::Request::post("/sampan.testing.v1.Echo/Unary");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let body = tonic::body::Body::new(Full::new(Bytes::from_static(message)));
    let mut channel = Channel::dial(target).unwrap();
    let response = channel.call(request.body(body).unwrap()).await.unwrap();
    Status::from_header_map(response.headers()).unwrap()
}

#[tokio::test]
async fn a_flag_without_an_encoding_and_a_broken_message_are_internal() {
    let (target, _) = serve(EchoServer::new(Spy), None).await;
    for encoding in [None, Some("identity"), Some("gzip")] {
        let status = raw(&target, encoding, &[1, 0, 0, 0, 3, 1, 2, 3]).await;
        assert_eq!(status.code(), Code::Internal, "{encoding:?} {status}");
    }
}

#[tokio::test]
async fn an_answer_compressed_as_nobody_asked_is_internal() {
    let (target, _) = {
        let server = Server::builder()
            .listen("127.0.0.1:0".parse::<sampan::Address>().unwrap())
            .layer(tower::util::MapResponseLayer::new(
                |mut response: http::Response<tonic::body::Body>| {
                    response
                        .headers_mut()
                        .insert("grpc-encoding", "gzip".parse().unwrap());
                    response
                },
            ))
            .add_service(EchoServer::new(Spy));
        let server = server.bind().await.unwrap();
        let target = server.local_addresses()[0].to_string();
        (target, tokio::spawn(server.serve()))
    };
    let deflate = Compression::none()
        .with_taken(sampan::compression::Encodings::NONE.with(Encoding::Deflate))
        .with_same_host(true);
    for compression in [None, Some(deflate)] {
        let status = client(&target, compression)
            .unary(asks(0, LONG))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{status}");
        assert!(
            status.message().contains("gzip, which was not asked for"),
            "{status}"
        );
    }
}

#[tokio::test]
async fn what_tonics_stubs_and_services_say_of_compression_holds() {
    let service = EchoServer::new(Spy)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    for of_channel in [None, Some(Compression::new(Encoding::Zstd).always())] {
        let (target, seen) = serve(service.clone(), None).await;
        let mut client = client(&target, of_channel)
            .send_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Gzip);
        let response = client.unary(asks(LONG, LONG)).await.unwrap();
        assert_eq!(response.metadata().get("grpc-encoding").unwrap(), "gzip");
        assert_eq!(response.into_inner().payload.len(), LONG);
        assert_eq!(*seen.lock().unwrap(), ["gzip takes gzip,identity"]);
    }
    // The service takes what it was told to take and no more.
    let (target, _) = serve(service, None).await;
    let deflate = Compression::new(Encoding::Deflate).always();
    let status = client(&target, Some(deflate))
        .unary(asks(LONG, 0))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
}
