//! A body that is still arriving.

use super::shared::Shared;
use crate::{
    BodyError,
    inbox::{End, Failure, Wish},
};
use bytes::Bytes;
use http_body::Frame;
use sampan_h2::{Key, Role};
use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

/// The receiving end of a stream. Dropped by a client, it cancels the call; dropped by a server,
/// nobody reads on.
pub(crate) struct StreamBody {
    shared: Arc<Shared>,
    key: Key,
    role: Role,
    is_over: bool,
}

// === impl StreamBody ===

impl StreamBody {
    pub(crate) const fn new(shared: Arc<Shared>, key: Key, role: Role) -> Self {
        Self {
            shared,
            key,
            role,
            is_over: false,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let mut state = self.shared.lock();
        let Some(slot) = state.engine.user_mut(self.key) else {
            // A server's stream goes with its answer; whoever still reads hears of its end.
            drop(state);
            self.is_over = true;
            return Poll::Ready(Some(Err(BodyError::of(Failure::answered()))));
        };
        if let Some(data) = slot.inbox.pop() {
            let wish = slot.inbox.wish();
            if slot.inbox.is_noted() {
                state.note(self.key);
            }
            state.engine.give_back(self.key, data.len());
            if let Wish::Expect(len) = wish {
                state.engine.expect(self.key, len);
            }
            self.shared.ask_driver(state);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let Some(end) = slot.inbox.take_end() else {
            match &mut slot.inbox.reader {
                Some(waker) => waker.clone_from(cx.waker()),
                empty => *empty = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        drop(state);
        self.finish();
        Poll::Ready(match end {
            End::Data => None,
            End::Trailers(trailers) => Some(Ok(Frame::trailers(trailers.into()))),
            End::Failed(failure) => Some(Err(BodyError::of(failure))),
        })
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    fn finish(&mut self) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        if self.role == Role::Client {
            self.shared.release(self.key);
        } else {
            let mut state = self.shared.lock();
            if let Some(slot) = state.engine.user_mut(self.key) {
                slot.inbox.close();
                if slot.inbox.is_noted() {
                    state.note(self.key);
                }
            }
        }
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.finish();
    }
}

impl fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBody")
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}
