//! What a service config, a channel and a call say about calls.

use crate::support::*;
use sampan_client::{Channel, policy::RetryBudgetSettings};
use sampan_wire::{
    Code as WireCode,
    policy::{CallPolicy, RetryPolicy},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tonic::{Code, Request};

/// A service config with these fields for the method that the tests call.
fn with_fields(fields: &str) -> String {
    let name = r#"{"service": "test.Text", "method": "Say"}"#;
    format!(r#"{{"methodConfig": [{{"name": [{name}], {fields}}}]}}"#)
}

fn channel(server: &TestServer, fields: &str) -> Channel {
    let config = Channel::configure(server.target()).service_config(with_fields(fields));
    config.build().unwrap()
}

fn with_policy(policy: CallPolicy) -> Request<String> {
    let mut request = Request::new("text".to_owned());
    request.extensions_mut().insert(policy);
    request
}

/// Fails so often with UNAVAILABLE, then answers.
fn fails(times: usize) -> Handler {
    let left = Arc::new(AtomicUsize::new(times));
    handler(move |_| {
        let fails = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        async move {
            match fails {
                Ok(_) => refuse(Code::Unavailable, &[]),
                Err(_) => respond([message("text"), trailers(0)]),
            }
        }
    })
}

const RETRY: &str = r#""retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.001s",
    "maxBackoff": "0.001s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}"#;

#[tokio::test]
async fn a_service_config_lets_calls_of_any_client_be_tried_again() {
    let server = TestServer::start(fails(2));
    let channel = channel(&server, RETRY);
    assert_eq!(say(&channel, "").await.unwrap(), "text");
    assert_eq!((channel.counts().calls, channel.counts().retries), (1, 2));
}

#[tokio::test]
async fn a_call_says_over_the_channel_and_the_channel_over_the_service_config() {
    let server = TestServer::start(fails(usize::MAX));
    let calls = || server.calls.load(Ordering::SeqCst);
    let service_config = Channel::configure(server.target()).service_config(with_fields(RETRY));
    let two = RetryPolicy {
        initial_backoff: Duration::from_millis(1),
        ..RetryPolicy::new(2, &[WireCode::Unavailable])
    };
    let policy = CallPolicy::new().with_retry(two);
    let channel = service_config.policy(policy).build().unwrap();
    say(&channel, "").await.unwrap_err();
    assert_eq!(calls(), 2);
    let once = with_policy(CallPolicy::new().without_repeats());
    send(&channel, once).await.unwrap_err();
    assert_eq!(calls(), 3);
}

#[tokio::test]
async fn a_service_config_throttles_retries_for_all() {
    let server = TestServer::start(fails(usize::MAX));
    let config = with_fields(RETRY);
    let throttled = r#"{"retryThrottling": {"maxTokens": 2, "tokenRatio": 0.1}, "#;
    let config = config.replacen('{', throttled, 1);
    let channel = Channel::configure(server.target()).service_config(config);
    let channel = channel.build().unwrap();
    say(&channel, "").await.unwrap_err();
    assert_eq!(
        server.calls.load(Ordering::SeqCst),
        1,
        "one failure took half of two tokens"
    );
}

#[tokio::test]
async fn the_earliest_of_all_deadlines_holds() {
    let server = TestServer::start(handler(|_| std::future::pending()));
    let limit = Duration::from_millis(50);
    let by_config = channel(&server, r#""timeout": "0.05s""#);
    let by_call = channel(&server, r#""timeout": "30s""#);
    let mut asks = Request::new(String::new());
    asks.set_timeout(Duration::from_secs(30));
    let short = with_policy(CallPolicy::new().with_timeout(limit));
    for (channel, request) in [
        (&by_config, Request::new(String::new())),
        (&by_config, asks),
        (&by_call, short),
    ] {
        let start = Instant::now();
        let status = send(channel, request).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert!(status.message().contains("deadline of 50ms"), "{status:?}");
        assert!((limit..Duration::from_secs(10)).contains(&start.elapsed()));
    }
}

#[tokio::test]
async fn longer_messages_than_a_service_config_allows_are_refused() {
    let server = TestServer::start(named("12345"));
    let channel_of = |max| channel(&server, &format!(r#""maxResponseMessageBytes": {max}"#));
    assert_eq!(say(&channel_of(5), "").await.unwrap(), "12345");
    let status = say(&channel_of(4), "").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let small = with_policy(CallPolicy::new().with_max_response_bytes(4));
    let status = send(&channel_of(5), small).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn longer_requests_than_a_service_config_allows_are_not_sent() {
    let server = TestServer::start(echo());
    let channel = channel(&server, r#""maxRequestMessageBytes": 5"#);
    assert_eq!(say(&channel, "12345").await.unwrap(), "12345");
    let status = say(&channel, "123456").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let text = "a message of 6 bytes is over the limit of 5";
    assert!(status.message().contains(text), "{status:?}");
    assert_eq!(server.calls.load(Ordering::SeqCst), 1);

    let path = http::uri::PathAndQuery::from_static(PATH);
    let mut client = Client::new(channel.clone());
    client.ready().await.unwrap();
    let messages = ["1", "123456", "1"].map(str::to_owned);
    let stream = Request::new(futures_util::stream::iter(messages));
    let status = client
        .client_streaming(stream, path, Text)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
}

#[tokio::test]
async fn retries_end_with_the_budget() {
    let server = TestServer::start(fails(usize::MAX));
    let config = with_fields(RETRY);
    // Many tokens, so that it is not the throttle.
    let throttled = r#"{"retryThrottling": {"maxTokens": 1000, "tokenRatio": 1}, "#;
    let config = config.replacen('{', throttled, 1);
    let channel = Channel::configure(server.target()).service_config(config);
    let channel = channel.build().unwrap();
    let start = Instant::now();
    for _ in 0..150 {
        say(&channel, "").await.unwrap_err();
    }
    // A fifth of the calls, and ten for each of the last ten seconds and those that passed.
    let most = 30 + 100 + 10 * (start.elapsed().as_secs() + 1);
    let retries = channel.counts().retries;
    assert!((100..=most).contains(&retries), "{retries} of 300");
}

#[tokio::test]
async fn a_channel_without_a_retry_budget_tries_nothing_twice() {
    let server = TestServer::start(fails(usize::MAX));
    let none = RetryBudgetSettings {
        ratio: 0.0,
        per_second: 0,
    };
    let channel = Channel::configure(server.target())
        .service_config(with_fields(RETRY))
        .retry_budget(none);
    let channel = channel.build().unwrap();
    say(&channel, "").await.unwrap_err();
    assert_eq!(server.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_that_waits_for_ready_outlives_the_time_without_a_server() {
    let server = TestServer::start(named("first"));
    let address = server.address.clone();
    let channel = channel(&server, r#""waitForReady": true"#);
    drop(server);
    let fails_fast = with_policy(CallPolicy::new().with_wait_for_ready(false));
    let status = send(&channel, fails_fast).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);

    let waiting = say(&channel, "");
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let _back = TestServer::start_at(&address, named("second"));
    let answer = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    assert_eq!(answer.unwrap().unwrap(), "second");
}

#[test]
fn a_service_config_that_is_wrong_is_refused_with_its_file_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let build = || Channel::configure("a:1").service_config_file(&path).build();
    let error = build().unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
    std::fs::write(&path, with_fields(r#""timeout": 3"#)).unwrap();
    let error = build().unwrap_err();
    assert!(error.is_configuration());
    let error = error.to_string();
    for part in [
        "config.json",
        "methodConfig[0].timeout is 3; it must be seconds",
    ] {
        assert!(error.contains(part), "{error}");
    }
    std::fs::write(&path, with_fields(r#""timeout": "3s""#)).unwrap();
    build().unwrap();
}
