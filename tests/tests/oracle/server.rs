//! The server's side, whoever moves its bytes.

use crate::{
    outcome::{map, with_status},
    program::{Answer, End, Plan, Program, Reads, Side, data, message},
};
use bytes::Bytes;
use futures_util::{StreamExt, future::Either, stream};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use sampan_transport::{PeerInfo, ServeSettings, serve_connection};
use std::{
    convert::Infallible,
    error::Error,
    io,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{io::DuplexStream, sync::Notify, task::yield_now};

pub(crate) type AnyBody = UnsyncBoxBody<Bytes, io::Error>;

/// What the handlers know and tell.
pub(crate) struct Stage {
    program: Program,
    requests: AtomicUsize,
    running: AtomicUsize,
    pub(crate) goaway: Notify,
    wrong: Mutex<Vec<String>>,
}

/// Counts a handler while it runs.
struct Running(Arc<Stage>);

// === impl Stage ===

impl Stage {
    pub(crate) fn new(program: &Program) -> Arc<Self> {
        Arc::new(Self {
            program: program.clone(),
            requests: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            goaway: Notify::new(),
            wrong: Mutex::default(),
        })
    }

    /// What went wrong, once the connection has ended.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let mut wrong = self.wrong.lock().unwrap().clone();
        let running = self.running.load(Ordering::Relaxed);
        if running > 0 {
            wrong.push(format!("{running} handlers outlive their connection"));
        }
        wrong
    }

    fn is_wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// Answers as the plan says that the path names.
    async fn handle<B>(self: Arc<Self>, request: Request<B>) -> Response<AnyBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let running = Running::begin(&self);
        let (head, body) = request.into_parts();
        let number: usize = head.uri.path()[1..].parse().unwrap();
        let plan = self.program.calls[number].clone();
        for (name, value) in &map(&plan.request.headers) {
            let values = head.headers.get_all(name);
            if !values.iter().any(|found| found == value) {
                self.is_wrong(format!("call {number} came without {name}: {value:?}"));
            }
        }
        let (stage, asked) = (Arc::clone(&self), plan.clone());
        let read = async move {
            let whole = body.collect().await;
            stage.judge(number, &asked, whole.map(|whole| whole.to_bytes()));
        };
        let read = match plan.answer.reads {
            Reads::First => {
                read.await;
                Either::Left(std::future::ready(()))
            }
            Reads::Meanwhile => Either::Right(read),
        };
        let Answer { messages, end, .. } = plan.answer;
        let mut headers = map(&plan.answer.headers);
        headers.insert("content-type", "application/grpc".parse().unwrap());
        let (end, body) = match end {
            End::HeadAlone { code } => {
                let empty = Empty::new().map_err(|never: Infallible| match never {});
                let mut response = Response::new(empty.boxed_unsync());
                *response.headers_mut() = with_status(headers, code);
                return response;
            }
            End::Status { code, fields } => (
                Ok(Frame::trailers(with_status(map(&fields), code))),
                messages,
            ),
            End::Fails => (Err(io::Error::other("the program wants it")), messages),
        };
        let answers = stream::iter(body.into_iter().enumerate()).then(async |(n, size)| {
            yield_now().await;
            Ok(Frame::data(Bytes::from(message(n, size))))
        });
        let last = stream::once(async move {
            read.await;
            drop(running);
            end
        });
        let body = StreamBody::new(answers.chain(last));
        let mut response = Response::new(BodyExt::boxed_unsync(body));
        *response.headers_mut() = headers;
        response
    }

    /// What a handler has read.
    fn judge<E: std::fmt::Display>(&self, number: usize, plan: &Plan, read: Result<Bytes, E>) {
        match read {
            Ok(bytes) if plan.breaks_off() => self.is_wrong(format!(
                "the request of call {number} ended well after {} B, though it broke off",
                bytes.len()
            )),
            Ok(bytes) => {
                if bytes != data(&plan.request.messages) {
                    self.is_wrong(format!("the request of call {number} is another"));
                }
            }
            Err(error) if plan.is_whole() => {
                self.is_wrong(format!("the request of call {number} broke off: {error}"));
            }
            Err(_) => {}
        }
    }
}

// === impl Running ===

impl Running {
    fn begin(stage: &Arc<Stage>) -> Self {
        stage.running.fetch_add(1, Ordering::Relaxed);
        let before = stage.requests.fetch_add(1, Ordering::Relaxed);
        if stage.program.goaway_after == Some(before + 1) {
            stage.goaway.notify_one();
        }
        Self(Arc::clone(stage))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

// === the players ===

pub(crate) async fn ours(io: DuplexStream, side: &Side, stage: Arc<Stage>) -> Result<(), String> {
    let mut settings = ServeSettings::default();
    settings.http2.stream_window_bytes = side.stream_window;
    settings.http2.connection_window_bytes = side.connection_window;
    settings.http2.max_frame_bytes = side.max_frame;
    settings.http2.max_concurrent_streams = side.max_streams;
    let drain = Arc::clone(&stage);
    let service = tower::service_fn(move |request| {
        let stage = Arc::clone(&stage);
        async move { Ok::<_, Infallible>(stage.handle(request).await) }
    });
    let drain = async move { drain.goaway.notified().await };
    serve_connection(io, PeerInfo::default(), service, &settings, drain)
        .await
        .or_else(unless_gone)
}

pub(crate) async fn hypers(io: DuplexStream, side: &Side, stage: Arc<Stage>) -> Result<(), String> {
    let drain = Arc::clone(&stage);
    let service = hyper::service::service_fn(move |request| {
        let stage = Arc::clone(&stage);
        async move { Ok::<_, Infallible>(stage.handle(request).await) }
    });
    let mut connection = pin!(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(side.stream_window)
            .initial_connection_window_size(side.connection_window)
            .max_frame_size(side.max_frame)
            .max_concurrent_streams(side.max_streams)
            .serve_connection(TokioIo::new(io), service)
    );
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = drain.goaway.notified() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    served.or_else(unless_gone)
}

/// A client that has all it wants may close on what it has cancelled.
fn unless_gone(error: impl Error + 'static) -> Result<(), String> {
    let mut next: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(cause) = next {
        if cause.is::<io::Error>() {
            return Ok(());
        }
        next = cause.source();
    }
    Err(format!("{error:?}"))
}
