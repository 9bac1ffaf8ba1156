//! What a method's .proto says of compression.

use crate::support::*;
use sampan_client::{
    Channel, ChannelBuilder,
    compression::{Compression, Encoding},
};
use sampan_transport::{Address, LocalDir};
use sampan_wire::policy::{CallPolicy, CompressionPolicy, Method, MethodKind, MethodPolicy};
use tokio::net::TcpStream;
use tonic::Request;

const fn says(compression: CompressionPolicy) -> Method {
    let policy = MethodPolicy::NONE.with_compression(compression);
    Method::new(PATH, MethodKind::Unary).with_policy(policy)
}

static BY_GZIP: Method = says(CompressionPolicy::Gzip);
static BY_ZSTD: Method = says(CompressionPolicy::Zstd);
static PLAIN: Method = says(CompressionPolicy::Identity);
static SILENT: Method = Method::new(PATH, MethodKind::Unary);

/// How a server that looks far away got a message of so many bytes, and what it may answer with.
async fn sent(
    server: &TestServer,
    method: &'static Method,
    change: impl FnOnce(ChannelBuilder) -> ChannelBuilder,
    own: Option<CallPolicy>,
    bytes: usize,
) -> String {
    let Address::Tcp(address) = server.address else {
        panic!("it listens on TCP");
    };
    let far =
        Channel::configure("ipv4:192.0.2.7:50051").connector(move |_| TcpStream::connect(address));
    let channel = change(far).build().unwrap();
    ask(&channel, method, own, bytes).await
}

async fn ask(
    channel: &Channel,
    method: &'static Method,
    own: Option<CallPolicy>,
    bytes: usize,
) -> String {
    let mut request = Request::new("x".repeat(bytes));
    request.extensions_mut().insert(method);
    if let Some(own) = own {
        request.extensions_mut().insert(own);
    }
    send(channel, request).await.unwrap()
}

fn serve() -> TestServer {
    TestServer::start(echo_encodings())
}

fn echo_encodings() -> Handler {
    handler(|request| {
        let told = |name| {
            let value = request.headers().get(name);
            value
                .map_or("-", |value| value.to_str().unwrap())
                .to_owned()
        };
        let encoding = told("grpc-encoding");
        let takes = told("grpc-accept-encoding").contains("gzip");
        async move { respond([message(&format!("{encoding} {takes}")), trailers(0)]) }
    })
}

#[tokio::test]
async fn a_method_is_compressed_as_its_proto_says_unless_the_channel_or_the_call_does() {
    let server = serve();
    let as_it_is = |channel| channel;
    let found = sent(&server, &BY_GZIP, as_it_is, None, 4096).await;
    assert_eq!(found, "gzip true");
    for method in [&PLAIN, &SILENT] {
        assert_eq!(sent(&server, method, as_it_is, None, 4096).await, "- false");
    }
    // The rules for what is not worth it hold here too.
    assert_eq!(sent(&server, &BY_GZIP, as_it_is, None, 512).await, "- true");
    let here = Channel::dial(server.target()).unwrap();
    assert_eq!(ask(&here, &BY_GZIP, None, 4096).await, "- false");

    let none = Compression::none();
    let of_channel = |channel: ChannelBuilder| channel.compression(none);
    let found = sent(&server, &BY_GZIP, of_channel, None, 4096).await;
    assert_eq!(found, "- false");
    let own = CallPolicy::new().with_compression(none);
    let found = sent(&server, &BY_GZIP, as_it_is, Some(own), 4096).await;
    assert_eq!(found, "- false");
    let gzip = |channel: ChannelBuilder| channel.compression(Compression::new(Encoding::Gzip));
    assert_eq!(sent(&server, &PLAIN, gzip, None, 4096).await, "gzip true");
    // Who says something else does not say this.
    let waits = CallPolicy::new().with_wait_for_ready(true);
    let of_channel = |channel: ChannelBuilder| channel.policy(waits);
    for own in [None, Some(waits)] {
        let found = sent(&server, &BY_GZIP, of_channel, own, 4096).await;
        assert_eq!(found, "gzip true");
    }
}

#[tokio::test]
async fn nothing_is_compressed_over_a_socket_of_the_same_host_whatever_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let local = LocalDir::new(dir.path());
    let socket = local.socket(&local.name("192.0.2.7:50051".parse().unwrap()));
    let server = TestServer::start_at(&Address::Unix(socket), echo_encodings());
    let channel = Channel::configure("ipv4:192.0.2.7:50051")
        .local_dir(dir.path())
        .local_trust(true)
        .build()
        .unwrap();
    assert_eq!(ask(&channel, &BY_GZIP, None, 4096).await, "- false");
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn what_this_build_cannot_do_is_sent_as_it_is() {
    let server = serve();
    let found = sent(&server, &BY_ZSTD, |channel| channel, None, 4096).await;
    match CompressionPolicy::Zstd.here() {
        None => assert_eq!(found, "- false"),
        Some(_) => assert!(found.starts_with("zstd "), "{found}"),
    }
}
