//! Deadlines, in virtual time.

use crate::support::*;
use sampan_client::Channel;
use sampan_wire::policy::{Method, MethodKind};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Request};

static UNARY: Method = Method::new(PATH, MethodKind::Unary);
const LIMIT: Duration = Duration::from_millis(50);

fn limited() -> Request<String> {
    let mut request = Request::new(String::new());
    request.set_timeout(LIMIT);
    request
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_answered_ends_at_its_deadline() {
    let silent = handler(|_| std::future::pending());
    let channel = in_memory(&memory_endpoint(), silent);
    let start = Instant::now();
    let status = send(&channel, limited()).await.unwrap_err();
    assert_eq!(start.elapsed(), LIMIT);
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let text = status.message();
    assert!(
        text.contains("deadline of 50ms exceeded while waiting for the response"),
        "{text}"
    );
    assert!(text.contains(PATH) && text.contains("attempt 1"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_connected_channel_end_each_at_its_own_deadline() {
    let silent = handler(|_| std::future::pending());
    let channel = in_memory(&memory_endpoint(), silent);
    channel.connect().await.unwrap();
    // In no order, and more limits than are usual.
    let calls = (0..40u64).map(|number| {
        let limit = Duration::from_millis(10 + number * 7 % 40 * 5);
        let mut request = Request::new(String::new());
        request.set_timeout(limit);
        let channel = channel.clone();
        async move {
            let start = Instant::now();
            let status = send(&channel, request).await.unwrap_err();
            assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
            assert_eq!(start.elapsed(), limit);
        }
    });
    futures_util::future::join_all(calls).await;
    assert_eq!(channel.endpoints()[0].in_flight, 0);
    assert_eq!(channel.endpoints()[0].failed_attempts, 40);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_to_the_last_trailer() {
    let stalls = handler(|_| async {
        use futures_util::StreamExt;
        let frames = futures_util::stream::iter([Ok(message("one"))]);
        respond_with(frames.chain(futures_util::stream::pending()))
    });
    let channel = in_memory(&memory_endpoint(), stalls);
    let start = Instant::now();
    let path = http::uri::PathAndQuery::from_static(PATH);
    let mut client = Client::new(channel.clone());
    client.ready().await.unwrap();
    let response = client
        .server_streaming(limited(), path, Text)
        .await
        .unwrap();
    let mut answers = response.into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap(), "one");
    let status = answers.message().await.unwrap_err();
    assert_eq!(start.elapsed(), LIMIT);
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(
        status.message().contains("before the end of the response"),
        "{status:?}"
    );
    drop(answers);
    assert_eq!(channel.counts().failed_calls, 1);
    assert_eq!(channel.endpoints()[0].in_flight, 0);
    assert_eq!(channel.endpoints()[0].failed_attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn connecting_counts_against_the_deadline_and_is_named() {
    let mute = tower::service_fn(|_: http::Uri| {
        std::future::pending::<Result<rt_io::TokioIo<tokio::io::DuplexStream>, std::io::Error>>()
    });
    let channel = memory_endpoint().connect_with_connector_lazy(mute);
    let start = Instant::now();
    let status = send(&channel, limited()).await.unwrap_err();
    assert_eq!(start.elapsed(), LIMIT);
    let text = status.message();
    assert!(
        text.contains("waiting for an endpoint to be connected; not sent"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_for_ones_turn_counts_against_the_deadline_and_is_named() {
    let silent = handler(|_| std::future::pending());
    let channel = in_memory(&memory_endpoint().concurrency_limit(1), silent);
    let first = tokio::spawn({
        let channel = channel.clone();
        async move { say(&channel, "").await }
    });
    while channel.counts().calls == 0 {
        tokio::task::yield_now().await;
    }
    let status = send(&channel, limited()).await.unwrap_err();
    assert!(
        status.message().contains("waiting for its turn"),
        "{status:?}"
    );
    first.abort();
}

#[tokio::test(start_paused = true)]
async fn a_unary_call_that_nobody_gave_a_deadline_has_30_seconds() {
    let silent = handler(|_| std::future::pending());
    let channel = in_memory(&memory_endpoint(), silent);
    let known = || {
        let mut request = Request::new(String::new());
        request.extensions_mut().insert(&UNARY);
        request
    };
    let start = Instant::now();
    let status = send(&channel, known()).await.unwrap_err();
    assert_eq!(
        (status.code(), start.elapsed().as_secs()),
        (Code::DeadlineExceeded, 30)
    );

    // A method of which nothing is known may be a stream: it has none.
    let day = Duration::from_secs(24 * 3600);
    assert!(tokio::time::timeout(day, say(&channel, "")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_server_is_told_what_is_left() {
    let (told, mut tells) = tokio::sync::mpsc::unbounded_channel();
    let tell = handler(move |request| {
        let told = told.clone();
        async move {
            let value = request.headers().get("grpc-timeout").cloned().unwrap();
            told.send(sampan_wire::timeout::parse(value.as_bytes()).unwrap())
                .unwrap();
            respond([message(""), trailers(0)])
        }
    });
    // The connection takes 20 of the 50 ms.
    let channel = through(&memory_endpoint(), move |io| {
        let tell = tell.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            serve_in_memory(io, tell).await;
        });
    });
    send(&channel, limited()).await.unwrap();
    let left = tells.recv().await.unwrap();
    assert_eq!(left, Duration::from_millis(30));
}

#[tokio::test]
async fn a_malformed_timeout_is_the_callers_error() {
    let server = TestServer::start(echo());
    let channel = Channel::dial(server.target()).unwrap();
    for bad in ["5", "123456789S", "1.5S", "soon"] {
        let mut request = Request::new(String::new());
        request
            .metadata_mut()
            .insert("grpc-timeout", bad.parse().unwrap());
        let status = send(&channel, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{bad}: {status:?}");
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoints_timeout_leaves_streams_that_have_begun_alone() {
    let slow = handler(|_| async {
        let frames = futures_util::stream::unfold(0, |count| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            match count {
                0..3 => Some((Ok(message("tick")), count + 1)),
                3 => Some((Ok(trailers(0)), 4)),
                _ => None,
            }
        });
        respond_with(frames)
    });
    let channel = in_memory(
        &memory_endpoint().timeout(Duration::from_millis(1500)),
        slow,
    );
    let path = http::uri::PathAndQuery::from_static(PATH);
    let mut client = Client::new(channel);
    client.ready().await.unwrap();
    let request = Request::new(String::new());
    let mut ticks = client
        .server_streaming(request, path, Text)
        .await
        .unwrap()
        .into_inner();
    for _ in 0..3 {
        assert_eq!(ticks.message().await.unwrap().unwrap(), "tick");
    }
    assert_eq!(ticks.message().await.unwrap(), None);
}
