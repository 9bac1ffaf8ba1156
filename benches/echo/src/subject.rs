//! One implementation under load: its server thread, its client thread.

use crate::peer;
use bytes::Bytes;
use std::{
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc as tokio_mpsc;

/// Bytes of one message's payload.
pub(crate) const PAYLOAD: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) in_flight: usize,
}

/// What one turn gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) calls_per_second: f64,
    pub(crate) p50: Duration,
    /// CPU time per call of each side.
    pub(crate) client_cpu: Duration,
    pub(crate) server_cpu: Duration,
}

pub(crate) struct Subject {
    name: &'static str,
    work: tokio_mpsc::UnboundedSender<(Load, Duration)>,
    results: mpsc::Receiver<Vec<Duration>>,
    client_thread: u64,
    server_thread: u64,
}

/// A client that can be cloned for each call in flight.
pub(crate) trait Caller: Clone + 'static {
    fn call(&mut self, payload: Bytes) -> impl Future<Output = Bytes>;
}

// === impl Subject ===

impl Subject {
    pub(crate) fn sampan() -> Self {
        Self::start("sampan", peer::sampan_server, |address| {
            Box::pin(async move { peer::SampanCaller::connect(address) })
        })
    }

    /// Plain tonic, whose calls have no deadline.
    pub(crate) fn tonic(name: &'static str) -> Self {
        Self::start(name, peer::tonic_server, |address| {
            Box::pin(peer::TonicCaller::connect(address, None))
        })
    }

    /// tonic with the deadline on each call that Sampan's calls have.
    pub(crate) fn tonic_with_deadline() -> Self {
        Self::start("tonic + 30 s", peer::tonic_server, |address| {
            Box::pin(peer::TonicCaller::connect(
                address,
                Some(Duration::from_secs(30)),
            ))
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn run(&self, load: Load, turn: Duration) -> Turn {
        let before = (
            thread_cpu(self.client_thread),
            thread_cpu(self.server_thread),
        );
        let started = Instant::now();
        self.work
            .send((load, turn))
            .expect("the client thread lives");
        let mut latencies = self.results.recv().expect("the client thread lives");
        let elapsed = started.elapsed();
        let calls = u32::try_from(latencies.len()).expect("fewer calls than that");
        let (_, p50, _) = latencies.select_nth_unstable(calls as usize / 2);
        Turn {
            p50: *p50,
            calls_per_second: f64::from(calls) / elapsed.as_secs_f64(),
            client_cpu: (thread_cpu(self.client_thread) - before.0) / calls,
            server_cpu: (thread_cpu(self.server_thread) - before.1) / calls,
        }
    }

    fn start<C: Caller>(
        name: &'static str,
        serve: fn(std::net::TcpListener) -> std::pin::Pin<Box<dyn Future<Output = ()>>>,
        connect: fn(SocketAddr) -> std::pin::Pin<Box<dyn Future<Output = C>>>,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
        listener
            .set_nonblocking(true)
            .expect("a socket can be set so");
        let address = listener.local_addr().expect("a bound socket has one");

        let (tell, server_thread) = mpsc::channel();
        named(name, "server", move || {
            tell.send(own_thread_id()).expect("the starter waits");
            runtime().block_on(async move { serve(listener).await });
        });
        let server_thread = server_thread.recv().expect("the server thread starts");

        let (work, mut turns) = tokio_mpsc::unbounded_channel::<(Load, Duration)>();
        let (done, results) = mpsc::channel();
        let (tell, client_thread) = mpsc::channel();
        named(name, "client", move || {
            tell.send(own_thread_id()).expect("the starter waits");
            runtime().block_on(tokio::task::LocalSet::new().run_until(async move {
                let mut caller = connect(address).await;
                caller.call(Bytes::from(vec![7; PAYLOAD])).await;
                while let Some((load, turn)) = turns.recv().await {
                    done.send(drive(&caller, load, turn).await)
                        .expect("the starter waits");
                }
            }));
        });
        let client_thread = client_thread.recv().expect("the client thread starts");
        Self {
            name,
            work,
            results,
            client_thread,
            server_thread,
        }
    }
}

/// Keeps `in_flight` calls going for one turn; gives the latency of each.
async fn drive<C: Caller>(caller: &C, load: Load, turn: Duration) -> Vec<Duration> {
    let end = Instant::now() + turn;
    let callers: Vec<_> = (0..load.in_flight)
        .map(|_| {
            let mut caller = caller.clone();
            tokio::task::spawn_local(async move {
                let payload = Bytes::from(vec![7; PAYLOAD]);
                let mut latencies = Vec::new();
                loop {
                    let started = Instant::now();
                    let answer = caller.call(payload.clone()).await;
                    assert_eq!(answer.len(), PAYLOAD);
                    let now = Instant::now();
                    latencies.push(now - started);
                    if now >= end {
                        return latencies;
                    }
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for caller in callers {
        all.extend(caller.await.expect("a caller ends"));
    }
    all
}

/// Starts a thread that profilers can tell from the others.
fn named(subject: &str, side: &str, work: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(format!("{subject} {side}"));
    thread.spawn(work).expect("a thread starts");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
}

/// The kernel's number of this thread.
fn own_thread_id() -> u64 {
    let link = std::fs::read_link("/proc/thread-self").expect("Linux tells the thread");
    let id = link
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.parse().ok());
    id.expect("the link ends with the thread's number")
}

/// CPU time that a thread of this process has used.
fn thread_cpu(thread: u64) -> Duration {
    let path = format!("/proc/self/task/{thread}/schedstat");
    let text = std::fs::read_to_string(path).expect("Linux tells the thread's time");
    let nanos = text.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanos.expect("the first field counts nanoseconds"))
}
