//! What is counted of one method at one target.

use super::super::histogram::{Bytes, Durations, Sum};
use sampan_wire::Code;
use std::{
    cell::Cell,
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// The counts of one method. Threads count in places of their own: no lock, and no line that all
/// cores write.
pub struct MethodSeries {
    pub(in super::super) name: Box<str>,
    places: [OnceLock<Box<Place>>; PLACES],
    repeats: OnceLock<Box<RepeatCounts>>,
}

/// How often a call was sent beyond once. Source: gRFC A96.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repeats {
    /// Attempts after failures, by a retry policy.
    pub retries: u32,
    /// Attempts after the ones that reached no handler.
    pub transparent_retries: u32,
    /// Attempts without waiting for a failure.
    pub hedges: u32,
    /// How long no attempt was under way, all together.
    pub retry_delay: Duration,
}

/// What the threads count that share a place.
#[derive(Default)]
struct Place {
    started: AtomicU64,
    ended: [OnceLock<Box<Ended>>; CODES],
}

/// What ended with one status.
#[derive(Debug, Default)]
struct Ended {
    /// Calls of one attempt: an attempt and a call in one.
    whole: Durations,
    attempts: Durations,
    calls: Durations,
    sent: Bytes,
    received: Bytes,
}

/// How many calls were repeated so often.
#[derive(Debug, Default)]
pub(super) struct RepeatCounts {
    pub(super) retries: Few,
    pub(super) transparent_retries: Few,
    pub(super) hedges: Few,
    pub(super) retry_delay: Durations,
}

/// Counts by small numbers.
#[derive(Debug, Default)]
pub(super) struct Few(super::super::histogram::Histogram<7>);

/// All places added up, of one status.
#[derive(Debug, Default)]
pub(in super::super) struct SeriesTotals {
    pub(in super::super) attempts: Sum<41>,
    pub(super) calls: Sum<41>,
    pub(in super::super) sent: Sum<15>,
    pub(in super::super) received: Sum<15>,
}

const PLACES: usize = 4;
const CODES: usize = 17;

thread_local! {
    /// Where this thread counts.
    static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let place = PLACE.get();
    if place < PLACES {
        return place;
    }
    let place = NEXT.fetch_add(1, Relaxed) % PLACES;
    PLACE.set(place);
    place
}

// === impl MethodSeries ===

impl MethodSeries {
    pub(in super::super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            places: Default::default(),
            repeats: OnceLock::new(),
        }
    }

    /// An attempt begins.
    pub fn start(&self) {
        self.here().started.fetch_add(1, Relaxed);
    }

    /// A call of one attempt that began before went well. `sent` and `received` count the bytes of
    /// its messages.
    pub fn whole(&self, took: Duration, sent: u64, received: u64) {
        let ended = self.ended(Code::Ok);
        ended.whole.took(took);
        ended.sent.weighed(sent);
        ended.received.weighed(received);
    }

    /// An attempt that began before is over.
    pub fn attempt(&self, code: Code, took: Duration, sent: u64, received: u64) {
        let ended = self.ended(code);
        ended.attempts.took(took);
        ended.sent.weighed(sent);
        ended.received.weighed(received);
    }

    /// A call is over; its attempts are counted by themselves.
    pub fn call(&self, code: Code, took: Duration) {
        self.ended(code).calls.took(took);
    }

    /// A call was repeated.
    pub fn repeat(&self, repeats: &Repeats) {
        let counts = self.repeats.get_or_init(Box::default);
        counts.retries.count(repeats.retries);
        counts
            .transparent_retries
            .count(repeats.transparent_retries);
        counts.hedges.count(repeats.hedges);
        if !repeats.retry_delay.is_zero() {
            counts.retry_delay.took(repeats.retry_delay);
        }
    }

    fn here(&self) -> &Place {
        self.places[place()].get_or_init(Box::default)
    }

    fn ended(&self, code: Code) -> &Ended {
        self.here().ended[code as usize].get_or_init(Box::default)
    }

    /// Attempts that are over.
    pub(in super::super) fn ended_attempts(&self) -> u64 {
        let places = self.places.iter().filter_map(OnceLock::get);
        let ended = places.flat_map(|place| place.ended.iter().filter_map(OnceLock::get));
        ended
            .map(|one| one.whole.count() + one.attempts.count())
            .sum()
    }

    pub(in super::super) fn started(&self) -> u64 {
        let places = self.places.iter().filter_map(OnceLock::get);
        places.map(|place| place.started.load(Relaxed)).sum()
    }

    /// None: nothing ended so.
    pub(in super::super) fn totals(&self, code: Code) -> Option<SeriesTotals> {
        let places = self.places.iter().filter_map(OnceLock::get);
        let ended = places.filter_map(|place| place.ended[code as usize].get());
        let mut totals = None;
        for ended in ended {
            let totals: &mut SeriesTotals = totals.get_or_insert_default();
            totals.attempts.add(&ended.whole);
            totals.attempts.add(&ended.attempts);
            totals.calls.add(&ended.whole);
            totals.calls.add(&ended.calls);
            totals.sent.add(&ended.sent);
            totals.received.add(&ended.received);
        }
        totals
    }

    pub(super) fn repeats(&self) -> Option<&RepeatCounts> {
        self.repeats.get().map(|repeats| &**repeats)
    }
}

impl fmt::Debug for MethodSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodSeries")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// === impl Few ===

impl Few {
    /// Upper bounds. Source: gRFC A96.
    pub(super) const BOUNDS: [u64; 6] = [1, 2, 3, 4, 5, 10];

    /// None is not counted.
    fn count(&self, number: u32) {
        if number > 0 {
            self.0.observe(&Self::BOUNDS, number.into());
        }
    }

    pub(super) fn sum(&self) -> Sum<7> {
        let mut sum = Sum::default();
        sum.add(&self.0);
        sum
    }
}

// === impl Repeats ===

impl Repeats {
    /// Whether there is anything to count.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
