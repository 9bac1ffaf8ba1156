//! What a connection takes of the budget for streams that nobody reads.

use super::MemoryBudget;

/// Taken in steps, so that most turns of most connections have nothing to do with the budget.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: MemoryBudget,
    bytes: usize,
}

/// What may stand still on a connection without a charge: a message that is too short to be
/// reserved always comes to its end, whatever others hold.
const FREE: usize = 80 << 10;

const STEP: usize = 16 << 10;

// === impl Charge ===

impl Charge {
    /// Nothing yet, of `budget`.
    pub(crate) const fn new(budget: MemoryBudget) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Whether what stands still is more than was charged, or so much less that some goes back.
    pub(crate) const fn needs_settling(&self, standing: usize) -> bool {
        !self.covers(standing)
            || (self.bytes > 0 && (standing < FREE / 2 || standing + FREE < self.bytes))
    }

    /// Whether `bytes` are no more than was charged.
    pub(crate) const fn covers(&self, bytes: usize) -> bool {
        bytes <= FREE + self.bytes
    }

    /// Charges for `standing` bytes, as far as the budget allows. Whether it does for all.
    pub(crate) fn settle(&mut self, standing: usize) -> bool {
        let wanted = standing.saturating_sub(FREE).next_multiple_of(STEP);
        if wanted >= self.bytes {
            self.bytes += self.budget.take(wanted - self.bytes);
        } else {
            self.budget.give(self.bytes - wanted);
            self.bytes = wanted;
        }
        self.covers(standing)
    }

    /// Whether others need what a connection holds beyond its charge.
    pub(crate) fn is_short(&self) -> bool {
        self.budget.is_short()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    #[test]
    fn a_charge_grows_and_falls_in_steps_and_comes_back() {
        let budget = MemoryBudget::new(LIMIT);
        let mut charge = Charge::new(budget.share());
        assert!(!charge.needs_settling(FREE));
        assert!(charge.needs_settling(FREE + 1));
        assert!(charge.settle(FREE + 1));
        assert_eq!(budget.used(), STEP);
        assert!(!charge.needs_settling(FREE + STEP));
        assert!(charge.settle(FREE + 10 * STEP));
        assert!(
            !charge.needs_settling(8 * STEP),
            "it does not go to and fro"
        );
        assert!(charge.needs_settling(0));
        assert!(charge.settle(0));
        assert_eq!(budget.used(), 0);
        assert!(charge.settle(FREE + STEP));
        drop(charge);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_connection_may_hold_as_much_as_it_leaves_to_others() {
        let budget = MemoryBudget::new(LIMIT);
        let mut charges: Vec<_> = (0..4).map(|_| Charge::new(budget.share())).collect();
        let mut left = Vec::new();
        for charge in &mut charges {
            assert!(!charge.settle(2 * LIMIT), "there is no room for that");
            left.push(LIMIT - budget.used());
        }
        assert_eq!(left, [LIMIT / 2, LIMIT / 4, LIMIT / 8, LIMIT / 16]);
        drop(charges);
        assert_eq!(budget.used(), 0);
    }
}
