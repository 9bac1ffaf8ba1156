//! The one place that orders what a server does around each call.
//!
//! From the outside in:
//!
//! 1. Metrics count every call, the refused and the panicked too, by the status that leaves; so
//!    does the load that callers are told of, where they are. Spans are made and end with them.
//! 2. Errors become trailers: above all that may cut a stream.
//! 3. The panic guard: above everything that runs code of others.
//! 4. The deadline: above the user's layers, whose waiting counts as well.
//! 5. Shedding, where it is asked for: before any work, and below the deadline, which says whether
//!    there is time for it.
//! 6. The call's context: above all code of the user that may call on.
//! 7. Answers are compressed, where that was asked for: below the metrics, above all that makes them.
//! 8. The seam: from there on all types are tonic's.
//! 9. The user's layers, then the routes.
//!
//! Why one service and not five layers: what each of them decides is cheap, but each layer moves
//! the request, the future and the answer once more. What they decide is in sampan-middleware,
//! each by itself; the answer's body goes on here in [`Answer`].

use crate::{
    BoxError,
    answer::Answer,
    compressed::{ServerCompression, packed},
    loads::{CallLoad, Loads},
    shed::Shed,
    tonic_seam::{Arriving, SeamFuture, TonicSeam},
    trace::CallSpan,
};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header, uri::PathAndQuery};
use http_body::Body as HttpBody;
use sampan_middleware::{
    Body,
    compression::{Compression, Packing},
    context::CallScope,
    deadline::{DeadlinePolicy, Limit},
    metrics::{Call, MethodMetrics, ServerMetrics},
    panic_guard::{guard, panicked},
};
use sampan_transport::clock;
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::Instant;
use tonic::{Status, body::Body as TonicBody};
use tower_service::Service;

/// What a stack is made of besides services.
#[derive(Clone, Debug)]
pub(crate) struct StackSettings {
    pub(crate) metrics: ServerMetrics,
    pub(crate) longest_call: Option<Duration>,
    pub(crate) is_strict: bool,
    /// Where calls that wait too long are shed.
    pub(crate) shed: Option<Shed>,
    /// None: nobody is told of the load.
    pub(crate) loads: Option<Arc<Loads>>,
    pub(crate) compression: Option<Compression>,
}

/// Services with everything that goes around them.
#[derive(Clone, Debug)]
pub(crate) struct Calls<S> {
    metrics: ServerMetrics,
    /// The method of this connection's latest call: nearly always that of the next.
    latest: Option<MethodMetrics>,
    deadline: DeadlinePolicy,
    shed: Option<Shed>,
    loads: Option<Arc<Loads>>,
    compression: Option<Arc<ServerCompression>>,
    seam: TonicSeam<S>,
}

/// A call on its way.
pub(crate) struct CallFuture<S: Service<Request<TonicBody>>> {
    counted: Option<Call>,
    span: CallSpan,
    load: Option<Box<CallLoad>>,
    limit: Limit,
    packing: Option<Box<Packing>>,
    state: State<S>,
    /// Last: calls that the handler made end with it, before what was detached from it hears.
    scope: CallScope,
}

enum State<S: Service<Request<TonicBody>>> {
    Called(SeamFuture<S>),
    Refused(Status),
    Over,
}

// === impl Calls ===

impl<S: Clone + 'static> Calls<S> {
    /// Around `services`: the routes inside of the user's layers.
    pub(crate) fn new(services: S, settings: StackSettings) -> Self {
        Self {
            metrics: settings.metrics,
            latest: None,
            deadline: DeadlinePolicy::with_longest(settings.longest_call),
            shed: settings.shed,
            loads: settings.loads,
            compression: settings
                .compression
                .map(|compression| Arc::new(ServerCompression::new(compression))),
            seam: TonicSeam::new(services, settings.is_strict),
        }
    }
}

impl<S> Calls<S> {
    fn count(&mut self, path: Option<&PathAndQuery>, now: Instant) -> Call {
        if let (Some(path), Some(method)) = (path, &self.latest)
            && method.is_at(path)
        {
            return method.start(now);
        }
        self.latest = path.and_then(|path| self.metrics.known(path));
        self.metrics.start(path, now)
    }
}

impl<S, A, B> Service<Request<A>> for Calls<S>
where
    S: Service<Request<TonicBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    A: Arriving,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = CallFuture<S>;

    // The user's layers are asked per call: one that waits holds up that call alone.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<A>) -> CallFuture<S> {
        let now = clock::recent();
        let mut counted = self.count(request.uri().path_and_query(), now);
        // The method counts under its name, or as one of the others.
        let span = CallSpan::of(&request, self.latest.is_some());
        let mut scope = CallScope::default();
        let limit = self.deadline.limit(request.headers(), now);
        let limit = limit.and_then(|limit| {
            if let Some(shed) = &mut self.shed {
                shed.admit(request.uri().path(), limit.at())?;
            }
            Ok(limit)
        });
        let load = match &self.loads {
            Some(loads) => loads.begin(&mut request, now),
            None => None,
        };
        let packing = match &self.compression {
            None => Ok(None),
            Some(compression) => compression.of(&request),
        };
        let (limit, state) = match limit {
            Ok(limit) => match &packing {
                Err(refused) => (limit, State::Refused(refused.clone())),
                Ok(_) => {
                    scope = CallScope::new(request.headers(), limit.at());
                    let seam = || guard(|| span.enter(|| self.seam.call(request, &mut counted)));
                    match scope.enter(limit.at(), seam) {
                        Some(call) => (limit, State::Called(call)),
                        None => (limit, State::Refused(panicked())),
                    }
                }
            },
            Err(status) => (Limit::default(), State::Refused(status)),
        };
        CallFuture {
            counted: Some(counted),
            span,
            load,
            limit,
            packing: packing.ok().flatten(),
            state,
            scope,
        }
    }
}

// === impl CallFuture ===

impl<S, B> Future for CallFuture<S>
where
    S: Service<Request<TonicBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let response = match &mut this.state {
            State::Called(call) => {
                let span = &this.span;
                let poll = || guard(|| span.enter(|| Pin::new(call).poll(cx)));
                match this.scope.enter(this.limit.at(), poll) {
                    Some(Poll::Ready(response)) => response,
                    Some(Poll::Pending) => {
                        Status::from(ready!(this.limit.poll_over(cx))).into_http()
                    }
                    None => panicked().into_http(),
                }
            }
            State::Refused(status) => std::mem::replace(status, Status::ok("")).into_http(),
            State::Over => Status::internal("polled after its end").into_http(),
        };
        this.leave();
        Poll::Ready(Ok(this.answer(response)))
    }
}

impl<S: Service<Request<TonicBody>>> CallFuture<S> {
    /// Drops what was called; what is left of it may panic as well.
    fn leave(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Over);
        guard(move || drop(state));
    }

    fn answer(&mut self, response: Response<Body>) -> Response<Answer> {
        let (mut head, mut body) = response.into_parts();
        if let Some(packing) = self.packing.take() {
            body = packed(*packing, &mut head, body);
        }
        let mut counted = self.counted.take();
        if let Some(counted) = &mut counted {
            let is_method = counted.answered(head.status, &head.headers);
            self.span.settle(is_method);
        }
        let scope = std::mem::take(&mut self.scope);
        let span = std::mem::take(&mut self.span);
        let load = self.load.take();
        if load.is_some() && head.status == StatusCode::OK {
            // The transport adds it to answers that leave in one piece alone.
            let content_type = head.headers.entry(header::CONTENT_TYPE);
            content_type.or_insert(HeaderValue::from_static("application/grpc"));
        }
        let body = Answer::new(
            &mut head.headers,
            body,
            self.limit.take(),
            counted,
            span,
            load,
            scope,
        );
        Response::from_parts(head, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full, StreamBody};
    use prometheus_client::registry::Registry;
    use sampan_transport::{BodyError, ResponseBody};
    use std::future::{pending, poll_fn};
    use tonic::Code;
    use tower::service_fn;

    /// A request that is there whole.
    struct Whole(Full<Bytes>);

    impl HttpBody for Whole {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
            let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
            Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})))
        }
    }

    impl Arriving for Whole {
        fn take_all(&mut self) -> Option<Bytes> {
            Some(Bytes::from_static(&[0; 5]))
        }
    }

    /// The answer of a stack around `service`, and its counts.
    async fn answer<S, B>(service: S, timeout: Option<&str>) -> (Response<Answer>, ServerMetrics)
    where
        S: Service<Request<TonicBody>, Response = Response<B>, Error = Infallible>
            + Clone
            + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let metrics = ServerMetrics::register(&mut Registry::default(), ["a.B/C"]);
        let settings = StackSettings {
            metrics: metrics.clone(),
            longest_call: None,
            is_strict: true,
            shed: None,
            loads: None,
            compression: None,
        };
        let mut request = Request::post("/a.B/C")
            .header("content-type", "application/grpc")
            .body(Whole(Full::default()))
            .unwrap();
        if let Some(timeout) = timeout {
            let headers = request.headers_mut();
            headers.insert("grpc-timeout", timeout.parse().unwrap());
        }
        let call = Calls::new(service, settings).call(request);
        assert_eq!(metrics.open_calls(), 1);
        (call.await.unwrap(), metrics)
    }

    fn code(headers: &http::HeaderMap) -> Code {
        Code::from_bytes(headers["grpc-status"].as_bytes())
    }

    async fn last(body: &mut Answer) -> Code {
        let frame = body.frame().await.unwrap().unwrap();
        let code = code(frame.trailers_ref().unwrap());
        assert!(body.frame().await.is_none());
        code
    }

    #[tokio::test]
    async fn a_panic_in_the_call_or_in_its_future_is_internal() {
        let at_once = service_fn(
            |_: Request<TonicBody>| -> std::future::Ready<Result<Response<TonicBody>, Infallible>> {
                panic!("while called")
            },
        );
        let later = service_fn(|_: Request<TonicBody>| {
            poll_fn(|_| -> Poll<Result<Response<TonicBody>, Infallible>> { panic!("while polled") })
        });
        for (answer, metrics) in [answer(at_once, None).await, answer(later, None).await] {
            assert_eq!(code(answer.headers()), Code::Internal);
            assert_eq!(metrics.open_calls(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_is_dropped_at_its_deadline() {
        let (alive, dropped) = tokio::sync::oneshot::channel::<()>();
        let alive = std::sync::Arc::new(std::sync::Mutex::new(Some(alive)));
        let service = service_fn(move |_: Request<TonicBody>| {
            let alive = alive.lock().unwrap().take();
            async move {
                let _alive = alive;
                pending::<Result<Response<TonicBody>, Infallible>>().await
            }
        });
        let began = Instant::now();
        let (answer, metrics) = answer(service, Some("250m")).await;
        assert_eq!(began.elapsed(), Duration::from_millis(250));
        assert_eq!(code(answer.headers()), Code::DeadlineExceeded);
        assert_eq!(metrics.open_calls(), 0);
        dropped.await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn streams_are_cut_whether_they_wait_or_never_stop() {
        let frame = || Ok::<_, Status>(http_body::Frame::data(Bytes::from_static(b"x")));
        let busy = service_fn(move |_: Request<TonicBody>| async move {
            let frames = futures_util::stream::poll_fn(move |_| Poll::Ready(Some(frame())));
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
        });
        let (busy, _) = answer(busy, Some("1S")).await;
        let mut body = busy.into_body();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(last(&mut body).await, Code::DeadlineExceeded);

        let silent = service_fn(|_: Request<TonicBody>| async {
            let frames = futures_util::stream::pending::<Result<http_body::Frame<Bytes>, Status>>();
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
        });
        let (silent, metrics) = answer(silent, Some("1S")).await;
        assert_eq!(metrics.open_calls(), 1);
        assert_eq!(last(&mut silent.into_body()).await, Code::DeadlineExceeded);
        assert_eq!(metrics.open_calls(), 0);
    }

    #[tokio::test]
    async fn an_error_or_a_panic_in_a_body_becomes_its_trailers() {
        let fails = service_fn(|_: Request<TonicBody>| async {
            let frames = [
                Ok(http_body::Frame::data(Bytes::from_static(b"x"))),
                Err(Status::aborted("no more")),
                Ok(http_body::Frame::data(Bytes::from_static(b"never"))),
            ];
            let body = StreamBody::new(futures_util::stream::iter(frames));
            Ok::<_, Infallible>(Response::new(body))
        });
        let mut body = answer(fails, None).await.0.into_body();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        assert_eq!(last(&mut body).await, Code::Aborted);

        let panics = service_fn(|_: Request<TonicBody>| async {
            let frames = futures_util::stream::poll_fn(
                |_| -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
                    panic!("in the stream")
                },
            );
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
        });
        let (panics, metrics) = answer(panics, None).await;
        assert_eq!(last(&mut panics.into_body()).await, Code::Internal);
        assert_eq!(metrics.open_calls(), 0);
    }

    #[tokio::test]
    async fn a_whole_answer_leaves_in_one_piece_and_is_counted() {
        let whole = service_fn(|_: Request<TonicBody>| async {
            let body = Body::ok(Bytes::from_static(b"answer"));
            Ok::<_, Infallible>(Response::new(body))
        });
        let (answer, metrics) = answer(whole, Some("1S")).await;
        let mut body = answer.into_body();
        assert_eq!(metrics.open_calls(), 1);
        assert_eq!(body.take_ok().unwrap(), "answer");
        assert_eq!(metrics.open_calls(), 0);
        assert!(body.is_end_stream());
    }
}
