//! Bounds that a channel's settings draw around its calls.

use crate::support::*;
use sampan_client::{Channel, ChannelBuilder, overload::AdaptiveSettings, policy::CircuitLimits};
use sampan_wire::policy::CallPolicy;
use std::sync::atomic::Ordering;
use tonic::Code;

fn circuit(calls: usize, pending: usize) -> CircuitLimits {
    CircuitLimits {
        calls,
        pending,
        ..CircuitLimits::default()
    }
}

/// Two calls hang, the third fails at once and does not leave; when one is gone the next passes.
async fn holds_two(configure: impl FnOnce(ChannelBuilder) -> ChannelBuilder, says: &str) {
    let server = TestServer::start(handler(|_| std::future::pending()));
    let channel = configure(Channel::configure(server.target()))
        .build()
        .unwrap();
    let (mut one, mut two) = (Box::pin(say(&channel, "")), Box::pin(say(&channel, "")));
    let both = async {
        while server.calls.load(Ordering::SeqCst) < 2 {
            assert!(futures_util::poll!(&mut one).is_pending());
            assert!(futures_util::poll!(&mut two).is_pending());
            tokio::task::yield_now().await;
        }
    };
    both.await;
    let status = say(&channel, "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains(says), "{status:?}");
    assert!(status.message().contains("not sent"), "{status:?}");
    drop(one);
    let mut next = Box::pin(say(&channel, ""));
    assert!(futures_util::poll!(&mut next).is_pending());
    let counts = channel.counts();
    assert_eq!((counts.calls, counts.failed_calls), (4, 2));
}

#[tokio::test]
async fn a_circuit_breaker_fails_the_call_that_is_too_many() {
    let configure = |channel: ChannelBuilder| channel.circuit_breaker(circuit(2, 1024));
    holds_two(configure, "circuit breaker open: 2 calls under way").await;
}

#[tokio::test]
async fn an_adaptive_bound_begins_at_its_least() {
    let settings = AdaptiveSettings {
        min_limit: 2,
        ..AdaptiveSettings::default()
    };
    let configure = |channel: ChannelBuilder| channel.adaptive_concurrency(settings);
    holds_two(configure, "adaptive limit reached: 2 calls under way").await;
}

#[tokio::test]
async fn a_circuit_breaker_fails_the_call_that_would_be_one_too_many_to_wait() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let channel = Channel::configure(address)
        .circuit_breaker(circuit(1024, 1))
        .policy(CallPolicy::new().with_wait_for_ready(true))
        .build()
        .unwrap();
    let mut waits = Box::pin(say(&channel, ""));
    assert!(futures_util::poll!(&mut waits).is_pending());
    let status = say(&channel, "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let says = "circuit breaker open: 1 waiting calls under way";
    assert!(status.message().contains(says), "{status:?}");
    drop(waits);
    let mut waits = Box::pin(say(&channel, ""));
    assert!(futures_util::poll!(&mut waits).is_pending());
}

#[tokio::test]
async fn a_rate_limit_lets_a_burst_pass_and_says_when_the_next_may() {
    let server = TestServer::start(echo());
    let channel = Channel::configure(server.target()).rate_limit(0.001, 2);
    let channel = channel.build().unwrap();
    for _ in 0..2 {
        say(&channel, "").await.unwrap();
    }
    let status = say(&channel, "").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let text = status.message();
    assert!(
        text.contains(PATH) && text.contains("try again after"),
        "{text}"
    );
    let details = String::from_utf8_lossy(status.details());
    assert!(details.contains("google.rpc.RetryInfo"), "{details}");
    assert_eq!(server.calls.load(Ordering::SeqCst), 2);
}
