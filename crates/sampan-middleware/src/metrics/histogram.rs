//! Counts by size, that threads add to without a lock.

use super::method::NoExemplar;
use prometheus_client::encoding::{EncodeLabelSet, MetricEncoder};
use std::{
    collections::HashMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds in nanoseconds. Source: gRFC A66, "Latency buckets".
pub(super) const LATENCY: [u64; 40] = {
    let mut bounds = [
        10,
        50,
        100,
        300,
        600,
        800,
        1_000,
        2_000,
        3_000,
        4_000,
        5_000,
        6_000,
        8_000,
        10_000,
        13_000,
        16_000,
        20_000,
        25_000,
        30_000,
        40_000,
        50_000,
        65_000,
        80_000,
        100_000,
        130_000,
        160_000,
        200_000,
        250_000,
        300_000,
        400_000,
        500_000,
        650_000,
        800_000,
        1_000_000,
        2_000_000,
        5_000_000,
        10_000_000,
        20_000_000,
        50_000_000,
        100_000_000,
    ];
    let mut index = 0;
    while index < bounds.len() {
        bounds[index] *= 1_000;
        index += 1;
    }
    bounds
};

/// Upper bounds in bytes. Source: gRFC A66, "Size buckets".
pub(super) const SIZES: [u64; 14] = [
    0,
    1024,
    2048,
    4096,
    16_384,
    65_536,
    262_144,
    1_048_576,
    4_194_304,
    16_777_216,
    67_108_864,
    268_435_456,
    1_073_741_824,
    4_294_967_296,
];

/// How many were up to each of some bounds; there is one more count than bounds.
#[derive(Debug)]
pub(super) struct Histogram<const COUNTS: usize> {
    counts: [AtomicU64; COUNTS],
    sum: AtomicU64,
}

/// Nanoseconds, by [`LATENCY`].
pub(super) type Durations = Histogram<{ LATENCY.len() + 1 }>;
/// Bytes, by [`SIZES`].
pub(super) type Bytes = Histogram<{ SIZES.len() + 1 }>;

/// Histograms of the same bounds, added up.
#[derive(Clone, Debug)]
pub(super) struct Sum<const COUNTS: usize> {
    counts: [u64; COUNTS],
    sum: u64,
}

// === impl Histogram ===

impl<const COUNTS: usize> Histogram<COUNTS> {
    pub(super) fn observe(&self, bounds: &[u64], value: u64) {
        // What is counted is small: the first bounds are looked at first.
        let place = bounds.iter().position(|bound| value <= *bound);
        let last = COUNTS - 1;
        self.counts[place.unwrap_or(last).min(last)].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Relaxed)).sum()
    }
}

impl Durations {
    pub(super) fn took(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.observe(&LATENCY, nanos);
    }
}

impl Bytes {
    pub(super) fn weighed(&self, bytes: u64) {
        self.observe(&SIZES, bytes);
    }
}

impl<const COUNTS: usize> Default for Histogram<COUNTS> {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; COUNTS],
            sum: AtomicU64::new(0),
        }
    }
}

// === impl Sum ===

impl<const COUNTS: usize> Sum<COUNTS> {
    pub(super) fn add(&mut self, more: &Histogram<COUNTS>) {
        for (count, more) in self.counts.iter_mut().zip(&more.counts) {
            *count += more.load(Relaxed);
        }
        self.sum = self.sum.wrapping_add(more.sum.load(Relaxed));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// As a series with these labels; what is counted has `units` in one of the unit that is shown.
    #[allow(clippy::cast_precision_loss, reason = "shown as a decimal fraction")]
    pub(super) fn encode(
        &self,
        series: &mut MetricEncoder<'_>,
        labels: &impl EncodeLabelSet,
        bounds: &[u64],
        units: f64,
    ) -> fmt::Result {
        let bounds = bounds.iter().map(|bound| *bound as f64 / units);
        let buckets: Vec<_> = bounds
            .chain([f64::INFINITY])
            .zip(self.counts.iter().copied())
            .collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        series.encode_family(labels)?.encode_histogram(
            self.sum as f64 / units,
            count,
            &buckets,
            None::<&HashMap<usize, NoExemplar<f64>>>,
        )
    }
}

impl<const COUNTS: usize> Default for Sum<COUNTS> {
    fn default() -> Self {
        Self {
            counts: [0; COUNTS],
            sum: 0,
        }
    }
}
