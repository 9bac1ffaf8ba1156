//! What is counted beside calls: connections, ejections, weights.

use super::super::histogram::{Histogram, Sum};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counts of what keeps a target's channels going.
#[derive(Debug, Default)]
pub struct Upkeep {
    pub(super) succeeded: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) disconnected: AtomicU64,
    pub(super) enforced: [AtomicU64; Ejection::ALL.len()],
    pub(super) unenforced: [[AtomicU64; 2]; Ejection::ALL.len()],
    pub(super) fallbacks: AtomicU64,
    pub(super) not_yet_usable: AtomicU64,
    pub(super) stale: AtomicU64,
    weights: Histogram<16>,
}

/// A connection that counts as open until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct OpenConnection(&'static Upkeep);

/// What took an endpoint out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ejection {
    /// Its share of good answers is far below the others'.
    SuccessRate,
    /// Its share of failures is above a fixed one.
    FailurePercentage,
    /// It failed so often in a row. Not gRPC's.
    ConsecutiveFailures,
}

/// What new weights were made of. Source: gRFC A78.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WeightUpdate {
    /// Each endpoint's; 0 for none.
    pub weights: Vec<f64>,
    /// Endpoints that have not reported for long enough.
    pub not_yet_usable: u64,
    /// Endpoints whose last report is too old.
    pub stale: u64,
}

// === impl Upkeep ===

impl Upkeep {
    /// Upper bounds of weights: OpenTelemetry's own, for want of others.
    pub(super) const WEIGHTS: [u64; 15] = [
        0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000,
    ];

    /// A connection is there.
    pub fn connected(&'static self) -> OpenConnection {
        self.succeeded.fetch_add(1, Relaxed);
        OpenConnection(self)
    }

    /// Connecting failed.
    pub fn connect_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// An endpoint was taken out.
    pub fn ejected(&self, by: Ejection) {
        self.enforced[by as usize].fetch_add(1, Relaxed);
    }

    /// An endpoint should have been taken out, and was not: by chance, as the settings want it, or
    /// because enough are out.
    pub fn spared(&self, by: Ejection, by_chance: bool) {
        self.unenforced[by as usize][usize::from(!by_chance)].fetch_add(1, Relaxed);
    }

    /// Turns were given out anew, by load reports.
    pub fn weighed(&self, update: &WeightUpdate) {
        self.not_yet_usable
            .fetch_add(update.not_yet_usable, Relaxed);
        self.stale.fetch_add(update.stale, Relaxed);
        let known = update.weights.iter().filter(|weight| **weight > 0.0);
        if known.count() < 2 {
            self.fallbacks.fetch_add(1, Relaxed);
        }
        for weight in &update.weights {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a cast stays within, and none is below 0"
            )]
            self.weights.observe(&Self::WEIGHTS, weight.ceil() as u64);
        }
    }

    pub(super) fn weights(&self) -> Sum<16> {
        let mut sum = Sum::default();
        sum.add(&self.weights);
        sum
    }
}

// === impl OpenConnection ===

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.disconnected.fetch_add(1, Relaxed);
    }
}

// === impl Ejection ===

impl Ejection {
    pub(super) const ALL: [Self; 3] = [
        Self::SuccessRate,
        Self::FailurePercentage,
        Self::ConsecutiveFailures,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SuccessRate => "success_rate",
            Self::FailurePercentage => "failure_percentage",
            Self::ConsecutiveFailures => "consecutive_failures",
        }
    }
}
