//! Answers that nobody reads.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, uri::Scheme};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use sampan_transport::{
    Call, CallHead, ConnectSettings, Connection, Incoming, Payload, PeerInfo, RouteHead,
    ServeSettings, handshake, serve_connection,
};
use sampan_wire::room::room;
use std::{convert::Infallible, future::pending, time::Duration};

/// As much as can leave, again and again.
fn endless() -> BoxBody<Bytes, Infallible> {
    let frames = stream::repeat_with(|| {
        let bytes = vec![7; room().clamp(1, 256 << 10)];
        Ok(Frame::data(Bytes::from(bytes)))
    });
    BodyExt::boxed(StreamBody::new(frames))
}

fn call(connection: &Connection, path: &str) -> Call {
    let (scheme, name) = (Scheme::HTTP, HeaderValue::from_static("tests"));
    let head = CallHead {
        route: &RouteHead::new(scheme, name.clone(), name),
        path: &path.parse().unwrap(),
        headers: &HeaderMap::new(),
        timeout: None,
        previous_attempts: 0,
    };
    let nothing = Bytes::new();
    let call = connection.start::<Full<Bytes>>(&head, Payload::Whole(&nothing));
    call.unwrap()
}

#[tokio::test]
async fn streams_that_nobody_reads_hold_no_more_than_their_windows_and_stop_no_other_call() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let _served = tokio::spawn(async move {
        let service = tower::service_fn(|request: Request<Incoming>| async move {
            let body = match request.uri().path() {
                "/endless" => endless(),
                path => BodyExt::boxed(Full::new(Bytes::from(path.to_owned()))),
            };
            Ok::<_, Infallible>(Response::new(body))
        });
        let settings = ServeSettings::default();
        serve_connection(far, PeerInfo::default(), service, &settings, pending()).await
    });
    let mut settings = ConnectSettings::default();
    settings.http2.initial_stream_window_bytes = 64 << 10;
    let connection = handshake(near, &settings).await.unwrap();
    let mut unread = Vec::new();
    for _ in 0..60 {
        let next = call(&connection, "/endless");
        let answer = tokio::time::timeout(Duration::from_secs(20), next).await;
        unread.push(answer.expect("it begins").unwrap());
    }
    let answer = tokio::time::timeout(Duration::from_secs(20), call(&connection, "/next")).await;
    let body = answer.expect("it is answered").unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "/next");
}
