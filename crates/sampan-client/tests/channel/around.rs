//! Layers and interceptors of a program's own.

use crate::support::*;
use sampan_client::{CallService, Channel, EndedCall, Interceptor, OutgoingCall};
use sampan_wire::{
    Code as WireCode,
    policy::{Idempotency, Method, MethodKind, MethodPolicy, RetryPolicy},
};
use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tonic::{Code, Request, Status};
use tower::{Layer, Service};

static READ: Method = Method::new(PATH, MethodKind::Unary)
    .with_idempotency(Idempotency::NoSideEffects)
    .with_policy(MethodPolicy::NONE.with_retry(RetryPolicy::new(3, &[WireCode::Unavailable])));

type Log = Arc<Mutex<Vec<String>>>;

#[derive(Clone)]
struct Says {
    name: &'static str,
    log: Log,
}

#[tonic::async_trait]
impl Interceptor for Says {
    async fn before_call(&self, call: &mut OutgoingCall) -> Result<(), Status> {
        tokio::task::yield_now().await;
        let kind = call.method().map(Method::kind);
        self.log
            .lock()
            .unwrap()
            .push(format!("{} {kind:?}", self.name));
        if call.metadata().contains_key("refuse") {
            return Err(Status::permission_denied("not with me"));
        }
        call.metadata_mut()
            .append("seen", self.name.parse().unwrap());
        if call.metadata().contains_key("hang") {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn before_attempt(&self, call: &mut OutgoingCall) -> Result<(), Status> {
        let attempt = call.previous_attempts().to_string();
        call.metadata_mut()
            .append("attempt", attempt.parse().unwrap());
        Ok(())
    }

    fn after_call(&self, call: &EndedCall<'_>) {
        let code = call.code();
        self.log
            .lock()
            .unwrap()
            .push(format!("{} {code:?}", self.name));
    }
}

/// A layer; and what it makes.
#[derive(Clone)]
struct Logs<S> {
    says: Says,
    inner: S,
}

impl Layer<CallService> for Says {
    type Service = Logs<CallService>;

    fn layer(&self, inner: CallService) -> Self::Service {
        let says = self.clone();
        Logs { says, inner }
    }
}

impl Service<http::Request<tonic::body::Body>> for Logs<CallService> {
    type Response = http::Response<sampan_middleware::Body>;
    type Error = Status;
    type Future = <CallService as Service<http::Request<tonic::body::Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<tonic::body::Body>) -> Self::Future {
        let Says { name, log } = self.says.clone();
        let method = request.extensions().get::<&'static Method>();
        let path = method.map_or("-", |method| method.path());
        log.lock().unwrap().push(format!("{name} {path}"));
        request.headers_mut().append("seen", name.parse().unwrap());
        let call = self.inner.call(request);
        Box::pin(async move {
            let outcome = call.await;
            let is_ok = outcome.is_ok();
            log.lock().unwrap().push(format!("{name} {is_ok}"));
            outcome
        })
    }
}

/// Answers the third attempt with what it saw of its metadata.
fn serve() -> (TestServer, impl Fn() -> (Channel, Log)) {
    let server = TestServer::start(handler(|request| {
        let all = |name| {
            let values = request.headers().get_all(name).iter();
            let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
            values.join(",")
        };
        let answer = message(&format!("{} {}", all("seen"), all("attempt")));
        let is_third = request
            .headers()
            .get("grpc-previous-rpc-attempts")
            .is_some_and(|count| count == "2");
        async move {
            if is_third {
                respond([answer, trailers(0)])
            } else {
                refuse(Code::Unavailable, &[("grpc-retry-pushback-ms", "1")])
            }
        }
    }));
    let target = server.target();
    let channel = move || {
        let log = Log::default();
        let says = |name| Says {
            name,
            log: Arc::clone(&log),
        };
        let channel = Channel::configure(&target)
            .layer(says("outer"))
            .intercept(says("first"))
            .layer(says("inner"))
            .intercept(says("second"));
        (channel.build().unwrap(), log)
    };
    (server, channel)
}

fn request() -> Request<String> {
    let mut request = Request::new(String::new());
    request.extensions_mut().insert(&READ);
    request
}

#[tokio::test]
async fn layers_and_interceptors_see_each_call_once_in_their_order_and_each_attempt() {
    let (server, channel) = serve();
    let (channel, log) = channel();
    let answer = send(&channel, request()).await.unwrap();
    assert_eq!(answer, "outer,inner,first,second 2,2");
    assert_eq!((server.calls(), channel.counts().retries), (3, 2));
    let expected = [
        "outer /test.Text/Say",
        "inner /test.Text/Say",
        "first Some(Unary)",
        "second Some(Unary)",
        "second Ok",
        "first Ok",
        "inner true",
        "outer true",
    ];
    // Its trailers come behind its head.
    let mut seen = log.lock().unwrap().clone();
    let mut wanted = expected.map(str::to_owned);
    assert_eq!(seen[..4], wanted[..4]);
    seen.sort();
    wanted.sort();
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn an_interceptor_refuses_with_its_own_status_and_nothing_is_sent() {
    let (server, channel) = serve();
    let (channel, log) = channel();
    let mut refused = request();
    refused
        .metadata_mut()
        .insert("refuse", "1".parse().unwrap());
    let status = send(&channel, refused).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(status.message(), "not with me");
    assert_eq!(server.calls(), 0);
    let counts = channel.counts();
    assert_eq!((counts.calls, counts.failed_calls), (1, 1));
    assert_eq!(log.lock().unwrap().last().unwrap(), "outer false");
}

#[tokio::test]
async fn what_an_interceptor_waits_for_counts_against_the_deadline() {
    let (_server, channel) = serve();
    let (channel, log) = channel();
    let mut hanging = request();
    hanging.metadata_mut().insert("hang", "1".parse().unwrap());
    hanging.set_timeout(Duration::from_millis(50));
    let asked = Instant::now();
    let status = send(&channel, hanging).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(asked.elapsed() < Duration::from_secs(5));
    let log = log.lock().unwrap();
    assert!(log.contains(&"second Cancelled".to_owned()), "{log:?}");
}

#[tokio::test]
async fn a_stream_is_over_for_interceptors_at_its_last_trailer() {
    let server = TestServer::start(handler(|_| async {
        respond([message("a"), message("b"), trailers(9)])
    }));
    let log = Log::default();
    let says = Says {
        name: "it",
        log: Arc::clone(&log),
    };
    let channel = Channel::configure(server.target()).intercept(says);
    let mut client = Client::new(channel.build().unwrap());
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(PATH);
    let answers = client.server_streaming(Request::new(String::new()), path, Text);
    let mut answers = answers.await.unwrap().into_inner();
    for text in ["a", "b"] {
        assert_eq!(answers.message().await.unwrap().unwrap(), text);
    }
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        log.lock().unwrap()[..],
        ["it None", "it FailedPrecondition"]
    );
}
