//! Attempts beyond the first: whom they go to, and what a lost connection costs.

use crate::{endpoints::until_ready, support::*};
use sampan_client::{Balance, Channel, balance::Balancing};
use sampan_wire::{
    Code as WireCode,
    policy::{CodeSet, HedgePolicy, Idempotency, Method, MethodKind, MethodPolicy, RetryPolicy},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;
use tonic::{Code, Request};

static RETRIED: Method = Method::new(PATH, MethodKind::Unary)
    .with_idempotency(Idempotency::Idempotent)
    .with_policy(MethodPolicy::NONE.with_retry(RetryPolicy::new(3, &[WireCode::Unavailable])));
static HEDGED: Method = Method::new(PATH, MethodKind::Unary)
    .with_idempotency(Idempotency::Idempotent)
    .with_policy(MethodPolicy::NONE.with_hedge(HedgePolicy {
        max_attempts: 2,
        delay: Duration::from_millis(10),
        non_fatal_codes: CodeSet::of(&[]),
    }));

fn of(method: &'static Method) -> Request<String> {
    let mut request = Request::new("text".to_owned());
    request.extensions_mut().insert(method);
    request
}

/// A channel to an endpoint that echoes and one that does so, by chance alone.
async fn beside_an_echo(other: Handler) -> Channel {
    let channel = Channel::configure("ipv4:10.0.0.1:1,10.0.0.2:2")
        .balance(Balancing::by(Balance::Random).with_outliers(None))
        .retry_throttle(1000, 1.0)
        .connector(move |address| {
            let is_first = address.to_string() == "10.0.0.1:1";
            let handler = if is_first { echo() } else { Arc::clone(&other) };
            let (near, far) = tokio::io::duplex(64 << 10);
            tokio::spawn(serve_in_memory(far, handler));
            async { Ok(near) }
        })
        .build()
        .unwrap();
    until_ready(&channel, 2).await;
    channel
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_to_an_endpoint_that_the_call_was_not_tried_on() {
    let channel = beside_an_echo(handler(|_| async { refuse(Code::Unavailable, &[]) })).await;
    for _ in 0..40 {
        send(&channel, of(&RETRIED)).await.unwrap();
    }
    let retries = channel.counts().retries;
    let [well, failing] = channel.endpoints().try_into().unwrap();
    assert!(retries > 0);
    assert_eq!((well.attempts, failing.attempts), (40, retries));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_failed_counts_against_its_endpoint_though_the_call_is_tried_again() {
    let channel = beside_an_echo(handler(|_| async { refuse(Code::Unavailable, &[]) })).await;
    for method in [&RETRIED, &HEDGED] {
        for _ in 0..20 {
            send(&channel, of(method)).await.ok();
        }
        let failing = &channel.endpoints()[1];
        assert!(failing.attempts > 0);
        assert_eq!(failing.failed_attempts, failing.attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hedge_goes_to_an_endpoint_that_the_call_was_not_tried_on() {
    let channel = beside_an_echo(handler(|_| std::future::pending())).await;
    for _ in 0..40 {
        send(&channel, of(&HEDGED)).await.unwrap();
    }
    assert!(channel.counts().hedges > 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_one_failure_however_many_calls_it_takes_along() {
    const CALLS: usize = 30;
    let connections = Arc::<AtomicUsize>::default();
    let channel = Channel::configure("ipv4:10.0.0.1:1")
        .connector(move |_| {
            let is_first = connections.fetch_add(1, Ordering::SeqCst) == 0;
            let (near, far) = tokio::io::duplex(64 << 10);
            let (arrived, all) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
            let told = Arc::clone(&all);
            let never = handler(move |_| {
                if arrived.fetch_add(1, Ordering::SeqCst) + 1 == CALLS {
                    told.notify_one();
                }
                std::future::pending()
            });
            tokio::spawn(async move {
                if is_first {
                    tokio::select! {
                        () = serve_in_memory(far, never) => {}
                        () = all.notified() => {}
                    }
                } else {
                    serve_in_memory(far, echo()).await;
                }
            });
            async { Ok(near) }
        })
        .build()
        .unwrap();
    let calls = (0..CALLS).map(|_| send(&channel, of(&RETRIED)));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap(), "text");
    }
    assert_eq!(channel.counts().retries, CALLS as u64);
}
