//! How much of the requests under way is kept, to be sent again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// What one channel keeps. Source: gRFC A6, "Memory Management (Buffering)".
#[derive(Debug, Default)]
pub(crate) struct ReplayBudget {
    kept: AtomicUsize,
}

/// Bytes that are kept; given back when dropped.
#[derive(Debug)]
pub(crate) struct Kept {
    budget: Arc<ReplayBudget>,
    len: usize,
}

const MAX_PER_CALL: usize = 256 << 10;
const MAX_PER_CHANNEL: usize = 16 << 20;

// === impl ReplayBudget ===

impl ReplayBudget {
    /// Keeps `len` bytes, if that is not too many. Without it the call cannot be sent again.
    pub(crate) fn keep(self: &Arc<Self>, len: usize) -> Option<Kept> {
        if len > MAX_PER_CALL {
            return None;
        }
        let kept = Kept {
            budget: Arc::clone(self),
            len,
        };
        // Dropping it gives the bytes back.
        let before = self.kept.fetch_add(len, Relaxed);
        (before + len <= MAX_PER_CHANNEL).then_some(kept)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.budget.kept.fetch_sub(self.len, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_and_a_channel_keep_no_more_than_their_share() {
        let budget = Arc::new(ReplayBudget::default());
        assert!(budget.keep(MAX_PER_CALL + 1).is_none());
        let kept: Vec<_> = std::iter::from_fn(|| budget.keep(MAX_PER_CALL)).collect();
        assert_eq!(kept.len(), MAX_PER_CHANNEL / MAX_PER_CALL);
        drop(kept);
        assert_eq!(budget.kept.load(Relaxed), 0);
        assert!(budget.keep(MAX_PER_CALL).is_some());
    }
}
