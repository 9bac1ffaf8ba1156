//! Attempts that get to no endpoint: a retry policy holds for them too.

use crate::{
    hedging::Refuses,
    retries::{RETRIED, of},
    stream_retries::talk,
    support::*,
};
use sampan_client::{
    Balance, Channel, ChannelBuilder,
    balance::Pick,
    credentials::{CallCredentials, CalledMethod, Credentials},
};
use sampan_wire::{
    Code as WireCode,
    policy::{CallPolicy, RetryPolicy},
};
use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tokio::{io::DuplexStream, time::Instant};
use tonic::{Code, Request, Status, async_trait, metadata::MetadataMap};

/// An echo that so many connects do not get to.
fn away(target: &str, connects: usize) -> ChannelBuilder {
    let tried = AtomicUsize::new(0);
    Channel::configure(target).connector(move |_| {
        let is_away = tried.fetch_add(1, Ordering::SeqCst) < connects;
        async move {
            if is_away {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = tokio::io::duplex(64 << 10);
            tokio::spawn(serve_in_memory(far, echo()));
            Ok::<DuplexStream, io::Error>(near)
        }
    })
}

/// Attempts begun, and those that ended as UNAVAILABLE.
fn counted(channel: &Channel, target: &str) -> [u64; 2] {
    let labels = format!(r#"{{grpc_method="test.Text/Say",grpc_target="{target}"#);
    [r#"started_total"#, r#"duration_seconds_count"#].map(|name| {
        let text = channel.metrics();
        let series = format!("grpc_client_attempt_{name}{labels}");
        let is_it = |line: &&str| {
            line.starts_with(&series) && (name == "started_total" || line.contains("UNAVAILABLE"))
        };
        let line = text.lines().find(is_it);
        line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
    })
}

#[tokio::test(start_paused = true)]
async fn a_retry_finds_the_endpoint_that_was_away() {
    let plain = "ipv4:10.0.1.1:1";
    let layered = "ipv4:10.0.1.6:1";
    for target in [plain, layered] {
        let mut channel = away(target, 1);
        if target == layered {
            channel = channel.attempt_layer(tower::layer::util::Identity::new());
        }
        let channel = channel.build().unwrap();
        // More than is kept of a request that has left.
        let text = "x".repeat(300 << 10);
        assert_eq!(send(&channel, of(&RETRIED, &text)).await.unwrap(), text);
        let counts = channel.counts();
        assert!((1..=2).contains(&counts.retries), "{counts:?}");
        let [started, failed] = counted(&channel, target);
        assert_eq!((started, failed), (counts.retries + 1, counts.retries));
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_stays_away_ends_a_call_when_its_attempts_are_made() {
    let plain = "ipv4:10.0.1.2:1";
    let layered = "ipv4:10.0.1.3:1";
    for target in [plain, layered] {
        let mut channel = away(target, usize::MAX);
        if target == layered {
            channel = channel.attempt_layer(tower::layer::util::Identity::new());
        }
        let channel = channel.build().unwrap();
        let start = Instant::now();
        let status = send(&channel, of(&RETRIED, "")).await.unwrap_err();
        let (waited, text) = (start.elapsed().as_millis(), status.message());
        assert!((120..=180).contains(&waited), "50 + 100 ms: {waited}");
        assert_eq!(status.code(), Code::Unavailable);
        assert!(
            text.contains("refused") && text.contains("; attempt 3,"),
            "{text}"
        );
        assert_eq!(channel.counts().retries, 2);
        assert_eq!(counted(&channel, target), [3, 3]);

        // Others fail as fast as ever.
        let start = Instant::now();
        let status = say(&channel, "").await.unwrap_err();
        assert!(status.message().contains("not sent"), "{status}");
        assert_eq!(start.elapsed(), Duration::ZERO);

        // And nobody waits for what comes too late.
        let mut request = of(&RETRIED, "");
        request.set_timeout(Duration::from_millis(30));
        let status = send(&channel, request).await.unwrap_err();
        assert_eq!(
            (status.code(), start.elapsed()),
            (Code::Unavailable, Duration::ZERO)
        );
    }
}

/// A token that cannot be had the first time.
struct Later(AtomicUsize);

#[async_trait]
impl CallCredentials for Later {
    async fn metadata(&self, _: &CalledMethod<'_>) -> Result<MetadataMap, Status> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Status::unavailable("not yet")),
            _ => Ok(MetadataMap::new()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_that_cannot_be_had_yet_are_asked_for_again() {
    let later = Credentials::new(Later(AtomicUsize::new(0)));
    let channel = away("ipv4:10.0.1.5:1", 0).credentials(later);
    let channel = channel.credentials_in_plaintext(true).build().unwrap();
    assert_eq!(send(&channel, of(&RETRIED, "text")).await.unwrap(), "text");
    assert_eq!(channel.counts().retries, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_found_no_endpoint_is_sent_from_its_beginning() {
    let policy = RetryPolicy::new(5, &[WireCode::Unavailable]);
    let channel = away("ipv4:10.0.1.4:1", 1).policy(CallPolicy::new().with_retry(policy));
    let channel = channel.build().unwrap();
    let texts: Vec<_> = ["a", "b", "c"].map(str::to_owned).into();
    assert_eq!(talk(&channel, texts.clone()).await.unwrap(), texts);
    assert!(channel.counts().retries > 0);
}

#[tokio::test]
async fn what_a_picker_lets_fail_is_tried_again_and_what_it_drops_is_not() {
    let servers = [TestServer::start(echo()), TestServer::start(echo())];
    let target = format!("ipv4:{},{}", servers[0].target(), servers[1].target());
    let policy = RetryPolicy {
        initial_backoff: Duration::from_millis(1),
        ..RetryPolicy::new(3, &[WireCode::Unavailable])
    };
    let ways = [(Pick::Fail as fn(_) -> _, 3), (Pick::Drop, 1)];
    for (how, attempts) in ways {
        let refuses = Refuses::by(how);
        let channel = Channel::configure(&target)
            .balance(Balance::policy(refuses.clone()))
            .policy(CallPolicy::new().with_retry(policy))
            .build()
            .unwrap();
        let status = send(&channel, Request::new(String::new())).await;
        let status = status.unwrap_err();
        assert!(status.message().contains("too many"), "{status}");
        assert_eq!(refuses.picks.load(Ordering::SeqCst), attempts);
    }
}
