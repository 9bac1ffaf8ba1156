//! A service that does what it is told, and a client for it.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, future::BoxFuture, stream};
use http::{Request, Response};
use sampan_server::{BoundServer, RequestExt, Server};
use sampan_transport::{
    Address, CallHead, ConnectSettings, Connection, Incoming, Payload, RouteHead, connect,
};
use std::{
    cell::RefCell,
    convert::Infallible,
    future::pending,
    pin::Pin,
    sync::Barrier,
    task::{Context, Poll},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tonic::{Status, body::Body, server::NamedService};
use tonic_prost::ProstCodec;
use tower::service_fn;
use tower_service::Service;

/// Handlers tell when they begin and when they are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Began(String),
    Dropped(String),
}

#[derive(Clone)]
pub(crate) struct Echo {
    events: mpsc::UnboundedSender<Event>,
    max_message: Option<usize>,
}

struct Handler {
    text: String,
    events: mpsc::UnboundedSender<Event>,
}

thread_local! {
    /// Dropped when the thread ends.
    static STAYS: RefCell<Option<Handler>> = const { RefCell::new(None) };
}

/// Where a handler that blocks its thread meets the test that asked it to.
pub(crate) static GATE: Barrier = Barrier::new(2);

pub(crate) type Texts = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

impl Echo {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (events, heard) = mpsc::unbounded_channel();
        let max_message = None;
        (
            Self {
                events,
                max_message,
            },
            heard,
        )
    }

    pub(crate) fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = Some(bytes);
        self
    }

    fn begin(&self, text: &str) -> Handler {
        self.events.send(Event::Began(text.to_owned())).ok();
        let events = self.events.clone();
        Handler {
            text: text.to_owned(),
            events,
        }
    }

    async fn unary(
        self,
        request: tonic::Request<String>,
    ) -> Result<tonic::Response<String>, Status> {
        // Named in full: with its transport feature on, tonic has a method of that name.
        let remote = RequestExt::remote_addr(&request);
        let text = request.into_inner();
        let handler = self.begin(&text);
        if text == "stay" {
            STAYS.set(Some(handler));
            return Ok(tonic::Response::new(text));
        }
        let _handler = handler;
        match text.as_str() {
            "thread" => {
                let thread = std::thread::current();
                let answer = format!("{:?} {:?}", thread.id(), thread.name());
                Ok(tonic::Response::new(answer))
            }
            // What is spawned runs on the thread of its handler.
            "spawned thread" => {
                let id = tokio::spawn(async { std::thread::current().id() }).await;
                Ok(tonic::Response::new(format!("{:?}", id.unwrap())))
            }
            "panic" => panic!("asked to panic"),
            "wait" => pending().await,
            "block" => {
                GATE.wait();
                Ok(tonic::Response::new(text))
            }
            // Its thread has no time for others.
            "busy" => {
                std::thread::sleep(std::time::Duration::from_millis(5));
                Ok(tonic::Response::new(text))
            }
            "own out of range" => Err(Status::out_of_range("page 7 of 3")),
            "who am I" => Ok(tonic::Response::new(format!("{remote:?}"))),
            text if text.starts_with("for ") => {
                let millis = text[4..].parse().unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
                Ok(tonic::Response::new("slept".to_owned()))
            }
            _ => Ok(tonic::Response::new(text)),
        }
    }

    async fn stream(
        self,
        request: tonic::Request<String>,
    ) -> Result<tonic::Response<Texts>, Status> {
        let text = request.into_inner();
        let handler = self.begin(&text);
        let texts: Texts = match text.as_str() {
            "panic" => Box::pin(stream::iter(0..2).then(|n| async move {
                // tonic sends what it has when a stream waits.
                tokio::task::yield_now().await;
                assert_eq!(n, 0, "asked to panic in the stream");
                Ok("first".to_owned())
            })),
            _ => Box::pin(
                stream::once(async move { Ok(text) }).chain(stream::once(async move {
                    let _handler = handler;
                    pending().await
                })),
            ),
        };
        Ok(tonic::Response::new(texts))
    }

    /// Joins what it gets.
    async fn collect(
        self,
        request: tonic::Request<tonic::Streaming<String>>,
    ) -> Result<tonic::Response<String>, Status> {
        let mut texts = request.into_inner();
        let mut all = String::new();
        while let Some(text) = texts.message().await? {
            all.push_str(&text);
        }
        Ok(tonic::Response::new(all))
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.events.send(Event::Dropped(self.text.clone())).ok();
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<String, String>::default());
            if let Some(bytes) = echo.max_message {
                grpc = grpc.max_decoding_message_size(bytes);
            }
            Ok(match request.uri().path() {
                "/test.Echo/Unary" => {
                    grpc.unary(service_fn(|request| echo.clone().unary(request)), request)
                        .await
                }
                "/test.Echo/Stream" => {
                    let stream = service_fn(|request| echo.clone().stream(request));
                    grpc.server_streaming(stream, request).await
                }
                "/test.Echo/Collect" => {
                    let collect = service_fn(|request| echo.clone().collect(request));
                    grpc.client_streaming(collect, request).await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

/// A client of one connection.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) Connection);

impl Client {
    pub(crate) async fn connect(address: &Address) -> Self {
        Self(connect(address, &ConnectSettings::default()).await.unwrap())
    }

    pub(crate) async fn unary(&self, text: &str) -> Result<String, Status> {
        self.call("/test.Echo/Unary", text).await
    }

    pub(crate) async fn call(&self, path: &'static str, text: &str) -> Result<String, Status> {
        let mut grpc = self.grpc().await;
        let request = tonic::Request::new(text.to_owned());
        let path = http::uri::PathAndQuery::from_static(path);
        let codec = ProstCodec::<String, String>::default();
        Ok(grpc.unary(request, path, codec).await?.into_inner())
    }

    /// Calls until the connection takes no more calls, as after GOAWAY.
    pub(crate) async fn takes_no_more(&self) {
        while self.unary("one more").await.is_ok() {}
    }

    pub(crate) async fn stream(&self, text: &str) -> tonic::Streaming<String> {
        let mut grpc = self.grpc().await;
        let request = tonic::Request::new(text.to_owned());
        let path = http::uri::PathAndQuery::from_static("/test.Echo/Stream");
        let codec = ProstCodec::<String, String>::default();
        grpc.server_streaming(request, path, codec)
            .await
            .unwrap()
            .into_inner()
    }

    pub(crate) async fn collect<const N: usize>(
        &self,
        texts: [String; N],
    ) -> Result<String, Status> {
        let mut grpc = self.grpc().await;
        let texts = tonic::Request::new(stream::iter(texts));
        let path = http::uri::PathAndQuery::from_static("/test.Echo/Collect");
        let codec = ProstCodec::<String, String>::default();
        let answer = grpc.client_streaming(texts, path, codec).await?;
        Ok(answer.into_inner())
    }

    pub(crate) fn start(
        &self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Incoming>, Status>> + Send + use<> {
        let (parts, body) = request.into_parts();
        let route = RouteHead::new(
            http::uri::Scheme::HTTP,
            http::HeaderValue::from_static("test"),
            http::HeaderValue::from_static("test"),
        );
        let head = CallHead {
            route: &route,
            path: parts.uri.path_and_query().unwrap(),
            headers: &parts.headers,
            timeout: None,
            previous_attempts: 0,
        };
        let broken = |why: &dyn std::fmt::Debug| Status::unavailable(format!("{why:?}"));
        let started = self.0.start(&head, Payload::Stream(body));
        let started = started.map_err(|error| broken(&error.why));
        async move { started?.await.map_err(|error| broken(&error)) }
    }

    async fn grpc(&self) -> tonic::client::Grpc<Self> {
        let origin = http::Uri::from_static("http://test");
        let mut grpc = tonic::client::Grpc::with_origin(self.clone(), origin);
        grpc.ready().await.unwrap();
        grpc
    }

    /// Sends a request as it is; gives its head and what it says about gRPC's status.
    pub(crate) async fn send(&self, request: Request<Body>) -> (http::StatusCode, Option<Status>) {
        use http_body_util::BodyExt;
        let response = self.start(request).await.unwrap();
        let (head, body) = response.into_parts();
        let status = Status::from_header_map(&head.headers);
        let trailers = body.collect().await.unwrap().trailers().cloned();
        let last = trailers.and_then(|trailers| Status::from_header_map(&trailers));
        (head.status, status.or(last))
    }
}

impl Service<Request<Body>> for Client {
    type Response = Response<Incoming>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.start(request))
    }
}

/// A proper unary request, to be spoilt.
pub(crate) fn raw(path: &str, message: Bytes) -> Request<Body> {
    Request::post(format!("http://test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(http_body_util::Full::new(message)))
        .unwrap()
}

/// A server that runs until it is told to stop.
pub(crate) struct Running {
    pub(crate) address: Address,
    pub(crate) probe: Option<Address>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), sampan_server::Error>>,
}

impl Running {
    pub(crate) fn start(server: BoundServer) -> Self {
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { stopped.await.unwrap_or_default() };
        Self {
            address: server.local_addresses()[0].clone(),
            probe: server.probe_address().cloned(),
            stop: Some(stop),
            serving: tokio::spawn(server.serve_until(stopped)),
        }
    }

    pub(crate) fn signal(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn ended(self) {
        self.serving.await.unwrap().unwrap();
    }

    /// Drops the future that serves.
    pub(crate) fn drop_serving(&self) {
        self.serving.abort();
    }

    pub(crate) async fn panicked(self) {
        assert!(self.serving.await.unwrap_err().is_panic());
    }
}

pub(crate) fn any_port() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

/// An echo server on TCP whose handlers' events can be heard.
pub(crate) async fn serve() -> (Running, mpsc::UnboundedReceiver<Event>) {
    let (echo, events) = Echo::new();
    let server = Server::new()
        .listen(any_port())
        .add_service(echo)
        .bind()
        .await
        .unwrap();
    (Running::start(server), events)
}
