//! The gateway on a real socket.

use crate::{
    client::{Codec, Protocol, Shape, Wire},
    talk::{Ask, Talk, before},
};
use http::Response;
use http_body_util::BodyExt;
use sampan_gateway::Gateway;
use sampan_middleware::Body;
use sampan_transport::{PeerInfo, Protocols, ServeSettings, serve_connection};
use std::{
    net::SocketAddr,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::util::MapResponse;

const JSON: Wire = Wire {
    protocol: Protocol::Connect,
    codec: Codec::Json,
    shape: Shape::Say,
};

/// Serves on a free port until the test ends.
async fn serve(gateway: Gateway) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let gateway = gateway.clone();
            let gateway = MapResponse::new(gateway, |answer: Response<Body>| {
                answer.map(BodyExt::boxed_unsync)
            });
            tokio::spawn(async move {
                let settings = ServeSettings {
                    protocols: Protocols::Http1AndHttp2,
                    ..ServeSettings::default()
                };
                let peer = PeerInfo::of(&socket);
                let drain = std::future::pending();
                // A client that closes its connection early is part of the tests.
                let _ = serve_connection(socket, peer, gateway, &settings, drain).await;
            });
        }
    });
    address
}

/// An HTTP/1.1 request as text, with its body.
fn post(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {content_type}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

async fn exchange(to: SocketAddr, request: Vec<u8>) -> String {
    let mut socket = TcpStream::connect(to).await.unwrap();
    socket.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_call_works_over_http_1() {
    let address = serve(before(&Talk::default()).build().unwrap()).await;
    let request = post(&JSON.path(), "application/json", br#"{"text": "a"}"#);
    let answer = exchange(address, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.ends_with(r#"{"text":"a","big":"9007199254740993"}"#),
        "{answer}"
    );
}

#[tokio::test]
async fn a_refusal_is_read_by_a_client_that_sends_too_much() {
    let address = serve(before(&Talk::default()).build().unwrap()).await;
    let request = post(&JSON.path(), "application/json", &vec![b' '; 8 << 20]);
    let answer = exchange(address, request).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.contains("resource_exhausted"), "{answer}");
}

#[tokio::test]
async fn messages_arrive_one_by_one_and_a_closed_tab_cancels_the_call() {
    let talk = Talk::default();
    let address = serve(before(&talk).build().unwrap()).await;
    let wire = Wire {
        shape: Shape::Repeat,
        ..JSON
    };
    let ask = Ask {
        text: "a".to_owned(),
        count: 1,
        hang: true,
        ..Ask::default()
    };
    let body = wire.encode(&[ask]).concat();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = post(&wire.path(), wire.content_type(), &body);
    socket.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}\r\n") {
        assert_ne!(socket.read_buf(&mut answer).await.unwrap(), 0);
    }
    assert_eq!(talk.open.load(Ordering::SeqCst), 1);
    drop(socket);
    let began = Instant::now();
    while talk.open.load(Ordering::SeqCst) > 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "still open");
        tokio::task::yield_now().await;
    }
}
