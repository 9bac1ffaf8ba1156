//! Streams pass as they come, end when their time is up, and stop when nobody reads.

use crate::{
    client::{Protocol, Shape, Wire, frame, send, wires},
    talk::{Ask, Said, Talk, before},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use sampan_middleware::Body;
use sampan_wire::Code;
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

fn hanging() -> Ask {
    Ask {
        text: "a".to_owned(),
        count: 1,
        hang: true,
        ..Ask::default()
    }
}

async fn wait_until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(5), "never so");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn each_message_is_answered_before_the_next_is_sent() {
    let gateway = before(&Talk::default()).build().unwrap();
    for wire in wires().filter(|wire| wire.shape == Shape::Chat) {
        let (asks, sent) = mpsc::channel(1);
        let frames = ReceiverStream::new(sent)
            .map(|chunk: Bytes| Ok::<_, tonic::Status>(Frame::data(chunk)));
        let mut request = wire.raw(Vec::new());
        *request.body_mut() = Body::new(StreamBody::new(frames));
        let mut answer = None;
        for text in ["a", "b"] {
            let ask = Ask {
                text: text.to_owned(),
                ..Ask::default()
            };
            asks.send(wire.encode(&[ask]).concat().into())
                .await
                .unwrap();
            let body = match &mut answer {
                None => answer.insert(send(&gateway, take(&mut request)).await.into_body()),
                Some(body) => body,
            };
            let chunk = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(!chunk.is_empty(), "{wire:?} {text}");
        }
        drop(asks);
        let rest = answer.unwrap().collect().await.unwrap();
        assert!(rest.trailers().is_some() || !rest.to_bytes().is_empty());
    }
}

fn take(request: &mut http::Request<Body>) -> http::Request<Body> {
    std::mem::replace(request, http::Request::new(Body::empty()))
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_call() {
    let talk = Talk::default();
    let gateway = before(&talk).build().unwrap();
    for wire in wires().filter(|wire| wire.shape == Shape::Repeat) {
        let mut body = send(&gateway, wire.request(&[hanging()])).await.into_body();
        body.frame().await.unwrap().unwrap();
        assert_eq!(talk.open.load(Ordering::SeqCst), 1, "{wire:?}");
        drop(body);
        assert_eq!(talk.open.load(Ordering::SeqCst), 0, "{wire:?}");
    }
    for wire in wires().filter(|wire| wire.shape == Shape::Say) {
        let call = {
            let gateway = gateway.clone();
            tokio::spawn(async move { send(&gateway, wire.request(&[hanging()])).await })
        };
        wait_until(|| talk.open.load(Ordering::SeqCst) == 1).await;
        call.abort();
        wait_until(|| talk.open.load(Ordering::SeqCst) == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_covers_the_whole_call() {
    let talk = Talk::default();
    let gateway = before(&talk).build().unwrap();
    for wire in wires().filter(|wire| matches!(wire.shape, Shape::Say | Shape::Repeat)) {
        let mut request = wire.request(&[hanging()]);
        let (name, value) = match wire.protocol {
            Protocol::Connect => ("connect-timeout-ms", "250"),
            _ => ("grpc-timeout", "250m"),
        };
        request.headers_mut().insert(name, value.parse().unwrap());
        let began = tokio::time::Instant::now();
        let outcome = wire.call(&gateway, request).await;
        assert_eq!(outcome.code, Code::DeadlineExceeded, "{wire:?}");
        assert_eq!(outcome.said.len(), usize::from(wire.shape == Shape::Repeat));
        assert!(began.elapsed() < Duration::from_millis(300));
        assert_eq!(talk.open.load(Ordering::SeqCst), 0, "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_unary_call_without_a_deadline_ends_after_half_a_minute() {
    let gateway = before(&Talk::default()).build().unwrap();
    for wire in wires().filter(|wire| wire.shape == Shape::Say) {
        let began = tokio::time::Instant::now();
        let outcome = wire.call(&gateway, wire.request(&[hanging()])).await;
        assert_eq!(outcome.code, Code::DeadlineExceeded, "{wire:?}");
        assert_eq!(began.elapsed().as_secs(), 30);
    }
}

#[tokio::test]
async fn a_fault_in_the_middle_of_a_stream_ends_it_with_what_is_wrong() {
    let gateway = before(&Talk::default()).build().unwrap();
    let streaming = |wire: &Wire| matches!(wire.shape, Shape::Join | Shape::Chat);
    for wire in wires().filter(streaming) {
        let mut chunks = wire.encode(&[Ask::default()]);
        chunks.push(match wire.protocol {
            Protocol::GrpcWebText => STANDARD.encode(frame(0x40, b"")).into(),
            _ => frame(0x40, b"").into(),
        });
        let outcome = wire.call(&gateway, wire.raw(chunks)).await;
        assert_eq!(outcome.code, Code::InvalidArgument, "{wire:?}");
        assert!(outcome.said.iter().all(|said| *said != Said::default()));
    }
}
