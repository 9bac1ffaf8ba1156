//! Points in time as the shop stores and sends them.

use prost_types::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Microseconds since 1970: as exact as both databases keep them, so that an order read back
/// equals the one that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(i64);

// === impl Moment ===

impl Moment {
    pub(crate) fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    pub(crate) const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub(crate) const fn micros(self) -> i64 {
        self.0
    }
}

impl From<Moment> for Timestamp {
    fn from(moment: Moment) -> Self {
        Self {
            seconds: moment.0.div_euclid(MICROS_PER_SECOND),
            // Below one second, so it fits.
            nanos: (moment.0.rem_euclid(MICROS_PER_SECOND) * 1_000) as i32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_before_1970_has_positive_nanos() {
        let timestamp = Timestamp::from(Moment::from_micros(-1));
        assert_eq!(
            timestamp,
            Timestamp {
                seconds: -1,
                nanos: 999_999_000
            }
        );
    }
}
