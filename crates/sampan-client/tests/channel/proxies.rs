//! Servers behind an HTTP proxy.

use crate::support::*;
use sampan_client::Channel;
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tonic::Code;

/// A proxy that leads everybody to `server`, or answers `refusal`. Gives its address and what it
/// was asked.
async fn proxy(server: String, refusal: Option<&'static str>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(near.read_u8().await.unwrap());
            }
            heard.lock().unwrap().push(String::from_utf8(head).unwrap());
            if let Some(refusal) = refusal {
                near.write_all(refusal.as_bytes()).await.unwrap();
                continue;
            }
            let mut far = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(async move {
                // In pieces: its end may come in two.
                for piece in [
                    "HTTP/1.1 200 Connection established\r\nVia: a\r",
                    "\n\r",
                    "\n",
                ] {
                    near.write_all(piece.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_server_is_reached_by_a_proxy_that_knows_its_name() {
    let server = TestServer::start(echo());
    let (address, asked) = proxy(server.target(), None).await;
    let channel = Channel::configure("dns:///only-the-proxy-knows.test:50051")
        .proxy(format!("http://ann:secret@{address}"), "other.test")
        .build()
        .unwrap();
    assert_eq!(say(&channel, "hello").await.unwrap(), "hello");
    let asked = asked.lock().unwrap();
    assert_eq!(
        asked[..],
        ["CONNECT only-the-proxy-knows.test:50051 HTTP/1.1\r\n\
          Host: only-the-proxy-knows.test:50051\r\n\
          Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n"]
    );
}

#[tokio::test]
async fn a_connector_of_one_s_own_wins_over_the_environments_proxy() {
    const CHILD: &str = "SAMPAN_TEST_PROXY_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let channel = Channel::configure("ipv4:10.0.0.1:1")
            .connector(|_| async {
                let (near, far) = tokio::io::duplex(64 << 10);
                tokio::spawn(serve_in_memory(far, echo()));
                Ok(near)
            })
            .build()
            .unwrap();
        assert_eq!(say(&channel, "hello").await.unwrap(), "hello");
        return;
    }
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let (address, asked) = proxy(String::new(), Some(refusal)).await;
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "proxies::a_connector_of_one_s_own_wins_over_the_environments_proxy",
    ]);
    child.env("grpc_proxy", address).env(CHILD, "1");
    let output = tokio::task::spawn_blocking(move || child.output().unwrap());
    let output = output.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_goes_past_the_proxy_does_not_meet_it() {
    let server = TestServer::start(echo());
    let (address, asked) = proxy(server.target(), None).await;
    let channel = Channel::configure(server.target())
        .proxy(address, "10.0.0.0/8,127.0.0.0/8")
        .build()
        .unwrap();
    assert_eq!(say(&channel, "hello").await.unwrap(), "hello");
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_with_its_answer() {
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let (address, _) = proxy(String::new(), Some(refusal)).await;
    let channel = Channel::configure("orders.test:1")
        .proxy(address, "")
        .build()
        .unwrap();
    let status = say(&channel, "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("403 Forbidden"), "{status:?}");
    let wrong = Channel::configure("a:1").proxy("ftp://a:1", "").build();
    assert!(wrong.unwrap_err().is_configuration());
}
