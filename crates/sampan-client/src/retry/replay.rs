//! How much of the requests under way is kept, to be sent again.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What one channel keeps. Source: gRFC A6, "Memory Management (Buffering)".
#[derive(Debug, Default)]
pub(crate) struct ReplayBudget {
    kept: AtomicUsize,
}

/// Not more than a call takes anyway: not counted.
const SMALL: usize = 1 << 10;
const MAX_PER_CALL: usize = 256 << 10;
const MAX_PER_CHANNEL: usize = 16 << 20;

// === impl ReplayBudget ===

impl ReplayBudget {
    /// Whether a call may keep `len` bytes, until it gives them back. Without them it cannot be
    /// sent again.
    pub(crate) fn keep(&self, len: usize) -> bool {
        if len <= SMALL {
            return true;
        }
        if len > MAX_PER_CALL {
            return false;
        }
        let fits = self.kept.fetch_add(len, Relaxed) + len <= MAX_PER_CHANNEL;
        if !fits {
            self.give_back(len);
        }
        fits
    }

    /// Whether a call that keeps `kept` bytes of a stream may keep so many `more`, until it
    /// [`release`](Self::release)s them all.
    pub(crate) fn keep_more(&self, kept: usize, more: usize) -> bool {
        if kept.saturating_add(more) > MAX_PER_CALL {
            return false;
        }
        let fits = self.kept.fetch_add(more, Relaxed) + more <= MAX_PER_CHANNEL;
        if !fits {
            self.release(more);
        }
        fits
    }

    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.kept.load(Relaxed)
    }

    pub(crate) fn release(&self, len: usize) {
        self.kept.fetch_sub(len, Relaxed);
    }

    pub(crate) fn give_back(&self, len: usize) {
        if len > SMALL {
            self.kept.fetch_sub(len, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_and_a_channel_keep_no_more_than_their_share() {
        let budget = ReplayBudget::default();
        assert!(!budget.keep(MAX_PER_CALL + 1));
        let calls = (0..).take_while(|_| budget.keep(MAX_PER_CALL)).count();
        assert_eq!(calls, MAX_PER_CHANNEL / MAX_PER_CALL);
        budget.give_back(MAX_PER_CALL);
        assert!(budget.keep(MAX_PER_CALL));
        assert!(!budget.keep(SMALL + 1) && budget.keep(SMALL));
    }
}
