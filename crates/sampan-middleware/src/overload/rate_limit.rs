//! Bounds calls per second: a bucket of tokens that fills evenly.
//!
//! Kept as one instant, the one at which the bucket would be full (the generic cell rate
//! algorithm), so that threads share it without a lock.

use super::retry_info;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::time::Instant;
use tonic::{Code, Status};

/// Lets so many calls a second pass, and some at once after a pause.
#[derive(Debug)]
pub struct RateLimit {
    began: Instant,
    /// Nanoseconds of one call.
    cost: u64,
    /// Nanoseconds of a full bucket.
    burst: u64,
    /// When the bucket is full, in nanoseconds since it began.
    full_at: AtomicU64,
}

/// Too many calls: RESOURCE_EXHAUSTED, with the time to wait as RetryInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rate limit exceeded; try again after {retry_after:?}")]
pub struct RateExceeded {
    /// When a call would pass, if nobody else takes its place.
    pub retry_after: Duration,
}

// === impl RateLimit ===

impl RateLimit {
    /// `per_second` calls, of which `burst` (at least one) may come at once. The bucket is full
    /// at first. A rate that is not over 0 lets a burst pass and then nothing for 100 years.
    #[must_use]
    pub fn new(per_second: f64, burst: u32, now: Instant) -> Self {
        let cost = Duration::try_from_secs_f64(1.0 / per_second.max(0.0));
        let cost = nanos(cost.unwrap_or(Self::NEVER).min(Self::NEVER)).max(1);
        Self {
            began: now,
            cost,
            burst: cost.saturating_mul(burst.max(1).into()),
            full_at: AtomicU64::new(0),
        }
    }

    const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

    /// Takes a token.
    ///
    /// # Errors
    ///
    /// When there is none, with the time until there is one.
    pub fn admit(&self, now: Instant) -> Result<(), RateExceeded> {
        let now = nanos(now.saturating_duration_since(self.began));
        let take = |full_at: u64| {
            let full_at = full_at.max(now).saturating_add(self.cost);
            (full_at - now <= self.burst).then_some(full_at)
        };
        self.full_at
            .fetch_update(Relaxed, Relaxed, take)
            .map(|_| ())
            .map_err(|full_at| {
                let missing = full_at.saturating_add(self.cost) - now - self.burst;
                let retry_after = Duration::from_nanos(missing);
                RateExceeded { retry_after }
            })
    }
}

// === impl RateExceeded ===

impl From<RateExceeded> for Status {
    fn from(exceeded: RateExceeded) -> Self {
        let (code, message) = (Code::ResourceExhausted, exceeded.to_string());
        let details = retry_info::details(code, &message, exceeded.retry_after);
        Self::with_details(code, message, details)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_call_too_many_is_told_when_to_come_back() {
        let now = Instant::now();
        let limit = RateLimit::new(2.0, 1, now);
        limit.admit(now).unwrap();
        let status = Status::from(limit.admit(now).unwrap_err());
        assert_eq!(status.code(), Code::ResourceExhausted);
        let told = retry_info::read(status.details());
        assert_eq!(told, (8, Duration::from_millis(500)));
    }

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let start = Instant::now();
        let limit = RateLimit::new(10.0, 3, start);
        let passed = (0..9).filter(|_| limit.admit(start).is_ok()).count();
        assert_eq!(passed, 3);
        let retry_after = limit.admit(start).unwrap_err().retry_after;
        assert_eq!(retry_after, Duration::from_millis(100));
        let soon = start + retry_after;
        assert!(limit.admit(soon - Duration::from_nanos(1)).is_err());
        assert!(limit.admit(soon).is_ok() && limit.admit(soon).is_err());
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..9).filter(|_| limit.admit(later).is_ok()).count(), 3);
    }

    #[test]
    fn a_rate_of_nothing_lets_nothing_pass_behind_the_burst() {
        let start = Instant::now();
        for rate in [0.0, -1.0, f64::NAN] {
            let limit = RateLimit::new(rate, 0, start);
            assert!(limit.admit(start).is_ok());
            assert!(
                limit
                    .admit(start + Duration::from_secs(1_000_000_000))
                    .is_err(),
                "{rate}"
            );
        }
    }

    proptest! {
        /// In every stretch of time no more than its rate and one burst; and the wait that is
        /// told is enough.
        #[test]
        fn no_stretch_of_time_has_more_than_its_share(
            per_second in 0.5f64..1000.0,
            burst in 1u32..10,
            waits in prop::collection::vec(0u64..50, 1..60),
        ) {
            let start = Instant::now();
            let limit = RateLimit::new(per_second, burst, start);
            let (mut now, mut passed) = (start, Vec::new());
            for wait in waits {
                now += Duration::from_millis(wait);
                match limit.admit(now) {
                    Ok(()) => passed.push(now),
                    Err(exceeded) => {
                        now += exceeded.retry_after;
                        prop_assert!(limit.admit(now).is_ok());
                        passed.push(now);
                    }
                }
            }
            for (at, from) in passed.iter().enumerate() {
                for (count, to) in passed[at..].iter().enumerate() {
                    let share = (*to - *from).as_secs_f64() * per_second + f64::from(burst);
                    prop_assert!(count as f64 + 1.0 <= share * (1.0 + 1e-6));
                }
            }
        }
    }
}
