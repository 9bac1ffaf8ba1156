//! Slows a replica on purpose.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What each call of this replica takes longer; shared by its services.
#[derive(Clone, Debug, Default)]
pub(super) struct Delay(Arc<AtomicU64>);

/// A delay that a replica does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("delay is outside 0 to {} s", Delay::MAX.as_secs())]
pub(super) struct DelayOutOfRange;

// === impl Delay ===

impl Delay {
    /// Longest delay that can be asked for.
    pub(super) const MAX: Duration = Duration::from_secs(10);

    /// Sets it; no duration ends it.
    pub(super) fn set(&self, delay: Option<prost_types::Duration>) -> Result<(), DelayOutOfRange> {
        let delay = Duration::try_from(delay.unwrap_or_default()).map_err(|_| DelayOutOfRange)?;
        if delay > Self::MAX {
            return Err(DelayOutOfRange);
        }
        // At most ten seconds, so it fits.
        self.0.store(delay.as_micros() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Returns after the delay that holds now.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn pass(&self) {
        let delay = Duration::from_micros(self.0.load(Ordering::Relaxed));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_holds_until_it_is_taken_back() {
        let delay = Delay::default();
        delay.set(seconds(2)).unwrap();
        let start = Instant::now();
        delay.pass().await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        delay.set(None).unwrap();
        delay.pass().await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }

    #[test]
    fn negative_and_long_delays_are_refused() {
        let delay = Delay::default();
        assert_eq!(delay.set(seconds(-1)), Err(DelayOutOfRange));
        assert_eq!(delay.set(seconds(11)), Err(DelayOutOfRange));
        assert_eq!(delay.set(seconds(10)), Ok(()));
    }
}
