//! Connections that close, break, or speak something else.

use crate::support::*;
use sampan_client::{Channel, ClientTls};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;

#[tokio::test]
async fn connections_that_are_drained_all_the_time_fail_no_call() {
    let server = TestServer::start(echo());
    let channel = Channel::dial(server.target()).unwrap();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move {
                for _ in 0..250 {
                    say(&channel, "x").await.unwrap();
                }
            })
        })
        .collect();
    while workers.iter().any(|worker| !worker.is_finished()) {
        server.drain_connections();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(channel.counts().failed_calls, 0);
}

#[tokio::test]
async fn a_stream_that_is_cut_off_is_unavailable() {
    use futures_util::StreamExt;
    let server = TestServer::start(handler(|_| async {
        let frames = futures_util::stream::iter([Ok(message("one"))]);
        respond_with(frames.chain(futures_util::stream::pending()))
    }));
    let channel = Channel::dial(server.target()).unwrap();
    let mut client = Client::new(channel);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(PATH);
    let request = tonic::Request::new(String::new());
    let mut answers = client
        .server_streaming(request, path, Text)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap(), "one");
    drop(server);
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(
        status.message().contains("the response was cut off"),
        "{status:?}"
    );
}

/// A peer that says `bytes` to whoever connects.
async fn says(bytes: &'static [u8]) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut read = [0; 64];
            let _ = socket.read(&mut read).await;
            let _ = socket.write_all(bytes).await;
        }
    });
    address
}

#[tokio::test]
async fn peers_that_speak_something_else_are_told_apart() {
    let cases: [(&[u8], &str); 4] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1"),
        (&[21, 3, 3, 0, 2, 2, 70], "plaintext against TLS?"),
        (b"SSH-2.0-OpenSSH_9\r\n", "not HTTP/2"),
        (b"", "closed the connection"),
    ];
    for (bytes, says_so) in cases {
        let address = says(bytes).await;
        let error = Channel::dial(address.to_string())
            .unwrap()
            .connect()
            .await
            .unwrap_err();
        assert!(error.is_connect());
        assert!(error.to_string().contains(says_so), "{error}");
    }
    let plaintext = TestServer::start(echo());
    let channel = Channel::configure(plaintext.target())
        .tls(ClientTls::new().with_insecure_skip_verify())
        .build()
        .unwrap();
    let error = channel.connect().await.unwrap_err();
    assert!(
        error.to_string().contains("TLS against plaintext?"),
        "{error}"
    );
}

#[test]
fn wrong_settings_are_refused_before_anything_is_done() {
    let cases = [
        (Channel::dial("dns://orders:1").err(), "dns:///orders:1"),
        (
            Channel::configure("http://orders")
                .tls(ClientTls::new())
                .build()
                .err(),
            "use https://",
        ),
        (
            Channel::configure("a:1").authority("a b").build().err(),
            "\"a b\" is no authority",
        ),
        (
            Channel::configure("a:1").user_agent("a\nb").build().err(),
            "is no user agent",
        ),
    ];
    for (error, says) in cases {
        let error = error.unwrap();
        assert!(error.is_configuration());
        assert!(error.to_string().contains(says), "{error}");
    }
}
