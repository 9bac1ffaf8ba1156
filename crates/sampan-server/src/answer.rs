//! The bodies of answers, as the transport wants them.

use crate::{loads::CallLoad, tonic_seam::correct_code, trace::CallSpan};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use sampan_middleware::{
    Body, Ended,
    context::CallScope,
    deadline::Limit,
    metrics::Call,
    panic_guard::{guard, panicked},
    status_trailers::trailers,
};
use sampan_transport::{ResponseBody, clock};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::{Code, Status};

/// The body of a gRPC answer. Never fails: what goes wrong is told in trailers. Most answers
/// leave in one piece.
#[derive(Debug)]
pub(crate) struct Answer {
    // None once it is over.
    body: Option<Body>,
    limit: Limit,
    counted: Option<Call>,
    span: CallSpan,
    // Where callers are told of the load; then an answer does not leave in one piece.
    load: Option<Box<CallLoad>>,
    // A unary answer is one frame and its trailers: it never asks for the time.
    is_first: bool,
    scope: CallScope,
}

pin_project! {
    /// What anyone else answers, frame by frame.
    pub(crate) struct Plain<B> {
        #[pin]
        inner: B,
    }
}

// === impl Answer ===

impl Answer {
    /// A body whose head had these headers, and ends with its time or its call's.
    pub(crate) fn new(
        headers: &mut HeaderMap,
        body: Body,
        limit: Limit,
        counted: Option<Call>,
        span: CallSpan,
        load: Option<Box<CallLoad>>,
        scope: CallScope,
    ) -> Self {
        let mut answer = Self {
            body: Some(body),
            limit,
            counted,
            span,
            load,
            is_first: true,
            scope,
        };
        if !headers.is_empty()
            && let Some(ended) = Ended::from_headers(headers)
        {
            answer.tell_load(ended.code(), headers);
            answer.end(ended.code());
        }
        answer
    }

    fn end(&mut self, code: Code) {
        self.scope.over();
        if let Some(mut counted) = self.counted.take() {
            counted.end(code, clock::look());
        }
        self.span.end(code);
    }

    /// Ends the call's part in the load, and tells what is left.
    fn tell_load(&mut self, code: Code, trailers: &mut HeaderMap) {
        if let Some(mut load) = self.load.take() {
            let now = clock::look();
            load.end(code, now);
            trailers.extend(load.trailer(now));
        }
    }

    /// What the body gives, or why it gives no more.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let span = &self.span;
        let poll = || guard(|| span.enter(|| Pin::new(body).poll_frame(cx)));
        let Some(polled) = self.scope.enter(self.limit.at(), poll) else {
            // What is left of a panicked body may panic in its drop as well.
            let body = self.body.take();
            guard(move || drop(body));
            return Poll::Ready(Some(Err(panicked())));
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                let is_first = std::mem::replace(&mut self.is_first, false);
                Poll::Ready(Some(match self.limit.is_over() {
                    Some(exceeded) if !is_first => Err(exceeded.into()),
                    _ => Ok(frame),
                }))
            }
            Poll::Ready(frame) => Poll::Ready(frame),
            Poll::Pending => {
                let exceeded = ready!(self.limit.poll_over(cx));
                Poll::Ready(Some(Err(exceeded.into())))
            }
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let last = match ready!(this.poll_inner(cx)) {
            Some(Ok(frame)) if frame.is_data() => {
                if let Some(load) = &mut this.load {
                    load.message();
                }
                if let (Some(counted), Some(data)) = (&mut this.counted, frame.data_ref()) {
                    counted.sent(data);
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Some(Ok(frame)) => frame.into_trailers().ok(),
            Some(Err(status)) => Some(trailers(&status)),
            None => None,
        };
        this.body = None;
        let Some(mut last) = last else {
            // It never said how the call went.
            this.end(Code::Unknown);
            return Poll::Ready(None);
        };
        correct_code(&mut last);
        let code = Ended::from_headers(&last).map_or(Code::Unknown, Ended::code);
        this.tell_load(code, &mut last);
        this.end(code);
        Poll::Ready(Some(Ok(Frame::trailers(last))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            None => SizeHint::with_exact(0),
            Some(body) if self.limit.is_none() => body.size_hint(),
            // It may be cut: nothing is promised.
            Some(_) => SizeHint::default(),
        }
    }
}

impl ResponseBody for Answer {
    fn take_ok(&mut self) -> Option<Bytes> {
        if self.load.is_some() {
            return None;
        }
        let answer = self.body.as_mut()?.take_ok()?;
        if let Some(counted) = &mut self.counted {
            counted.sent(&answer);
        }
        self.end(Code::Ok);
        Some(answer)
    }
}

// === impl Plain ===

impl<B> Plain<B> {
    pub(crate) const fn new(inner: B) -> Self {
        Self { inner }
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Plain<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: HttpBody<Data = Bytes>> ResponseBody for Plain<B> {}
