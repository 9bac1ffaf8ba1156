//! Handlers whose requests arrive in pieces. Over pipes, with a paused clock.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, uri::Scheme};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use sampan_transport::{
    Call, CallHead, ConnectSettings, Connection, Incoming, Payload, PeerInfo, RouteHead,
    ServeSettings, handshake, serve_connection,
};
use std::{
    convert::Infallible,
    future::{Future, pending},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task,
};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};

const MESSAGE: Bytes = Bytes::from_static(b"\0\0\0\0\x02ok");

type Sender = mpsc::UnboundedSender<Bytes>;

/// A connection whose calls `handle` answers, and the task that serves it.
async fn connected<F, R>(handle: F) -> (Connection, task::Id)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = String> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(64 << 10);
    let served = tokio::spawn(async move {
        let service = tower::service_fn(move |request| {
            let answer = handle(request);
            async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer.await)))) }
        });
        let settings = ServeSettings::default();
        serve_connection(far, PeerInfo::default(), service, &settings, pending()).await
    });
    let connection = handshake(near, &ConnectSettings::default()).await.unwrap();
    (connection, served.id())
}

/// A call whose head leaves at once, and its message when it is sent.
fn begin(connection: &Connection) -> (Call, Sender) {
    let (sender, messages) = mpsc::unbounded_channel();
    let frames =
        UnboundedReceiverStream::new(messages).map(|m| Ok::<_, Infallible>(Frame::data(m)));
    let (scheme, name) = (Scheme::HTTP, HeaderValue::from_static("tests"));
    let head = CallHead {
        route: &RouteHead::new(scheme, name.clone(), name),
        path: &"/a.B/C".parse().unwrap(),
        headers: &HeaderMap::new(),
        timeout: None,
        previous_attempts: 0,
    };
    let call = connection.start(&head, Payload::Stream(StreamBody::new(frames)));
    (call.unwrap(), sender)
}

async fn answer(call: Call) -> String {
    let body = call.await.unwrap().into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().into()).unwrap()
}

/// The task that has a request when all of it is there.
async fn reader(request: Request<Incoming>) -> task::Id {
    let message = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(message, MESSAGE);
    task::id()
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_its_request_alone_gets_a_task_after_a_millisecond() {
    let (begun, mut begins) = mpsc::unbounded_channel();
    let (connection, server) = connected(move |request| {
        begun.send(()).unwrap();
        async move { reader(request).await.to_string() }
    })
    .await;
    for (wait, is_in_connection) in [(0, true), (500, true), (2000, false)] {
        let (call, sender) = begin(&connection);
        begins.recv().await.unwrap();
        task::yield_now().await;
        tokio::time::advance(Duration::from_micros(wait)).await;
        sender.send(MESSAGE).unwrap();
        drop(sender);
        let reader = answer(call).await;
        assert_eq!(reader == server.to_string(), is_in_connection, "{wait} µs");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_something_else_too_gets_a_task_at_once() {
    let (begun, mut begins) = mpsc::unbounded_channel::<mpsc::UnboundedSender<()>>();
    let (connection, server) = connected(move |request| {
        let (other, mut others) = mpsc::unbounded_channel();
        begun.send(other).unwrap();
        async move {
            tokio::select! {
                _ = reader(request) => "its request".to_owned(),
                _ = others.recv() => task::id().to_string(),
            }
        }
    })
    .await;
    let (call, _sender) = begin(&connection);
    let other = begins.recv().await.unwrap();
    other.send(()).unwrap();
    let before = tokio::time::Instant::now();
    assert_ne!(answer(call).await, server.to_string());
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_its_handler_waits_for_it_drops_the_handler_at_once() {
    let (begun, mut begins) = mpsc::unbounded_channel();
    let (connection, _) = connected(move |request| {
        let (alive, dropped) = oneshot::channel::<()>();
        begun.send(dropped).unwrap();
        async move {
            let _alive = alive;
            reader(request).await.to_string()
        }
    })
    .await;
    let (call, _sender) = begin(&connection);
    let dropped = begins.recv().await.unwrap();
    let before = tokio::time::Instant::now();
    drop(call);
    dropped.await.unwrap_err();
    assert_eq!(before.elapsed(), Duration::ZERO);
}
