//! The threads that a server adds to a current-thread runtime.

use crate::{
    echo::{Client, Echo, Event, GATE, Running, any_port},
    limits::socket,
};
use http::Request;
use sampan_server::Server;
use sampan_transport::Address;
use std::{
    collections::BTreeMap,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{io::AsyncReadExt, sync::mpsc, time::timeout};
use tonic::body::Body;
use tower_service::Service;

const SOON: Duration = Duration::from_secs(10);

fn two_workers() -> (Server, mpsc::UnboundedReceiver<Event>) {
    let (echo, events) = Echo::new();
    (Server::new().workers(2).add_service(echo), events)
}

async fn start(server: Server) -> Running {
    Running::start(server.listen(any_port()).bind().await.unwrap())
}

/// A client on the caller's thread, and one on the worker's.
async fn a_client_of_each(address: &Address) -> [Client; 2] {
    let here = Client::connect(address).await;
    let there = Client::connect(address).await;
    let (first, second) = (thread(&here).await, thread(&there).await);
    assert!(!first.contains("sampan-worker"), "{first}");
    assert!(second.contains("sampan-worker-1"), "{second}");
    [here, there]
}

async fn thread(client: &Client) -> String {
    timeout(SOON, client.unary("thread"))
        .await
        .unwrap()
        .unwrap()
}

/// Waits until `count` handlers have told `event`.
async fn hear(events: &mut mpsc::UnboundedReceiver<Event>, event: &Event, count: usize) {
    let mut heard = 0;
    while heard < count {
        let next = timeout(SOON, events.recv()).await.unwrap().unwrap();
        heard += usize::from(next == *event);
    }
}

async fn four_land_two_and_two(address: &Address) {
    let mut clients = Vec::new();
    let mut by_thread = BTreeMap::<_, usize>::new();
    for _ in 0..4 {
        let client = Client::connect(address).await;
        *by_thread.entry(thread(&client).await).or_default() += 1;
        clients.push(client);
    }
    assert!(by_thread.values().eq(&[2, 2]), "{by_thread:?}");
    let me = format!("{:?} ", std::thread::current().id());
    assert!(by_thread.keys().any(|thread| thread.starts_with(&me)));
}

#[tokio::test]
async fn four_connections_land_two_and_two() {
    let (server, _events) = two_workers();
    let server = start(server).await;
    four_land_two_and_two(&server.address).await;
}

#[tokio::test]
async fn connections_of_a_unix_socket_are_dealt_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let (server, _events) = two_workers();
    let server = server.listen(Address::Unix(path)).bind().await.unwrap();
    let server = Running::start(server);
    four_land_two_and_two(&server.address).await;
}

#[tokio::test]
async fn of_workers_with_as_many_connections_the_one_with_fewer_calls_gets_the_next() {
    let (server, mut events) = two_workers();
    let server = start(server).await;
    let [here, _there] = a_client_of_each(&server.address).await;
    let mut open = here.stream("open").await;
    assert_eq!(open.message().await.unwrap().unwrap(), "open");
    hear(&mut events, &Event::Began("open".to_owned()), 1).await;
    let third = Client::connect(&server.address).await;
    assert!(thread(&third).await.contains("sampan-worker-1"));
}

#[tokio::test]
async fn what_a_handler_spawns_stays_on_its_thread() {
    let (server, _events) = two_workers();
    let server = start(server).await;
    for client in a_client_of_each(&server.address).await {
        let spawned = client.unary("spawned thread").await.unwrap();
        let own = thread(&client).await;
        assert!(own.starts_with(&format!("{spawned} ")), "{own} {spawned}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_is_added_to_a_multi_thread_runtime() {
    let (server, _events) = two_workers();
    let server = start(server).await;
    for _ in 0..2 {
        let client = Client::connect(&server.address).await;
        let thread = thread(&client).await;
        assert!(thread.contains("tokio"), "{thread}");
    }
}

#[tokio::test]
async fn a_drain_waits_for_the_calls_of_every_worker() {
    let (server, mut events) = two_workers();
    let mut server = start(server.lame_duck(Duration::ZERO)).await;
    let clients = a_client_of_each(&server.address).await;
    let open = clients
        .clone()
        .map(|client| tokio::spawn(async move { client.unary("for 500").await }));
    hear(&mut events, &Event::Began("for 500".to_owned()), 2).await;
    server.signal();
    for client in clients {
        timeout(SOON, client.takes_no_more())
            .await
            .expect("GOAWAY on the connections of every worker");
    }
    for open in open {
        assert_eq!(open.await.unwrap().unwrap(), "slept");
    }
    timeout(SOON, server.ended()).await.unwrap();
}

#[tokio::test]
async fn what_is_open_on_any_worker_at_the_cap_is_aborted() {
    let (server, mut events) = two_workers();
    let server = server
        .lame_duck(Duration::ZERO)
        .drain_timeout(Duration::from_millis(100));
    let mut server = start(server).await;
    let open = a_client_of_each(&server.address)
        .await
        .map(|client| tokio::spawn(async move { client.unary("wait").await }));
    hear(&mut events, &Event::Began("wait".to_owned()), 2).await;
    server.signal();
    timeout(SOON, server.ended()).await.unwrap();
    for open in open {
        open.await.unwrap().unwrap_err();
    }
    hear(&mut events, &Event::Dropped("wait".to_owned()), 2).await;
}

#[tokio::test]
async fn an_abort_does_not_wait_long_for_a_thread_that_a_handler_blocks() {
    let (server, mut events) = two_workers();
    let server = server
        .lame_duck(Duration::ZERO)
        .drain_timeout(Duration::ZERO);
    let mut server = start(server).await;
    let [_here, there] = a_client_of_each(&server.address).await;
    let closed = there.0.closed();
    let open = tokio::spawn(async move { there.unary("block").await });
    hear(&mut events, &Event::Began("block".to_owned()), 1).await;
    server.signal();
    timeout(SOON, server.ended()).await.unwrap();
    assert!(!open.is_finished());
    GATE.wait();
    // Late, but the thread closes what it has.
    timeout(SOON, closed).await.unwrap();
}

#[tokio::test]
async fn the_cap_on_connections_is_that_of_all_workers() {
    let (server, _events) = two_workers();
    let server = start(server.max_connections(2)).await;
    let clients = a_client_of_each(&server.address).await;
    let mut third = socket(&server.address).await;
    let closed = timeout(SOON, third.read(&mut [0])).await.unwrap();
    assert_eq!(closed.unwrap_or(0), 0);
    for client in clients {
        client.unary("goes on").await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_server_closes_every_connection_and_its_threads_end() {
    let (server, mut events) = two_workers();
    let server = start(server).await;
    let [here, there] = a_client_of_each(&server.address).await;
    there.unary("stay").await.unwrap();
    server.drop_serving();
    timeout(SOON, here.0.closed()).await.unwrap();
    timeout(SOON, there.0.closed()).await.unwrap();
    // A value of the thread itself.
    hear(&mut events, &Event::Dropped("stay".to_owned()), 1).await;
}

/// Cannot be had on a worker's thread.
struct Homebound<S>(S);

impl<S: Clone> Clone for Homebound<S> {
    fn clone(&self) -> Self {
        let name = std::thread::current().name().map(str::to_owned);
        assert!(name.is_none_or(|name| !name.starts_with("sampan-worker")));
        Self(self.0.clone())
    }
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Homebound<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        self.0.call(request)
    }
}

#[tokio::test]
async fn a_panic_of_a_worker_goes_on_in_serve() {
    let (server, _events) = two_workers();
    let server = server
        .listen(any_port())
        .layer(tower::layer::layer_fn(Homebound));
    let server = Running::start(server.bind().await.unwrap());
    let here = Client::connect(&server.address).await;
    here.unary("answered").await.unwrap();
    let _there = socket(&server.address).await;
    timeout(SOON, server.panicked()).await.unwrap();
}
