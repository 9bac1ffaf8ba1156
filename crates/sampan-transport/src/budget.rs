//! What half-received messages of a process may hold together, and what nobody reads.

mod charge;

pub(crate) use charge::Charge;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A share of the process's memory for messages that are still arriving, and for what waits on
/// streams that nobody reads. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Account>);

#[derive(Debug)]
struct Account {
    limit: usize,
    used: AtomicUsize,
    /// Of whom this is a share.
    whole: Option<MemoryBudget>,
}

/// Bytes taken from a budget until this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    budget: MemoryBudget,
    bytes: usize,
    _of_whole: Option<Box<Self>>,
}

// === impl MemoryBudget ===

impl MemoryBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Account {
            limit,
            used: AtomicUsize::new(0),
            whole: None,
        }))
    }

    /// The bytes taken now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// A part that takes from the whole and never more than half of it: one connection does not
    /// leave the others without.
    pub(crate) fn share(&self) -> Self {
        Self(Arc::new(Account {
            limit: self.0.limit.div_ceil(2),
            used: AtomicUsize::new(0),
            whole: Some(self.clone()),
        }))
    }

    /// Takes up to `bytes` for as long as [`give`](Self::give) does not give them back: never more
    /// than leaves as much for the others as this share then has.
    fn take(&self, bytes: usize) -> usize {
        let whole = self.0.whole.as_ref().unwrap_or(self);
        let mut taken = 0;
        let take = |used: usize| {
            let left = whole.0.limit.saturating_sub(used);
            taken = bytes.min(left.saturating_sub(self.used()) / 2);
            (taken > 0).then_some(used + taken)
        };
        if whole
            .0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_err()
        {
            return 0;
        }
        if self.0.whole.is_some() {
            self.0.used.fetch_add(taken, Ordering::Relaxed);
        }
        taken
    }

    fn give(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.0.whole {
            whole.0.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Whether less than a quarter of the whole is left.
    fn is_short(&self) -> bool {
        let whole = self.0.whole.as_ref().unwrap_or(self);
        whole.used() > whole.0.limit - whole.0.limit / 4
    }

    pub(crate) fn reserve(&self, bytes: usize) -> Option<Reserved> {
        let account = &self.0;
        let of_whole = match &account.whole {
            Some(whole) => Some(Box::new(whole.reserve(bytes)?)),
            None => None,
        };
        let take = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= account.limit);
        account
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .ok()?;
        Some(Reserved {
            budget: self.clone(),
            bytes,
            _of_whole: of_whole,
        })
    }
}

// === impl Reserved ===

impl Reserved {
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_comes_back() {
        let budget = MemoryBudget::new(100);
        let first = budget.reserve(60).unwrap();
        assert!(budget.reserve(60).is_none());
        drop(first);
        assert!(budget.reserve(100).is_some());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_share_takes_half_of_the_whole_at_most() {
        let budget = MemoryBudget::new(100);
        let (one, other) = (budget.share(), budget.share());
        assert!(one.reserve(51).is_none());
        let held = [one.reserve(50).unwrap(), other.reserve(50).unwrap()];
        assert_eq!(budget.used(), 100);
        drop(held);
        assert_eq!((budget.used(), one.used()), (0, 0));
    }
}
