//! tonic's names.

use crate::support::*;
use sampan_client::{
    Channel,
    compat::{ClientTlsConfig, Endpoint, Uri},
};
use std::time::Duration;
use tonic::Code;

#[tokio::test]
async fn channels_are_made_as_tonic_makes_them() {
    let server = TestServer::start(echo());
    let uri = format!("http://{}", server.target());
    let endpoint = Endpoint::from_shared(uri.clone())
        .unwrap()
        .user_agent("greeter")
        .unwrap()
        .connect_timeout(Duration::from_secs(1))
        .initial_stream_window_size(1 << 20)
        .http2_adaptive_window(true)
        .tcp_nodelay(true);
    let connected = endpoint.connect().await.unwrap();
    let lazy = Channel::builder(uri.parse::<Uri>().unwrap()).connect_lazy();
    let listed = Channel::balance_list([endpoint.clone(), endpoint.clone()].into_iter());
    for channel in [connected, lazy, listed] {
        assert_eq!(say(&channel, "hi").await.unwrap(), "hi");
    }
}

#[tokio::test]
async fn a_unix_socket_is_named_as_in_tonic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let address = sampan_transport::Address::Unix(path.clone());
    let _server = TestServer::start_at(&address, echo());
    for uri in [
        format!("unix:{}", path.display()),
        format!("unix://{}", path.display()),
    ] {
        let channel = Endpoint::from_shared(uri).unwrap().connect().await.unwrap();
        assert_eq!(say(&channel, "hi").await.unwrap(), "hi");
    }
}

#[tokio::test]
async fn origin_and_user_agent_reach_the_server() {
    let tell = handler(|request| async move {
        let agent = request.headers()["user-agent"].to_str().unwrap();
        let text = format!("{} {agent}", request.uri().authority().unwrap());
        respond([message(&text), trailers(0)])
    });
    let endpoint = memory_endpoint()
        .origin(Uri::from_static("http://virtual.host:9"))
        .user_agent("greeter/2")
        .unwrap();
    let answer = say(&in_memory(&endpoint, tell), "").await.unwrap();
    assert!(
        answer.starts_with("virtual.host:9 greeter/2 sampan/"),
        "{answer}"
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_when_it_can_be() {
    let error = Endpoint::from_shared("http://a b").unwrap_err();
    assert!(error.is_configuration());
    let error = Endpoint::from_static("ftp://a")
        .connect()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("http:// or https://?"),
        "{error}"
    );
    let status = say(&Endpoint::from_static("ftp://a").connect_lazy(), "")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().contains("unknown scheme \"ftp\""),
        "{status:?}"
    );
    let bad = ClientTlsConfig::new().ca_certificate(sampan_client::Certificate::from_pem("no PEM"));
    let error = Endpoint::from_static("https://a")
        .tls_config(bad)
        .unwrap_err();
    assert!(error.to_string().contains("root certificates"), "{error}");
}
