//! What a server does with clients that are silent, slow or idle. Over pipes, with a paused
//! clock.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, uri::Scheme};
use http_body_util::{BodyExt, Full};
use sampan_transport::{
    Call, CallError, CallHead, ConnectSettings, Connection, NotStarted, Payload, PeerInfo,
    Protocols, RouteHead, ServeError, ServeSettings, WhyNot, handshake, serve_connection,
};
use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::oneshot,
    task::JoinHandle,
    time::Instant,
};

type Served = JoinHandle<Result<(), ServeError>>;

/// Serves one end of a pipe by answering every request with its path; `drain` may be sent.
fn serve(protocols: Protocols) -> (DuplexStream, Served, oneshot::Sender<()>) {
    serve_with(ServeSettings {
        protocols,
        ..ServeSettings::default()
    })
}

fn serve_with(settings: ServeSettings) -> (DuplexStream, Served, oneshot::Sender<()>) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (drain, asked) = oneshot::channel();
    let served = tokio::spawn(async move {
        let is_told = Arc::new(AtomicBool::new(false));
        let service = tower::service_fn(move |request: http::Request<_>| {
            let is_told = Arc::clone(&is_told);
            async move {
                let mut answer = request.uri().path().to_owned();
                match request.uri().path() {
                    "/slow" => tokio::time::sleep(Duration::from_secs(3600)).await,
                    "/tell" => is_told.store(true, Relaxed),
                    "/greedy" => {
                        let mut rounds = 0;
                        while !is_told.load(Relaxed) && rounds < 1_000_000 {
                            tokio::task::consume_budget().await;
                            rounds += 1;
                        }
                        answer = format!("told: {is_told:?}");
                    }
                    _ => {}
                }
                Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(answer))))
            }
        });
        let drain = async {
            if asked.await.is_err() {
                pending().await
            }
        };
        serve_connection(far, PeerInfo::default(), service, &settings, drain).await
    });
    (near, served, drain)
}

fn call(connection: &Connection, path: &str) -> Result<Call, NotStarted<Full<Bytes>>> {
    let route = RouteHead::new(
        Scheme::HTTP,
        HeaderValue::from_static("test"),
        HeaderValue::from_static("tests"),
    );
    let head = CallHead {
        route: &route,
        path: &path.parse().unwrap(),
        headers: &HeaderMap::new(),
        timeout: None,
        previous_attempts: 0,
    };
    connection.start(&head, Payload::Whole(&Bytes::new()))
}

async fn get(connection: &Connection, path: &str) -> Bytes {
    let response = call(connection, path).unwrap().await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

async fn client(near: DuplexStream) -> Connection {
    handshake(near, &ConnectSettings::default()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_dribbles_its_preface_is_closed_after_ten_seconds() {
    for protocols in [Protocols::Http2, Protocols::Http1AndHttp2] {
        let (mut near, served, _drain) = serve(protocols);
        let started = Instant::now();
        let dribble = tokio::spawn(async move {
            for byte in b"PRI * HTTP/2.0" {
                near.write_all(&[*byte]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let ended = served.await.unwrap();
        assert!(
            matches!(ended, Err(ServeError::PrefaceTimeout(_))),
            "{ended:?}"
        );
        assert_eq!(started.elapsed(), Duration::from_secs(10));
        dribble.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn an_http1_header_that_never_ends_is_closed_after_thirty_seconds() {
    let (mut near, served, _drain) = serve(Protocols::Http1AndHttp2);
    let started = Instant::now();
    near.write_all(b"GET / HTTP/1.1\r\nhost: test\r\nx-endless: ")
        .await
        .unwrap();
    served.await.unwrap().unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_is_asked_to_go_and_a_busy_one_is_not() {
    let (near, served, _drain) = serve(Protocols::Http2);
    let connection = client(near).await;
    let started = Instant::now();
    assert_eq!(get(&connection, "/slow").await, "/slow");
    assert_eq!(
        started.elapsed().as_secs(),
        3600,
        "an hour, with the idle limit at 5 min"
    );

    connection.closed().await;
    let idle = started.elapsed() - Duration::from_secs(3600);
    let minutes = Duration::from_secs(60);
    assert!(idle >= 5 * minutes - Duration::from_secs(10), "{idle:?}");
    assert!(idle <= 10 * minutes + Duration::from_secs(10), "{idle:?}");
    // Well or by the broken pipe, as the client leaves before or after the last word.
    served.await.unwrap().ok();
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_the_open_call_end_and_takes_no_other() {
    let (near, served, drain) = serve(Protocols::Http2);
    let connection = client(near).await;
    assert_eq!(get(&connection, "/first").await, "/first");
    let open = tokio::spawn({
        let connection = connection.clone();
        async move { get(&connection, "/slow").await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    drain.send(()).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let late = call(&connection, "/late").unwrap_err();
    assert_eq!(late.why, WhyNot::Closed);
    assert_eq!(open.await.unwrap(), "/slow");
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_port_speaks_http1_and_http2() {
    let (near, _served, _drain) = serve(Protocols::Http1AndHttp2);
    assert_eq!(get(&client(near).await, "/two").await, "/two");

    let (mut near, served, _drain) = serve(Protocols::Http1AndHttp2);
    let request = b"GET /one HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    near.write_all(request).await.unwrap();
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("/one"), "{answer}");
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_asked_to_go_and_closed_after_its_grace() {
    let (near, served, _drain) = serve_with(ServeSettings {
        max_age: Some(Duration::from_secs(60)),
        max_age_grace: Some(Duration::from_secs(5)),
        ..ServeSettings::default()
    });
    let connection = client(near).await;
    let started = Instant::now();
    let open = call(&connection, "/slow").unwrap();
    connection.closed().await;
    let age = started.elapsed();
    assert!((54..=66).contains(&age.as_secs()), "{age:?}");
    assert_eq!(call(&connection, "/late").unwrap_err().why, WhyNot::Closed);
    open.await.unwrap_err();
    let grace = started.elapsed() - age;
    assert!((5..=6).contains(&grace.as_secs()), "{grace:?}");
    assert!(matches!(served.await.unwrap(), Err(ServeError::KeptOpen)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_found_by_keepalive() {
    let (near, mut far) = tokio::io::duplex(64 << 10);
    // Its settings, and not a word more.
    far.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut settings = ConnectSettings::default();
    settings.http2.keepalive_interval = Some(Duration::from_secs(30));
    settings.http2.keepalive_timeout = Duration::from_secs(20);
    let connection = handshake(near, &settings).await.unwrap();
    let started = Instant::now();
    let failed = call(&connection, "/lost").unwrap().await.unwrap_err();
    assert!(matches!(failed, CallError::Broken(_)), "{failed:?}");
    // What came with the settings counts as heard in the first period.
    let waited = started.elapsed().as_secs();
    assert!((50..=80).contains(&waited), "{waited} s");
    assert!(connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_cancelled_and_frees_its_stream() {
    let mut settings = ServeSettings::default();
    settings.http2.max_concurrent_streams = 1;
    let (near, _served, _drain) = serve_with(settings);
    let connection = client(near).await;
    assert_eq!(get(&connection, "/first").await, "/first");
    let open = call(&connection, "/slow").unwrap();
    assert_eq!(call(&connection, "/more").unwrap_err().why, WhyNot::Full);
    let free = connection.stream_free();
    drop(open);
    free.await;
    assert_eq!(get(&connection, "/next").await, "/next");
}

#[tokio::test]
async fn a_handler_that_never_has_to_wait_keeps_no_other_waiting() {
    let (near, _served, _drain) = serve(Protocols::Http2);
    let connection = client(near).await;
    let greedy = call(&connection, "/greedy").unwrap();
    let tell = call(&connection, "/tell").unwrap();
    let (greedy, _) = tokio::join!(greedy, tell);
    let answer = greedy.unwrap().into_body().collect().await.unwrap();
    assert_eq!(answer.to_bytes(), "told: true");
}
