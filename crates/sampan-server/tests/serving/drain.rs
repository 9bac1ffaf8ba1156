//! The drain, step by step.

use crate::{
    echo::{Client, Echo, Event, Running, any_port},
    probe::get,
};
use sampan_server::Server;
use sampan_transport::Address;
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};

const SOON: Duration = Duration::from_secs(10);

async fn is_refused(address: &Address) -> bool {
    let Address::Tcp(address) = address else {
        panic!("TCP")
    };
    TcpStream::connect(address).await.is_err()
}

#[tokio::test]
async fn a_drain_loses_no_call() {
    let (echo, mut events) = Echo::new();
    let server = Server::new()
        .listen(any_port())
        .probe(any_port())
        .lame_duck(Duration::from_millis(300))
        .drain_timeout(Duration::from_secs(20))
        .add_service(echo);
    let mut server = Running::start(server.bind().await.unwrap());
    let (address, probe) = (server.address.clone(), server.probe.clone().unwrap());
    let client = Client::connect(&address).await;
    let open = tokio::spawn({
        let client = client.clone();
        async move { client.unary("for 1500").await }
    });
    assert_eq!(
        events.recv().await.unwrap(),
        Event::Began("for 1500".to_owned())
    );
    assert_eq!(get(&probe, "/ready").await.0, 200);

    server.signal();
    let not_ready = async { while get(&probe, "/ready").await.0 != 503 {} };
    timeout(SOON, not_ready).await.unwrap();
    // Lame duck: new connections and calls are still taken.
    let late = Client::connect(&address).await;
    assert_eq!(late.unary("late").await.unwrap(), "late");

    timeout(SOON, late.0.closed())
        .await
        .expect("GOAWAY on the idle connection");
    timeout(SOON, client.takes_no_more())
        .await
        .expect("GOAWAY on the busy connection");
    let refused = async { while !is_refused(&address).await {} };
    timeout(SOON, refused)
        .await
        .expect("the listener is closed");
    assert_eq!(get(&probe, "/ready").await.0, 503);
    assert!(!open.is_finished(), "the open call outlives the listener");

    assert_eq!(
        timeout(SOON, open).await.unwrap().unwrap().unwrap(),
        "slept"
    );
    timeout(SOON, server.ended()).await.unwrap();
    assert!(is_refused(&probe).await);
}

#[tokio::test]
async fn what_is_open_at_the_cap_is_aborted() {
    let (echo, mut events) = Echo::new();
    let server = Server::new()
        .listen(any_port())
        .lame_duck(Duration::ZERO)
        .drain_timeout(Duration::from_millis(300))
        .add_service(echo);
    let mut server = Running::start(server.bind().await.unwrap());
    let client = Client::connect(&server.address).await;
    let open = tokio::spawn(async move { client.unary("wait").await });
    events.recv().await.unwrap();
    server.signal();
    timeout(SOON, server.ended()).await.unwrap();
    open.await.unwrap().unwrap_err();
    assert_eq!(
        events.recv().await.unwrap(),
        Event::Dropped("wait".to_owned())
    );
}

#[tokio::test]
async fn a_health_watch_does_not_hold_up_the_drain() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let (echo, _events) = Echo::new();
    let server = Server::new()
        .listen(any_port())
        .lame_duck(Duration::ZERO)
        .add_service(echo);
    let mut server = Running::start(server.bind().await.unwrap());
    let client = Client::connect(&server.address).await;
    let origin = http::Uri::from_static("http://test");
    let mut health = HealthClient::with_origin(client, origin);
    let request = HealthCheckRequest {
        service: "test.Echo".to_owned(),
    };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1, "SERVING");
    server.signal();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status,
        2,
        "NOT_SERVING"
    );
    assert!(watch.message().await.unwrap().is_none());
    timeout(SOON, server.ended())
        .await
        .expect("long before the cap of 25 s");
}
