//! What channels count of calls in every shape, and where a program finds it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use sampan::{Address, Channel, Code, Server};
use sampan_testing::{
    Echo,
    proto::{EchoRequest, FailRequest, StreamRequest, echo_client::EchoClient},
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};
use tokio::sync::oneshot;

fn has(text: &str, lines: &[String]) {
    for line in lines {
        assert!(
            text.lines().any(|one| one == line),
            "{line} is missing in\n{text}"
        );
    }
}

fn anywhere() -> Address {
    Address::Tcp(([127, 0, 0, 1], 0).into())
}

fn asking() -> EchoRequest {
    EchoRequest {
        text: "hi".to_owned(),
        ..EchoRequest::default()
    }
}

fn probe(address: SocketAddr) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn calls_of_every_shape_are_counted_by_their_methods_names() {
    let server = Server::new()
        .lame_duck(Duration::ZERO)
        .add_service(Echo::named("echo").into_service())
        .listen(anywhere())
        .probe(anywhere());
    let server = server.bind().await.unwrap();
    let target = server.local_addresses()[0].to_string();
    let Some(Address::Tcp(probes)) = server.probe_address().cloned() else {
        panic!("it has a port");
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(server.serve_until(async { drop(stopped.await) }));
    let channel = Channel::dial(&target).unwrap();
    let mut client = EchoClient::new(channel.clone());

    for _ in 0..3 {
        client.unary(asking()).await.unwrap();
    }
    let failing = FailRequest {
        code: Code::NotFound as i32,
        ..FailRequest::default()
    };
    client.fail(failing).await.unwrap_err();
    let streaming = StreamRequest {
        text: "abc".to_owned(),
        count: 2,
        ..StreamRequest::default()
    };
    let mut answers = client.server_stream(streaming).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    let requests = tokio_stream::iter([asking(), asking()]);
    client.client_stream(requests).await.unwrap();

    let line = |name: &str, method: &str, status: &str, value: &str| {
        let method = format!("sampan.testing.v1.Echo/{method}");
        let status = match status {
            "" => String::new(),
            status => format!(r#",grpc_status="{status}""#),
        };
        format!(
            r#"grpc_client_{name}{{grpc_method="{method}",grpc_target="dns:///{target}"{status}}} {value}"#
        )
    };
    let sent = "attempt_sent_total_compressed_message_size_bytes_sum";
    let received = "attempt_rcvd_total_compressed_message_size_bytes_sum";
    let lines = [
        line("attempt_started_total", "Unary", "", "3"),
        line("attempt_duration_seconds_count", "Unary", "OK", "3"),
        line("call_duration_seconds_count", "Unary", "OK", "3"),
        line(sent, "Unary", "OK", "12.0"),
        line(received, "Unary", "OK", "12.0"),
        line("call_duration_seconds_count", "Fail", "NOT_FOUND", "1"),
        line("attempt_duration_seconds_count", "Fail", "NOT_FOUND", "1"),
        // Two answers of "abc", the second with its index.
        line(received, "ServerStream", "OK", "12.0"),
        line(sent, "ClientStream", "OK", "8.0"),
        // "hi hi", the bytes of all payloads, and how many there were.
        line(received, "ClientStream", "OK", "12.0"),
    ];
    has(&channel.metrics(), &lines);
    has(&sampan::client::metrics_text(), &lines);
    let page = tokio::task::spawn_blocking(move || probe(probes))
        .await
        .unwrap();
    has(&page.replace('\r', ""), &lines);
    assert!(page.contains("grpc_server_call_started_total"));
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}
