//! Which connections a channel has: of each runtime its own, and more where streams run out.

use crate::{
    lifetimes::{runtime, server_aside},
    support::*,
};
use sampan_client::{Channel, policy::CircuitLimits};
use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};
use tonic::Code;

/// Answers when it is told to, with `calls` that have come so far.
fn held() -> (Handler, watch::Sender<bool>) {
    let (release, released) = watch::channel(false);
    let held = handler(move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|is| *is).await.unwrap();
            respond([message("done"), trailers(0)])
        }
    });
    (held, release)
}

fn call_often(channel: &Channel, calls: usize) -> JoinSet<Result<String, tonic::Status>> {
    (0..calls)
        .map(|_| {
            let channel = channel.clone();
            async move { say(&channel, "").await }
        })
        .collect()
}

async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn two_runtimes_at_a_time_have_a_connection_each() {
    let (target, open, _server) = server_aside(echo());
    let channel = Channel::dial(target).unwrap();
    let both = Arc::new(Barrier::new(3));
    let threads = ["one", "two"].map(|text| {
        let (channel, both) = (channel.clone(), Arc::clone(&both));
        std::thread::spawn(move || {
            let runtime = runtime();
            for _ in 0..50 {
                assert_eq!(runtime.block_on(say(&channel, text)).unwrap(), text);
            }
            both.wait();
            // Counted here.
            both.wait();
            drop(runtime);
        })
    });
    both.wait();
    assert_eq!(*open.borrow(), 2);
    assert_eq!(channel.endpoints().len(), 1);
    both.wait();
    for thread in threads {
        thread.join().unwrap();
    }
    let mut open = open;
    runtime().block_on(async {
        open.wait_for(|open| *open == 0).await.unwrap();
    });
    assert_eq!(channel.counts().failed_calls, 0);
}

#[test]
fn the_channel_goes_on_where_another_runtime_resolved_for_it() {
    let (target, _open, _server) = server_aside(echo());
    let channel = Channel::dial(target).unwrap();
    let (first, second) = (runtime(), runtime());
    first.block_on(say(&channel, "")).unwrap();
    second.block_on(say(&channel, "")).unwrap();
    drop(first);
    for _ in 0..3 {
        second.block_on(say(&channel, "")).unwrap();
    }
    assert_eq!(channel.counts().failed_calls, 0);
}

#[test]
fn when_a_runtime_ends_calls_that_wait_move_and_calls_that_were_sent_are_unavailable() {
    let (target, _open, _server) = server_aside(echo());
    let channel = Channel::dial(target).unwrap();
    let first = runtime();
    let mut waits = Box::pin(say(&channel, "moves"));
    first.block_on(poll_fn(|cx| {
        assert!(waits.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    }));
    drop(first);
    assert_eq!(runtime().block_on(waits).unwrap(), "moves");

    let (target, _open, _silent) = server_aside(handler(|_| std::future::pending()));
    let channel = Channel::dial(target).unwrap();
    let first = runtime();
    let mut sent = Box::pin(say(&channel, ""));
    first.block_on(async {
        channel.connect().await.unwrap();
        tokio::select! {
            biased;
            _ = sent.as_mut() => panic!("nobody answers"),
            () = until(|| channel.endpoints()[0].attempts == 1) => {}
        }
    });
    drop(first);
    let status = runtime().block_on(sent).unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn the_201st_call_of_a_server_that_allows_100_streams_does_not_wait() {
    let (held, release) = held();
    let address = "127.0.0.1:0".parse().unwrap();
    let server = TestServer::start_with(&address, held, with_streams(100));
    let channel = Channel::dial(server.target()).unwrap();
    let mut calls = call_often(&channel, 201);
    until(|| server.calls() == 201).await;
    assert_eq!(*server.open_connections.borrow(), 3);
    assert_eq!(channel.endpoints()[0].in_flight, 201);
    release.send(true).unwrap();
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), "done");
    }
    assert_eq!(channel.counts().failed_calls, 0);
}

#[tokio::test(start_paused = true)]
async fn there_are_ten_connections_at_most_and_one_again_when_calls_are_few() {
    let (held, release) = held();
    let (calls, open) = (Arc::<AtomicUsize>::default(), watch::Sender::new(0));
    let (came, opened) = (Arc::clone(&calls), open.clone());
    let counted = handler(move |request| {
        came.fetch_add(1, Ordering::SeqCst);
        held(request)
    });
    let channel = through(&memory_endpoint(), move |io| {
        let (counted, opened) = (counted.clone(), opened.clone());
        tokio::spawn(async move {
            opened.send_modify(|open| *open += 1);
            serve_in_memory_with(io, counted, &with_streams(1)).await;
            opened.send_modify(|open| *open -= 1);
        });
    });
    let mut waiting = call_often(&channel, 12);
    until(|| calls.load(Ordering::SeqCst) == 10).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!((calls.load(Ordering::SeqCst), *open.borrow()), (10, 10));
    release.send(true).unwrap();
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), "done");
    }
    assert_eq!(channel.counts().failed_calls, 0);
    let mut now_open = open.subscribe();
    let closed = pin!(now_open.wait_for(|open| *open == 1));
    let few = async {
        loop {
            say(&channel, "").await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        _ = closed => {}
        () = few => {}
        () = tokio::time::sleep(Duration::from_secs(61)) => panic!("{} are open", *open.borrow()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_circuit_breaker_bounds_connections_but_each_endpoint_has_one() {
    for (bound, expected) in [(3, 3), (0, 1)] {
        let (held, release) = held();
        let calls = Arc::<AtomicUsize>::default();
        let came = Arc::clone(&calls);
        let counted = handler(move |request| {
            came.fetch_add(1, Ordering::SeqCst);
            held(request)
        });
        let limits = CircuitLimits {
            connections: bound,
            ..CircuitLimits::default()
        };
        let configured = Channel::configure("ipv4:10.0.0.1:1").circuit_breaker(limits);
        let channel = configured
            .connector(move |_| {
                let (near, far) = tokio::io::duplex(64 << 10);
                let counted = counted.clone();
                tokio::spawn(async move {
                    serve_in_memory_with(far, counted, &with_streams(1)).await;
                });
                async move { Ok(near) }
            })
            .build()
            .unwrap();
        let mut waiting = call_often(&channel, 6);
        until(|| calls.load(Ordering::SeqCst) == expected).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(calls.load(Ordering::SeqCst), expected);
        release.send(true).unwrap();
        while let Some(answer) = waiting.join_next().await {
            assert_eq!(answer.unwrap().unwrap(), "done");
        }
    }
}

#[tokio::test]
async fn a_waiting_call_that_nobody_polls_holds_up_no_other() {
    let (held, release) = held();
    let address = "127.0.0.1:0".parse().unwrap();
    let server = TestServer::start_with(&address, held, with_streams(1));
    let channel = Channel::dial(server.target()).unwrap();
    let mut first = call_often(&channel, 10);
    until(|| server.calls() == 10).await;
    let mut unpolled = Box::pin(say(&channel, ""));
    // Until it stands first.
    for _ in 0..10 {
        let is_pending = poll_fn(|cx| Poll::Ready(unpolled.as_mut().poll(cx).is_pending())).await;
        assert!(is_pending);
        tokio::task::yield_now().await;
    }
    let mut others = call_often(&channel, 3);
    tokio::task::yield_now().await;
    release.send(true).unwrap();
    let all = async {
        for calls in [&mut first, &mut others] {
            while let Some(answer) = calls.join_next().await {
                assert_eq!(answer.unwrap().unwrap(), "done");
            }
        }
    };
    // Soon, not when the channel next looks its names up.
    tokio::time::timeout(Duration::from_secs(2), all)
        .await
        .unwrap();
    assert_eq!(unpolled.await.unwrap(), "done");
}
