//! Layers of a program's own around attempts.

use crate::support::*;
use futures_util::{StreamExt as _, future::BoxFuture};
use sampan_client::{
    AttemptInfo, CallService, Channel, Interceptor, OutgoingCall,
    credentials::{CallCredentials, CalledMethod, Credentials},
};
use sampan_wire::{
    Code as WireCode,
    policy::{CodeSet, HedgePolicy, Idempotency, Method, MethodKind, MethodPolicy, RetryPolicy},
};
use std::{
    mem,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tonic::{Code, Request, Status, metadata::MetadataMap};
use tower::{Service, layer::layer_fn};

const fn reads(policy: MethodPolicy) -> Method {
    Method::new(PATH, MethodKind::Unary)
        .with_idempotency(Idempotency::NoSideEffects)
        .with_policy(policy)
}

static RETRIED: Method =
    reads(MethodPolicy::NONE.with_retry(RetryPolicy::new(3, &[WireCode::Unavailable])));
static HEDGED: Method = reads(MethodPolicy::NONE.with_hedge(HedgePolicy {
    max_attempts: 2,
    delay: Duration::from_millis(20),
    non_fatal_codes: CodeSet::of(&[]),
}));

type Log = Arc<Mutex<Vec<String>>>;

/// As tonic's users write layers for its channel: generic over what is below, and over bodies.
#[derive(Clone)]
struct Logs<S> {
    inner: S,
    name: &'static str,
    log: Log,
}

impl<S, B> Service<http::Request<tonic::body::Body>> for Logs<S>
where
    S: Service<http::Request<tonic::body::Body>, Response = http::Response<B>>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<tonic::body::Body>) -> Self::Future {
        let ready = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, ready);
        let (name, log) = (self.name, Arc::clone(&self.log));
        Box::pin(async move {
            tokio::task::yield_now().await;
            let attempt = request.extensions().get::<AttemptInfo>().unwrap();
            let (previous, endpoint) = (attempt.previous_attempts(), attempt.endpoint());
            let method = request.extensions().get::<&'static Method>().unwrap();
            let proof = &request.headers()["x-proof"];
            let line = format!("{name} {previous} {endpoint} {} {proof:?}", method.path());
            log.lock().unwrap().push(line);
            let headers = request.headers_mut();
            headers.append("seen", name.parse().unwrap());
            let response = inner.call(request).await?;
            let status = response.headers().get("grpc-status");
            let status = status.map_or("-", |status| status.to_str().unwrap());
            log.lock().unwrap().push(format!("{name} {status}"));
            Ok(response)
        })
    }
}

struct Before;

#[tonic::async_trait]
impl Interceptor for Before {
    async fn before_attempt(&self, call: &mut OutgoingCall) -> Result<(), Status> {
        let seen = "interceptor".parse().unwrap();
        call.metadata_mut().append("seen", seen);
        Ok(())
    }
}

struct Proof;

#[tonic::async_trait]
impl CallCredentials for Proof {
    async fn metadata(&self, _: &CalledMethod<'_>) -> Result<MetadataMap, Status> {
        let mut metadata = MetadataMap::new();
        metadata.insert("x-proof", "me".parse().unwrap());
        Ok(metadata)
    }

    fn need_secrecy(&self) -> bool {
        false
    }
}

/// A channel with two logging layers around its attempts.
fn logging(target: &str) -> (Channel, Log) {
    let log = Log::default();
    let logs = |name| {
        let log = Arc::clone(&log);
        layer_fn(move |inner: CallService| Logs {
            inner,
            name,
            log: Arc::clone(&log),
        })
    };
    let channel = Channel::configure(target)
        .attempt_layer(logs("outer"))
        .attempt_layer(logs("inner"))
        .intercept(Before)
        .credentials(Credentials::new(Proof));
    (channel.build().unwrap(), log)
}

fn request(method: &'static Method) -> Request<String> {
    let mut request = Request::new("text".to_owned());
    request.extensions_mut().insert(method);
    request
}

/// Answers with what it has `seen`, behind so many refusals or attempts that hang.
fn answers(after: usize, hangs: bool) -> TestServer {
    TestServer::start(handler(move |request| {
        let header = |name: &str| {
            let values = request.headers().get_all(name).iter();
            let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
            values.join(",")
        };
        let previous = header("grpc-previous-rpc-attempts").parse().unwrap_or(0);
        let answer = message(&header("seen"));
        async move {
            if previous >= after {
                respond([answer, trailers(0)])
            } else if hangs {
                std::future::pending().await
            } else {
                refuse(Code::Unavailable, &[("grpc-retry-pushback-ms", "1")])
            }
        }
    }))
}

#[tokio::test]
async fn each_retry_passes_the_layers_of_attempts_below_interceptors_and_credentials() {
    let server = answers(2, false);
    let (channel, log) = logging(&server.target());
    let answer = send(&channel, request(&RETRIED)).await.unwrap();
    assert_eq!(answer, "interceptor,outer,inner");
    assert_eq!((server.calls(), channel.counts().retries), (3, 2));
    let at = server.target();
    let lines = [0, 1, 2].map(|previous| {
        let status = if previous == 2 { "-" } else { "14" };
        [
            format!("outer {previous} {at} {PATH} \"me\""),
            format!("inner {previous} {at} {PATH} \"me\""),
            format!("inner {status}"),
            format!("outer {status}"),
        ]
    });
    assert_eq!(log.lock().unwrap()[..], lines.concat());
    let seen = &channel.endpoints()[0];
    assert_eq!((seen.attempts, seen.failed_attempts), (3, 2));
    assert_eq!(seen.in_flight, 0);
}

#[tokio::test]
async fn each_hedge_passes_the_layers_of_attempts() {
    let server = answers(1, true);
    let (channel, log) = logging(&server.target());
    let answer = send(&channel, request(&HEDGED)).await.unwrap();
    assert_eq!(answer, "interceptor,outer,inner");
    assert_eq!(channel.counts().hedges, 1);
    let log = log.lock().unwrap();
    let passed = |what: &str| log.iter().filter(|line| line.starts_with(what)).count();
    for (what, count) in [
        ("outer 0", 1),
        ("inner 0", 1),
        ("outer 1", 1),
        ("inner -", 1),
    ] {
        assert_eq!(passed(what), count, "{what}: {log:?}");
    }
}

/// Refuses the first attempts, without a look at what is below.
#[derive(Clone)]
struct Refuses {
    inner: CallService,
    code: Code,
}

impl Service<http::Request<tonic::body::Body>> for Refuses {
    type Response = <CallService as Service<http::Request<tonic::body::Body>>>::Response;
    type Error = Status;
    type Future = <CallService as Service<http::Request<tonic::body::Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let attempt = request.extensions().get::<AttemptInfo>().unwrap();
        if attempt.previous_attempts() > 0 {
            return self.inner.call(request);
        }
        let refusal = Status::new(self.code, "not with me");
        Box::pin(async move { Err(refusal) })
    }
}

#[tokio::test]
async fn what_a_layer_refuses_is_judged_as_any_attempt_and_is_not_its_endpoints_fault() {
    let server = answers(0, false);
    for (code, calls) in [(Code::PermissionDenied, 0), (Code::Unavailable, 1)] {
        let refuses = layer_fn(move |inner| Refuses { inner, code });
        let channel = Channel::configure(server.target()).attempt_layer(refuses);
        let channel = channel.build().unwrap();
        let outcome = send(&channel, request(&RETRIED)).await;
        match outcome {
            Ok(_) => assert_eq!((code, channel.counts().retries), (Code::Unavailable, 1)),
            Err(status) => {
                assert_eq!(status.code(), code);
                assert_eq!(status.message(), "not with me");
                assert_eq!(code, Code::PermissionDenied);
            }
        }
        assert_eq!(server.calls(), calls, "{code:?}");
        let seen = &channel.endpoints()[0];
        assert_eq!((seen.attempts, seen.failed_attempts), (calls as u64, 0));
    }
}

#[tokio::test]
async fn an_attempt_that_finds_no_room_behind_its_layers_waits_for_it() {
    let address = "127.0.0.1:0".parse().unwrap();
    let server = TestServer::start_with(&address, echo(), with_streams(2));
    let (channel, _) = logging(&server.target());
    let calls = (0..64).map(|_| send(&channel, request(&RETRIED)));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap(), "text");
    }
    assert_eq!(server.calls(), 64);
}

#[tokio::test]
async fn streams_pass_the_layers_of_attempts_in_both_directions() {
    let server = TestServer::start(echo());
    let (channel, _) = logging(&server.target());
    let texts = ["a", "b", "c"].map(str::to_owned);
    let mut request = Request::new(futures_util::stream::iter(texts).then(|text| async {
        tokio::task::yield_now().await;
        text
    }));
    request.extensions_mut().insert(&STREAM);
    let path = http::uri::PathAndQuery::from_static(PATH);
    let mut client = Client::new(channel.clone());
    client.ready().await.unwrap();
    let answers = client.streaming(request, path, Text).await.unwrap();
    let answers: Vec<_> = answers.into_inner().map(Result::unwrap).collect().await;
    assert_eq!(answers, ["a", "b", "c"]);
    let seen = &channel.endpoints()[0];
    assert_eq!((seen.attempts, seen.in_flight), (1, 0));
}

static STREAM: Method = Method::new(PATH, MethodKind::Bidirectional);

#[tokio::test]
async fn what_hangs_in_a_layer_ends_at_the_deadline() {
    let server = answers(0, false);
    let hangs = layer_fn(|_: CallService| {
        tower::service_fn(|_: http::Request<tonic::body::Body>| {
            std::future::pending::<Result<http::Response<tonic::body::Body>, Status>>()
        })
    });
    let channel = Channel::configure(server.target()).attempt_layer(hangs);
    let channel = channel.build().unwrap();
    let mut request = request(&RETRIED);
    request.set_timeout(Duration::from_millis(50));
    let status = send(&channel, request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(channel.endpoints()[0].in_flight, 0);
}
