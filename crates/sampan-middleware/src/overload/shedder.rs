//! Answers for the calls that [`QueueDelay`] sheds.

use super::{Priority, QueueDelay, QueueDelaySettings, Shed, retry_info};
use rand::Rng;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tonic::{
    Code, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

/// One server's [`QueueDelay`], asked for each of its calls.
#[derive(Debug)]
pub struct Shedder(Mutex<QueueDelay>);

// === impl Shedder ===

impl Shedder {
    /// Lets everything in at first.
    #[must_use]
    pub fn new(settings: QueueDelaySettings, now: Instant) -> Self {
        Self(Mutex::new(QueueDelay::new(settings, now)))
    }

    /// A call's work is about to begin, after it has `waited`. `left` is what its deadline leaves.
    ///
    /// # Errors
    ///
    /// UNAVAILABLE, with the time to wait in `grpc-retry-pushback-ms` and RetryInfo, when it is
    /// shed.
    pub fn admit(
        &self,
        now: Instant,
        priority: Priority,
        waited: Duration,
        left: Option<Duration>,
    ) -> Result<(), Status> {
        let mut rng = rand::rng();
        let mut delay = self.lock();
        let admitted = delay.admit(now, priority, left, &mut rng);
        // The wait of one that is shed is as telling, and all there is while all are.
        delay.worked_on(now, waited);
        drop(delay);
        admitted.map_err(|shed| status(shed, &mut rng))
    }

    fn lock(&self) -> MutexGuard<'_, QueueDelay> {
        // No code that can panic runs under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn status(shed: Shed, rng: &mut impl Rng) -> Status {
    // Those that are shed together must not come back together.
    let after = shed.retry_after.mul_f64(rng.random_range(1.0..=1.5));
    let after = after.max(Duration::from_millis(1));
    let millis = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    let mut metadata = MetadataMap::new();
    let pushback = MetadataValue::<Ascii>::from(millis);
    metadata.insert("grpc-retry-pushback-ms", pushback);
    let message = shed.to_string();
    // The same in both.
    let after = Duration::from_millis(millis.unsigned_abs());
    let details = retry_info::details(Code::Unavailable, &message, after);
    Status::with_details_and_metadata(Code::Unavailable, message, details, metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shed_call_says_when_to_come_back_in_both_ways() {
        let now = Instant::now();
        let shedder = Shedder::new(QueueDelaySettings::default(), now);
        let spent = Some(Duration::ZERO);
        let shed = shedder.admit(now, Priority::DEFAULT, Duration::ZERO, spent);
        let status = shed.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let told = status.metadata().get("grpc-retry-pushback-ms").unwrap();
        let told: i64 = told.to_str().unwrap().parse().unwrap();
        assert!((1000..=1500).contains(&told), "{told}");
        let (code, after) = retry_info::read(status.details());
        assert_eq!(code, 14);
        assert_eq!(i64::try_from(after.as_millis()).unwrap(), told);
    }

    #[test]
    fn calls_are_shed_while_they_wait_too_long_and_let_in_again_afterwards() {
        let mut now = Instant::now();
        let shedder = Shedder::new(QueueDelaySettings::default(), now);
        let mut run = |waits: u64, seconds: u32| {
            let mut shed = 0;
            for _ in 0..seconds * 100 {
                now += Duration::from_millis(10);
                let waited = Duration::from_millis(waits);
                let admitted = shedder.admit(now, Priority::DEFAULT, waited, None);
                shed += u32::from(admitted.is_err());
            }
            shed
        };
        assert_eq!(run(1, 5), 0);
        assert!(run(100, 10) > 100);
        run(1, 60);
        assert_eq!(run(1, 5), 0);
    }
}
