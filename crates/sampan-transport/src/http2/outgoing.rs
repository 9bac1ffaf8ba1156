//! A request's body on its way out.

use super::shared::{Shared, Wakes};
use crate::{
    ResetReason,
    inbox::{End, Failure},
};
use bytes::Bytes;
use http_body::Body;
use pin_project_lite::pin_project;
use sampan_h2::{Key, Reason, Sent};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// Sends a body, in a task of its own: never by whoever reads the response. It is polled only
    /// while what it gave before has left; its stream ends with CANCEL when it fails.
    pub(crate) struct Outgoing<B> {
        #[pin]
        body: B,
        half: SendingHalf,
    }
}

/// Resets the stream unless its body has come to its end: also when the body panics, or its
/// runtime ends.
struct SendingHalf {
    shared: Arc<Shared>,
    key: Key,
    is_over: bool,
}

/// Bytes of one body that may wait to be sent.
const MAX_UNSENT: usize = 64 << 10;

/// Frames taken from a body before other tasks have a turn.
const MAX_TURN: usize = 128;

// === impl Outgoing ===

impl<B> Outgoing<B> {
    pub(crate) fn new(body: B, shared: Arc<Shared>, key: Key) -> Self {
        let half = SendingHalf {
            shared,
            key,
            is_over: false,
        };
        Self { body, half }
    }
}

impl<B> Future for Outgoing<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let SendingHalf { shared, key, .. } = this.half;
        let (shared, key) = (&*shared, *key);
        for _ in 0..MAX_TURN {
            {
                let mut state = shared.lock();
                if state.gone.is_some() || !state.engine.may_send(key) {
                    this.half.is_over = true;
                    return Poll::Ready(());
                }
                let must_wait = state.engine.queued(key) >= MAX_UNSENT;
                if let Some(slot) = state.engine.user_mut(key) {
                    // Also heard when the call is over.
                    match &mut slot.sender {
                        Some(waker) => waker.clone_from(cx.waker()),
                        empty => *empty = Some(cx.waker().clone()),
                    }
                }
                if must_wait {
                    shared.flush(state);
                    return Poll::Pending;
                }
            }
            let frame = this.body.as_mut().poll_frame(cx);
            let is_end = this.body.is_end_stream();
            let mut state = shared.lock();
            let (data, is_end) = match frame {
                Poll::Pending => {
                    shared.flush(state);
                    return Poll::Pending;
                }
                Poll::Ready(None) => (Bytes::new(), true),
                // Requests of gRPC have no trailers.
                Poll::Ready(Some(Ok(frame))) => (frame.into_data().unwrap_or_default(), is_end),
                Poll::Ready(Some(Err(error))) => {
                    drop(state);
                    let error: BoxError = error.into();
                    tracing::debug!(error = &*error, "request body failed");
                    // Dropped, it resets the stream.
                    return Poll::Ready(());
                }
            };
            if data.is_empty() && !is_end {
                continue;
            }
            let sent = state.engine.send_data(key, data, is_end);
            if is_end || sent == Sent::Gone {
                this.half.is_over = true;
                shared.flush(state);
                return Poll::Ready(());
            }
        }
        shared.flush(shared.lock());
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

// === impl SendingHalf ===

impl Drop for SendingHalf {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut wakes = Wakes::default();
        let mut state = self.shared.lock();
        state.engine.reset(self.key, Reason::CANCEL);
        let failure = Failure::Reset {
            reason: ResetReason::Cancel,
        };
        state.end(self.key, End::Failed(failure), &mut wakes);
        self.shared.flush(state);
        wakes.wake();
    }
}
