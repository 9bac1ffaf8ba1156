//! Clients that do not keep to the rules.

use crate::echo::{Client, Echo, Running, any_port, serve};
use sampan_server::{MemoryBudget, Server};
use sampan_transport::{Address, Http2Settings};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::Code;

pub(crate) async fn socket(address: &Address) -> TcpStream {
    let Address::Tcp(address) = address else {
        panic!("TCP")
    };
    TcpStream::connect(address).await.unwrap()
}

/// HTTP/2's preface, empty SETTINGS, and a request for stream 1 with this path.
fn request(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
    let mut literal = |index: &[u8], value: &str| {
        block.extend_from_slice(index);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend_from_slice(value.as_bytes());
    };
    literal(&[0x04], path);
    literal(&[0x01], "test"); // :authority
    literal(&[0x0f, 0x10], "application/grpc"); // content-type
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let length = u8::try_from(block.len()).unwrap();
    bytes.extend_from_slice(&[0, 0, length, 0x01, 0x05, 0, 0, 0, 1]);
    bytes.extend_from_slice(&block);
    bytes
}

/// The type of the first frame of stream 1.
async fn first_frame_of_stream(socket: &mut TcpStream) -> u8 {
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        socket.read_exact(&mut payload).await.unwrap();
        if head[8] == 1 {
            return head[3];
        }
    }
}

#[tokio::test]
async fn a_path_without_its_slash_reaches_no_layer() {
    const HEADERS: u8 = 1;
    let (echo, mut events) = Echo::new();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let layer = tower::layer::layer_fn({
        let seen = seen.clone();
        move |inner| {
            let seen = seen.clone();
            tower::ServiceExt::map_request(
                inner,
                move |request: http::Request<tonic::body::Body>| {
                    seen.lock().unwrap().push(request.uri().path().to_owned());
                    request
                },
            )
        }
    });
    let server = Server::new()
        .listen(any_port())
        .layer(layer)
        .add_service(echo);
    let server = Running::start(server.bind().await.unwrap());

    let mut proper = socket(&server.address).await;
    proper
        .write_all(&request("/test.Echo/Unary"))
        .await
        .unwrap();
    assert_eq!(first_frame_of_stream(&mut proper).await, HEADERS);
    assert_eq!(*seen.lock().unwrap(), ["/test.Echo/Unary"]);

    let mut wrong = socket(&server.address).await;
    wrong.write_all(&request("test.Echo/Unary")).await.unwrap();
    first_frame_of_stream(&mut wrong).await;
    assert_eq!(seen.lock().unwrap().len(), 1, "the layer saw it");
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn connections_over_the_cap_are_closed_and_those_under_it_go_on() {
    let (echo, _events) = Echo::new();
    let server = Server::new()
        .listen(any_port())
        .max_connections(1)
        .add_service(echo);
    let server = Running::start(server.bind().await.unwrap());
    let first = Client::connect(&server.address).await;
    assert_eq!(first.unary("first").await.unwrap(), "first");
    let mut second = socket(&server.address).await;
    let mut byte = [0];
    let closed = second.read(&mut byte);
    assert_eq!(
        timeout(Duration::from_secs(10), closed)
            .await
            .unwrap()
            .unwrap_or(0),
        0
    );
    assert_eq!(first.unary("again").await.unwrap(), "again");
}

#[tokio::test]
async fn no_more_streams_run_than_are_advertised() {
    let (echo, mut events) = Echo::new();
    let http2 = Http2Settings {
        max_concurrent_streams: 2,
        ..Http2Settings::default()
    };
    let server = Server::new()
        .listen(any_port())
        .http2(http2)
        .add_service(echo);
    let server = Running::start(server.bind().await.unwrap());
    let client = Client::connect(&server.address).await;
    // The limit is heard with the first answer.
    client.unary("first").await.unwrap();
    events.recv().await.unwrap();
    events.recv().await.unwrap();
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.unary("wait").await })
        })
        .collect();
    events.recv().await.unwrap();
    events.recv().await.unwrap();
    assert!(
        timeout(Duration::from_millis(100), events.recv())
            .await
            .is_err()
    );
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn the_times_and_the_memory_of_connections_are_settings() {
    let (echo, _events) = Echo::new();
    let soon = Duration::from_secs(1);
    let server = Server::new()
        .listen(any_port())
        .preface_timeout(soon)
        .idle_timeout(Some(soon))
        .http1_header_timeout(soon)
        .receive_budget(MemoryBudget::new(100 << 10))
        .add_service(echo);
    let server = Running::start(server.bind().await.unwrap());
    let mut mute = socket(&server.address).await;
    let mut said = Vec::new();
    timeout(Duration::from_secs(8), mute.read_to_end(&mut said))
        .await
        .unwrap()
        .unwrap();
    let client = Client::connect(&server.address).await;
    let error = client.unary(&"long".repeat(50 << 10)).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    let mut idle = socket(&server.address).await;
    idle.write_all(&request("/")).await.unwrap();
    said.clear();
    let goaway = async {
        while !said.windows(8).any(|said| said == b"max_idle") {
            assert!(idle.read_buf(&mut said).await.unwrap() > 0, "it was told");
        }
    };
    timeout(Duration::from_secs(8), goaway).await.unwrap();
}

#[tokio::test]
async fn noise_on_a_connection_harms_no_other() {
    let (server, _events) = serve().await;
    let client = Client::connect(&server.address).await;
    let mut noise = socket(&server.address).await;
    noise
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(10), noise.read_to_end(&mut answer))
        .await
        .unwrap()
        .ok();
    assert_eq!(client.unary("next").await.unwrap(), "next");
}
