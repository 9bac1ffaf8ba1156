//! Where a context begins and ends: around a server's handler, and around what was detached.

use super::{
    CallContext, Shared, TRACE,
    frame::{Entered, Place},
};
use http::{HeaderMap, HeaderName};
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::Instant;

/// The context of a call at its server, from its handler's first poll to its last trailer.
/// Dropped before the call is [`over`](Self::over), it tells that the caller has gone.
#[derive(Default)]
pub struct CallScope {
    /// None until somebody asks.
    shared: Option<Arc<Shared>>,
}

pin_project! {
    /// A future in the context of a call: see [`CallContext::scope`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Scoped<F> {
        context: CallContext,
        #[pin]
        future: F,
    }
}

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static GRPC_TRACE_BIN: HeaderName = HeaderName::from_static("grpc-trace-bin");

// === impl CallScope ===

impl CallScope {
    /// Of a call that came with these headers.
    #[must_use]
    pub fn new(headers: &HeaderMap, deadline: Option<Instant>) -> Self {
        let is_traced = headers
            .keys()
            .any(|name| *name == TRACEPARENT || *name == GRPC_TRACE_BIN);
        Self {
            shared: is_traced.then(|| traced(headers, deadline)),
        }
    }

    /// Runs code of the handler in it. `deadline` is the call's.
    pub fn enter<R>(&mut self, deadline: Option<Instant>, code: impl FnOnce() -> R) -> R {
        let _entered = Entered::new(Place::Handler, deadline, &mut self.shared);
        code()
    }

    /// The call has ended: whatever goes on for it is not cancelled any more.
    pub fn over(&mut self) {
        self.shared = None;
    }
}

#[cold]
fn traced(headers: &HeaderMap, deadline: Option<Instant>) -> Arc<Shared> {
    let of_trace = headers
        .iter()
        .filter(|(name, _)| TRACE.contains(&name.as_str()));
    let trace = of_trace.map(|(name, value)| (name.clone(), value.clone()));
    Shared::new(deadline, trace.collect())
}

impl Drop for CallScope {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.cancel();
        }
    }
}

impl fmt::Debug for CallScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallScope").finish_non_exhaustive()
    }
}

// === impl Scoped ===

impl<F> Scoped<F> {
    pub(super) const fn new(context: CallContext, future: F) -> Self {
        Self { context, future }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let deadline = this.context.deadline();
        let place = match this.context.shared {
            Some(_) => Place::Detached,
            None => Place::Outside,
        };
        let _entered = Entered::new(place, deadline, &mut this.context.shared);
        this.future.poll(cx)
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
