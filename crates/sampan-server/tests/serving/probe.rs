//! The probe port.

use crate::echo::{Client, Echo, Running, any_port};
use sampan_server::Server;
use sampan_transport::Address;
use std::collections::HashMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};

/// Status and text that a path is answered with over HTTP/1.1.
pub(crate) async fn get(address: &Address, path: &str) -> (u16, String) {
    let Address::Tcp(address) = address else {
        panic!("TCP")
    };
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_head, text) = answer.split_once("\r\n\r\n").unwrap();
    (status, text.to_owned())
}

#[tokio::test]
async fn probes_tell_life_readiness_and_counts() {
    let (echo, _events) = Echo::new();
    let server = Server::new()
        .listen(any_port())
        .probe(any_port())
        .add_service(echo);
    let server = Running::start(server.bind().await.unwrap());
    let probe = server.probe.clone().unwrap();
    assert_eq!(get(&probe, "/health").await.0, 200);
    assert_eq!(get(&probe, "/ready").await.0, 200);
    let (status, text) = get(&probe, "/other").await;
    assert_eq!(status, 404);
    assert!(text.contains("/metrics"));

    let client = Client::connect(&server.address).await;
    client.unary("counted").await.unwrap();
    client.unary("panic").await.unwrap_err();
    client.call("/test.Echo/MadeUp", "").await.unwrap_err();
    let texts = ["one", "two", ""].map(str::to_owned);
    assert_eq!(client.collect(texts).await.unwrap(), "onetwo");
    let (status, text) = get(&probe, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        r#"grpc_server_call_started_total{grpc_method="test.Echo/Unary"} 2"#,
        r#"grpc_server_calls_in_flight{grpc_method="test.Echo/Unary"} 0"#,
        r#"duration_seconds_count{grpc_method="test.Echo/Unary",grpc_status="OK"} 1"#,
        r#"duration_seconds_count{grpc_method="test.Echo/Unary",grpc_status="INTERNAL"} 1"#,
        r#"duration_seconds_count{grpc_method="other",grpc_status="UNIMPLEMENTED"} 1"#,
        // A tag and a length before each of the texts.
        r#"rcvd_total_compressed_message_size_bytes_sum{grpc_method="test.Echo/Unary",grpc_status="OK"} 9.0"#,
        r#"sent_total_compressed_message_size_bytes_sum{grpc_method="test.Echo/Unary",grpc_status="OK"} 9.0"#,
        r#"rcvd_total_compressed_message_size_bytes_sum{grpc_method="test.Echo/Unary",grpc_status="INTERNAL"} 7.0"#,
        r#"sent_total_compressed_message_size_bytes_sum{grpc_method="test.Echo/Unary",grpc_status="INTERNAL"} 0.0"#,
        r#"rcvd_total_compressed_message_size_bytes_sum{grpc_method="test.Echo/Collect",grpc_status="OK"} 10.0"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

/// Serves echo, and probes on a port of their own.
async fn with_probe() -> Running {
    let (echo, _events) = Echo::new();
    let server = Server::new()
        .listen(any_port())
        .probe(any_port())
        .add_service(echo);
    Running::start(server.bind().await.unwrap())
}

#[tokio::test]
async fn both_ports_answer_grpc_health_checks() {
    let server = with_probe().await;
    for address in [&server.address, server.probe.as_ref().unwrap()] {
        let client = Client::connect(address).await;
        let origin = http::Uri::from_static("http://test");
        let mut health = HealthClient::with_origin(client, origin);
        for service in ["", "test.Echo"] {
            let request = HealthCheckRequest {
                service: service.to_owned(),
            };
            let answer = health.check(request).await.unwrap().into_inner();
            assert_eq!(answer.status, 1, "SERVING");
        }
        let request = HealthCheckRequest {
            service: "test.Other".to_owned(),
        };
        let status = health.check(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::NotFound);
    }
}

#[derive(prost::Message)]
struct HealthList {
    #[prost(map = "string, message", tag = "1")]
    statuses: HashMap<String, HealthCheckResponse>,
}

#[tokio::test]
async fn both_ports_list_the_health_of_all_services() {
    let server = with_probe().await;
    for address in [&server.address, server.probe.as_ref().unwrap()] {
        let origin = http::Uri::from_static("http://test");
        let mut client = tonic::client::Grpc::with_origin(Client::connect(address).await, origin);
        client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/List");
        let codec = tonic_prost::ProstCodec::<(), HealthList>::default();
        let list = client.unary(tonic::Request::new(()), path, codec).await;
        let mut statuses: Vec<_> = list.unwrap().into_inner().statuses.into_iter().collect();
        statuses.sort_by(|one, other| one.0.cmp(&other.0));
        let serving = HealthCheckResponse { status: 1 };
        let expected = ["", "test.Echo"].map(|name| (name.to_owned(), serving));
        assert_eq!(statuses, expected);
    }
}
