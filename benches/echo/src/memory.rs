//! What a server has resident: by itself, per connection, per open stream.

use crate::{
    cases::Kind,
    lab::current_thread,
    sample::{Figure, Sample},
    service_process::ServiceProcess,
    usage::resident,
};
use bench_echo::{
    peer::{Peer, Target},
    service::{Client, EchoMessage, Handler},
};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

/// How many connections, and streams on each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) connections: usize,
    pub(crate) streams_each: usize,
}

/// How long memory may take to be given back.
const SETTLE: Duration = Duration::from_secs(5);
const METADATA_NAMES: [&str; 4] = ["x-bench-a", "x-bench-b", "x-bench-c", "x-bench-d"];
const METADATA_BYTES_EACH: usize = 256;

pub(crate) fn turn(kind: Kind, peer: Peer, crowd: Crowd, cores: &[usize]) -> Sample {
    let service = ServiceProcess::start(peer, cores);
    let target = service.target();
    current_thread().block_on(async {
        match kind {
            Kind::Connections => {
                let first = call(&target, 1).await;
                tokio::time::sleep(SETTLE).await;
                let before = resident(service.id());
                let mut open = vec![first];
                for number in 0..crowd.connections {
                    open.push(call(&target, number).await);
                }
                tokio::time::sleep(SETTLE).await;
                let grown = resident(service.id()).saturating_sub(before);
                per(Figure::KibPerConnection, grown, crowd.connections)
            }
            Kind::Streams => streams(&service, crowd).await,
            _ => {
                drop(call(&target, 0).await);
                tokio::time::sleep(SETTLE).await;
                let mebibytes = resident(service.id()) as f64 / f64::from(1 << 20);
                Sample::from([(Figure::Mebibytes, mebibytes)])
            }
        }
    })
}

async fn streams(service: &ServiceProcess, crowd: Crowd) -> Sample {
    let mut clients = Vec::new();
    for number in 0..crowd.connections {
        clients.push(call(&service.target(), number).await);
    }
    tokio::time::sleep(SETTLE).await;
    let before = resident(service.id());
    let mut open = Vec::new();
    for client in &mut clients {
        for _ in 0..crowd.streams_each {
            let (send, messages) = mpsc::channel(1);
            send.send(message()).await.expect("there is room");
            let stream = Client::ping_pong(client, ReceiverStream::new(messages)).await;
            let mut stream = stream.expect("the stream opens").into_inner();
            stream.message().await.expect("it echoes");
            open.push((send, stream));
        }
    }
    tokio::time::sleep(SETTLE).await;
    let grown = resident(service.id()).saturating_sub(before);
    per(Figure::KibPerStream, grown, open.len())
}

/// A connection, after one call with 1 KiB of metadata. The same client for all servers.
async fn call(target: &Target, number: usize) -> impl Client + use<> {
    let mut client = target.tonic().await;
    let mut request = Request::new(message());
    for name in METADATA_NAMES {
        let value = format!("{number:0METADATA_BYTES_EACH$}");
        let value = value.parse().expect("digits are ASCII");
        request.metadata_mut().insert(name, value);
    }
    let answer = Client::unary(&mut client, Handler::Echo, request).await;
    answer.expect("the echo answers");
    client
}

fn message() -> EchoMessage {
    EchoMessage {
        payload: vec![7; 32].into(),
    }
}

fn per(figure: Figure, bytes: u64, many: usize) -> Sample {
    Sample::from([(figure, bytes as f64 / 1024.0 / many as f64)])
}
