//! Unary calls of 32 bytes over a pipe in memory, both sides on one thread: the same work each
//! time, to be counted.
//!
//! `bench-counts SUBJECT CALLS` makes the calls and says nothing: callgrind counts the
//! instructions. With `--allocations` it prints the allocations per call.

use bench_echo::service::{
    Client, Echo, EchoMessage, Handler,
    sampan_stubs::{echo_client::EchoClient, echo_server::EchoServer},
};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, io, process::ExitCode};
use tokio::{
    io::{DuplexStream, duplex},
    runtime::{Builder, Runtime},
};
use tonic::Request;

/// More than is ever in flight.
const PIPE_BYTES: usize = 64 << 10;
/// Calls until everything has its size.
const WARM_UP: u64 = 200;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (subject, calls, is_counting) = match words[..] {
        [subject, calls] => (subject, calls, false),
        [subject, calls, "--allocations"] => (subject, calls, true),
        _ => return usage(),
    };
    let Ok(calls) = calls.parse() else {
        return usage();
    };
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    match subject {
        "sampan" => measure(&runtime, sampan(&runtime), calls, is_counting),
        #[cfg(feature = "peers")]
        "tonic" => measure(&runtime, tonic(&runtime), calls, is_counting),
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: bench-counts sampan|tonic CALLS [--allocations]");
    ExitCode::from(64)
}

fn measure(runtime: &Runtime, mut client: impl Client, calls: u64, is_counting: bool) {
    runtime.block_on(call(&mut client, WARM_UP));
    if !is_counting {
        return runtime.block_on(call(&mut client, calls));
    }
    let mut count = |calls| {
        let run = || runtime.block_on(call(&mut client, calls));
        allocation_counter::measure(run).count_total as f64
    };
    let (short, long) = (count(calls), count(2 * calls));
    println!("{:.2}", (long - short) / calls as f64);
}

async fn call(client: &mut impl Client, calls: u64) {
    let payload = Bytes::from_static(&[7; 32]);
    for _ in 0..calls {
        let request = Request::new(EchoMessage {
            payload: payload.clone(),
        });
        let answer = client.unary(Handler::Echo, request).await;
        let answer = answer.expect("the echo answers").into_inner();
        assert_eq!(answer.payload, payload);
    }
}

/// Takes the one end of a pipe that there is.
fn connector(
    end: DuplexStream,
) -> impl tower::Service<
    sampan::transport::Uri,
    Response = TokioIo<DuplexStream>,
    Error = io::Error,
    Future = impl Future<Output = io::Result<TokioIo<DuplexStream>>> + Send,
> + Send
+ 'static {
    let mut end = Some(end);
    tower::service_fn(move |_| {
        let end = end.take().map(TokioIo::new);
        async move { end.ok_or_else(|| io::ErrorKind::NotConnected.into()) }
    })
}

fn sampan(runtime: &Runtime) -> impl Client + use<> {
    let (near, far) = duplex(PIPE_BYTES);
    let server = sampan::transport::Server::builder()
        .add_service(EchoServer::new(Echo))
        .serve_with_incoming(tokio_stream::once(Ok::<_, Infallible>(far)));
    runtime.spawn(server);
    let endpoint = sampan::transport::Endpoint::from_static("http://pipe");
    let channel = runtime.block_on(endpoint.connect_with_connector(connector(near)));
    EchoClient::new(channel.expect("the pipe is open"))
}

#[cfg(feature = "peers")]
fn tonic(runtime: &Runtime) -> impl Client + use<> {
    use bench_echo::service::tonic_stubs::{echo_client, echo_server};
    let (near, far) = duplex(PIPE_BYTES);
    let server = tonic::transport::Server::builder()
        .add_service(echo_server::EchoServer::new(Echo))
        .serve_with_incoming(tokio_stream::once(Ok::<_, Infallible>(far)));
    runtime.spawn(server);
    let endpoint = tonic::transport::Endpoint::from_static("http://pipe");
    let channel = runtime.block_on(endpoint.connect_with_connector(connector(near)));
    echo_client::EchoClient::new(channel.expect("the pipe is open"))
}
