//! Uploads of 16 MiB in messages of 64 KiB by volo-grpc, as bench-echo does them with its own
//! subjects. Each line of the input is a number of milliseconds; each line of the output is
//! messages, bytes of payload and nanoseconds. Both sides have a current-thread runtime.

use bytes::Bytes;
use futures_util::StreamExt;
use generated::bench::bench::v1::{
    DownloadRequest, Echo, EchoClientBuilder, EchoMessage, EchoServer, UploadSummary,
};
use std::{
    io::{BufRead, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};
use volo_grpc::{
    BoxStream, RecvStream, Request, Response, Status,
    server::{Server, ServiceBuilder},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[allow(clippy::all, reason = "generated code")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/bench.rs"));
}

const MESSAGE_BYTES: usize = 64 << 10;
const MESSAGES: usize = (16 << 20) / MESSAGE_BYTES;

struct Uploads;

fn not_measured<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("only uploads are measured"))
}

type Answers = BoxStream<'static, Result<EchoMessage, Status>>;

impl Echo for Uploads {
    async fn unary(&self, _: Request<EchoMessage>) -> Result<Response<EchoMessage>, Status> {
        not_measured()
    }

    async fn busy(&self, _: Request<EchoMessage>) -> Result<Response<EchoMessage>, Status> {
        not_measured()
    }

    async fn waiting(&self, _: Request<EchoMessage>) -> Result<Response<EchoMessage>, Status> {
        not_measured()
    }

    async fn ping_pong(
        &self,
        _: Request<RecvStream<EchoMessage>>,
    ) -> Result<Response<Answers>, Status> {
        not_measured()
    }

    async fn download(&self, _: Request<DownloadRequest>) -> Result<Response<Answers>, Status> {
        not_measured()
    }

    async fn upload(
        &self,
        request: Request<RecvStream<EchoMessage>>,
    ) -> Result<Response<UploadSummary>, Status> {
        let mut messages = request.into_inner();
        let mut payload_bytes = 0;
        while let Some(message) = messages.next().await {
            payload_bytes += message?.payload.len() as u64;
        }
        let mut summary = UploadSummary::default();
        summary.payload_bytes = payload_bytes;
        Ok(Response::new(summary))
    }
}

fn main() {
    let free = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let address = free.local_addr().expect("a bound socket has one");
    drop(free);
    std::thread::spawn(move || runtime().block_on(serve(address)));
    while TcpStream::connect(address).is_err() {
        std::thread::yield_now();
    }
    let client = EchoClientBuilder::new("bench").address(address).build();
    let runtime = runtime();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the input can be read");
        let time = Duration::from_millis(line.trim().parse().expect("a number of milliseconds"));
        let started = Instant::now();
        let mut uploads = 0;
        while started.elapsed() < time {
            runtime.block_on(async {
                let mut message = EchoMessage::default();
                message.payload = Bytes::from(vec![7; MESSAGE_BYTES]);
                let messages = futures_util::stream::iter(std::iter::repeat_n(message, MESSAGES));
                let summary = client.upload(messages).await.expect("the upload ends well");
                let expected = (MESSAGES * MESSAGE_BYTES) as u64;
                assert_eq!(summary.into_inner().payload_bytes, expected);
            });
            uploads += 1;
        }
        let messages = uploads * MESSAGES;
        let nanos = started.elapsed().as_nanos();
        println!("{messages} {} {nanos}", messages * MESSAGE_BYTES);
        std::io::stdout()
            .flush()
            .expect("the output can be written");
    }
}

async fn serve(address: SocketAddr) {
    let service = ServiceBuilder::new(EchoServer::new(Uploads)).build();
    let server = Server::new().add_service(service);
    let address = volo::net::Address::from(address);
    server.run(address).await.expect("the server runs");
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime starts")
}
