//! Each program's server against each program's client, tonic's and Sampan's: all four hear the
//! same.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::future::Future;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::oneshot,
    task::JoinHandle,
};
use tonic_migration::{BoxError, on_sampan, on_tonic};

/// A server that runs until it is told to stop.
struct Running {
    uri: String,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), BoxError>>,
}

impl Running {
    async fn start<F, Fut>(scheme: &str, serve: F) -> Self
    where
        F: FnOnce(TcpListener, Stopped) -> Fut,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("{scheme}://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        Self {
            uri,
            stop,
            served: tokio::spawn(serve(listener, stopped_by(stopped))),
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}

type Stopped = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn stopped_by(stopped: oneshot::Receiver<()>) -> Stopped {
    Box::pin(async { drop(stopped.await) })
}

/// Runs a program in all four ways.
macro_rules! pairs {
    ($name:ident, $program:ident, $expected:expr) => {
        #[tokio::test]
        async fn $name() {
            let expected: &[&str] = &$expected;
            let server = Running::start("http", on_tonic::$program::serve).await;
            let heard = on_tonic::$program::call(server.uri.clone()).await.unwrap();
            assert_eq!(heard, expected, "tonic to tonic");
            let heard = on_sampan::$program::call(server.uri.clone()).await.unwrap();
            assert_eq!(heard, expected, "Sampan to tonic");
            server.stop().await;
            let server = Running::start("http", on_sampan::$program::serve).await;
            let heard = on_tonic::$program::call(server.uri.clone()).await.unwrap();
            assert_eq!(heard, expected, "tonic to Sampan");
            let heard = on_sampan::$program::call(server.uri.clone()).await.unwrap();
            assert_eq!(heard, expected, "Sampan to Sampan");
            server.stop().await;
        }
    };
}

pairs!(
    helloworld_is_the_same,
    helloworld,
    ["Hello world!", "Hello !"]
);

pairs!(
    routeguide_is_the_same,
    routeguide,
    [
        "Berkshire Valley",
        "NotFound: nothing is there",
        "Berkshire Valley",
        "Patriots Path",
        "3 2",
        "one",
        "one, two",
    ]
);

pairs!(
    interceptors_are_the_same,
    interceptor,
    [
        "hello from me",
        "Some(Unauthenticated)",
        "who is there?",
        "Some(ResourceExhausted)",
    ]
);

const OF_ONE_CLIENT: [&str; 12] = [
    r#"Some("as sent")"#,
    r#"Some(Ok(b"\0\x01\xff"))"#,
    "noted",
    r#"DataLoss "as you wish: ü%\n" [0, 1, 255] Some("asked for")"#,
    "tick 0",
    "tick 1",
    "tick 2",
    r#"Aborted "enough" [] None"#,
    "ping 0",
    "ping 1",
    "ping 2",
    "None",
];

// Plain, then compressed.
pairs!(
    streaming_is_the_same,
    streaming,
    [OF_ONE_CLIENT; 2].concat()
);

pairs!(
    health_is_the_same,
    health,
    ["Serving", "NotFound", "Some(Serving)"]
);

pairs!(reflection_is_the_same, reflection, ["1 file", "NotFound"]);

pairs!(
    other_options_are_the_same,
    options,
    [
        "2",
        "2",
        "1",
        "0",
        "21",
        "1",
        "20",
        "Unimplemented: Not yet implemented",
    ]
);

#[tokio::test]
async fn load_balancing_reaches_everyone() {
    let expected = ["one", "two", "one", "two"];
    let one = Running::start("http", |listener, stop| {
        on_tonic::load_balance::serve("one".to_owned(), listener, stop)
    });
    let two = Running::start("http", |listener, stop| {
        on_sampan::load_balance::serve("two".to_owned(), listener, stop)
    });
    let (one, two) = (one.await, two.await);
    let uris = vec![one.uri.clone(), two.uri.clone()];
    let heard = on_tonic::load_balance::call(uris.clone()).await.unwrap();
    assert_eq!(heard, expected, "tonic's channel");
    let heard = on_sampan::load_balance::call(uris).await.unwrap();
    assert_eq!(heard, expected, "Sampan's channel");
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn unix_sockets_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for on_sampan in [false, true] {
        let path = folder.path().join(format!("{on_sampan}.sock"));
        let listener = UnixListener::bind(&path).unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = stopped_by(stopped);
        let served = if on_sampan {
            tokio::spawn(on_sampan::uds::serve(listener, stopped))
        } else {
            tokio::spawn(on_tonic::uds::serve(listener, stopped))
        };
        let heard = on_tonic::uds::call(path.clone()).await.unwrap();
        assert_eq!(heard, ["Hello socket!"], "tonic's channel");
        let heard = on_sampan::uds::call(path).await.unwrap();
        assert_eq!(heard, ["Hello socket!"], "Sampan's channel");
        stop.send(()).unwrap();
        served.await.unwrap().unwrap();
    }
}

/// Certificates of an authority of this test's own.
fn certificates() -> on_tonic::tls::Pem {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    on_tonic::tls::Pem {
        authority,
        server: signed("localhost"),
        client: signed("client"),
    }
}

#[tokio::test]
async fn tls_is_the_same_with_and_without_certificates_of_clients() {
    let pem = certificates();
    let on_sampans = on_sampan::tls::Pem {
        authority: pem.authority.clone(),
        server: pem.server.clone(),
        client: pem.client.clone(),
    };
    for (is_mutual, expected) in [
        (false, ["Hello TLS!", "Hello TLS!"]),
        (true, ["Hello TLS!", "refused"]),
    ] {
        for is_sampan in [false, true] {
            let server = if is_sampan {
                let pem = on_sampans.clone();
                Running::start("https", |listener, stop| {
                    on_sampan::tls::serve(pem, is_mutual, listener, stop)
                })
                .await
            } else {
                let pem = pem.clone();
                Running::start("https", |listener, stop| {
                    on_tonic::tls::serve(pem, is_mutual, listener, stop)
                })
                .await
            };
            let heard = on_tonic::tls::call(pem.clone(), server.uri.clone()).await;
            assert_eq!(
                heard.unwrap(),
                expected,
                "tonic, Sampan's server: {is_sampan}"
            );
            let heard = on_sampan::tls::call(on_sampans.clone(), server.uri.clone()).await;
            assert_eq!(
                heard.unwrap(),
                expected,
                "Sampan, Sampan's server: {is_sampan}"
            );
            server.stop().await;
        }
    }
}
