//! The names of tonic::transport, used as tonic's users use them.

use crate::echo::{Client, Echo, Event};
use sampan_server::compat::{Certificate, Identity, Server, ServerTlsConfig, TcpIncoming};
use sampan_transport::{Address, ClientTls, ConnectSettings, connect, handshake};
use std::{convert::Infallible, time::Duration};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::oneshot,
    time::timeout,
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Code, Request, Status, service::interceptor::InterceptedService};

const SOON: Duration = Duration::from_secs(10);

fn any_port() -> TcpIncoming {
    TcpIncoming::bind("127.0.0.1:0".parse().unwrap())
        .unwrap()
        .with_nodelay(Some(true))
}

fn address_of(incoming: &TcpIncoming) -> Address {
    Address::Tcp(incoming.local_addr().unwrap())
}

#[tokio::test]
async fn a_pipe_is_served_until_it_closes() {
    let (near, far) = tokio::io::duplex(4096);
    let (echo, _events) = Echo::new();
    let incoming = tokio_stream::once(Ok::<_, Infallible>(far));
    let server = Server::builder()
        .add_service(echo)
        .serve_with_incoming(incoming);
    let serving = tokio::spawn(server);
    let settings = ConnectSettings::default();
    let client = Client(handshake(near, &settings).await.unwrap());
    assert_eq!(
        client.unary("through a pipe").await.unwrap(),
        "through a pipe"
    );
    drop(client);
    timeout(SOON, serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_shutdown_lets_open_calls_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let incoming = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
    let (echo, mut events) = Echo::new();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::builder().add_service(echo);
    let stopped = async { stopped.await.unwrap_or_default() };
    let serving = tokio::spawn(server.serve_with_incoming_shutdown(incoming, stopped));
    let client = Client::connect(&Address::Unix(path.clone())).await;
    let open = tokio::spawn(async move { client.unary("for 300").await });
    assert_eq!(
        events.recv().await.unwrap(),
        Event::Began("for 300".to_owned())
    );
    stop.send(()).unwrap();
    assert_eq!(open.await.unwrap().unwrap(), "slept");
    timeout(SOON, serving).await.unwrap().unwrap().unwrap();
    UnixStream::connect(path).await.unwrap_err();
}

#[tokio::test]
async fn interceptors_optional_services_and_foreign_routes_are_served() {
    #[derive(Clone)]
    struct Other(Echo);
    impl tonic::server::NamedService for Other {
        const NAME: &'static str = "test.Other";
    }
    impl tower_service::Service<http::Request<tonic::body::Body>> for Other {
        type Response = http::Response<tonic::body::Body>;
        type Error = Infallible;
        type Future = <Echo as tower_service::Service<http::Request<tonic::body::Body>>>::Future;
        fn poll_ready(
            &mut self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Infallible>> {
            self.0.poll_ready(cx)
        }
        fn call(&mut self, mut request: http::Request<tonic::body::Body>) -> Self::Future {
            *request.uri_mut() = "http://test/test.Echo/Unary".parse().unwrap();
            self.0.call(request)
        }
    }

    let (echo, _events) = Echo::new();
    let refuse = |request: Request<()>| match request.metadata().get("stranger") {
        Some(_) => Err(Status::unauthenticated("who are you?")),
        None => Ok(request),
    };
    let routes = tonic::service::Routes::new(Other(echo.clone()));
    let incoming = any_port();
    let address = address_of(&incoming);
    let server = Server::builder()
        .add_routes(routes)
        .add_service(InterceptedService::new(echo, refuse))
        .add_optional_service(None::<Other>);
    tokio::spawn(server.serve_with_incoming(incoming));
    let client = Client::connect(&address).await;
    assert_eq!(
        client.call("/test.Other/Any", "routed").await.unwrap(),
        "routed"
    );
    let empty = bytes::Bytes::from_static(b"\0\0\0\0\0");
    let mut raw = crate::echo::raw("/test.Echo/Unary", empty);
    raw.headers_mut().insert("stranger", "yes".parse().unwrap());
    let status = client.send(raw).await.1.unwrap();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(client.unary("known").await.unwrap(), "known");
}

#[tokio::test]
async fn a_connections_limit_makes_calls_wait_or_sheds_them() {
    for sheds_load in [false, true] {
        let (echo, mut events) = Echo::new();
        let incoming = any_port();
        let address = address_of(&incoming);
        let server = Server::builder()
            .concurrency_limit_per_connection(1)
            .load_shed(sheds_load)
            .timeout(Duration::from_secs(5))
            .add_service(echo);
        tokio::spawn(server.serve_with_incoming(incoming));
        let first = Client::connect(&address).await;
        let second = Client::connect(&address).await;
        let open = tokio::spawn({
            let first = first.clone();
            async move { first.unary("for 300").await }
        });
        assert_eq!(
            events.recv().await.unwrap(),
            Event::Began("for 300".to_owned())
        );
        // Another connection has a limit of its own.
        assert_eq!(second.unary("free").await.unwrap(), "free");
        assert!(!open.is_finished());
        match first.unary("next").await {
            Ok(_) => assert!(!sheds_load && open.is_finished()),
            Err(status) => {
                assert!(sheds_load && !open.is_finished(), "{status}");
                assert_eq!(status.code(), Code::Unavailable);
            }
        }
        assert_eq!(open.await.unwrap().unwrap(), "slept");
    }
}

#[tokio::test]
async fn tls_is_spoken_and_its_faults_are_told_at_once() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["test".to_owned()]).unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let identity = Identity::from_pem(&pem, key.serialize_pem());
    let (echo, _events) = Echo::new();
    let incoming = any_port();
    let address = address_of(&incoming);
    let config = ServerTlsConfig::new().identity(identity);
    let server = Server::builder()
        .tls_config(config)
        .unwrap()
        .add_service(echo);
    tokio::spawn(server.serve_with_incoming(incoming));
    let tls = ClientTls::new().with_roots(Certificate::from_pem(&pem));
    let settings = ConnectSettings::default().with_tls(&tls, "test").unwrap();
    let client = Client(connect(&address, &settings).await.unwrap());
    assert_eq!(client.unary("secret").await.unwrap(), "secret");

    let error = Server::builder()
        .tls_config(ServerTlsConfig::new())
        .unwrap_err();
    assert!(error.is_configuration(), "{error}");
    let broken = ServerTlsConfig::new().identity(Identity::from_pem("no", "pem"));
    let error = Server::builder().tls_config(broken).unwrap_err();
    assert!(error.to_string().contains("PEM certificate"), "{error}");
}

#[tokio::test]
async fn a_taken_port_is_an_error_of_serve() {
    let incoming = any_port();
    let (echo, _events) = Echo::new();
    let address = incoming.local_addr().unwrap();
    let error = Server::builder()
        .add_service(echo)
        .serve(address)
        .await
        .unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
