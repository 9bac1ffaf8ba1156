//! Several endpoints, endpoints that die, and endpoints that come back.

use crate::support::*;
use sampan_client::{
    Balance, Channel, ConnectivityState,
    compat::{Change, Endpoint},
};
use std::{collections::HashMap, time::Duration};
use tonic::Code;

/// An address that refuses connections: its listener is gone.
fn refusing() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn shares(channel: &Channel, calls: usize) -> HashMap<String, usize> {
    let mut shares = HashMap::new();
    for _ in 0..calls {
        *shares.entry(say(channel, "").await.unwrap()).or_default() += 1;
    }
    shares
}

pub(crate) async fn until_ready(channel: &Channel, count: usize) {
    channel.connect().await.unwrap();
    let are_ready = || {
        let endpoints = channel.endpoints();
        endpoints
            .iter()
            .filter(|one| one.state == ConnectivityState::Ready)
            .count()
            == count
    };
    while !are_ready() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn with_one_endpoint_dead_no_call_fails() {
    for balance in [Balance::LeastRequest, Balance::RoundRobin] {
        let alive = TestServer::start(named("alive"));
        let target = format!("static:///{},{}", refusing(), alive.target());
        let channel = Channel::configure(target).balance(balance).build().unwrap();
        assert_eq!(shares(&channel, 200).await["alive"], 200);
        assert_eq!(channel.counts().failed_calls, 0);
    }
}

#[tokio::test]
async fn an_endpoint_that_is_killed_costs_no_later_call() {
    let (stays, dies) = (
        TestServer::start(named("stays")),
        TestServer::start(named("dies")),
    );
    let target = format!("static:///{},{}", stays.target(), dies.target());
    let channel = Channel::configure(target)
        .balance(Balance::RoundRobin)
        .build()
        .unwrap();
    until_ready(&channel, 2).await;
    assert_eq!(shares(&channel, 10).await["dies"], 5);
    drop(dies);
    until_ready(&channel, 1).await;
    assert_eq!(shares(&channel, 100).await["stays"], 100);
}

#[tokio::test]
async fn round_robin_spreads_calls_evenly() {
    let servers = [named("a"), named("b"), named("c")].map(TestServer::start);
    let addresses = servers.each_ref().map(TestServer::target).join(",");
    let channel = Channel::configure(format!("ipv4:{addresses}"))
        .balance(Balance::RoundRobin)
        .build()
        .unwrap();
    until_ready(&channel, 3).await;
    let shares = shares(&channel, 90).await;
    assert!(shares.values().all(|&share| share == 30), "{shares:?}");
}

#[tokio::test]
async fn least_request_keeps_away_from_the_slow_endpoint() {
    let slow = TestServer::start(handler(|_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        respond([message("slow"), trailers(0)])
    }));
    let fast = TestServer::start(named("fast"));
    let channel = Channel::dial(format!("static:///{},{}", slow.target(), fast.target())).unwrap();
    until_ready(&channel, 2).await;
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    say(&channel, "").await.unwrap();
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(slow.calls() + fast.calls(), 400);
    assert!(
        slow.calls() < 80,
        "the slow one got {} of 400",
        slow.calls()
    );
    let endpoints = channel.endpoints();
    let of_slow = endpoints
        .iter()
        .find(|one| one.address == slow.target())
        .unwrap();
    assert!(
        of_slow.p50.unwrap() >= Duration::from_millis(100),
        "{of_slow:?}"
    );
    assert_eq!(of_slow.attempts, slow.calls() as u64);
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_by_the_same_channel() {
    let server = TestServer::start(named("first"));
    let address = server.address.clone();
    let channel = Channel::dial(server.target()).unwrap();
    assert_eq!(say(&channel, "").await.unwrap(), "first");
    drop(server);
    let status = loop {
        // Until the loss is seen, a call may meet the broken connection.
        let status = say(&channel, "").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        if status.message().contains("is it listening?") {
            break status;
        }
    };
    let source = std::error::Error::source(&status).unwrap();
    assert!(
        source
            .downcast_ref::<sampan_client::Error>()
            .unwrap()
            .is_connect()
    );

    let _back = TestServer::start_at(&address, named("second"));
    let found = async {
        loop {
            if let Ok(name) = say(&channel, "").await {
                break name;
            }
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(3), found).await;
    assert_eq!(found.unwrap(), "second");
}

#[tokio::test]
async fn localhost_is_a_name_like_others() {
    let server = TestServer::start(named("local"));
    let port = server.target().rsplit_once(':').unwrap().1.to_owned();
    let channel = Channel::dial(format!("dns:///localhost:{port}")).unwrap();
    assert_eq!(say(&channel, "").await.unwrap(), "local");
}

#[tokio::test]
async fn a_name_without_addresses_is_told_with_a_hint() {
    let channel = Channel::dial("dns:///no-such-name.invalid:1").unwrap();
    let status = say(&channel, "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let text = status.message();
    assert!(text.contains("\"no-such-name.invalid\""), "{text}");
}

#[tokio::test]
async fn endpoints_come_and_go_without_a_failed_call() {
    let (old, new) = (
        TestServer::start(named("old")),
        TestServer::start(named("new")),
    );
    let endpoint =
        |server: &TestServer| Endpoint::from_shared(format!("http://{}", server.target())).unwrap();
    let (channel, changes) = Channel::balance_channel(4);
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { say(&channel, "").await }
    });
    changes
        .send(Change::Insert("a", endpoint(&old)))
        .await
        .unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), "old");

    changes
        .send(Change::Insert("b", endpoint(&new)))
        .await
        .unwrap();
    until_ready(&channel, 2).await;
    changes.send(Change::Remove("a")).await.unwrap();
    until_ready(&channel, 1).await;
    assert_eq!(shares(&channel, 50).await["new"], 50);
    // A removed endpoint's connection closes.
    let mut open = old.open_connections.clone();
    open.wait_for(|open| *open == 0).await.unwrap();
    assert_eq!(channel.counts().failed_calls, 0);
}

#[tokio::test]
async fn calls_of_a_removed_endpoint_finish() {
    let (release, released) = tokio::sync::watch::channel(false);
    let slow = TestServer::start(handler(move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|is| *is).await.unwrap();
            respond([message("done"), trailers(0)])
        }
    }));
    let (channel, changes) = Channel::balance_channel(4);
    let endpoint = Endpoint::from_shared(format!("http://{}", slow.target())).unwrap();
    changes.send(Change::Insert(1, endpoint)).await.unwrap();
    let call = tokio::spawn({
        let channel = channel.clone();
        async move { say(&channel, "").await }
    });
    while slow.calls() == 0 {
        tokio::task::yield_now().await;
    }
    changes.send(Change::Remove(1)).await.unwrap();
    while !channel.endpoints().is_empty() {
        tokio::task::yield_now().await;
    }
    release.send(true).unwrap();
    assert_eq!(call.await.unwrap().unwrap(), "done");
}
