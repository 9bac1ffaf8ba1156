//! What calls took of late, by how many others there were when they came.
//!
//! Source: Prequal (NSDI 2024): the latency that a server answers a probe with is the median of
//! those that began at about the same load.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The latest latencies at each load. Loads of 16 and more share a place with those near them.
#[derive(Debug)]
pub(super) struct LatencyByLoad {
    places: Box<[Place; PLACES]>,
}

#[derive(Debug)]
struct Place {
    next: AtomicU32,
    /// When, in milliseconds, and how long, in microseconds, in one word.
    latest: [AtomicU64; KEPT],
}

const KEPT: usize = 8;
const EXACT: u32 = 16;
/// Four for each doubling from 16 up to 65,536.
const PLACES: usize = 16 + 12 * 4;
/// Older ones say nothing.
const FRESH_MILLIS: u32 = 5_000;
const EMPTY: u64 = u64::MAX;

// === impl LatencyByLoad ===

impl LatencyByLoad {
    pub(super) fn new() -> Self {
        let place = || Place {
            next: AtomicU32::new(0),
            latest: [const { AtomicU64::new(EMPTY) }; KEPT],
        };
        Self {
            places: Box::new(std::array::from_fn(|_| place())),
        }
    }

    /// A call that met `others` took so long, and ended `at`.
    pub(super) fn record(&self, others: u32, took: Duration, at: Duration) {
        let place = &self.places[place_of(others)];
        let next = place.next.fetch_add(1, Relaxed) as usize % KEPT;
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let word = u64::from(millis(at)) << 32 | u64::from(micros);
        place.latest[next].store(word, Relaxed);
    }

    /// What half of the latest calls took at this load, or the one nearest to it that is known;
    /// None when none is.
    pub(super) fn median(&self, others: u32, at: Duration) -> Option<Duration> {
        let here = place_of(others);
        let near = (0..PLACES).flat_map(|off| {
            let above = Some(here + off).filter(|place| *place < PLACES);
            let below = here.checked_sub(off).filter(|_| off > 0);
            above.into_iter().chain(below)
        });
        near.map(|place| &self.places[place])
            .find_map(|place| place.median(millis(at)))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "it wraps after 49 days")]
const fn millis(at: Duration) -> u32 {
    at.as_millis() as u32
}

fn place_of(others: u32) -> usize {
    if others < EXACT {
        return others as usize;
    }
    let doublings = others.ilog2();
    // The two bits after the first.
    let quarter = (others >> (doublings - 2)) & 3;
    let place = EXACT + (doublings - 4) * 4 + quarter;
    (place as usize).min(PLACES - 1)
}

// === impl Place ===

impl Place {
    fn median(&self, now: u32) -> Option<Duration> {
        let mut fresh = [0; KEPT];
        let mut count = 0;
        for word in &self.latest {
            let word = word.load(Relaxed);
            let age = now.wrapping_sub((word >> 32) as u32);
            // One that was written since counts as well.
            if word != EMPTY && age.wrapping_add(FRESH_MILLIS) < 2 * FRESH_MILLIS {
                #[allow(clippy::cast_possible_truncation, reason = "the lower half")]
                let micros = word as u32;
                fresh[count] = micros;
                count += 1;
            }
        }
        let fresh = &mut fresh[..count];
        fresh.sort_unstable();
        let median = *fresh.get(count / 2)?;
        Some(Duration::from_micros(median.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_median_is_that_of_the_nearest_load_that_is_known() {
        let latency = LatencyByLoad::new();
        assert_eq!(latency.median(3, SECOND), None);
        for took in [1, 2, 900] {
            latency.record(2, ms(took), SECOND);
        }
        latency.record(9, ms(50), SECOND);
        assert_eq!(latency.median(2, SECOND), Some(ms(2)));
        assert_eq!(latency.median(4, SECOND), Some(ms(2)));
        assert_eq!(latency.median(8, SECOND), Some(ms(50)));
        assert_eq!(latency.median(60_000, SECOND), Some(ms(50)));
    }

    #[test]
    fn what_is_old_says_nothing_and_the_latest_eight_count() {
        let latency = LatencyByLoad::new();
        for took in 1..=100 {
            latency.record(1, ms(took), SECOND);
        }
        assert_eq!(latency.median(1, SECOND), Some(ms(97)));
        assert_eq!(latency.median(1, 6 * SECOND), None);
    }

    #[test]
    fn places_grow_with_the_load_and_end() {
        let places: Vec<_> = [0, 15, 16, 19, 20, 31, 32, 65_535, u32::MAX]
            .map(place_of)
            .into();
        assert_eq!(places, [0, 15, 16, 16, 17, 19, 20, 63, 63]);
    }
}
