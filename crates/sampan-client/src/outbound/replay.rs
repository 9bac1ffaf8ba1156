//! A request that is a stream, kept as far as it was sent so that it can be sent again.
//!
//! Until the call is committed, by the head of a response or because its part of the buffer is
//! full, each attempt reads what was kept and then what comes; the one before it reads no more.
//! From then on the attempt under way has the stream for itself, and nothing is kept.
//!
//! Source: gRFC A6, "Memory Management (Buffering)" and "When Retries are Valid".

use super::{Messages, StreamFailure, Streamed};
use crate::{error::BoxError, retry::ReplayBudget};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// What the attempts of one call share. Dropped by the call, it is committed.
pub(crate) struct Replay {
    shared: Arc<Shared>,
}

/// An attempt's place in it.
pub(super) struct Reader {
    shared: Arc<Shared>,
    attempt: u32,
}

/// What a reader is given.
pub(super) enum Given {
    Data(Bytes),
    /// Nothing more.
    End,
    /// All that is left: nobody else needs it.
    Rest(Messages),
}

struct Shared {
    failure: StreamFailure,
    budget: Arc<ReplayBudget>,
    state: Mutex<State>,
}

struct State {
    /// What comes next; None while a reader polls it, and when one has it for good.
    source: Option<Messages>,
    kept: VecDeque<Bytes>,
    kept_bytes: usize,
    /// How many of them the attempt under way was given.
    given: usize,
    /// The attempt that may read.
    attempt: u32,
    has_ended: bool,
    is_committed: bool,
    /// Of the attempt that may read, where the one before it still polls.
    waiting: Option<Waker>,
}

// === impl Replay ===

impl Replay {
    pub(super) fn new(
        source: Messages,
        failure: StreamFailure,
        budget: Arc<ReplayBudget>,
    ) -> (Self, Streamed) {
        let shared = Arc::new(Shared {
            failure,
            budget,
            state: Mutex::new(State {
                source: Some(source),
                kept: VecDeque::new(),
                kept_bytes: 0,
                given: 0,
                attempt: 0,
                has_ended: false,
                is_committed: false,
                waiting: None,
            }),
        });
        let streamed = Streamed::kept(Reader {
            shared: Arc::clone(&shared),
            attempt: 0,
        });
        (Self { shared }, streamed)
    }

    /// The caller's own failure to produce it, once there is one.
    pub(crate) fn failure(&self) -> &StreamFailure {
        &self.shared.failure
    }

    /// Whether another attempt can have all of it.
    pub(crate) fn can_be_sent_again(&self) -> bool {
        !self.shared.lock().is_committed
    }

    /// From the beginning, for another attempt: the one before it reads no more.
    pub(crate) fn again(&self) -> Option<Streamed> {
        let mut state = self.shared.lock();
        if state.is_committed {
            return None;
        }
        state.attempt += 1;
        state.given = 0;
        let attempt = state.attempt;
        drop(state);
        Some(Streamed::kept(Reader {
            shared: Arc::clone(&self.shared),
            attempt,
        }))
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let kept = state.commit(&self.shared.budget);
        drop(state);
        drop(kept);
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}

// === impl Reader ===

impl Reader {
    pub(super) fn failure(&self) -> &StreamFailure {
        &self.shared.failure
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Given, BoxError>> {
        let shared = &self.shared;
        let mut state = shared.lock();
        if state.attempt != self.attempt {
            return Poll::Ready(Err("another attempt has taken over".into()));
        }
        if let Some(data) = state.kept.get(state.given) {
            let data = data.clone();
            if state.is_committed {
                state.kept.pop_front();
            } else {
                state.given += 1;
            }
            return Poll::Ready(Ok(Given::Data(data)));
        }
        if state.has_ended {
            return Poll::Ready(Ok(Given::End));
        }
        let Some(mut source) = state.source.take() else {
            state.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if state.is_committed {
            return Poll::Ready(Ok(Given::Rest(source)));
        }
        drop(state);
        // Anybody's code: not under the lock.
        let polled = source.poll_data(cx);
        let mut state = shared.lock();
        state.source = Some(source);
        let waiting = state.waiting.take();
        let mut dropped = VecDeque::new();
        let result = match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                state.has_ended = true;
                Poll::Ready(Ok(Given::End))
            }
            Poll::Ready(Some(Err(status))) => {
                // Sent again it would fail again.
                state.has_ended = true;
                dropped = state.commit(&shared.budget);
                let _ = shared.failure.set(status.clone());
                Poll::Ready(Err(status.into()))
            }
            Poll::Ready(Some(Ok(data))) => {
                let is_mine = state.attempt == self.attempt;
                if !state.is_committed && shared.budget.keep_more(state.kept_bytes, data.len()) {
                    state.kept_bytes += data.len();
                } else {
                    dropped = state.commit(&shared.budget);
                }
                if !state.is_committed || !is_mine {
                    // What is not kept for another attempt is for the one that has taken over.
                    state.kept.push_back(data.clone());
                    state.given += usize::from(is_mine);
                }
                Poll::Ready(Ok(Given::Data(data)))
            }
        };
        drop(state);
        drop(dropped);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        result
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// No other attempt follows. What the one under way was given already comes back, to be
    /// dropped.
    fn commit(&mut self, budget: &ReplayBudget) -> VecDeque<Bytes> {
        if std::mem::replace(&mut self.is_committed, true) {
            return VecDeque::new();
        }
        budget.release(std::mem::take(&mut self.kept_bytes));
        let rest = self.kept.split_off(self.given);
        self.given = 0;
        std::mem::replace(&mut self.kept, rest)
    }
}

#[cfg(test)]
mod tests;
