//! Keeps a client busy with one kind of work, and tells how long each call took.

use bench_echo::service::{Client, DownloadRequest, EchoMessage, Handler};
use bytes::Bytes;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, metadata::MetadataValue};

/// What is done again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Unary {
        in_flight: usize,
        bytes: usize,
        handler: Handler,
        metadata: Metadata,
    },
    /// One message each way in turns, on one stream.
    PingPong { bytes: usize },
    /// Streams of messages from the server.
    Download { bytes: usize },
    /// Streams of messages to the server.
    Upload { bytes: usize },
    /// Unary calls, one at a time, beside eight streams on the same connection that nobody reads.
    Unread { bytes: usize },
    /// Small unary calls, one at a time, beside uploads of 16 MiB on the same connection.
    Beside { bytes: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metadata {
    None,
    /// What a mesh adds: a deadline and a trace that are others in each call, a long token.
    Mesh,
}

/// When it is enough.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    Time(Duration),
    Calls(u64),
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Calls or messages.
    pub(crate) count: u64,
    pub(crate) elapsed: Duration,
    /// Nanoseconds, in no order. Not of streams of messages.
    pub(crate) latencies: Vec<u32>,
    /// Payload of the streams.
    pub(crate) bytes: u64,
}

const MESSAGES_OF_A_DOWNLOAD: u32 = 20_000;
const BYTES_OF_AN_UPLOAD: usize = 16 << 20;
const TOKEN_BYTES: usize = 700;

/// A limit that has begun to run, for one of `callers`.
#[derive(Clone, Copy, Debug)]
struct Until {
    end: Option<Instant>,
    calls: u64,
}

/// Does `work` over the clients, all of them in turns; each is a connection.
pub(crate) async fn drive<C: Client>(
    clients: &[C],
    work: Work,
    deadline: Option<Duration>,
    limit: Limit,
) -> Outcome {
    let started = Instant::now();
    let first = clients[0].clone();
    let mut outcome = match work {
        Work::Unary {
            in_flight,
            bytes,
            handler,
            metadata,
        } => {
            let until = Until::new(limit, in_flight);
            let call = |caller: usize| Unary {
                client: clients[caller % clients.len()].clone(),
                handler,
                deadline,
                payload: payload(bytes),
                metadata: Headers::new(metadata, caller as u64),
            };
            let callers: Vec<_> = (0..in_flight)
                .map(|caller| tokio::spawn(call(caller).repeat(until)))
                .collect();
            let mut all = Outcome::default();
            for caller in callers {
                let one = caller.await.expect("a caller ends");
                all.count += one.count;
                all.latencies.extend(one.latencies);
            }
            all
        }
        Work::PingPong { bytes } => in_task(ping_pong(first, bytes, Until::new(limit, 1))).await,
        Work::Download { bytes } => in_task(download(first, bytes, Until::new(limit, 1))).await,
        Work::Upload { bytes } => {
            let until = Until::new(limit, 1);
            let is_over = move |count| until.is_over(Instant::now(), count);
            in_task(upload(first, bytes, is_over)).await
        }
        Work::Unread { bytes } => {
            in_task(unread(first, bytes, deadline, Until::new(limit, 1))).await
        }
        Work::Beside { bytes } => {
            in_task(beside(first, bytes, deadline, Until::new(limit, 1))).await
        }
    };
    outcome.elapsed = started.elapsed();
    outcome
}

/// Callers are tasks, as handlers are: what a runtime is blocked on is woken through the system.
async fn in_task(work: impl Future<Output = Outcome> + Send + 'static) -> Outcome {
    tokio::spawn(work).await.expect("a caller ends")
}

/// A caller with one call in flight.
struct Unary<C> {
    client: C,
    handler: Handler,
    deadline: Option<Duration>,
    payload: Bytes,
    metadata: Headers,
}

impl<C: Client> Unary<C> {
    async fn repeat(mut self, until: Until) -> Outcome {
        let mut latencies = Vec::with_capacity(1 << 14);
        let mut before = Instant::now();
        loop {
            let mut request = Request::new(EchoMessage {
                payload: self.payload.clone(),
            });
            if let Some(deadline) = self.deadline {
                request.set_timeout(deadline);
            }
            self.metadata.put_into(&mut request);
            let answer = self.client.unary(self.handler, request).await;
            let answer = answer.expect("the echo answers").into_inner();
            assert_eq!(answer.payload.len(), self.payload.len());
            let now = Instant::now();
            latencies.push(nanos(now - before));
            before = now;
            if until.is_over(now, latencies.len() as u64) {
                return Outcome {
                    count: latencies.len() as u64,
                    latencies,
                    ..Outcome::default()
                };
            }
        }
    }
}

async fn ping_pong<C: Client>(mut client: C, bytes: usize, until: Until) -> Outcome {
    let message = EchoMessage {
        payload: payload(bytes),
    };
    let (send, messages) = mpsc::channel(1);
    // The first message goes ahead: a server may answer the call only with it.
    send.send(message.clone()).await.expect("there is room");
    let answers = client.ping_pong(ReceiverStream::new(messages)).await;
    let mut answers = answers.expect("the stream opens").into_inner();
    answers.message().await.expect("it echoes");
    let mut latencies = Vec::with_capacity(1 << 14);
    let mut before = Instant::now();
    loop {
        send.send(message.clone())
            .await
            .expect("the stream is open");
        let answer = answers.message().await.expect("it echoes");
        assert_eq!(answer.expect("it is open").payload.len(), bytes);
        let now = Instant::now();
        latencies.push(nanos(now - before));
        before = now;
        if until.is_over(now, latencies.len() as u64) {
            break;
        }
    }
    drop(send);
    assert!(answers.message().await.expect("it ends well").is_none());
    Outcome {
        count: latencies.len() as u64,
        latencies,
        ..Outcome::default()
    }
}

async fn download<C: Client>(mut client: C, bytes: usize, until: Until) -> Outcome {
    let mut outcome = Outcome::default();
    loop {
        let request = DownloadRequest {
            messages: MESSAGES_OF_A_DOWNLOAD,
            payload_bytes: u32::try_from(bytes).expect("messages are small"),
        };
        let messages = client.download(request).await.expect("the stream opens");
        let mut messages = messages.into_inner();
        while let Some(message) = messages.message().await.expect("the stream runs") {
            outcome.count += 1;
            outcome.bytes += message.payload.len() as u64;
        }
        if until.is_over(Instant::now(), outcome.count) {
            return outcome;
        }
    }
}

async fn upload<C: Client>(mut client: C, bytes: usize, is_over: impl Fn(u64) -> bool) -> Outcome {
    let message = EchoMessage {
        payload: payload(bytes),
    };
    let messages = BYTES_OF_AN_UPLOAD / bytes;
    let mut outcome = Outcome::default();
    while !is_over(outcome.count) {
        let stream = tokio_stream::iter(std::iter::repeat_n(message.clone(), messages));
        let summary = client.upload(stream).await.expect("the upload ends well");
        assert_eq!(
            summary.into_inner().payload_bytes,
            (messages * bytes) as u64
        );
        outcome.count += messages as u64;
        outcome.bytes += (messages * bytes) as u64;
    }
    outcome
}

async fn unread<C: Client>(
    mut client: C,
    bytes: usize,
    deadline: Option<Duration>,
    until: Until,
) -> Outcome {
    const STREAMS: usize = 8;
    // Shorter than a stream's window, and nearly as long: of those less than one fits beside another.
    const MESSAGE_BYTES: [u32; 2] = [4 << 10, 200 << 10];
    let mut streams = Vec::with_capacity(STREAMS);
    for number in 0..STREAMS {
        let request = DownloadRequest {
            messages: u32::MAX,
            payload_bytes: MESSAGE_BYTES[number % 2],
        };
        streams.push(client.download(request).await.expect("the stream opens"));
    }
    let calls = Unary {
        client,
        handler: Handler::Echo,
        deadline,
        payload: payload(bytes),
        metadata: Headers::None,
    };
    calls.repeat(until).await
}

async fn beside<C: Client>(
    client: C,
    bytes: usize,
    deadline: Option<Duration>,
    until: Until,
) -> Outcome {
    const UPLOAD_MESSAGE: usize = 64 << 10;
    let (is_over, uploaded) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let uploading = {
        let (client, is_over) = (client.clone(), Arc::clone(&is_over));
        let uploaded = Arc::clone(&uploaded);
        tokio::spawn(async move {
            upload(client, UPLOAD_MESSAGE, |count| {
                uploaded.store(count * UPLOAD_MESSAGE as u64, Ordering::Relaxed);
                is_over.load(Ordering::Relaxed)
            })
            .await
        })
    };
    let calls = Unary {
        client,
        handler: Handler::Echo,
        deadline,
        payload: payload(bytes),
        metadata: Headers::None,
    };
    let mut outcome = calls.repeat(until).await;
    outcome.bytes = uploaded.load(Ordering::Relaxed);
    is_over.store(true, Ordering::Relaxed);
    uploading.await.expect("the upload ends");
    outcome
}

/// Headers of a call.
enum Headers {
    None,
    Mesh {
        authorization: MetadataValue<tonic::metadata::Ascii>,
        state: u64,
    },
}

// === impl Headers ===

impl Headers {
    fn new(metadata: Metadata, seed: u64) -> Self {
        match metadata {
            Metadata::None => Self::None,
            Metadata::Mesh => {
                let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
                let letter = |n: usize| letters[(n * n * 31 + n * 7) % letters.len()] as char;
                let token: String = (0..TOKEN_BYTES - "Bearer ".len()).map(letter).collect();
                let authorization = format!("Bearer {token}").parse();
                Self::Mesh {
                    authorization: authorization.expect("it is ASCII"),
                    state: seed,
                }
            }
        }
    }

    fn put_into<T>(&mut self, request: &mut Request<T>) {
        if let Self::Mesh {
            authorization,
            state,
        } = self
        {
            // splitmix64, by Vigna: public domain.
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            request.set_timeout(Duration::from_micros(5_000_000 + mixed % 10_000_000));
            let trace = format!("00-{mixed:016x}{state:016x}-{mixed:016x}-01");
            let metadata = request.metadata_mut();
            metadata.insert("traceparent", trace.parse().expect("it is ASCII"));
            metadata.insert("authorization", authorization.clone());
        }
    }
}

// === impl Until ===

impl Until {
    fn new(limit: Limit, callers: usize) -> Self {
        match limit {
            Limit::Time(time) => Self {
                end: Some(Instant::now() + time),
                calls: u64::MAX,
            },
            Limit::Calls(calls) => Self {
                end: None,
                calls: calls.div_ceil(callers as u64),
            },
        }
    }

    fn is_over(&self, now: Instant, calls: u64) -> bool {
        calls >= self.calls || self.end.is_some_and(|end| now >= end)
    }
}

fn payload(bytes: usize) -> Bytes {
    Bytes::from(vec![7; bytes])
}

fn nanos(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(u32::MAX)
}
