//! Where a channel stands, and who decides it: its connections, its use, its endpoints' health.

use crate::{endpoints::until_ready, support::*};
use sampan_client::{
    Balance, Channel,
    ConnectivityState::{self, Connecting, Idle, Ready, TransientFailure},
    balance::PickFirst,
};
use sampan_wire::policy::CallPolicy;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;
use tonic::{Code, Request};

async fn until(channel: &Channel, wanted: ConnectivityState) {
    let reached = async {
        let mut state = channel.state();
        while state != wanted {
            state = channel.state_changed(state).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), reached)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_state_of_a_channel_is_that_of_its_best_endpoint() {
    let server = TestServer::start(echo());
    let address = server.address.clone();
    let channel = Channel::configure(server.target())
        .idle_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    assert_eq!(channel.state(), Idle);
    channel.connect().await.unwrap();
    assert_eq!(channel.state(), Ready);
    // Nobody calls.
    until(&channel, Idle).await;
    let mut open = server.open_connections.clone();
    open.wait_for(|open| *open == 0).await.unwrap();

    let calls = async {
        loop {
            let _ = say(&channel, "").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let watched = async {
        until(&channel, Ready).await;
        drop(server);
        until(&channel, TransientFailure).await;
        let _back = TestServer::start_at(&address, echo());
        until(&channel, Ready).await;
    };
    tokio::select! {
        () = calls => {}
        () = watched => {}
    }
}

#[tokio::test]
async fn a_call_that_waits_for_readiness_outlives_a_server_that_is_away() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let channel = Channel::dial(address.to_string()).unwrap();
    let mut request = Request::new("waits".to_owned());
    let waits = CallPolicy::new().with_wait_for_ready(true);
    request.extensions_mut().insert(waits);
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { send(&channel, request).await }
    });
    until(&channel, TransientFailure).await;
    assert_eq!(
        say(&channel, "").await.unwrap_err().code(),
        Code::Unavailable
    );
    let _server = TestServer::start_at(&address.into(), echo());
    let answer = tokio::time::timeout(Duration::from_secs(3), waiting).await;
    assert_eq!(answer.unwrap().unwrap().unwrap(), "waits");
}

/// Answers health checks as it is told, and all else with `name`. Counts checks.
fn with_health(
    name: &'static str,
    health: watch::Receiver<u8>,
    asked: Arc<AtomicUsize>,
) -> Handler {
    let named = named(name);
    Arc::new(move |request| {
        if request.uri().path() != "/grpc.health.v1.Health/Watch" {
            return named(request);
        }
        asked.fetch_add(1, Ordering::SeqCst);
        let mut health = health.clone();
        health.mark_changed();
        Box::pin(async move {
            let answers = futures_util::stream::unfold(health, |mut health| async {
                health.changed().await.ok()?;
                let status = *health.borrow_and_update();
                let bytes = bytes::Bytes::from(vec![0, 0, 0, 0, 2, 8, status]);
                Some((Ok(Frame::data(bytes)), health))
            });
            respond_with(answers)
        })
    })
}

const CHECKED: &str = r#"{"healthCheckConfig": {"serviceName": "test.Text"}}"#;
const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;

#[tokio::test]
async fn an_endpoint_that_says_it_is_not_serving_gets_no_calls_until_it_is() {
    let asked = Arc::<AtomicUsize>::default();
    let (a_feels, of_a) = watch::channel(NOT_SERVING);
    let (b_feels, of_b) = watch::channel(SERVING);
    let a = TestServer::start(with_health("a", of_a, Arc::clone(&asked)));
    let b = TestServer::start(with_health("b", of_b, Arc::clone(&asked)));
    let channel = Channel::configure(format!("static:///{},{}", a.target(), b.target()))
        .balance(Balance::RoundRobin)
        .service_config(CHECKED)
        .build()
        .unwrap();
    channel.connect().await.unwrap();
    for _ in 0..20 {
        assert_eq!(say(&channel, "").await.unwrap(), "b");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    a_feels.send(SERVING).unwrap();
    until_ready(&channel, 2).await;
    b_feels.send(NOT_SERVING).unwrap();
    until_ready(&channel, 1).await;
    for _ in 0..20 {
        assert_eq!(say(&channel, "").await.unwrap(), "a");
    }
    a_feels.send(NOT_SERVING).unwrap();
    until(&channel, TransientFailure).await;
    let status = say(&channel, "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("SERVING"), "{status:?}");
    assert_eq!(*a.open_connections.borrow(), 1, "stays connected");
}

#[tokio::test]
async fn pick_first_asks_nobody_for_health() {
    let asked = Arc::<AtomicUsize>::default();
    let (_feels, of_it) = watch::channel(NOT_SERVING);
    let server = TestServer::start(with_health("it", of_it, Arc::clone(&asked)));
    let channel = Channel::configure(server.target())
        .balance(Balance::PickFirst)
        .service_config(CHECKED);
    let channel = channel.build().unwrap();
    assert_eq!(say(&channel, "").await.unwrap(), "it");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_server_that_does_not_know_of_health_is_well() {
    let unknown = handler(|request| async move {
        match request.uri().path() {
            "/grpc.health.v1.Health/Watch" => refuse(Code::Unimplemented, &[]),
            _ => respond([message("well"), trailers(0)]),
        }
    });
    let server = TestServer::start(unknown);
    let channel = Channel::configure(server.target())
        .service_config(CHECKED)
        .build()
        .unwrap();
    assert_eq!(say(&channel, "").await.unwrap(), "well");
    let without = Channel::dial(server.target()).unwrap();
    say(&without, "").await.unwrap();
    assert_eq!(server.calls(), 3, "without a config nobody asks");
    assert_ne!(channel.state(), Connecting);
}

#[tokio::test]
async fn a_service_config_says_how_many_connections_an_endpoint_may_have() {
    let (release, released) = watch::channel(false);
    let held = handler(move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|is| *is).await.unwrap();
            respond([message("done"), trailers(0)])
        }
    });
    let address = "127.0.0.1:0".parse().unwrap();
    let server = TestServer::start_with(&address, held, with_streams(1));
    let channel = Channel::configure(server.target())
        .service_config(r#"{"connectionScaling": {"maxConnectionsPerSubchannel": 2}}"#)
        .build()
        .unwrap();
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { say(&channel, "").await })
        })
        .collect();
    while server.calls() < 2 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((server.calls(), *server.open_connections.borrow()), (2, 2));
    release.send(true).unwrap();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "done");
    }
}

#[tokio::test]
async fn pick_first_connects_to_one_and_goes_past_those_that_do_not_answer() {
    // Takes connections and says nothing; one that is away; and two that serve.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let (silent_at, gone_at) = (silent.local_addr().unwrap(), gone.local_addr().unwrap());
    drop(gone);
    let [c, d] = ["127.0.0.3:0", "127.0.0.4:0"]
        .map(|address| TestServer::start_at(&address.parse().unwrap(), named("any")));
    let target = format!("ipv4:{silent_at},{gone_at},{},{}", c.target(), d.target());
    let channel = Channel::configure(target)
        .balance(Balance::policy(PickFirst::in_order()))
        .build()
        .unwrap();
    let started = std::time::Instant::now();
    say(&channel, "").await.unwrap();
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(240) && took < Duration::from_secs(2),
        "{took:?}"
    );
    for _ in 0..20 {
        say(&channel, "").await.unwrap();
    }
    assert_eq!((c.calls(), d.calls()), (21, 0));
    assert_eq!(*d.open_connections.borrow(), 0);
    let states: Vec<_> = channel.endpoints().iter().map(|one| one.state).collect();
    assert_eq!(states, [Idle, Idle, Ready, Idle]);
    // The silent one and the one that is away are tried again, then the next.
    drop(c);
    let moved = async {
        while say(&channel, "").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), moved)
        .await
        .unwrap();
    assert_eq!(d.calls(), 1);
}
