//! What is sent again, and what is not.

use crate::support::*;
use sampan_wire::{
    Code as WireCode,
    policy::{Idempotency, Method, MethodKind, MethodPolicy, RetryPolicy},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::Instant,
};
use tonic::{Code, Request};

pub(crate) static RETRIED: Method = Method::new(PATH, MethodKind::Unary)
    .with_idempotency(Idempotency::Idempotent)
    .with_policy(MethodPolicy::NONE.with_retry(RetryPolicy::new(3, &[WireCode::Unavailable])));
/// As a careless hand might write it: the generator refuses this.
static UNSAFE: Method = Method::new(PATH, MethodKind::Unary)
    .with_policy(MethodPolicy::NONE.with_retry(RetryPolicy::new(3, &[WireCode::Unavailable])));

pub(crate) fn of(method: &'static Method, text: &str) -> Request<String> {
    let mut request = Request::new(text.to_owned());
    request.extensions_mut().insert(method);
    request
}

/// Fails this often, then echoes; notes `grpc-previous-rpc-attempts`.
fn fails(
    times: usize,
    metadata: &'static [(&'static str, &'static str)],
) -> (Handler, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let notes = Arc::clone(&seen);
    let echo = echo();
    let handler = handler(move |request| {
        let previous = request.headers().get("grpc-previous-rpc-attempts");
        let note = previous
            .map_or("-", |value| value.to_str().unwrap())
            .to_owned();
        let mut notes = notes.lock().unwrap();
        notes.push(note);
        let answer = (notes.len() > times).then(|| echo(request));
        async move {
            match answer {
                Some(answer) => answer.await,
                None => refuse(Code::Unavailable, metadata),
            }
        }
    });
    (handler, seen)
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_tried_again_by_its_policy() {
    let (handler, seen) = fails(2, &[]);
    let channel = in_memory(&memory_endpoint(), handler);
    let start = Instant::now();
    assert_eq!(send(&channel, of(&RETRIED, "text")).await.unwrap(), "text");
    assert_eq!(*seen.lock().unwrap(), ["-", "1", "2"]);
    let waited = start.elapsed().as_millis();
    assert!(
        (120..=180).contains(&waited),
        "50 + 100 ms, each ± 20 %: {waited}"
    );
    let counts = channel.counts();
    assert_eq!(
        (counts.calls, counts.failed_calls, counts.retries),
        (1, 0, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_failure_is_told_as_it_came() {
    let (handler, seen) = fails(9, &[("grpc-message", "busy"), ("own", "kept")]);
    let channel = in_memory(&memory_endpoint(), handler);
    let status = send(&channel, of(&RETRIED, "")).await.unwrap_err();
    assert_eq!(seen.lock().unwrap().len(), 3);
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "busy")
    );
    assert_eq!(status.metadata().get("own").unwrap(), "kept");
}

#[tokio::test(start_paused = true)]
async fn a_method_that_may_not_run_twice_does_not() {
    let (handler, seen) = fails(1, &[]);
    let channel = in_memory(&memory_endpoint(), handler);
    let status = send(&channel, of(&UNSAFE, "")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn pushback_is_obeyed() {
    let (handler, _) = fails(1, &[("grpc-retry-pushback-ms", "700")]);
    let channel = in_memory(&memory_endpoint(), handler);
    let start = Instant::now();
    send(&channel, of(&RETRIED, "")).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(700));

    let (handler, seen) = fails(1, &[("grpc-retry-pushback-ms", "-1")]);
    let channel = in_memory(&memory_endpoint(), handler);
    send(&channel, of(&RETRIED, "")).await.unwrap_err();
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_without_end_stop_retries() {
    let (handler, seen) = fails(usize::MAX, &[]);
    let channel = in_memory(&memory_endpoint(), handler);
    for _ in 0..10 {
        send(&channel, of(&RETRIED, "")).await.unwrap_err();
    }
    // Five failures take half of the ten tokens; from then on each call is sent once.
    let attempts = seen.lock().unwrap().len();
    assert!(attempts <= 14, "{attempts} attempts of 10 calls");
}

#[tokio::test(start_paused = true)]
async fn no_retry_is_waited_for_beyond_the_deadline() {
    let (handler, _) = fails(9, &[("grpc-retry-pushback-ms", "700")]);
    let channel = in_memory(&memory_endpoint(), handler);
    let mut request = of(&RETRIED, "");
    request.set_timeout(Duration::from_millis(500));
    let start = Instant::now();
    let status = send(&channel, request).await.unwrap_err();
    assert_eq!(
        (status.code(), start.elapsed()),
        (Code::Unavailable, Duration::ZERO)
    );
}

/// HTTP/2 by hand: reads up to the head of a stream, and answers as told.
struct Scripted {
    io: DuplexStream,
}

impl Scripted {
    async fn start(mut io: DuplexStream) -> Self {
        let mut preface = [0; 24];
        io.read_exact(&mut preface).await.unwrap();
        io.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        Self { io }
    }

    /// The stream of the next HEADERS; None when the client is gone.
    async fn next_call(&mut self) -> Option<u32> {
        loop {
            let mut head = [0; 9];
            self.io.read_exact(&mut head).await.ok()?;
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; len as usize];
            self.io.read_exact(&mut payload).await.ok()?;
            if head[3] == 1 {
                return Some(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
            }
        }
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![len[1], len[2], len[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.io.write_all(&frame).await.unwrap();
    }

    async fn reset(&mut self, stream: u32, code: u32) {
        self.frame(3, 0, stream, &code.to_be_bytes()).await;
    }

    async fn go_away(&mut self, last: u32) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend(0u32.to_be_bytes());
        self.frame(7, 0, 0, &payload).await;
    }

    /// Trailers alone: NOT_FOUND, so that nothing else can have made it.
    async fn answer(&mut self, stream: u32) {
        let mut block = vec![0x88];
        for (name, value) in [("content-type", "application/grpc"), ("grpc-status", "5")] {
            for text in [name, value] {
                if text == name {
                    block.push(0);
                }
                block.push(u8::try_from(text.len()).unwrap());
                block.extend(text.as_bytes());
            }
        }
        self.frame(1, 0b101, stream, &block).await;
    }
}

#[tokio::test]
async fn a_stream_refused_unprocessed_is_sent_once_more() {
    let calls = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&calls);
    let channel = through(&memory_endpoint(), move |io| {
        let calls = Arc::clone(&counted);
        tokio::spawn(async move {
            let mut peer = Scripted::start(io).await;
            while let Some(stream) = peer.next_call().await {
                match calls.fetch_add(1, Ordering::SeqCst) {
                    0 | 2 | 3 => peer.reset(stream, 7).await,
                    _ => peer.answer(stream).await,
                }
            }
        });
    });
    assert_eq!(say(&channel, "").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    // Once, not twice.
    let status = say(&channel, "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    assert_eq!(channel.counts().retries, 0);
}

#[tokio::test]
async fn a_call_above_the_last_stream_of_goaway_goes_to_the_next_connection() {
    let connections = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&connections);
    let channel = through(&memory_endpoint(), move |io| {
        let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        tokio::spawn(async move {
            let mut peer = Scripted::start(io).await;
            while let Some(stream) = peer.next_call().await {
                if is_first {
                    peer.go_away(0).await;
                } else {
                    peer.answer(stream).await;
                }
            }
        });
    });
    let status = say(&channel, "").await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn resets_have_the_codes_of_the_protocol() {
    let codes = [
        (0, Code::Internal),
        (1, Code::Internal),
        (2, Code::Internal),
        (8, Code::Cancelled),
        (11, Code::ResourceExhausted),
        (12, Code::PermissionDenied),
    ];
    let next = Arc::<AtomicUsize>::default();
    let channel = through(&memory_endpoint(), move |io| {
        let next = Arc::clone(&next);
        tokio::spawn(async move {
            let mut peer = Scripted::start(io).await;
            while let Some(stream) = peer.next_call().await {
                let (reset, _) = codes[next.fetch_add(1, Ordering::SeqCst)];
                peer.reset(stream, reset).await;
            }
        });
    });
    for (reset, code) in codes {
        let status = say(&channel, "").await.unwrap_err();
        assert_eq!(status.code(), code, "{reset}: {status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_cancelled_at_its_deadline_has_exceeded_it() {
    let limit = Duration::from_millis(50);
    for (after, code) in [(49, Code::DeadlineExceeded), (40, Code::Cancelled)] {
        let channel = through(&memory_endpoint(), move |io| {
            tokio::spawn(async move {
                let mut peer = Scripted::start(io).await;
                while let Some(stream) = peer.next_call().await {
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    peer.reset(stream, 8).await;
                }
            });
        });
        let mut request = Request::new(String::new());
        request.set_timeout(limit);
        let status = send(&channel, request).await.unwrap_err();
        assert_eq!(status.code(), code, "after {after} ms: {status:?}");
    }
}
