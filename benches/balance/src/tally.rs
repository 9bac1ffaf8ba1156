//! What came of the calls of one run.

use crate::server::Nanos;

/// Latencies in buckets of 2 %, and how calls ended.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    buckets: Vec<u32>,
    pub(crate) calls: u64,
    pub(crate) good: u64,
    /// Ended by their deadlines.
    pub(crate) late: u64,
    sum: f64,
    /// Calls that each server got.
    pub(crate) taken: Vec<u64>,
}

const GROWTH: f64 = 1.02;
const BUCKETS: usize = 1200;

// === impl Tally ===

impl Tally {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place among the buckets"
    )]
    pub(crate) fn add(&mut self, took: Nanos, is_good: bool) {
        let bucket = (took.max(1) as f64).log(GROWTH) as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
        self.calls += 1;
        self.good += u64::from(is_good);
        self.sum += took as f64;
    }

    /// Of all calls, those that failed included.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank among the calls"
    )]
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let rank = (self.calls as f64 * share).ceil() as u64;
        let mut below = 0;
        let found = self.buckets.iter().position(|count| {
            below += u64::from(*count);
            below >= rank
        });
        GROWTH.powf(found.unwrap_or(0) as f64 + 0.5) / 1e6
    }

    #[allow(clippy::cast_precision_loss, reason = "some million calls")]
    pub(crate) fn mean_ms(&self) -> f64 {
        self.sum / self.calls as f64 / 1e6
    }

    #[allow(clippy::cast_precision_loss, reason = "some million calls")]
    pub(crate) fn failed_percent(&self) -> f64 {
        100.0 * (self.calls - self.good) as f64 / self.calls.max(1) as f64
    }

    /// Of its even share of the calls, what the last server got.
    #[allow(clippy::cast_precision_loss, reason = "some million calls")]
    pub(crate) fn last_of_even(&self) -> f64 {
        let sum: u64 = self.taken.iter().sum();
        let last = self.taken.last().copied().unwrap_or_default();
        last as f64 * self.taken.len() as f64 / sum.max(1) as f64
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            calls: 0,
            good: 0,
            late: 0,
            sum: 0.0,
            taken: Vec::new(),
        }
    }
}
