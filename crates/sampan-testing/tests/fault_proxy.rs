//! What the proxy does to connections.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use sampan_testing::{FaultProxy, Faults};
use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(10);

/// Sends back what it is sent.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

async fn through_a_proxy() -> (FaultProxy, TcpStream) {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    let socket = TcpStream::connect(proxy.address()).await.unwrap();
    (proxy, socket)
}

async fn round_trip(socket: &mut TcpStream, bytes: usize) -> std::io::Result<Duration> {
    let began = Instant::now();
    let (mut read, mut write) = socket.split();
    let sent = vec![7; bytes];
    let mut got = vec![0; bytes];
    tokio::try_join!(write.write_all(&sent), read.read_exact(&mut got))?;
    assert_eq!(got, sent);
    Ok(began.elapsed())
}

#[tokio::test]
async fn bytes_pass_late_or_slowly_and_an_end_passes_too() {
    let (proxy, mut socket) = through_a_proxy().await;
    round_trip(&mut socket, 1 << 20).await.unwrap();
    proxy.set(Faults::none().with_delay(SHORT));
    assert!(round_trip(&mut socket, 1).await.unwrap() >= 2 * SHORT);
    proxy.set(Faults::none().with_throttle(100_000));
    let slow = round_trip(&mut socket, 20_000).await.unwrap();
    assert!(slow >= Duration::from_millis(190), "{slow:?}");
    proxy.heal();
    assert_eq!(proxy.open_connections(), 1);
    socket.shutdown().await.unwrap();
    let ended = timeout(LONG, socket.read(&mut [0])).await.unwrap();
    assert_eq!(ended.unwrap(), 0);
}

#[tokio::test]
async fn a_blackhole_swallows_and_says_nothing() {
    let (proxy, mut socket) = through_a_proxy().await;
    proxy.set(Faults::none().with_blackhole());
    assert!(timeout(SHORT, round_trip(&mut socket, 1)).await.is_err());
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(timeout(SHORT, round_trip(&mut new, 1)).await.is_err());
    proxy.heal();
    let mut healed = TcpStream::connect(proxy.address()).await.unwrap();
    round_trip(&mut healed, 1).await.unwrap();
}

#[tokio::test]
async fn connections_are_reset_cut_and_refused() {
    let (proxy, mut socket) = through_a_proxy().await;
    round_trip(&mut socket, 1).await.unwrap();
    proxy.reset();
    let reset = timeout(LONG, socket.read(&mut [0])).await.unwrap();
    assert_eq!(reset.unwrap_err().kind(), ErrorKind::ConnectionReset);

    let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
    round_trip(&mut socket, 1).await.unwrap();
    proxy.set(Faults::none().with_cut_after(1500));
    round_trip(&mut socket, 700).await.unwrap();
    let cut = timeout(LONG, round_trip(&mut socket, 700)).await.unwrap();
    assert_eq!(cut.unwrap_err().kind(), ErrorKind::ConnectionReset);

    proxy.set(Faults::none().with_refusal());
    let refused = timeout(LONG, async {
        loop {
            // Those in the backlog are reset when the listener goes.
            match TcpStream::connect(proxy.address()).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
                _ => {}
            }
        }
    });
    refused.await.unwrap();
    proxy.heal();
    let back = timeout(LONG, async {
        loop {
            if let Ok(mut socket) = TcpStream::connect(proxy.address()).await
                && round_trip(&mut socket, 1).await.is_ok()
            {
                return;
            }
        }
    });
    back.await.unwrap();
}
