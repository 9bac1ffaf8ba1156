//! Policies, from a generated client to a server: what a call, a channel and a service config say.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use sampan::{
    Channel, Code, Request,
    client::ChannelBuilder,
    policy::{self, CallPolicy, CodeSet, RetryPolicy},
};
use sampan_testing::{
    Echo,
    proto::{EchoRequest, FailRequest, echo_client::EchoClient},
};
use std::time::Duration;

/// A channel to a server of its own, which ends with the test's runtime.
async fn channel(configure: impl FnOnce(ChannelBuilder) -> ChannelBuilder) -> Channel {
    let server = sampan::Server::builder()
        .add_service(Echo::named("echo").into_service())
        .listen("127.0.0.1:0".parse::<sampan::Address>().unwrap())
        .bind()
        .await
        .unwrap();
    let address = server.local_addresses()[0].to_string();
    tokio::spawn(server.serve_until(std::future::pending()));
    configure(Channel::configure(address)).build().unwrap()
}

fn unavailable() -> Request<FailRequest> {
    Request::new(FailRequest {
        code: Code::Unavailable as i32,
        ..FailRequest::default()
    })
}

#[tokio::test]
async fn a_call_of_a_generated_client_says_its_own_policy() {
    let channel = channel(|channel| channel).await;
    let mut client = EchoClient::new(channel.clone());
    client.fail(unavailable()).await.unwrap_err();
    assert_eq!(channel.counts().retries, 0);

    let twice = RetryPolicy {
        max_attempts: 2,
        retryable_codes: CodeSet::of(&[policy::Code::Unavailable]),
        initial_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(1),
        backoff_multiplier: 1.0,
    };
    let mut request = unavailable();
    request
        .extensions_mut()
        .insert(CallPolicy::new().with_retry(twice));
    client.fail(request).await.unwrap_err();
    assert_eq!(channel.counts().retries, 1);

    let small = CallPolicy::new().with_max_request_bytes(100);
    let long = EchoRequest {
        payload: vec![0; 101],
        ..EchoRequest::default()
    };
    let mut request = Request::new(long);
    request.extensions_mut().insert(small);
    let status = client.unary(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
}

#[tokio::test]
async fn a_service_config_holds_for_a_generated_client() {
    let config = r#"{"methodConfig": [{
        "name": [{"service": "sampan.testing.v1.Echo", "method": "Fail"}],
        "retryPolicy": {
            "maxAttempts": 3, "initialBackoff": "0.001s", "maxBackoff": "0.001s",
            "backoffMultiplier": 1, "retryableStatusCodes": [14]
        }
    }, {
        "name": [{}], "timeout": "0.05s"
    }]}"#;
    let channel = channel(|channel| channel.service_config(config)).await;
    let mut client = EchoClient::new(channel.clone());
    client.fail(unavailable()).await.unwrap_err();
    assert_eq!(channel.counts().retries, 2);
    let slow = EchoRequest {
        delay: Some(sampan::__codegen::prost_types::Duration {
            seconds: 30,
            nanos: 0,
        }),
        ..EchoRequest::default()
    };
    let status = client.unary(slow).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}
