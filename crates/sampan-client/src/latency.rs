//! Latencies of the last seconds, kept in a few hundred bytes and without a lock.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Two spans of [`SPAN_SECONDS`]: the one that fills and the one before it.
#[derive(Debug)]
pub(crate) struct LatencyWindow {
    spans: [Span; 2],
}

#[derive(Debug)]
struct Span {
    /// Which span of time it holds.
    number: AtomicU64,
    counts: [AtomicU32; BUCKETS],
}

const SPAN_SECONDS: u64 = 5;
/// Four buckets for each doubling, from 1 µs up to 67 s: values are right within 19 %.
const BUCKETS: usize = 4 * 26;

// === impl LatencyWindow ===

impl LatencyWindow {
    pub(crate) fn new() -> Self {
        Self {
            spans: std::array::from_fn(|_| Span {
                number: AtomicU64::new(u64::MAX),
                counts: std::array::from_fn(|_| AtomicU32::new(0)),
            }),
        }
    }

    /// Notes one latency; `age` is the time since any fixed moment.
    pub(crate) fn record(&self, age: Duration, latency: Duration) {
        let number = age.as_secs() / SPAN_SECONDS;
        let span = &self.spans[usize::from(number % 2 == 1)];
        let was = span.number.load(Relaxed);
        if was != number
            && span
                .number
                .compare_exchange(was, number, Relaxed, Relaxed)
                .is_ok()
        {
            // Another thread may count into the old numbers meanwhile: a few are lost.
            for count in &span.counts {
                count.store(0, Relaxed);
            }
        }
        span.counts[bucket(latency)].fetch_add(1, Relaxed);
    }

    /// The latencies that these shares of the calls stayed below, of the last 5 to 10 seconds.
    /// None when there were no calls.
    pub(crate) fn quantiles<const N: usize>(
        &self,
        age: Duration,
        shares: [f64; N],
    ) -> Option<[Duration; N]> {
        let number = age.as_secs() / SPAN_SECONDS;
        let mut counts = [0u64; BUCKETS];
        for span in &self.spans {
            let held = span.number.load(Relaxed);
            if held == number || held.checked_add(1) == Some(number) {
                for (sum, count) in counts.iter_mut().zip(&span.counts) {
                    *sum += u64::from(count.load(Relaxed));
                }
            }
        }
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return None;
        }
        Some(shares.map(|share| {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a rank within a few thousand calls"
            )]
            let rank = ((total as f64 * share).ceil() as u64).max(1);
            let mut below = 0;
            let found = counts.iter().position(|count| {
                below += count;
                below >= rank
            });
            upper_bound(found.unwrap_or(BUCKETS - 1))
        }))
    }
}

fn bucket(latency: Duration) -> usize {
    let whole = latency.as_secs().saturating_mul(1_000_000);
    let micros = whole.saturating_add(latency.subsec_micros().into()).max(1);
    let doubling = micros.ilog2() as usize;
    // The two bits below the highest one.
    let quarter = if doubling >= 2 {
        (micros >> (doubling - 2)) & 3
    } else {
        (micros << (2 - doubling)) & 3
    };
    (doubling * 4 + usize::try_from(quarter).unwrap_or(0)).min(BUCKETS - 1)
}

fn upper_bound(bucket: usize) -> Duration {
    let base = 1u64 << (bucket / 4);
    Duration::from_nanos((base * (5 + bucket as u64 % 4) * 1000) / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn quantiles_are_within_a_bucket_of_the_truth() {
        let window = LatencyWindow::new();
        for millis in 1..=100 {
            window.record(SECOND, Duration::from_millis(millis));
        }
        let [p50, p99] = window.quantiles(SECOND, [0.5, 0.99]).unwrap();
        assert!((50..=60).contains(&p50.as_millis()), "{p50:?}");
        assert!((99..=119).contains(&p99.as_millis()), "{p99:?}");
    }

    #[test]
    fn old_latencies_are_forgotten() {
        let window = LatencyWindow::new();
        window.record(SECOND, SECOND);
        assert!(window.quantiles(9 * SECOND, [0.5]).is_some());
        assert!(window.quantiles(10 * SECOND, [0.5]).is_none());
        window.record(11 * SECOND, Duration::from_micros(3));
        let [p50] = window.quantiles(11 * SECOND, [0.5]).unwrap();
        assert!(p50 < Duration::from_micros(5));
    }

    #[test]
    fn every_latency_has_a_bucket_above_it() {
        let mut last = 0;
        for micros in [
            0u64,
            1,
            2,
            3,
            4,
            5,
            7,
            8,
            9,
            1000,
            1_000_000,
            60_000_000,
            u64::MAX,
        ] {
            let latency = Duration::from_micros(micros);
            let at = bucket(latency);
            assert!(at >= last && at < BUCKETS);
            assert!(at == BUCKETS - 1 || upper_bound(at) > latency);
            last = at;
        }
    }
}
