//! What clients that break the rules get, by raw HTTP/2 requests: the status that the protocol
//! gives, while the process and the calls beside them live.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::Bytes;
use http::{HeaderMap, Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sampan::Code;
use sampan_testing::{Echo, proto};
use std::time::Duration;
use tokio::net::TcpStream;

/// A raw client of a server that runs until the test ends.
async fn raw_client() -> SendRequest<Full<Bytes>> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = sampan::Server::builder()
        .reflection(proto::FILE_DESCRIPTOR_SET)
        .add_service(Echo::named("echo").into_service())
        .listen_on(listener)
        .lame_duck(Duration::ZERO)
        .bind()
        .await
        .unwrap();
    tokio::spawn(server.serve_until(std::future::pending()));
    let stream = TcpStream::connect(address).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (client, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    client
}

/// A message in gRPC's frame.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), message].concat().into()
}

fn request(path: &str, body: Bytes) -> Request<Full<Bytes>> {
    Request::post(format!("http://localhost{path}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body))
        .unwrap()
}

/// The status of a call, from wherever it stands.
async fn status(
    client: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> (Code, String) {
    let response = client.send_request(request).await.unwrap();
    let head = response.headers().clone();
    let trailers = response
        .into_body()
        .collect()
        .await
        .unwrap()
        .trailers()
        .cloned();
    let of = |headers: &HeaderMap| {
        let code = Code::from_bytes(headers.get("grpc-status")?.as_bytes());
        let message = headers
            .get("grpc-message")
            .map_or(&b""[..], |value| value.as_bytes());
        Some((code, String::from_utf8_lossy(message).into_owned()))
    };
    of(&head)
        .or_else(|| of(trailers.as_ref()?))
        .expect("a call has a status")
}

const UNARY: &str = "/sampan.testing.v1.Echo/Unary";

/// Judges one bad request, then sees that the same connection still serves good ones.
async fn judge(bad: Request<Full<Bytes>>) -> (Code, String) {
    let mut client = raw_client().await;
    let verdict = status(&mut client, bad).await;
    let (code, message) = status(&mut client, request(UNARY, framed(b""))).await;
    assert_eq!(code, Code::Ok, "{message}");
    verdict
}

#[tokio::test]
async fn a_frame_that_is_cut_short_fails_its_call_alone() {
    let (code, message) = judge(request(UNARY, Bytes::from_static(&[0, 0, 0, 0, 9, 1]))).await;
    assert!(
        matches!(code, Code::Internal | Code::InvalidArgument),
        "{code:?} {message}"
    );
}

#[tokio::test]
async fn a_frame_with_an_unknown_flag_fails_its_call_alone() {
    let (code, message) = judge(request(UNARY, Bytes::from_static(&[7, 0, 0, 0, 0]))).await;
    assert!(
        matches!(code, Code::Internal | Code::InvalidArgument),
        "{code:?} {message}"
    );
}

#[tokio::test]
async fn bytes_that_are_no_message_fail_their_call_alone() {
    let (code, message) = judge(request(UNARY, framed(&[0xff; 9]))).await;
    assert!(
        matches!(code, Code::Internal | Code::InvalidArgument),
        "{code:?} {message}"
    );
}

#[tokio::test]
async fn a_frame_that_announces_four_gib_is_resource_exhausted() {
    let (code, message) = judge(request(UNARY, Bytes::from_static(&[0, 255, 255, 255, 255]))).await;
    assert_eq!(code, Code::ResourceExhausted, "{message}");
}

#[tokio::test]
async fn a_malformed_timeout_is_invalid_argument() {
    for timeout in ["1", "5 S", "123456789S", "S", "-1S", "1s"] {
        let mut bad = request(UNARY, framed(b""));
        bad.headers_mut()
            .insert("grpc-timeout", timeout.parse().unwrap());
        let (code, message) = judge(bad).await;
        assert_eq!(code, Code::InvalidArgument, "{timeout}: {message}");
        assert!(message.contains("grpc-timeout"), "{timeout}: {message}");
    }
}

#[tokio::test]
async fn an_unknown_service_is_unimplemented_with_what_was_meant() {
    let (code, message) = judge(request("/sampan.testing.v1.Ecko/Unary", framed(b""))).await;
    assert_eq!(code, Code::Unimplemented);
    assert!(message.contains("sampan.testing.v1.Echo"), "{message}");
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented_with_what_was_meant() {
    let (code, message) = judge(request("/sampan.testing.v1.Echo/Unery", framed(b""))).await;
    assert_eq!(code, Code::Unimplemented);
    assert!(message.contains("Unary"), "{message}");
}

#[tokio::test]
async fn another_content_type_is_not_taken_for_grpc() {
    let mut client = raw_client().await;
    let mut bad = request(UNARY, framed(b""));
    bad.headers_mut()
        .insert(CONTENT_TYPE, "text/plain".parse().unwrap());
    assert_eq!(client.send_request(bad).await.unwrap().status(), 415);
}
