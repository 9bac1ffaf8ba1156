//! `gateway`: serves browsers until it is told to stop.

use crate::{
    peer::Peer,
    run::{LIMIT, sampan, start},
};
use sampan_testing::proto;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Child,
};

/// A gateway that listens.
struct Running {
    child: Child,
    address: String,
}

// === impl Running ===

impl Running {
    async fn start(args: &[&str]) -> Self {
        let mut child = start(
            &[
                &["gateway", "--listen", "127.0.0.1:0", "--lame-duck", "0"],
                args,
            ]
            .concat(),
        );
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = async {
            loop {
                let line = lines
                    .next_line()
                    .await
                    .unwrap()
                    .expect("it says where it listens");
                if let Some((_, address)) = line.split_once("listening on ") {
                    return address.to_owned();
                }
            }
        };
        let address = tokio::time::timeout(LIMIT, listening)
            .await
            .expect("it listens");
        // What it logs later is read, so that it never waits for room.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, address }
    }

    /// One Connect call with JSON over HTTP/1.1.
    async fn post(&self, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!(
            "POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Connection: close\r\nOrigin: https://app.example\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    /// The exit code after SIGTERM.
    async fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().unwrap().to_string();
        let kill = tokio::process::Command::new("kill")
            .arg(id)
            .status()
            .await
            .unwrap();
        assert!(kill.success());
        let ended = tokio::time::timeout(LIMIT, self.child.wait()).await;
        ended.expect("it ends").unwrap().code()
    }
}

#[tokio::test]
async fn browsers_are_answered_until_sigterm() {
    let peer = Peer::echo().await;
    let gateway = Running::start(&[
        "--upstream",
        &peer.address,
        "--allow-origin",
        "https://app.example",
    ])
    .await;
    let response = gateway
        .post("sampan.testing.v1.Echo/Unary", "{\"text\":\"hi\"}")
        .await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(response.contains("{\"text\":\"hi\"}"), "{response}");
    assert!(
        response
            .to_lowercase()
            .contains("access-control-allow-origin: https://app.example")
    );
    assert_eq!(gateway.terminate().await, Some(0));
}

#[tokio::test]
async fn an_upstream_may_be_for_one_service_of_a_set() {
    let peer = Peer::echo().await;
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("echo.binpb");
    std::fs::write(&set, proto::FILE_DESCRIPTOR_SET).unwrap();
    let upstream = format!("sampan.testing.v1.Echo={}", peer.address);
    let gateway =
        Running::start(&["--upstream", &upstream, "--protoset", set.to_str().unwrap()]).await;
    let response = gateway.post("sampan.testing.v1.Echo/Unary", "{}").await;
    assert!(response.contains("{\"text\":\"echo\"}"), "{response}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let peer = Peer::echo().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = sampan(&["gateway", "--listen", &address, "--upstream", &peer.address]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains(&address), "{ran:?}");
}

#[tokio::test]
async fn wrong_settings_exit_64_before_anything_listens() {
    for args in [
        &["gateway", "--upstream", "bogus://x"][..],
        &[
            "gateway",
            "--upstream",
            "a:1",
            "--allow-origin",
            "no origin",
        ],
        &[
            "gateway",
            "--upstream",
            "a:1",
            "--protoset",
            "/no/such/file",
        ],
        &["gateway", "--upstream", "a:1", "--listen", "nowhere"],
    ] {
        let ran = sampan(args).await;
        assert_eq!(ran.code, 64, "{args:?}: {ran:?}");
    }
}
