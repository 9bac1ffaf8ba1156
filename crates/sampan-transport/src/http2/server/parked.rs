//! Handlers that wait for the rest of their requests, and for nothing else.
//!
//! Many clients write the head of a request and its message apart. A handler that has begun in
//! between needs no task, if its connection polls it again when the message is there.

use super::answer::Place;
use crate::{http2::shared::State, trial};
use sampan_h2::Key;
use std::time::Duration;
use tokio::time::Instant;

/// They stay for so long: a deadline is not watched here.
pub(super) const PARKED: Duration = Duration::from_millis(1);

/// More than these get tasks at once.
const MOST: usize = 64;

/// Handlers in the order in which they came.
pub(super) struct Parked<F, B> {
    waiting: Vec<Waiting<F, B>>,
}

pub(super) struct Waiting<F, B> {
    pub(super) key: Key,
    pub(super) place: Place<F, B>,
    pub(super) since: Instant,
}

// === impl Parked ===

impl<F, B> Default for Parked<F, B> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
        }
    }
}

impl<F, B> Parked<F, B> {
    pub(super) const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a handler in that keeps one waker of a trial, or gives it back: because it waits for
    /// something else than its request, or because there are too many.
    pub(super) fn take_in(
        &mut self,
        waiting: Waiting<F, B>,
        state: &mut State,
    ) -> Result<(), Waiting<F, B>> {
        let slot = state.engine.user_mut(waiting.key);
        let reader = slot.and_then(|slot| slot.inbox.reader.as_ref());
        if self.waiting.len() >= MOST || !reader.is_some_and(trial::is_of_trial) {
            return Err(waiting);
        }
        self.waiting.push(waiting);
        Ok(())
    }

    /// Takes those out whose request went on, or is over.
    pub(super) fn stirred(&mut self, state: &mut State) -> Vec<Waiting<F, B>> {
        let is_stirred = |waiting: &mut Waiting<F, B>| {
            let slot = state.engine.user_mut(waiting.key);
            slot.is_none_or(|slot| slot.inbox.reader.is_none())
        };
        self.waiting.extract_if(.., is_stirred).collect()
    }

    /// Takes those out that have waited long enough, and says when the next have.
    pub(super) fn overdue(&mut self, now: Instant) -> (Vec<Waiting<F, B>>, Option<Instant>) {
        let is_overdue = |waiting: &mut Waiting<F, B>| waiting.since + PARKED <= now;
        let overdue = self.waiting.extract_if(.., is_overdue).collect();
        let next = self.waiting.iter().map(|waiting| waiting.since).min();
        (overdue, next.map(|since| since + PARKED))
    }

    /// Gives its memory back, if there are none.
    pub(super) fn rest(&mut self) {
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
    }
}
