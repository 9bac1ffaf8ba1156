//! What a call that is being handled hands on to the calls made for it.
//!
//! | | a call made by a channel in a handler, or in its response stream |
//! |---|---|
//! | deadline | takes no longer than the handled call has left, less a twentieth of it and at most 5 ms, so that the handler can still answer; rounded down to three digits |
//! | cancellation | ends when the handled call's caller goes away |
//! | trace | has the same `traceparent`, `tracestate` and `grpc-trace-bin`, unless it has its own |
//!
//! It holds while the handler, or its response stream, is polled: on that thread, for that long.
//! What the handler gives to `tokio::spawn` runs without it; [`spawn`] and [`CallContext::scope`]
//! carry it there. Nothing is allocated for a call whose handler does not ask for its context,
//! unless its caller sent a trace.

mod frame;
mod scope;

pub use frame::{Carried, carry};
pub use scope::{CallScope, Scoped};

use http::{HeaderMap, HeaderName, HeaderValue};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{sync::Notify, task::JoinHandle, time::Instant};

/// The call that is being handled: its deadline, whether its caller is still there, its trace.
///
/// ```
/// use sampan_middleware::context::CallContext;
/// # async fn tell(_: &str) {}
/// # async fn handler() {
/// // Goes on after the answer, but not beyond the deadline, nor without the caller.
/// tokio::spawn(CallContext::current().scope(tell("the audit log")));
/// # }
/// ```
#[derive(Clone, Default)]
pub struct CallContext {
    // None outside of any call.
    shared: Option<Arc<Shared>>,
}

struct Shared {
    deadline: Option<Instant>,
    trace: Vec<(HeaderName, HeaderValue)>,
    is_cancelled: AtomicBool,
    cancelled: Notify,
}

/// What tells systems of tracing which trace a call belongs to.
const TRACE: [&str; 3] = ["traceparent", "tracestate", "grpc-trace-bin"];

/// Runs `future` as a task of its own, in the context of the call that is being handled.
///
/// `tokio::spawn` leaves that behind: calls made there have no inbound deadline, and go on when
/// the caller has gone away.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(CallContext::current().scope(future))
}

// === impl CallContext ===

impl CallContext {
    /// That of the call that is being handled right here. Outside of any it is empty: it has no
    /// deadline and is never cancelled.
    #[must_use]
    pub fn current() -> Self {
        frame::current()
    }

    /// When the call must have ended.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.shared.as_ref()?.deadline
    }

    /// Whether the caller went away before the call had ended. A call that was answered is not
    /// cancelled any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|shared| shared.is_cancelled.load(Ordering::Acquire))
    }

    /// Waits until the caller goes away; for ever when the call is answered.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = self.shared.clone();
        async move {
            let Some(shared) = shared else {
                return std::future::pending().await;
            };
            let cancelled = shared.cancelled.notified();
            tokio::pin!(cancelled);
            // Before the flag is looked at, so that no cancellation falls in between.
            cancelled.as_mut().enable();
            if !shared.is_cancelled.load(Ordering::Acquire) {
                cancelled.await;
            }
        }
    }

    /// Runs `future` in this context, wherever it is polled.
    pub const fn scope<F: Future>(self, future: F) -> Scoped<F> {
        Scoped::new(self, future)
    }

    /// Adds the trace, where `headers` have none of their own.
    fn trace(&self, headers: &mut HeaderMap) {
        let trace = self.shared.iter().flat_map(|shared| &shared.trace);
        let own = TRACE.map(|name| headers.contains_key(name));
        for (name, value) in trace {
            // A trace's state goes with its parent.
            let is_own = match name.as_str() {
                "grpc-trace-bin" => own[2],
                _ => own[0],
            };
            if !is_own {
                headers.append(name, value.clone());
            }
        }
    }
}

impl fmt::Debug for CallContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallContext")
            .field("deadline", &self.deadline())
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    fn new(deadline: Option<Instant>, trace: Vec<(HeaderName, HeaderValue)>) -> Arc<Self> {
        Arc::new(Self {
            deadline,
            trace,
            is_cancelled: AtomicBool::new(false),
            cancelled: Notify::new(),
        })
    }

    fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
        self.cancelled.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
