//! The client's side, for either player.

use crate::{
    outcome::{Outcome, map, ours as named},
    program::{Client, Plan, Side, data, message},
    server::AnyBody,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, uri::Scheme};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use sampan_transport::{
    BodyError, CallError, CallHead, ConnectSettings, Connection, Payload, RouteHead, WhyNot,
    handshake,
};
use std::{error::Error, io, task::Poll};
use tokio::{io::DuplexStream, task::yield_now};

/// A connection of either.
#[derive(Clone)]
pub(crate) enum Caller {
    Ours(Connection),
    Hyper(SendRequest<AnyBody>),
}

/// Why there is no answer, or no more of it.
enum Gone {
    NotTaken,
    Reset(String),
    /// The client ended it: its request broke off, or its connection takes no more.
    ByItself(String),
    Broken(String),
}

// === impl Caller ===

impl Caller {
    pub(crate) async fn ours(io: DuplexStream, side: &Side) -> Self {
        let mut settings = ConnectSettings::default();
        settings.http2.initial_stream_window_bytes = side.stream_window;
        settings.http2.initial_connection_window_bytes = side.connection_window;
        settings.http2.max_frame_bytes = side.max_frame;
        Self::Ours(handshake(io, &settings).await.unwrap())
    }

    pub(crate) async fn hypers(io: DuplexStream, side: &Side) -> Self {
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(side.stream_window)
            .initial_connection_window_size(side.connection_window)
            .max_frame_size(side.max_frame)
            .handshake(TokioIo::new(io))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self::Hyper(sender)
    }

    /// Plays one call to its end.
    pub(crate) async fn call(&self, number: usize, plan: &Plan) -> Outcome {
        match self {
            Self::Ours(connection) => {
                let call = call_ours(connection, number, plan);
                play(plan, call, of_ours).await
            }
            Self::Hyper(sender) => play(plan, call_hypers(sender, number, plan), of_hypers).await,
        }
    }
}

async fn call_ours(
    connection: &Connection,
    number: usize,
    plan: &Plan,
) -> Result<Response<sampan_transport::Incoming>, Gone> {
    let route = RouteHead::new(
        Scheme::HTTP,
        HeaderValue::from_static("oracle"),
        HeaderValue::from_static("oracle"),
    );
    let path = format!("/{number}").parse().unwrap();
    let headers = map(&plan.request.headers);
    let head = CallHead {
        route: &route,
        path: &path,
        headers: &headers,
        timeout: None,
        previous_attempts: 0,
    };
    let whole = Bytes::from(data(&plan.request.messages));
    let mut stream = plan.request.is_streamed.then(|| body(plan));
    loop {
        let payload = stream.map_or(Payload::Whole(&whole), Payload::Stream);
        match connection.start(&head, payload) {
            Ok(call) => {
                return call.await.map_err(|error| match error {
                    CallError::Unsent(_) | CallError::Refused(_) => Gone::NotTaken,
                    error @ CallError::Reset(..) => Gone::Reset(format!("{error:?}")),
                    other => Gone::Broken(format!("{other:?}")),
                });
            }
            Err(not) if not.why == WhyNot::Full => {
                connection.stream_free().await;
                stream = not.stream;
            }
            Err(_) => return Err(Gone::NotTaken),
        }
    }
}

async fn call_hypers(
    sender: &SendRequest<AnyBody>,
    number: usize,
    plan: &Plan,
) -> Result<Response<hyper::body::Incoming>, Gone> {
    let mut sender = sender.clone();
    if sender.ready().await.is_err() {
        return Err(Gone::NotTaken);
    }
    let body = if plan.request.is_streamed {
        body(plan)
    } else {
        let whole = Full::new(Bytes::from(data(&plan.request.messages)));
        whole.map_err(|never| match never {}).boxed_unsync()
    };
    let mut request = Request::post(format!("http://oracle/{number}"))
        .body(body)
        .unwrap();
    *request.headers_mut() = map(&plan.request.headers);
    request
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    sender
        .try_send_request(request)
        .await
        .map_err(|mut failed| {
            if failed.take_message().is_some() {
                Gone::NotTaken
            } else {
                of_hypers(&failed.into_error())
            }
        })
}

/// The messages of a stream of requests, and its end or its break.
fn body(plan: &Plan) -> AnyBody {
    let sizes = plan.request.messages.clone();
    let messages = stream::iter(sizes.into_iter().enumerate()).then(async |(n, size)| {
        yield_now().await;
        Ok(Frame::data(Bytes::from(message(n, size))))
    });
    let fails = plan.request.fails;
    let end = stream::iter(fails.then(|| Err(io::Error::other("the program wants it"))));
    BodyExt::boxed_unsync(StreamBody::new(messages.chain(end)))
}

fn of_ours(error: &BodyError) -> Gone {
    match error.reset() {
        Some(reason) => Gone::Reset(format!("{reason:?}")),
        None => Gone::Broken(format!("{error:?}")),
    }
}

fn of_hypers(error: &hyper::Error) -> Gone {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(http2) = cause.downcast_ref::<h2::Error>() {
            if http2.is_go_away() && http2.is_remote()
                || http2.reason() == Some(h2::Reason::REFUSED_STREAM)
            {
                return Gone::NotTaken;
            }
            if http2.is_reset() {
                return Gone::Reset(format!("{error:?}"));
            }
        }
        next = cause.source();
    }
    if error.is_user() {
        return Gone::ByItself(format!("{error:?}"));
    }
    Gone::Broken(format!("{error:?}"))
}

async fn play<B: Body<Data = Bytes> + Unpin>(
    plan: &Plan,
    call: impl Future<Output = Result<Response<B>, Gone>>,
    gone: impl Fn(&B::Error) -> Gone,
) -> Outcome {
    let mut call = std::pin::pin!(call);
    if plan.client == Client::CancelsAtOnce {
        // Begun, and dropped with this function.
        std::future::poll_fn(|cx| {
            let _ = call.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
        return Outcome::Cancelled { data: Vec::new() };
    }
    let mut data = Vec::new();
    let response = match call.await {
        Ok(response) => response,
        Err(why) => return ended(plan, why, data),
    };
    let (head, mut body) = response.into_parts();
    let mut trailers = HeaderMap::new();
    loop {
        if let Client::CancelsAfter(bytes) = plan.client
            && data.len() >= bytes
        {
            return Outcome::Cancelled { data };
        }
        match body.frame().await {
            None => break,
            Some(Err(error)) => return ended(plan, gone(&error), data),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => data.extend_from_slice(&bytes),
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            },
        }
    }
    Outcome::Answered {
        status: head.status.as_u16(),
        headers: named(&head.headers),
        data,
        trailers: named(&trailers),
    }
}

fn ended(plan: &Plan, why: Gone, data: Vec<u8>) -> Outcome {
    match why {
        Gone::ByItself(why) if plan.breaks_off() => Outcome::Reset { data, why },
        Gone::NotTaken | Gone::ByItself(_) => Outcome::NotTaken,
        Gone::Reset(why) => Outcome::Reset { data, why },
        Gone::Broken(why) => Outcome::Broken(why),
    }
}
