//! What single calls are answered.

use crate::echo::{Client, Echo, Event, Running, any_port, raw, serve};
use bytes::Bytes;
use sampan_server::Server;
use sampan_transport::Address;
use std::time::Duration;
use tonic::Code;

fn code(status: Option<tonic::Status>) -> Code {
    status.expect("a gRPC status").code()
}

#[tokio::test]
async fn one_server_answers_over_tcp_and_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = Address::Unix(folder.path().join("echo.sock"));
    let (echo, _events) = Echo::new();
    let server = Server::new()
        .listen(any_port())
        .listen(socket.clone())
        .add_service(echo);
    let server = Running::start(server.bind().await.unwrap());
    let tcp = Client::connect(&server.address).await;
    assert_eq!(tcp.unary("over tcp").await.unwrap(), "over tcp");
    assert!(tcp.unary("who am I").await.unwrap().contains("127.0.0.1:"));
    let unix = Client::connect(&socket).await;
    assert_eq!(unix.unary("over unix").await.unwrap(), "over unix");
    assert_eq!(unix.unary("who am I").await.unwrap(), "None");
}

#[tokio::test]
async fn a_panic_is_internal_and_its_connection_lives() {
    let (server, _events) = serve().await;
    let client = Client::connect(&server.address).await;
    let status = client.unary("panic").await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("asked"), "{status}");

    let mut stream = client.stream("panic").await;
    assert_eq!(stream.message().await.unwrap().unwrap(), "first");
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Internal);

    assert_eq!(client.unary("next").await.unwrap(), "next");
    assert!(!client.0.is_closed());
}

#[tokio::test]
async fn wrong_names_are_unimplemented_with_a_hint() {
    let (server, _events) = serve().await;
    let client = Client::connect(&server.address).await;
    let status = client.call("/test.Ecko/Unary", "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(
        status.message().contains("did you mean test.Echo/Unary?"),
        "{status}"
    );
    let status = client.call("/test.Echo/Nothing", "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_message_over_the_limit_is_resource_exhausted() {
    let (server, _events) = serve().await;
    let client = Client::connect(&server.address).await;
    // A text of this length makes a message of 4 MiB exactly: a tag and four bytes of length.
    let fits = "x".repeat((4 << 20) - 5);
    assert_eq!(client.unary(&fits).await.unwrap().len(), fits.len());
    for path in ["/test.Echo/Unary", "/test.Echo/Collect"] {
        let status = client.call(path, &format!("{fits}x")).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{path}: {status}");
    }
    assert_eq!(client.unary("next").await.unwrap(), "next");

    let status = client.unary("own out of range").await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_services_own_message_limit_holds() {
    let (echo, _events) = Echo::new();
    let echo = echo.with_max_message(8 << 20);
    let server = Server::new()
        .listen(any_port())
        .add_service(echo)
        .bind()
        .await
        .unwrap();
    let server = Running::start(server);
    let client = Client::connect(&server.address).await;
    let text = "x".repeat(5 << 20);
    let answer = client.call("/test.Echo/Unary", &text).await;
    // The client's own limit is 4 MiB: that it complains shows that the server answered.
    assert_eq!(answer.unwrap_err().code(), Code::OutOfRange);
    let status = client.unary(&"x".repeat(9 << 20)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn malformed_calls_get_their_status_and_harm_no_other() {
    let (server, mut events) = serve().await;
    let client = Client::connect(&server.address).await;
    let message = Bytes::from_static(b"\0\0\0\0\0");

    let mut request = raw("/test.Echo/Unary", message.clone());
    request
        .headers_mut()
        .insert("grpc-timeout", "soon".parse().unwrap());
    assert_eq!(code(client.send(request).await.1), Code::InvalidArgument);

    let bad_flag = raw("/test.Echo/Unary", Bytes::from_static(b"\x07\0\0\0\0"));
    assert_eq!(code(client.send(bad_flag).await.1), Code::Internal);
    let cut_short = raw("/test.Echo/Unary", Bytes::from_static(b"\0\0\0\0\x09ab"));
    assert_eq!(code(client.send(cut_short).await.1), Code::Internal);
    let no_proto = raw(
        "/test.Echo/Unary",
        Bytes::from_static(b"\0\0\0\0\x02\xff\xff"),
    );
    assert_eq!(code(client.send(no_proto).await.1), Code::Internal);
    assert!(events.try_recv().is_err(), "no handler was reached");

    let mut request = raw("/test.Echo/Unary", message);
    request
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    let (status, grpc) = client.send(request).await;
    assert_eq!(status, http::StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(grpc.is_none());

    assert_eq!(client.unary("next").await.unwrap(), "next");
}

#[tokio::test]
async fn a_deadline_ends_the_handler_and_the_stream() {
    let (server, mut events) = serve().await;
    let client = Client::connect(&server.address).await;
    for path in ["/test.Echo/Unary", "/test.Echo/Stream"] {
        let mut request = raw(path, Bytes::from_static(b"\0\0\0\0\x06\x0a\x04wait"));
        request
            .headers_mut()
            .insert("grpc-timeout", "50m".parse().unwrap());
        assert_eq!(
            code(client.send(request).await.1),
            Code::DeadlineExceeded,
            "{path}"
        );
        assert_eq!(
            events.recv().await.unwrap(),
            Event::Began("wait".to_owned())
        );
        assert_eq!(
            events.recv().await.unwrap(),
            Event::Dropped("wait".to_owned())
        );
    }
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_caller_or_connection_goes() {
    let (server, mut events) = serve().await;
    let wait = || {
        raw(
            "/test.Echo/Unary",
            Bytes::from_static(b"\0\0\0\0\x06\x0a\x04wait"),
        )
    };
    let (began, dropped) = (
        Event::Began("wait".to_owned()),
        Event::Dropped("wait".to_owned()),
    );

    let client = Client::connect(&server.address).await;
    let call = tokio::spawn(client.start(wait()));
    assert_eq!(events.recv().await.unwrap(), began);
    call.abort();
    assert_eq!(events.recv().await.unwrap(), dropped);
    assert_eq!(client.unary("next").await.unwrap(), "next");
    events.recv().await.unwrap();
    events.recv().await.unwrap();

    // A connection that breaks without a word, streams and all.
    let (near, far) = tokio::io::duplex(4096);
    let Address::Tcp(address) = server.address else {
        panic!("TCP")
    };
    let pipe = tokio::spawn(async move {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut far = far;
        tokio::io::copy_bidirectional(&mut far, &mut socket).await
    });
    let settings = sampan_transport::ConnectSettings::default();
    let connection = sampan_transport::handshake(near, &settings).await.unwrap();
    let _call = tokio::spawn(Client(connection).start(wait()));
    assert_eq!(events.recv().await.unwrap(), began);
    pipe.abort();
    assert_eq!(events.recv().await.unwrap(), dropped);
}

#[tokio::test]
async fn layers_of_the_user_see_every_call_and_their_errors_become_statuses() {
    let (echo, _events) = Echo::new();
    let server = Server::new()
        .listen(any_port())
        .layer(tower::load_shed::LoadShedLayer::new())
        .layer(tower::timeout::TimeoutLayer::new(Duration::from_millis(50)))
        .add_service(echo);
    let server = Running::start(server.bind().await.unwrap());
    let client = Client::connect(&server.address).await;
    assert_eq!(client.unary("fast").await.unwrap(), "fast");
    assert_eq!(
        client.unary("wait").await.unwrap_err().code(),
        Code::DeadlineExceeded
    );
}

#[tokio::test]
async fn a_taken_port_is_told_with_its_address_and_a_hint() {
    let (server, _events) = serve().await;
    let (echo, _) = Echo::new();
    let second = Server::new()
        .listen(server.address.clone())
        .add_service(echo);
    let error = second.bind().await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains(&server.address.to_string()), "{text}");
    assert!(
        text.contains("hint: another process listens there"),
        "{text}"
    );
    assert!(!error.is_configuration());

    let nowhere = Server::new().bind().await.unwrap_err();
    assert!(nowhere.is_configuration());
}
