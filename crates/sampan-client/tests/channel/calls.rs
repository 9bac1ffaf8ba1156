//! Every shape of call, and answers that are none.

use crate::support::*;
use sampan_client::Channel;
use sampan_wire::policy::MaxDecodingMessageSize;
use tonic::Code;

fn from_list(texts: &[&str]) -> impl futures_core::Stream<Item = String> + Send + use<> {
    let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
    futures_util::stream::iter(texts)
}

#[tokio::test]
async fn every_shape_of_call_works_over_tcp_and_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", dir.path().join("a.sock").display());
    for address in ["127.0.0.1:0", &socket] {
        let server = TestServer::start_at(&address.parse().unwrap(), echo());
        let channel = Channel::dial(server.target()).unwrap();
        assert_eq!(say(&channel, "one").await.unwrap(), "one");

        let path = http::uri::PathAndQuery::from_static(PATH);
        let mut client = Client::new(channel);
        let texts = ["a", "b", "c"];
        let request = tonic::Request::new(from_list(&texts));
        client.ready().await.unwrap();
        let response = client.streaming(request, path.clone(), Text).await.unwrap();
        let mut answers = response.into_inner();
        for text in texts {
            assert_eq!(answers.message().await.unwrap().unwrap(), text);
        }
        assert_eq!(answers.message().await.unwrap(), None);

        client.ready().await.unwrap();
        let request = tonic::Request::new("one".to_owned());
        let response = client.server_streaming(request, path, Text).await.unwrap();
        assert_eq!(
            response.into_inner().message().await.unwrap().unwrap(),
            "one"
        );
    }
}

#[tokio::test]
async fn a_bidirectional_stream_goes_back_and_forth() {
    use http_body_util::BodyExt;
    let server = TestServer::start(handler(|request| async move {
        let mut body = request.into_body();
        respond_with(futures_util::stream::poll_fn(move |cx| {
            let frame = std::task::ready!(std::pin::pin!(body.frame()).poll(cx));
            std::task::Poll::Ready(frame.and_then(Result::ok).map(Ok))
        }))
    }));
    let channel = Channel::dial(server.target()).unwrap();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<String>();
    let requests = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let mut client = Client::new(channel);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(PATH);
    let response = client
        .streaming(tonic::Request::new(requests), path, Text)
        .await
        .unwrap();
    let mut answers = response.into_inner();
    for text in ["ping", "pong", "ping"] {
        sender.send(text.to_owned()).unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap(), text);
    }
}

#[tokio::test]
async fn a_dropped_response_cancels_the_call_though_its_request_goes_on() {
    use http_body_util::BodyExt;
    let (told, mut tells) = tokio::sync::mpsc::unbounded_channel();
    let server = TestServer::start(handler(move |request| {
        let told = told.clone();
        async move {
            tokio::spawn(async move {
                let mut body = request.into_body();
                while let Some(Ok(_)) = body.frame().await {}
                told.send(()).unwrap();
            });
            respond_with(futures_util::stream::pending())
        }
    }));
    let channel = Channel::dial(server.target()).unwrap();
    let mut client = Client::new(channel);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(PATH);
    let requests = tonic::Request::new(futures_util::stream::pending::<String>());
    let response = client.streaming(requests, path, Text).await.unwrap();
    drop(response);
    tells.recv().await.unwrap();
}

#[tokio::test]
async fn answers_that_are_no_grpc_become_the_statuses_of_the_protocol() {
    let server = TestServer::start(handler(|request| async move {
        let mut response = respond([]);
        match request.headers()["case"].to_str().unwrap() {
            "no status" => return respond([message("half")]),
            "empty" => return respond([]),
            "bad details" => {
                return refuse(
                    Code::NotFound,
                    &[("grpc-status-details-bin", "*no base64*")],
                );
            }
            "html" => {
                response
                    .headers_mut()
                    .insert("content-type", "text/html".parse().unwrap());
            }
            status => *response.status_mut() = status.parse().unwrap(),
        }
        response
    }));
    let channel = Channel::dial(server.target()).unwrap();
    for (case, code) in [
        ("503", Code::Unavailable),
        ("404", Code::Unimplemented),
        ("401", Code::Unauthenticated),
        ("html", Code::Unknown),
        ("no status", Code::Internal),
        ("empty", Code::Internal),
        ("bad details", Code::NotFound),
    ] {
        let mut request = tonic::Request::new(String::new());
        request.metadata_mut().insert("case", case.parse().unwrap());
        let status = send(&channel, request).await.unwrap_err();
        assert_eq!(status.code(), code, "{case}: {status:?}");
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_by_its_prefix() {
    let server = TestServer::start(handler(|_| async {
        use futures_util::StreamExt;
        // Announced, and never sent.
        let announced = vec![0, 0x7f, 0, 0, 0];
        let frames = futures_util::stream::iter([Ok(Frame::data(announced.into()))]);
        respond_with(frames.chain(futures_util::stream::pending()))
    }));
    let channel = Channel::configure(server.target())
        .max_message_bytes(1 << 20)
        .build()
        .unwrap();
    let status = say(&channel, "").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(
        status.message().contains("over the limit of 1048576"),
        "{status:?}"
    );

    // The stub's own limit goes before.
    let mut request = tonic::Request::new(String::new());
    request.extensions_mut().insert(MaxDecodingMessageSize(77));
    let status = send(&channel, request).await.unwrap_err();
    assert!(
        status.message().contains("over the limit of 77"),
        "{status:?}"
    );
}

#[tokio::test]
async fn the_callers_own_failure_to_encode_is_what_it_sees() {
    let server = TestServer::start(echo());
    let channel = Channel::dial(server.target()).unwrap();
    let mut client = Client::new(channel).max_encoding_message_size(3);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(PATH);
    let texts = tonic::Request::new(from_list(&["a", "too long"]));
    let status = match client.streaming(texts, path, Text).await {
        Err(status) => status,
        Ok(response) => response.into_inner().message().await.unwrap_err(),
    };
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
}
