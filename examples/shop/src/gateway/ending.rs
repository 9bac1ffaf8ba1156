//! Ends streams of other services when the gateway is asked to stop.
//!
//! Why: a page listens for as long as it is open. Its streams would hold up the gateway's drain
//! to the hard cap and break off there; ended with a status, the page opens them again.

use crate::stopping::{self, Stopping};
use futures_util::{FutureExt, future::BoxFuture, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use sampan::{
    Body, Status,
    policy::{Method, MethodKind},
};
use std::task::{Context, Poll};
use tower_service::Service;

/// Ends calls of methods that stream answers with UNAVAILABLE once the process is to stop.
#[derive(Clone, Debug)]
pub(super) struct EndStreams<S> {
    inner: S,
    methods: &'static [Method],
    stopping: Stopping,
}

// === impl EndStreams ===

impl<S> EndStreams<S> {
    /// `methods` tells which of them stream; others run to their own end.
    pub(super) const fn new(inner: S, methods: &'static [Method], stopping: Stopping) -> Self {
        Self {
            inner,
            methods,
            stopping,
        }
    }

    fn streams(&self, path: &str) -> bool {
        self.methods
            .iter()
            .any(|method| method.path() == path && streams_answers(method.kind()))
    }
}

impl<S, B> Service<Request<B>> for EndStreams<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Status>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let streams = self.streams(request.uri().path());
        let answer = self.inner.call(request);
        if !streams {
            return answer.boxed();
        }
        let mut stopping = self.stopping.clone();
        async move {
            let response = tokio::select! {
                response = answer => response?,
                () = stopping.wait() => return Err(stopping::cut_short()),
            };
            Ok(response.map(|body| until_stop(body, stopping)))
        }
        .boxed()
    }
}

/// `body`, ended by a status once the process is to stop.
fn until_stop(body: Body, stopping: Stopping) -> Body {
    let frames = stream::try_unfold((body, stopping), async |(mut body, mut stopping)| {
        let frame = tokio::select! {
            frame = body.frame() => frame.transpose()?,
            () = stopping.wait() => return Err(stopping::cut_short()),
        };
        Ok(frame.map(|frame| (frame, (body, stopping))))
    });
    Body::new(StreamBody::new(frames))
}

const fn streams_answers(kind: MethodKind) -> bool {
    matches!(
        kind,
        MethodKind::ServerStreaming | MethodKind::Bidirectional
    )
}
