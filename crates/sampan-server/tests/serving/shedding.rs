//! Servers that have more to do than they can.

use crate::echo::{Client, Echo, Running, any_port};
use futures_util::future::join_all;
use sampan_server::{QueueDelaySettings, Server};
use std::time::{Duration, Instant};
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_too_long_are_shed_and_told_when_to_come_back() {
    let settings = QueueDelaySettings {
        window: Duration::from_millis(100),
        ..QueueDelaySettings::default()
    };
    let (echo, _events) = Echo::new();
    let server = Server::new()
        .listen(any_port())
        .shed_by_queue_delay(settings)
        .add_service(echo)
        .bind()
        .await
        .unwrap();
    let running = Running::start(server);
    let client = Client::connect(&running.address).await;
    let (mut answered, mut shed) = (0, 0);
    let began = Instant::now();
    while shed == 0 && began.elapsed() < Duration::from_secs(20) {
        // 40 calls of 5 ms: the last one waits for the others.
        for outcome in join_all((0..40).map(|_| client.unary("busy"))).await {
            let Err(status) = outcome else {
                answered += 1;
                continue;
            };
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
            let millis: u64 = pushback.to_str().unwrap().parse().unwrap();
            assert!((1..=150).contains(&millis), "{millis}");
            assert!(!status.details().is_empty());
            shed += 1;
        }
    }
    assert!(shed > 0 && answered > 0, "{shed} of {answered}");

    // Nobody waits any more.
    let began = Instant::now();
    while client.unary("quick").await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn a_server_that_is_not_overloaded_sheds_nothing() {
    let (echo, _events) = Echo::new();
    let server = Server::new()
        .listen(any_port())
        .shed_by_queue_delay(QueueDelaySettings::default())
        .add_service(echo)
        .bind()
        .await
        .unwrap();
    let running = Running::start(server);
    let client = Client::connect(&running.address).await;
    for _ in 0..200 {
        assert_eq!(client.unary("quick").await.unwrap(), "quick");
    }
}
