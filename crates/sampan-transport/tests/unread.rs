//! Answers that nobody reads, and requests.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response, uri::Scheme};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use sampan_transport::{
    Call, CallError, CallHead, ConnectSettings, Connection, Incoming, MemoryBudget, Payload,
    PeerInfo, ResetReason, RouteHead, ServeSettings, handshake, serve_connection,
};
use sampan_wire::room::room;
use std::{convert::Infallible, future::pending, time::Duration};
use tokio::io::DuplexStream;

/// As much as can leave, again and again.
fn endless() -> BoxBody<Bytes, Infallible> {
    let frames = stream::repeat_with(|| {
        let bytes = vec![7; room().clamp(1, 256 << 10)];
        Ok(Frame::data(Bytes::from(bytes)))
    });
    BodyExt::boxed(StreamBody::new(frames))
}

/// Messages of `len` bytes, however little of them can leave.
fn long(len: usize) -> BoxBody<Bytes, Infallible> {
    let frames = stream::repeat_with(move || Ok(Frame::data(Bytes::from(vec![7; len]))));
    BodyExt::boxed(StreamBody::new(frames))
}

/// Serves `path` as its first part says, to the other end.
fn serve(far: DuplexStream, settings: ServeSettings) {
    tokio::spawn(async move {
        let service = tower::service_fn(|request: Request<Incoming>| async move {
            let path = request.uri().path().to_owned();
            let body = match path.trim_start_matches('/').split_once('/') {
                Some(("stuck", _)) => {
                    let _request = request;
                    pending().await
                }
                Some(("long", len)) => long(len.parse().unwrap()),
                Some(("sink", _)) => {
                    let mut body = request.into_body();
                    let mut len = 0;
                    while let Some(frame) = body.frame().await {
                        len += frame.unwrap().into_data().unwrap_or_default().len();
                    }
                    BodyExt::boxed(Full::new(Bytes::from(len.to_string())))
                }
                _ if path == "/endless" => endless(),
                _ => BodyExt::boxed(Full::new(Bytes::from(path))),
            };
            Ok::<_, Infallible>(Response::new(body))
        });
        serve_connection(far, PeerInfo::default(), service, &settings, pending()).await
    });
}

/// A client that takes 64 KiB of an answer ahead.
async fn client(settings: ServeSettings) -> Connection {
    let (near, far) = tokio::io::duplex(64 << 10);
    serve(far, settings);
    let mut settings = ConnectSettings::default();
    settings.http2.initial_stream_window_bytes = 64 << 10;
    handshake(near, &settings).await.unwrap()
}

type Upload = BoxBody<Bytes, Infallible>;

fn start(connection: &Connection, path: &str, payload: Payload<'_, Upload>) -> Call {
    let (scheme, name) = (Scheme::HTTP, HeaderValue::from_static("tests"));
    let head = CallHead {
        route: &RouteHead::new(scheme, name.clone(), name),
        path: &path.parse().unwrap(),
        headers: &HeaderMap::new(),
        timeout: None,
        previous_attempts: 0,
    };
    connection.start(&head, payload).unwrap()
}

fn call(connection: &Connection, path: &str) -> Call {
    start(connection, path, Payload::Whole(&Bytes::new()))
}

/// Messages of 16 KiB without end, prefix and all.
fn messages() -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync {
    let mut message = vec![7; 16 << 10];
    message[..5].copy_from_slice(&[0, 0, 0, 0x3f, 0xfb]);
    stream::repeat(Bytes::from(message)).map(|bytes| Ok(Frame::data(bytes)))
}

/// What must not wait for what nobody reads.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(Duration::from_secs(20), what).await;
    answer.expect("it waits for what nobody reads")
}

/// Waits until what was held is free again.
async fn all_is_back(connection: &Connection, budget: &MemoryBudget) {
    soon(async {
        while budget.used() > 0 {
            is_served(connection).await;
        }
    })
    .await;
}

async fn is_served(connection: &Connection) {
    let body = soon(call(connection, "/next")).await.unwrap().into_body();
    assert_eq!(soon(body.collect()).await.unwrap().to_bytes(), "/next");
}

#[tokio::test]
async fn streams_that_nobody_reads_hold_no_more_than_their_windows_and_stop_no_other_call() {
    let connection = client(ServeSettings::default()).await;
    let mut unread = Vec::new();
    for _ in 0..60 {
        unread.push(soon(call(&connection, "/endless")).await.unwrap());
    }
    is_served(&connection).await;
}

#[tokio::test]
async fn long_messages_that_nobody_reads_stop_neither_other_calls_nor_an_upload() {
    for (path, count) in [("/long/200000", 12), ("/long/900000", 4)] {
        let connection = client(ServeSettings::default()).await;
        let mut unread = Vec::new();
        for _ in 0..count {
            unread.push(soon(call(&connection, path)).await.unwrap());
        }
        is_served(&connection).await;
        let pieces = StreamBody::new(messages().take(1024));
        let upload = start(
            &connection,
            "/sink/",
            Payload::Stream(BodyExt::boxed(pieces)),
        );
        is_served(&connection).await;
        let body = soon(upload).await.unwrap().into_body();
        let sent = soon(body.collect()).await.unwrap().to_bytes();
        assert_eq!(sent, (16 << 20).to_string(), "16 MiB went up");
        drop(unread);
    }
}

#[tokio::test]
async fn streams_that_nobody_reads_are_reset_when_the_budget_is_short_and_give_it_back() {
    let budget = MemoryBudget::new(4 << 20);
    let settings = ServeSettings {
        receive_budget: budget.clone(),
        ..ServeSettings::default()
    };
    let connection = client(settings).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        let answer = soon(call(&connection, "/long/200000")).await.unwrap();
        unread.push(answer.into_body());
        assert!(budget.used() <= 2 << 20, "{}", budget.used());
    }
    is_served(&connection).await;
    assert!(budget.used() > 1 << 20, "{}", budget.used());
    let mut resets = 0;
    for body in &mut unread {
        // As far as it is here.
        while let Some(Some(frame)) = body.frame().now_or_never() {
            let Err(error) = frame else {
                continue;
            };
            assert_eq!(error.reset(), Some(ResetReason::EnhanceYourCalm));
            resets += 1;
            break;
        }
    }
    assert!((3..6).contains(&resets), "{resets} were reset");
    drop(unread);
    all_is_back(&connection, &budget).await;
}

#[tokio::test]
async fn one_large_answer_passes_however_small_the_budget() {
    let settings = ServeSettings {
        receive_budget: MemoryBudget::new(1 << 20),
        ..ServeSettings::default()
    };
    let connection = client(settings).await;
    let mut body = soon(call(&connection, "/long/8000000"))
        .await
        .unwrap()
        .into_body();
    let mut len = 0;
    while len < 8_000_000 {
        len += soon(body.frame())
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap()
            .len();
    }
}

#[tokio::test]
async fn requests_that_nobody_reads_hold_no_more_than_the_budget_and_stop_no_other_call() {
    let budget = MemoryBudget::new(4 << 20);
    let settings = ServeSettings {
        receive_budget: budget.clone(),
        ..ServeSettings::default()
    };
    let connection = client(settings).await;
    // 24 MiB in all, of 240 KiB each.
    let mut stuck: Vec<_> = (0..100)
        .map(|_| {
            let body = StreamBody::new(messages().take(15).chain(stream::pending()));
            start(
                &connection,
                "/stuck/",
                Payload::Stream(BodyExt::boxed(body)),
            )
        })
        .collect();
    let resets = async {
        let mut resets = 0;
        while resets < 85 {
            is_served(&connection).await;
            assert!(budget.used() <= 2 << 20, "{}", budget.used());
            stuck.retain_mut(|call| match call.now_or_never() {
                None => true,
                Some(answer) => {
                    let error = answer.unwrap_err();
                    let reason = ResetReason::EnhanceYourCalm;
                    assert!(matches!(error, CallError::Reset(why, _) if why == reason));
                    resets += 1;
                    false
                }
            });
        }
    };
    soon(resets).await;
    assert!(budget.used() > 1 << 20, "{}", budget.used());
    let body = StreamBody::new(messages().take(1024));
    let upload = start(&connection, "/sink/", Payload::Stream(BodyExt::boxed(body)));
    let body = soon(upload).await.unwrap().into_body();
    let sent = soon(body.collect()).await.unwrap().to_bytes();
    assert_eq!(
        sent,
        (16 << 20).to_string(),
        "an upload that is read goes on"
    );
    drop(stuck);
    all_is_back(&connection, &budget).await;
}
