//! A program written for tonic's transport, with `tonic::transport` in its `use` lines made
//! `sampan::transport`: nothing else is different.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use sampan::transport::{Channel, Endpoint, Server};
use sampan_testing::{
    Echo,
    proto::{EchoRequest, echo_client::EchoClient, echo_server::EchoServer},
};
use std::time::Duration;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Status, metadata::MetadataValue, service::interceptor::InterceptedService};

type Served = JoinHandle<Result<(), Box<dyn std::error::Error + Send + Sync>>>;

async fn start(name: &str) -> (String, oneshot::Sender<()>, Served) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = Server::builder()
        .timeout(Duration::from_secs(5))
        .concurrency_limit_per_connection(32)
        .add_service(EchoServer::new(Echo::named(name)))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
            drop(stopped.await);
        });
    let served = tokio::spawn(async { Ok(serving.await?) });
    (uri, stop, served)
}

fn empty() -> EchoRequest {
    EchoRequest::default()
}

#[tokio::test]
async fn a_client_connects_by_its_generated_function() {
    let (uri, stop, served) = start("one").await;
    let mut client = EchoClient::connect(uri).await.unwrap();
    assert_eq!(
        client.unary(empty()).await.unwrap().into_inner().text,
        "one"
    );
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_endpoint_is_configured_and_connected() {
    let (uri, stop, served) = start("one").await;
    let channel = Endpoint::from_shared(uri)
        .unwrap()
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(2))
        .tcp_nodelay(true)
        .connect()
        .await
        .unwrap();
    let answer = EchoClient::new(channel).unary(empty()).await.unwrap();
    assert_eq!(answer.into_inner().text, "one");
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_balanced_channel_calls_all_its_endpoints() {
    let mut endpoints = Vec::new();
    let mut running = Vec::new();
    for name in ["one", "two", "three"] {
        let (uri, stop, served) = start(name).await;
        endpoints.push(Endpoint::from_shared(uri).unwrap());
        running.push((stop, served));
    }
    let mut client = EchoClient::new(Channel::balance_list(endpoints.into_iter()));
    let mut heard = std::collections::BTreeSet::new();
    for _ in 0..200 {
        heard.insert(client.unary(empty()).await.unwrap().into_inner().text);
        if heard.len() == 3 {
            break;
        }
    }
    assert_eq!(
        heard.into_iter().collect::<Vec<_>>(),
        ["one", "three", "two"]
    );
    for (stop, served) in running {
        stop.send(()).unwrap();
        served.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_interceptor_sees_and_changes_calls() {
    let (uri, stop, served) = start("one").await;
    let channel = Endpoint::from_shared(uri).unwrap().connect_lazy();
    let mark = |mut request: Request<()>| -> Result<Request<()>, Status> {
        let value = MetadataValue::from_static("marked");
        request.metadata_mut().insert("echo-mark", value);
        Ok(request)
    };
    let mut client: EchoClient<InterceptedService<Channel, _>> =
        EchoClient::with_interceptor(channel, mark);
    let answer = client.unary(empty()).await.unwrap();
    assert_eq!(answer.metadata().get("echo-mark").unwrap(), "marked");
    drop(client);
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}
