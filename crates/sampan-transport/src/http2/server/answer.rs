//! One call, from its handler to its last trailer.

use crate::{http2::shared::Shared, serve::ResponseBody};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};
use http_body::Body as _;
use pin_project_lite::pin_project;
use sampan_h2::{Key, Reason, Sent};
use sampan_wire::room::with_room;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// Runs a handler and sends what it answers. Its stream goes with it.
    pub(super) struct Answering<F, B> {
        #[pin]
        stage: Stage<F, B>,
        stream: OpenStream,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<F, B> {
        Handler { #[pin] response: F },
        Body { #[pin] body: B },
    }
}

/// A handler that has a task.
pub(super) struct Task<F, B>(pub(super) Place<F, B>);

/// Where one handler after the other runs.
pub(super) type Place<F, B> = Pin<Box<Option<Answering<F, B>>>>;

struct OpenStream {
    shared: Arc<Shared>,
    key: Key,
    has_answered: bool,
}

const GRPC: [(HeaderName, HeaderValue); 1] = [(
    header::CONTENT_TYPE,
    HeaderValue::from_static("application/grpc"),
)];

/// Frames taken from a body before other tasks have a turn.
const MAX_TURN: usize = 128;

// === impl Answering ===

impl<F, B> Answering<F, B> {
    pub(super) const fn new(response: F, shared: Arc<Shared>, key: Key) -> Self {
        Self {
            stage: Stage::Handler { response },
            stream: OpenStream {
                shared,
                key,
                has_answered: false,
            },
        }
    }
}

impl<F, B, E> Future for Answering<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: ResponseBody,
    B::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let StageProjection::Handler { response } = this.stage.as_mut().project() {
            match ready!(response.poll(cx)) {
                Err(error) => {
                    let error: BoxError = error.into();
                    tracing::debug!(error = &*error, "a service failed");
                    this.stream.reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(());
                }
                Ok(response) => match this.stream.begin(response) {
                    None => return Poll::Ready(()),
                    Some(body) => this.stage.set(Stage::Body { body }),
                },
            }
        }
        match this.stage.project() {
            StageProjection::Body { body } => this.stream.poll_body(body, cx),
            StageProjection::Handler { .. } => Poll::Pending,
        }
    }
}

// === impl Task ===

impl<F, B, E> Future for Task<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: ResponseBody,
    B::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.0.as_mut().as_pin_mut() {
            Some(answering) => answering.poll(cx),
            None => Poll::Ready(()),
        }
    }
}

// === impl OpenStream ===

impl OpenStream {
    /// Sends a response's head, and all of it when it is here: then there is no body left.
    fn begin<B: ResponseBody>(&mut self, response: Response<B>) -> Option<B> {
        let (head, mut body) = response.into_parts();
        let whole = body.take_ok();
        let is_end = whole.is_none() && body.is_end_stream();
        let has_type = head.headers.contains_key(header::CONTENT_TYPE);
        let fixed = if whole.is_some() && !has_type {
            &GRPC[..]
        } else {
            &[]
        };
        let mut state = self.shared.lock();
        let engine = &mut state.engine;
        engine.send_response(self.key, head.status, fixed, &head.headers, is_end);
        if let Some(data) = whole {
            engine.send_ok(self.key, data);
        } else if !is_end {
            return Some(body);
        }
        state.release(self.key);
        self.has_answered = true;
        self.shared.flush(state);
        None
    }

    fn poll_body<B>(&mut self, mut body: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<()>
    where
        B: ResponseBody,
        B::Error: Into<BoxError>,
    {
        for _ in 0..MAX_TURN {
            let room = {
                let mut state = self.shared.lock();
                if state.gone.is_some() || !state.engine.may_send(self.key) {
                    return Poll::Ready(());
                }
                if state.engine.queued(self.key) > 0 {
                    if let Some(slot) = state.engine.user_mut(self.key) {
                        slot.sender = Some(cx.waker().clone());
                    }
                    if state.needs_settling() {
                        // It may be this stream that ends.
                        self.shared.settle(state);
                    } else {
                        self.shared.flush(state);
                    }
                    return Poll::Pending;
                }
                state.engine.room(self.key)
            };
            let frame = with_room(room, || body.as_mut().poll_frame(cx));
            let is_end = body.is_end_stream();
            let mut state = self.shared.lock();
            let engine = &mut state.engine;
            let has_ended = match frame {
                Poll::Pending => {
                    self.shared.flush(state);
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    engine.send_data(self.key, Bytes::new(), true);
                    true
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() && !is_end => false,
                    Ok(data) => engine.send_data(self.key, data, is_end) == Sent::Gone || is_end,
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        engine.send_trailers(self.key, trailers);
                        true
                    }
                },
                Poll::Ready(Some(Err(error))) => {
                    let error: BoxError = error.into();
                    tracing::debug!(error = &*error, "a response's body failed");
                    drop(state);
                    self.reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(());
                }
            };
            if has_ended {
                state.release(self.key);
                self.has_answered = true;
                self.shared.flush(state);
                return Poll::Ready(());
            }
        }
        self.shared.flush(self.shared.lock());
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn reset(&mut self, reason: Reason) {
        self.has_answered = true;
        let mut state = self.shared.lock();
        state.engine.reset(self.key, reason);
        state.release(self.key);
        self.shared.flush(state);
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if !self.has_answered {
            let reason = if std::thread::panicking() {
                Reason::INTERNAL_ERROR
            } else {
                Reason::CANCEL
            };
            self.reset(reason);
        }
    }
}
