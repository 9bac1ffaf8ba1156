//! What a channel counts, under gRPC's names.

use crate::support::*;
use sampan_client::{Channel, balance::Balance};
use sampan_wire::{
    Code,
    policy::{CallPolicy, RetryPolicy},
};
use std::time::Duration;
use tokio::time::timeout;

fn has(channel: &Channel, lines: &[String]) {
    let text = channel.metrics();
    for line in lines {
        assert!(
            text.lines().any(|one| one == line),
            "{line} is missing in\n{text}"
        );
    }
}

/// The value of the series that begins so.
pub(crate) fn value(channel: &Channel, series: &str) -> f64 {
    let text = channel.metrics();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0.0, |value| value.trim().parse().unwrap())
}

/// Channels to one target count together. Ports are used again within the process: other tests name
/// their servers in another way.
fn target(server: &TestServer) -> String {
    format!("ipv4:{}", server.target())
}

#[tokio::test]
async fn a_retried_call_is_one_call_of_two_attempts_and_a_delay() {
    let server = TestServer::start(fails_once());
    let retry = RetryPolicy {
        initial_backoff: Duration::from_millis(5),
        ..RetryPolicy::new(2, &[Code::Unavailable])
    };
    let target = target(&server);
    let channel = Channel::configure(&target)
        .policy(CallPolicy::new().with_retry(retry))
        .build()
        .unwrap();
    assert_eq!(say(&channel, "hi").await.unwrap(), "hello");
    // No generated code names the method.
    let labels = format!(r#"grpc_method="other",grpc_target="{target}""#);
    let line = |name: &str, status: &str, value: &str| match status {
        "" => format!("grpc_client_{name}{{{labels}}} {value}"),
        status => format!(r#"grpc_client_{name}{{{labels},grpc_status="{status}"}} {value}"#),
    };
    let sent = "attempt_sent_total_compressed_message_size_bytes_sum";
    let received = "attempt_rcvd_total_compressed_message_size_bytes_sum";
    has(
        &channel,
        &[
            line("attempt_started_total", "", "2"),
            line("attempt_duration_seconds_count", "UNAVAILABLE", "1"),
            line("attempt_duration_seconds_count", "OK", "1"),
            line("call_duration_seconds_count", "OK", "1"),
            line(sent, "UNAVAILABLE", "2.0"),
            line(sent, "OK", "2.0"),
            line(received, "OK", "5.0"),
            line("call_retries_count", "", "1"),
            line("call_retries_sum", "", "1.0"),
        ],
    );
    let delay = format!("grpc_client_call_retry_delay_seconds_sum{{{labels}}}");
    assert!(value(&channel, &delay) >= 0.004);
    let failed = format!(r#"call_duration_seconds_count{{{labels},grpc_status="UNAVAILABLE"}}"#);
    assert!(!channel.metrics().contains(&failed), "the call went well");
}

#[tokio::test]
async fn connections_made_lost_and_refused_are_counted() {
    let server = TestServer::start(named("a"));
    let target = target(&server);
    let channel = Channel::dial(&target).unwrap();
    say(&channel, "").await.unwrap();
    let target = format!(r#"{{grpc_target="{target}"}}"#);
    let line = |name: &str, value: u32| format!("grpc_subchannel_{name}{target} {value}");
    has(
        &channel,
        &[
            line("connection_attempts_succeeded_total", 1),
            line("open_connections", 1),
            line("disconnections_total", 0),
        ],
    );
    drop(server);
    let failed = format!("grpc_subchannel_connection_attempts_failed_total{target}");
    let is_refused = async {
        while value(&channel, &failed) < 1.0 {
            let _ = say(&channel, "").await;
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), is_refused).await.unwrap();
    has(
        &channel,
        &[line("open_connections", 0), line("disconnections_total", 1)],
    );
}

#[tokio::test]
async fn an_endpoint_that_is_taken_out_is_counted() {
    let broken = handler(|_| async { refuse(tonic::Code::Internal, &[]) });
    let servers = [TestServer::start(broken), TestServer::start(named("b"))];
    let target = format!("static:///{},{}", servers[0].target(), servers[1].target());
    let channel = Channel::configure(&target).balance(Balance::RoundRobin);
    let channel = channel.build().unwrap();
    let series = format!(
        r#"grpc_lb_outlier_detection_ejections_enforced_total{{grpc_target="{target}",grpc_lb_outlier_detection_detection_method="consecutive_failures"}}"#
    );
    let is_out = async {
        while value(&channel, &series) < 1.0 {
            let _ = say(&channel, "").await;
        }
    };
    timeout(Duration::from_secs(10), is_out).await.unwrap();
}

#[tokio::test]
async fn weights_that_are_taken_are_counted() {
    let servers = [TestServer::start(named("a")), TestServer::start(named("b"))];
    let target = format!("static:///{},{}", servers[0].target(), servers[1].target());
    let channel = Channel::configure(&target).balance(Balance::WeightedRoundRobin);
    let channel = channel.build().unwrap();
    say(&channel, "").await.unwrap();
    let series = |name: &str| format!(r#"grpc_lb_wrr_{name}{{grpc_target="{target}"}}"#);
    assert!(value(&channel, &series("rr_fallback_total")) >= 1.0);
    assert!(value(&channel, &series("endpoint_weight_not_yet_usable_total")) >= 1.0);
    assert!(value(&channel, &series("endpoint_weights_count")) >= 1.0);
    assert_eq!(value(&channel, &series("endpoint_weights_sum")), 0.0);
}

#[tokio::test]
async fn a_channel_that_is_not_to_count_counts_nothing() {
    let server = TestServer::start(echo());
    let channel = Channel::configure(server.target()).metrics(false);
    let channel = channel.build().unwrap();
    say(&channel, "hi").await.unwrap();
    assert_eq!(channel.metrics(), "");
}

#[tokio::test]
async fn a_failure_that_is_retried_counts_against_its_endpoint() {
    let broken = handler(|_| async { refuse(tonic::Code::Unavailable, &[]) });
    let servers = [TestServer::start(broken), TestServer::start(named("b"))];
    let target = format!("static:///{},{}", servers[0].target(), servers[1].target());
    let retry = RetryPolicy {
        initial_backoff: Duration::from_millis(1),
        ..RetryPolicy::new(3, &[Code::Unavailable])
    };
    let channel = Channel::configure(&target)
        .balance(Balance::RoundRobin)
        .policy(CallPolicy::new().with_retry(retry))
        .build()
        .unwrap();
    let is_out = async {
        while !channel.endpoints().iter().any(|one| one.is_ejected) {
            let _ = say(&channel, "").await;
        }
    };
    timeout(Duration::from_secs(10), is_out).await.unwrap();
    let failed: u64 = channel
        .endpoints()
        .iter()
        .map(|one| one.failed_attempts)
        .sum();
    assert!(failed >= 5);
}
