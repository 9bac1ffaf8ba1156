//! `k8s:` targets, against an API server on loopback.

mod api;

use crate::{endpoints::until_ready, support::*};
use api::ApiServer;
use sampan_client::{Balance, Channel, balance::Balancing, resolve::Address};
use serde_json::json;
use std::{
    collections::HashMap,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::net::TcpStream;
use tonic::Code;

const CHILD: &str = "SAMPAN_CLIENT_TEST_CHILD";

fn dial(api: &ApiServer) -> Channel {
    let builder = Channel::configure(api.target()).balance(Balance::RoundRobin);
    builder.build().unwrap()
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, what).await.unwrap()
}

/// Calls until they are answered by all of these and nobody else.
async fn until_answered_by(channel: &Channel, names: &[&str]) {
    within(async {
        loop {
            let mut answers = HashMap::<_, usize>::new();
            for _ in 0..names.len() * 2 {
                *answers.entry(say(channel, "").await.unwrap()).or_default() += 1;
            }
            if answers.len() == names.len() && names.iter().all(|name| answers.contains_key(*name))
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_of_a_service_come_and_go_and_no_call_fails() {
    let api = ApiServer::start().await;
    let [a, b, c] = [named("a"), named("b"), named("c")].map(TestServer::start);
    api.known.put_ready("one", &a);
    let channel = dial(&api);
    let is_over = Arc::new(AtomicBool::new(false));
    let caller = {
        let (channel, is_over) = (channel.clone(), Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut calls = 0;
            while !is_over.load(SeqCst) {
                say(&channel, "").await.unwrap();
                calls += 1;
            }
            calls
        })
    };
    until_answered_by(&channel, &["a"]).await;
    api.known.put_ready("two", &b);
    until_answered_by(&channel, &["a", "b"]).await;
    api.known.remove("one");
    until_answered_by(&channel, &["b"]).await;
    // Its calls are over, and its connections with them.
    let mut open = a.open_connections.clone();
    within(open.wait_for(|open| *open == 0)).await.unwrap();
    drop(a);
    api.known.put_ready("two", &c);
    until_answered_by(&channel, &["c"]).await;
    is_over.store(true, SeqCst);
    assert!(caller.await.unwrap() > 0);
    assert_eq!(channel.counts().failed_calls, 0);
    assert_eq!(api.known.lists(), 1);
}

#[tokio::test]
async fn an_endpoint_that_terminates_gets_calls_only_while_none_is_ready() {
    let api = ApiServer::start().await;
    let [a, b] = [named("a"), named("b")].map(TestServer::start);
    let terminating =
        json!({ "conditions": { "ready": false, "serving": true, "terminating": true } });
    api.known.put("one", &[(&a, terminating)]);
    let channel = dial(&api);
    until_answered_by(&channel, &["a"]).await;
    api.known.put_ready("two", &b);
    until_answered_by(&channel, &["b"]).await;
    api.known.remove("two");
    until_answered_by(&channel, &["a"]).await;
}

#[tokio::test]
async fn a_watch_goes_on_from_its_bookmark_and_lists_anew_when_that_is_too_old() {
    let api = ApiServer::start().await;
    let [a, b] = [named("a"), named("b")].map(TestServer::start);
    api.known.put_ready("one", &a);
    let channel = dial(&api);
    until_answered_by(&channel, &["a"]).await;
    within(api.known.began_at(1)).await;
    let bookmark = api.known.bookmark();
    api.known.cut();
    within(api.known.began_at(bookmark)).await;
    assert_eq!(api.known.lists(), 1);

    api.known.expire();
    api.known.put_ready("two", &b);
    until_answered_by(&channel, &["a", "b"]).await;
    assert_eq!(api.known.lists(), 2);
    assert_eq!(*a.open_connections.borrow(), 1, "kept its connection");
}

#[tokio::test]
async fn while_the_api_server_is_away_the_last_endpoints_stay_in_use() {
    let mut api = ApiServer::start().await;
    let [a, b] = [named("a"), named("b")].map(TestServer::start);
    api.known.put_ready("one", &a);
    let channel = dial(&api);
    until_answered_by(&channel, &["a"]).await;
    let (address, known) = (api.address, api.known.clone());
    drop(api);
    // Longer than a lost connection makes it look again.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        assert_eq!(say(&channel, "").await.unwrap(), "a");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    known.put_ready("one", &b);
    api = ApiServer::at(address, known).await;
    until_answered_by(&channel, &["b"]).await;
    assert_eq!(channel.counts().failed_calls, 0);
    drop(api);
}

#[tokio::test]
async fn an_api_server_that_is_away_or_says_no_is_told_with_what_to_do() {
    let refused = |status: tonic::Status, says: &[&str]| {
        assert_eq!(status.code(), Code::Unavailable);
        for says in says {
            assert!(status.message().contains(says), "{says}: {status:?}");
        }
    };
    let api = ApiServer::start().await;
    let target = api.target();
    let known = api.known.clone();
    drop(api);
    let away = Channel::dial(&target).unwrap();
    let says = [
        "\"orders.west\"",
        "http://127.0.0.1",
        "refused",
        "NetworkPolicy",
    ];
    refused(within(say(&away, "")).await.unwrap_err(), &says);

    let api = ApiServer::of(known).await;
    let server = TestServer::start(named("a"));
    api.known.put_ready("one", &server);
    api.known.forbid("list");
    let channel = dial(&api);
    let says = [
        "list endpointslices",
        "\"west\"",
        "Role",
        "verbs [\"list\", \"watch\"]",
    ];
    refused(within(say(&channel, "")).await.unwrap_err(), &says);
    // As soon as the Role is there.
    api.known.forbid(None);
    let allowed = async {
        while say(&channel, "").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(allowed).await;

    let no_port = Channel::dial(target_with_port(&api, "http")).unwrap();
    let says = ["none of its ports is called \"http\"", "\"grpc\""];
    refused(within(say(&no_port, "")).await.unwrap_err(), &says);

    api.known.fall_silent();
    api.known.cut();
    let other = api.target().replace("orders", "payments");
    let silent = Channel::dial(&other).unwrap();
    let says = ["\"payments.west\"", "http://127.0.0.1", "did not answer"];
    refused(within(say(&silent, "")).await.unwrap_err(), &says);
}

fn target_with_port(api: &ApiServer, port: &str) -> String {
    api.target().replace(":grpc", &format!(":{port}"))
}

#[tokio::test]
async fn a_program_that_may_not_watch_still_lists() {
    let api = ApiServer::start().await;
    let [a, b] = [named("a"), named("b")].map(TestServer::start);
    api.known.put_ready("one", &a);
    api.known.forbid("watch");
    let channel = dial(&api);
    until_answered_by(&channel, &["a"]).await;
    api.known.put_ready("one", &b);
    until_answered_by(&channel, &["b"]).await;
}

#[tokio::test]
async fn channels_to_one_service_share_a_watch_that_ends_with_the_last() {
    let api = ApiServer::start().await;
    let server = TestServer::start(named("a"));
    api.known.put_ready("one", &server);
    let channels = [(); 3].map(|()| dial(&api));
    for channel in &channels {
        until_answered_by(channel, &["a"]).await;
    }
    let mut watches = api.watches.clone();
    within(watches.wait_for(|open| *open == 1)).await.unwrap();
    assert_eq!(api.known.lists(), 1);
    drop(channels);
    within(watches.wait_for(|open| *open == 0)).await.unwrap();
    let channel = dial(&api);
    until_answered_by(&channel, &["a"]).await;
    assert_eq!(api.known.lists(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_outlives_the_runtime_that_began_it() {
    let api = ApiServer::start().await;
    let [a, b] = [named("a"), named("b")].map(TestServer::start);
    api.known.put_ready("one", &a);
    let channel = dial(&api);
    let other = channel.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(say(&other, "")).unwrap()
    });
    let first = tokio::task::spawn_blocking(move || thread.join().unwrap());
    assert_eq!(within(first).await.unwrap(), "a");
    until_answered_by(&channel, &["a"]).await;
    api.known.put_ready("one", &b);
    until_answered_by(&channel, &["b"]).await;
}

#[tokio::test]
async fn endpoints_of_ones_own_zone_go_first() {
    let api = ApiServer::start().await;
    let [a, b] = [named("a"), named("b")].map(TestServer::start);
    api.known.put(
        "one",
        &[(&a, json!({ "addresses": ["10.0.0.1"], "zone": "east" }))],
    );
    api.known.put(
        "two",
        &[(&b, json!({ "addresses": ["10.0.0.2"], "zone": "north" }))],
    );
    let channel = Channel::configure(api.target())
        .balance(Balancing::by(Balance::RoundRobin).near_first())
        .zone("north")
        // Loopback would be nearer than any zone.
        .connector(|address| async move {
            match address {
                Address::Tcp(pod) => TcpStream::connect(("127.0.0.1", pod.port())).await,
                Address::Unix(_) => Err(std::io::ErrorKind::Unsupported.into()),
            }
        });
    let channel = channel.build().unwrap();
    until_ready(&channel, 2).await;
    for _ in 0..20 {
        assert_eq!(say(&channel, "").await.unwrap(), "b");
    }
}

#[tokio::test]
async fn kubeconfig_names_the_api_server_and_the_namespace() {
    if std::env::var_os(CHILD).is_some() {
        let channel = Channel::dial("k8s:///orders:grpc").unwrap();
        assert_eq!(within(say(&channel, "")).await.unwrap(), "a");
        return;
    }
    let api = ApiServer::start().await;
    let server = TestServer::start(named("a"));
    api.known.put_ready("one", &server);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{ "name": "test", "cluster": { "server": format!("http://{}", api.address) } }],
        "contexts": [{ "name": "test", "context": {
            "cluster": "test", "user": "test", "namespace": "west",
        } }],
        "users": [{ "name": "test", "user": { "token": "secret" } }],
    });
    std::fs::write(&path, config.to_string()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "kubernetes::kubeconfig_names_the_api_server_and_the_namespace",
    ]);
    child.env("KUBECONFIG", &path).env(CHILD, "1");
    let output = tokio::task::spawn_blocking(move || child.output().unwrap());
    let output = within(output).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
