//! Times that each connection keeps, a quarter as long as a [`Duration`].

use std::{num::NonZeroU32, time::Duration};

/// Milliseconds, at least one and at most 49 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Millis(NonZeroU32);

// === impl Millis ===

impl From<Duration> for Millis {
    /// Rounds up.
    fn from(time: Duration) -> Self {
        let millis = time.as_nanos().div_ceil(1_000_000);
        let millis = u32::try_from(millis).unwrap_or(u32::MAX);
        Self(NonZeroU32::new(millis).unwrap_or(NonZeroU32::MIN))
    }
}

impl From<Millis> for Duration {
    fn from(millis: Millis) -> Self {
        Self::from_millis(millis.0.get().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_to_the_millisecond_above() {
        for (time, kept) in [
            (Duration::ZERO, Duration::from_millis(1)),
            (Duration::from_micros(1001), Duration::from_millis(2)),
            (Duration::from_secs(300), Duration::from_secs(300)),
            (Duration::MAX, Duration::from_millis(u32::MAX.into())),
        ] {
            assert_eq!(Duration::from(Millis::from(time)), kept);
        }
        assert_eq!(size_of::<Option<Millis>>(), 4);
    }
}
