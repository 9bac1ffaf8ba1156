//! Every shape of call, over TCP and over Unix sockets, with generated stubs on Sampan's channel
//! and server, and against tonic's own transport on either side.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use futures_util::StreamExt;
use sampan::{Address, Code};
use sampan_testing::{
    Echo,
    proto::{EchoRequest, FailRequest, StreamRequest, echo_client::EchoClient},
};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

/// A running server; ends with the test.
struct Running {
    address: Address,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), sampan::server::Error>>,
    _folder: TempDir,
}

impl Running {
    async fn on_tcp() -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), tempfile::tempdir().unwrap()).await
    }

    async fn on_unix() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::on(Address::Unix(folder.path().join("echo.sock")), folder).await
    }

    async fn on(address: Address, folder: TempDir) -> Self {
        let server = sampan::Server::builder()
            .add_service(Echo::named("echo").into_service())
            .listen(address)
            .lame_duck(Duration::ZERO)
            .bind()
            .await
            .unwrap();
        let address = server.local_addresses()[0].clone();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.serve_until(async { drop(stopped.await) }));
        Self {
            address,
            stop: Some(stop),
            served,
            _folder: folder,
        }
    }

    fn client(&self) -> EchoClient<sampan::Channel> {
        EchoClient::dial(self.address.to_string()).unwrap()
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}

fn says(text: &str) -> EchoRequest {
    EchoRequest {
        text: text.to_owned(),
        ..EchoRequest::default()
    }
}

/// Calls every shape; whatever the channel and whatever the server.
async fn every_shape<T>(mut client: EchoClient<T>)
where
    T: tonic::client::GrpcService<tonic::body::Body> + Clone,
    T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error:
        Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let mut request = tonic::Request::new(says("hello"));
    request
        .metadata_mut()
        .insert("echo-note", "as sent".parse().unwrap());
    request.metadata_mut().insert_bin(
        "echo-raw-bin",
        tonic::metadata::MetadataValue::from_bytes(&[0, 1, 255]),
    );
    let answer = client.unary(request).await.unwrap();
    assert_eq!(answer.metadata().get("echo-note").unwrap(), "as sent");
    let raw = answer
        .metadata()
        .get_bin("echo-raw-bin")
        .unwrap()
        .to_bytes()
        .unwrap();
    assert_eq!(raw.as_ref(), [0, 1, 255]);
    assert_eq!(answer.into_inner().text, "hello");

    let request = StreamRequest {
        text: "tick".to_owned(),
        count: 5,
        ..StreamRequest::default()
    };
    let answers = client.server_stream(request).await.unwrap().into_inner();
    let indexes: Vec<_> = answers.map(|answer| answer.unwrap().index).collect().await;
    assert_eq!(indexes, [0, 1, 2, 3, 4]);

    let requests = tokio_stream::iter(["one", "two", "three"].map(says));
    let answer = client.client_stream(requests).await.unwrap().into_inner();
    assert_eq!((answer.text.as_str(), answer.index), ("one two three", 3));

    let (say, said) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(said);
    let mut answers = client.bidi(requests).await.unwrap().into_inner();
    for text in ["ping", "pong"] {
        say.send(says(text)).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().text, text);
    }
    drop(say);
    assert!(answers.message().await.unwrap().is_none());

    let request = FailRequest {
        code: 5,
        message: "no such thing: ü%\n".to_owned(),
        panic: false,
    };
    let status = client.fail(request).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "no such thing: ü%\n")
    );

    let request = StreamRequest {
        count: 2,
        final_code: 10,
        ..StreamRequest::default()
    };
    let mut answers = client.server_stream(request).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    assert!(answers.message().await.unwrap().is_some());
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Aborted);
}

#[tokio::test]
async fn every_shape_works_over_tcp() {
    let server = Running::on_tcp().await;
    every_shape(server.client()).await;
    server.stop().await;
}

#[tokio::test]
async fn every_shape_works_over_a_unix_socket() {
    let server = Running::on_unix().await;
    every_shape(server.client()).await;
    server.stop().await;
}

#[tokio::test]
async fn every_shape_works_from_tonics_channel() {
    let server = Running::on_tcp().await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address));
    every_shape(EchoClient::new(endpoint.unwrap().connect().await.unwrap())).await;
    server.stop().await;
}

#[tokio::test]
async fn every_shape_works_against_tonics_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tonic::transport::Server::builder()
        .add_service(Echo::named("echo").into_service())
        .serve_with_incoming_shutdown(incoming, async { drop(stopped.await) });
    let served = tokio::spawn(serving);
    every_shape(EchoClient::dial(address.to_string()).unwrap()).await;
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_panic_in_a_handler_is_internal_and_the_connection_lives() {
    let server = Running::on_tcp().await;
    let mut client = server.client();
    client.unary(says("before")).await.unwrap();
    let request = FailRequest {
        panic: true,
        ..FailRequest::default()
    };
    assert_eq!(
        client.fail(request).await.unwrap_err().code(),
        Code::Internal
    );
    client.unary(says("after")).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_request_over_four_mib_is_resource_exhausted() {
    let server = Running::on_tcp().await;
    let payload = vec![0; 4 << 20];
    let request = EchoRequest {
        payload,
        ..EchoRequest::default()
    };
    let status = server.client().unary(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    server.stop().await;
}

#[tokio::test]
async fn an_answer_over_four_mib_is_resource_exhausted_unless_the_client_allows_it() {
    let server = Running::on_tcp().await;
    let request = EchoRequest {
        answer_bytes: 5 << 20,
        ..EchoRequest::default()
    };
    let status = server.client().unary(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let mut client = server.client().max_decoding_message_size(6 << 20);
    assert_eq!(
        client
            .unary(request)
            .await
            .unwrap()
            .into_inner()
            .payload
            .len(),
        5 << 20
    );
    server.stop().await;
}

#[tokio::test]
async fn a_deadline_ends_a_stream_in_its_middle() {
    let server = Running::on_tcp().await;
    let interval = sampan::__codegen::prost_types::Duration {
        seconds: 30,
        nanos: 0,
    };
    let mut request = tonic::Request::new(StreamRequest {
        count: 2,
        interval: Some(interval),
        ..StreamRequest::default()
    });
    request.set_timeout(Duration::from_millis(200));
    let started = Instant::now();
    let mut answers = server
        .client()
        .server_stream(request)
        .await
        .unwrap()
        .into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(started.elapsed() < Duration::from_secs(10));
    server.stop().await;
}

#[tokio::test]
async fn a_call_ends_when_its_handle_says_so() {
    let server = Running::on_tcp().await;
    let (say, said) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(said);
    let mut request = tonic::Request::new(requests);
    let handle = request.cancellation_handle();
    let mut answers = server.client().bidi(request).await.unwrap().into_inner();
    say.send(says("before")).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().text, "before");
    handle.cancel();
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Cancelled, "{status}");
    server.stop().await;
}

#[tokio::test]
async fn nobody_listening_is_unavailable_with_the_cause_and_a_hint() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut client = EchoClient::dial(address.to_string()).unwrap();
    let status = client.unary(says("anybody?")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let text = status.message();
    assert!(
        text.contains("refused") && text.contains(&address.to_string()),
        "{text}"
    );
}

#[tokio::test]
async fn streams_that_nobody_reads_do_not_stop_unary_calls_on_the_same_connection() {
    let server = Running::on_tcp().await;
    let mut client = server.client();
    let mut unread = Vec::new();
    for _ in 0..8 {
        // More than any window holds: the handler waits for its reader.
        let large = EchoRequest {
            answer_bytes: 1 << 20,
            ..says("unread")
        };
        let requests = tokio_stream::iter(std::iter::repeat_n(large, 64));
        unread.push(client.bidi(requests).await.unwrap());
    }
    for _ in 0..100 {
        let answer = client.unary(says("beside them")).await.unwrap();
        assert_eq!(answer.into_inner().text, "beside them");
    }
    // They were only waiting: whoever reads on gets every message.
    let mut answers = unread.pop().unwrap().into_inner();
    for _ in 0..64 {
        assert_eq!(
            answers.message().await.unwrap().unwrap().payload.len(),
            1 << 20
        );
    }
    drop((answers, unread));
    server.stop().await;
}

#[tokio::test]
async fn many_long_messages_at_once_are_all_taken_or_refused_for_their_memory() {
    let server = Running::on_tcp().await;
    let client = server.client();
    let uploads = (0..64).map(|_| {
        let mut client = client.clone();
        async move {
            let request = EchoRequest {
                payload: vec![7; (4 << 20) - 1024],
                answer_bytes: 1,
                ..says("long")
            };
            client
                .unary(request)
                .await
                .map(|answer| answer.into_inner())
        }
    });
    let mut taken = 0;
    for answer in futures_util::future::join_all(uploads).await {
        match answer {
            Ok(answer) => {
                assert_eq!(answer.text, "long");
                taken += 1;
            }
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    }
    assert!(taken > 0);
    let mut client = client;
    client.unary(says("afterwards")).await.unwrap();
    server.stop().await;
}
