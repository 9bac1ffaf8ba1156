//! Sockets of the same host: used when they are there, and not missed when they are not.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use sampan::{
    Address, Channel, Request, Server,
    client::{ChannelBuilder, ClientTls},
    server::{Certificate, Identity, ServerTlsSettings},
};
use sampan_testing::{
    Echo,
    proto::{EchoRequest, echo_client::EchoClient},
};
use sampan_transport::LocalDir;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A server, which drains when `stop` is dropped.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
}

async fn serve(server: Server) -> Running {
    serve_at("127.0.0.1:0", server).await
}

async fn serve_at(address: &str, server: Server) -> Running {
    let server = server
        .add_service(Echo::named("echo").into_service())
        .listen(address.parse::<Address>().unwrap())
        .lame_duck(Duration::ZERO)
        .bind()
        .await
        .unwrap();
    let Address::Tcp(address) = server.local_addresses()[0] else {
        panic!("listens on TCP");
    };
    assert_eq!(server.local_addresses().len(), 1);
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(async move {
        let until = async { drop(stopped.await) };
        server.serve_until(until).await.unwrap();
    });
    Running {
        address,
        stop,
        ended,
    }
}

fn trusted(dir: &TempDir) -> Server {
    Server::builder().local_dir(dir.path()).local_trust(true)
}

fn channel(
    address: SocketAddr,
    dir: &TempDir,
    configure: impl FnOnce(ChannelBuilder) -> ChannelBuilder,
) -> Channel {
    let builder = Channel::configure(address.to_string()).local_dir(dir.path());
    configure(builder.local_trust(true)).build().unwrap()
}

async fn call(channel: &Channel) {
    let request = Request::new(EchoRequest::default());
    EchoClient::new(channel.clone())
        .unary(request)
        .await
        .unwrap();
}

fn is_local(channel: &Channel) -> bool {
    channel.endpoints()[0].is_local
}

fn socket(dir: &TempDir, address: SocketAddr) -> PathBuf {
    let dir = LocalDir::new(dir.path());
    dir.socket(&dir.name(address))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files = Vec::new();
    for path in entries {
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files
}

#[tokio::test]
async fn a_socket_of_the_same_host_is_used_and_goes_with_its_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(trusted(&dir)).await;
    let name = socket(&dir, server.address);
    let name = name.file_name().unwrap().to_str().unwrap();
    assert_eq!(name.len(), "0123456789abcdef.sock".len());
    let channel = channel(server.address, &dir, |builder| builder);
    call(&channel).await;
    assert!(is_local(&channel));
    assert!(files(dir.path()).len() >= 2);
    drop(server.stop);
    server.ended.await.unwrap();
    assert_eq!(files(dir.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn without_tls_a_socket_is_used_only_where_both_sides_trust_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let doubting = serve(Server::builder().local_dir(dir.path())).await;
    assert!(!socket(&dir, doubting.address).exists());
    let server = serve(trusted(&dir)).await;
    let channel = channel(server.address, &dir, |builder| builder.local_trust(false));
    call(&channel).await;
    assert!(!is_local(&channel));
}

#[tokio::test]
async fn tls_is_spoken_over_the_socket_with_the_same_checks() {
    let dir = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(vec!["orders.test".to_owned()]).unwrap();
    let (pem, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let tls = ServerTlsSettings::new(Identity::from_pem(pem.clone(), key));
    let server = serve(Server::builder().local_dir(dir.path()).tls(&tls).unwrap()).await;
    let with_name = |name: &str| {
        let tls = ClientTls::new()
            .with_roots(Certificate::from_pem(pem.clone()))
            .with_domain_name(name);
        channel(server.address, &dir, |builder| {
            builder.local_trust(false).tls(tls)
        })
    };
    let right = with_name("orders.test");
    call(&right).await;
    assert!(is_local(&right));
    with_name("other.test").connect().await.unwrap_err();
}

#[tokio::test]
async fn calls_go_by_tcp_where_the_socket_is_removed_stale_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(trusted(&dir)).await;
    let path = socket(&dir, server.address);
    let aside = dir.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    let by_tcp = async || {
        let channel = channel(server.address, &dir, |builder| builder);
        call(&channel).await;
        assert!(!is_local(&channel));
        assert_eq!(channel.counts().failed_calls, 0);
        channel
    };
    // Removed.
    let channel = by_tcp().await;
    // Stale: nobody listens.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    by_tcp().await;
    fs::remove_file(&path).unwrap();
    // No socket at all.
    fs::write(&path, "").unwrap();
    by_tcp().await;
    fs::remove_file(&path).unwrap();
    // Accepts, and does not answer.
    let mute = std::os::unix::net::UnixListener::bind(&path).unwrap();
    by_tcp().await;
    drop(mute);
    // Back again, while calls go by TCP.
    fs::rename(&aside, &path).unwrap();
    let back = async {
        while !is_local(&channel) {
            call(&channel).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        call(&channel).await;
    };
    tokio::time::timeout(Duration::from_secs(7), back)
        .await
        .unwrap();
    assert_eq!(channel.counts().failed_calls, 0);
}

#[tokio::test]
async fn a_server_that_comes_back_without_its_socket_is_called_by_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(trusted(&dir)).await;
    let address = server.address;
    let channel = channel(address, &dir, |builder| builder);
    call(&channel).await;
    drop(server.stop);
    server.ended.await.unwrap();
    let _back = serve_at(&address.to_string(), Server::builder()).await;
    let request = Request::new(EchoRequest::default());
    let wait = sampan::policy::CallPolicy::new().with_wait_for_ready(true);
    let mut request = request;
    request.extensions_mut().insert(wait);
    let mut client = EchoClient::new(channel.clone());
    client.unary(request).await.unwrap();
    assert!(!is_local(&channel));
}

#[tokio::test]
async fn the_socket_that_a_dead_server_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let before = serve(trusted(&dir)).await;
    let address = before.address;
    drop(before.stop);
    before.ended.await.unwrap();
    drop(std::os::unix::net::UnixListener::bind(socket(&dir, address)).unwrap());
    let _server = serve_at(&address.to_string(), trusted(&dir)).await;
    let channel = channel(address, &dir, |builder| builder);
    call(&channel).await;
    assert!(is_local(&channel));
}

#[tokio::test]
async fn a_service_on_this_host_is_found_by_its_name_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dial = |service: &str| {
        Channel::configure(format!("local:///{service}"))
            .local_dir(dir.path())
            .local_trust(true)
            .build()
            .unwrap()
    };
    let channel = dial(sampan_testing::proto::echo_server::SERVICE_NAME);
    let request = Request::new(EchoRequest::default());
    let status = EchoClient::new(channel.clone()).unary(request).await;
    assert!(status.unwrap_err().message().contains("no address"));
    let servers = [serve(trusted(&dir)).await, serve(trusted(&dir)).await];
    let found = async {
        while channel.endpoints().len() < servers.len() {
            let request = Request::new(EchoRequest::default());
            let _ = EchoClient::new(channel.clone()).unary(request).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        call(&channel).await;
    };
    tokio::time::timeout(Duration::from_secs(5), found)
        .await
        .unwrap();
    let untrusted = Channel::configure("local:///a.B").local_dir(dir.path());
    let error = untrusted.local_trust(false).build().unwrap_err();
    assert!(
        error.to_string().contains("SAMPAN_LOCAL_TRUST=1"),
        "{error}"
    );
}
