//! What a call holds of its channel until it has ended: its place in the counts, its turn, and
//! the bytes kept to send it again.

use crate::{chance::Dice, failure::Failure, gate::Passed, stack::Stack, tally::CallTally, trace};
use sampan_middleware::{Ended, metrics::client::Repeats};
use std::{mem, ops::Deref, sync::atomic::Ordering::Relaxed};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tonic::Code;
use tracing::Span;

/// `H` keeps the stack alive: with its channel before the head of the response, without it
/// afterwards.
pub(crate) struct Share<H: Deref<Target: AsRef<Stack>>> {
    holder: H,
    turn: Option<OwnedSemaphorePermit>,
    kept_bytes: usize,
    has_ended: bool,
    passed: Option<Passed>,
    pub(crate) tally: Option<CallTally>,
    pub(crate) span: Option<Box<Span>>,
}

// === impl Share ===

impl<H: Deref<Target: AsRef<Stack>>> Share<H> {
    /// Of a call that may never begin.
    pub(crate) const fn new(holder: H) -> Self {
        Self {
            holder,
            turn: None,
            kept_bytes: 0,
            has_ended: true,
            passed: None,
            tally: None,
            span: None,
        }
    }

    /// The call begins, and counts.
    pub(crate) fn begin(&mut self) {
        self.stack().counters.calls.fetch_add(1, Relaxed);
        self.has_ended = false;
    }

    pub(crate) fn stack(&self) -> &Stack {
        (*self.holder).as_ref()
    }

    pub(crate) fn holder(&self) -> &H {
        &self.holder
    }

    /// It has passed the channel's gate, which hears of its end.
    pub(crate) fn pass(&mut self, now: Instant) -> Result<(), Failure> {
        if let Some(gate) = &self.stack().gate {
            self.passed = Some(gate.pass(now)?);
        }
        Ok(())
    }

    pub(crate) fn take_turn(&mut self, turn: OwnedSemaphorePermit) {
        self.turn = Some(turn);
    }

    /// Whether so many bytes may be kept until [`release`](Self::release).
    pub(crate) fn keep(&mut self, len: usize) -> bool {
        let is_kept = self.stack().replay.keep(len);
        if is_kept {
            self.kept_bytes = len;
        }
        is_kept
    }

    /// The call is not sent again.
    pub(crate) fn release(&mut self) {
        let len = mem::take(&mut self.kept_bytes);
        if len > 0 {
            self.stack().replay.give_back(len);
        }
    }

    pub(crate) fn end(mut self, ended: Ended) {
        self.note(ended);
    }

    /// Goes on with another holder.
    pub(crate) fn hand_over<G: Deref<Target: AsRef<Stack>>>(mut self, holder: G) -> Share<G> {
        self.release();
        self.has_ended = true;
        Share {
            holder,
            turn: self.turn.take(),
            kept_bytes: 0,
            has_ended: false,
            passed: self.passed.take(),
            tally: self.tally.take(),
            span: self.span.take(),
        }
    }

    /// The call is sent beyond once.
    pub(crate) fn repeat(&mut self, change: impl FnOnce(&mut Repeats)) {
        if let Some(tally) = &mut self.tally {
            tally.repeat(change);
        }
    }

    /// Counts the call's end, once.
    pub(crate) fn note(&mut self, ended: Ended) {
        if mem::replace(&mut self.has_ended, true) {
            return;
        }
        if let Some(span) = self.span.take() {
            trace::end(&span, ended);
        }
        if let Some(tally) = self.tally.take() {
            let stack = self.stack();
            tally.end(ended, stack.age(Instant::now()));
        }
        let passed = self.passed.take();
        let stack = self.stack();
        if let (Some(gate), Some(passed)) = (&stack.gate, passed) {
            gate.left(passed, ended, Instant::now(), &mut Dice);
        }
        if ended.code() == Code::Ok {
            stack.throttle.succeeded();
            stack.counters.succeeded_calls.fetch_add(1, Relaxed);
        } else {
            stack.counters.failed_calls.fetch_add(1, Relaxed);
        }
    }
}

impl<H: Deref<Target: AsRef<Stack>>> Drop for Share<H> {
    fn drop(&mut self) {
        self.release();
        // A call whose future is dropped.
        self.note(Ended::Dropped);
    }
}
