//! Real signals, to a process of its own.

use crate::echo::{Client, Echo, Event};
use sampan_server::Server;
use sampan_transport::Address;
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Set for the process that is to be a server.
const CHILD: &str = "SERVES_AS_A_CHILD";
const SOON: Duration = Duration::from_secs(20);

/// Runs [`serves_as_a_child`] in a process of its own.
///
/// It has two threads, and a client is connected to each.
async fn child() -> (Child, Lines<BufReader<ChildStdout>>, [Client; 2]) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "signals::serves_as_a_child", "--nocapture"])
        .env(CHILD, "yes")
        .env("PORT", "0")
        .env("SAMPAN_HOST", "127.0.0.1")
        .env("SAMPAN_PROBE_PORT", "off")
        .env("SAMPAN_LAME_DUCK", "0s")
        .env("SAMPAN_WORKERS", "2")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = next(&mut lines, "address ").await;
    let address: Address = address.parse().unwrap();
    let clients = [
        Client::connect(&address).await,
        Client::connect(&address).await,
    ];
    (child, lines, clients)
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>, prefix: &str) -> String {
    let found = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(rest) = line.split_once(prefix) {
                return rest.1.to_owned();
            }
        }
        panic!("the child ended before it said {prefix:?}");
    };
    timeout(SOON, found).await.unwrap()
}

fn send(signal: &str, child: &Child) {
    let id = child.id().unwrap().to_string();
    let status = std::process::Command::new("kill")
        .args([signal, &id])
        .status();
    assert!(status.unwrap().success());
}

/// The process that the other tests start; does nothing when it is run as a test.
#[test]
fn serves_as_a_child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (echo, mut events) = Echo::new();
        let server = Server::from_env()
            .unwrap()
            .add_service(echo)
            .bind()
            .await
            .unwrap();
        println!("address {}", server.local_addresses()[0]);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    Event::Began(text) => println!("began {text}"),
                    Event::Dropped(text) => println!("dropped {text}"),
                }
            }
        });
        server.serve().await.unwrap();
        println!("ended well");
    });
}

#[tokio::test]
async fn a_signal_lets_open_calls_end() {
    for signal in ["-TERM", "-INT"] {
        let (mut child, mut lines, clients) = child().await;
        let open = clients
            .clone()
            .map(|client| tokio::spawn(async move { client.unary("for 500").await }));
        next(&mut lines, "began ").await;
        next(&mut lines, "began ").await;
        send(signal, &child);
        for client in clients {
            timeout(SOON, client.takes_no_more()).await.unwrap();
        }
        for open in open {
            assert_eq!(open.await.unwrap().unwrap(), "slept");
        }
        next(&mut lines, "ended well").await;
        assert!(
            timeout(SOON, child.wait())
                .await
                .unwrap()
                .unwrap()
                .success()
        );
    }
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let (mut child, mut lines, clients) = child().await;
    let open = clients
        .clone()
        .map(|client| tokio::spawn(async move { client.unary("wait").await }));
    next(&mut lines, "began ").await;
    next(&mut lines, "began ").await;
    send("-TERM", &child);
    for client in clients {
        timeout(SOON, client.takes_no_more()).await.unwrap();
    }
    assert!(open.iter().all(|open| !open.is_finished()));
    send("-TERM", &child);
    // Far below the drain timeout of 25 s.
    let ended = timeout(Duration::from_secs(10), child.wait())
        .await
        .unwrap();
    assert!(ended.unwrap().success());
    for open in open {
        open.await.unwrap().unwrap_err();
    }
}
