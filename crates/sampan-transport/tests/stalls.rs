//! Clients that take nothing of what waits for them, in time that is paused.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use sampan_transport::{Incoming, PeerInfo, ServeError, ServeSettings, serve_connection};
use std::{convert::Infallible, future::pending, time::Duration};
use tokio::{
    io::{AsyncWriteExt as _, copy, sink, split},
    time::{Instant, sleep},
};

/// SETTINGS without content.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Opens the connection's window by 1 KiB.
const WINDOW_UPDATE: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 4, 0];

/// A request on a stream whose window is as large as it can be.
fn request() -> Vec<u8> {
    let mut wire = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    wire.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff]);
    // POST http / with the authority "a", by the static table.
    wire.extend([0, 0, 6, 1, 5, 0, 0, 0, 1]);
    wire.extend([0x83, 0x86, 0x84, 0x41, 1, b'a']);
    wire
}

/// Asks for 1 MiB on a connection whose window is never opened as far, and says `word` every 50 s.
/// How the connection ended within five minutes, and after how long.
async fn ends(word: &[u8], settings: ServeSettings) -> Option<(ServeError, Duration)> {
    let (near, far) = tokio::io::duplex(1 << 20);
    let served = tokio::spawn(async move {
        let service = tower::service_fn(|_: Request<Incoming>| async move {
            let body = Full::new(Bytes::from(vec![7; 1 << 20]));
            Ok::<_, Infallible>(Response::new(body))
        });
        serve_connection(far, PeerInfo::default(), service, &settings, pending()).await
    });
    let (mut read, mut write) = split(near);
    tokio::spawn(async move { copy(&mut read, &mut sink()).await });
    let begun = Instant::now();
    write.write_all(&request()).await.unwrap();
    for _ in 0..300 {
        sleep(Duration::from_secs(1)).await;
        if served.is_finished() {
            return Some((served.await.unwrap().unwrap_err(), begun.elapsed()));
        }
        if begun.elapsed().as_secs().is_multiple_of(50) {
            write.write_all(word).await.unwrap();
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_window_stays_shut_is_closed_whatever_else_its_client_says() {
    let (error, after) = ends(SETTINGS, ServeSettings::default()).await.unwrap();
    assert!(matches!(error, ServeError::Stalled(_)), "{error}");
    assert!((60..65).contains(&after.as_secs()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_window_opens_a_little_now_and_then_stays() {
    assert!(
        ends(WINDOW_UPDATE, ServeSettings::default())
            .await
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn how_long_a_client_may_stall_is_a_setting() {
    let mut settings = ServeSettings::default();
    settings.http2.stall_timeout = Duration::from_secs(7);
    let (error, after) = ends(SETTINGS, settings).await.unwrap();
    assert!(matches!(error, ServeError::Stalled(waits) if waits.as_secs() == 7));
    assert!((7..10).contains(&after.as_secs()), "{after:?}");
}
