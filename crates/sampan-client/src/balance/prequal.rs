//! Prefers endpoints that said of late that they are free and fast.
//!
//! What each endpoint says comes with its answers; nobody is probed. So only endpoints that got
//! calls are known, and one call of eight goes to another, as those do that find fewer than two
//! fresh reports. Source: Prequal (NSDI 2024), without its probes.

use super::{
    CallInfo, Learns, LoadReport, Member, Pick, Picker, Policy, Seats, below,
    least_request::has_less, seats::Seat,
};
use rand::RngCore;
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Prefers endpoints that said of late, in the trailers of their answers, that they are free and
/// fast: an endpoint is hot when it has more calls in flight than most; of those that are not,
/// the fastest is taken, and when all are, the one with the fewest calls.
///
/// Unlike the calls in flight that a client counts, what endpoints say covers all clients. While
/// they say nothing, it is least request of two.
#[derive(Clone, Debug)]
pub struct Prequal {
    reports: Arc<Reports>,
    settings: Settings,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    hot_quantile: f64,
    max_age: Duration,
    pool_size: usize,
}

/// The latest reports of all endpoints of a channel, in a ring that the oldest leave first.
#[derive(Debug)]
pub struct Reports {
    born: Instant,
    numbers: AtomicU32,
    next: AtomicUsize,
    /// A reader may see half of one report and half of another: one pick is not the best then.
    ring: [Entry; MAX_POOL],
}

#[derive(Debug)]
struct Entry {
    number: AtomicU32,
    in_flight: AtomicU32,
    micros: AtomicU32,
    uses: AtomicU32,
    at: AtomicU64,
}

#[derive(Debug)]
struct PrequalPicker {
    seats: Seats,
    by_number: HashMap<u32, u32, BuildHasherDefault<Spread>>,
    reports: Arc<Reports>,
    settings: Settings,
    pool_size: usize,
}

/// One report that can be used.
#[derive(Clone, Copy, Debug)]
struct Known {
    seat: u32,
    entry: u32,
    in_flight: u32,
    micros: u32,
}

/// Numbers are given out one by one: that is hash enough.
#[derive(Debug, Default)]
struct Spread(u64);

const MAX_POOL: usize = 16;
/// How often a report is used: with one report for each call, twice as often as they come.
const USES: u32 = 2;
/// One call of so many looks for endpoints that nobody heard of.
const EXPLORE: usize = 8;
const NEVER: u64 = u64::MAX;

// === impl Prequal ===

impl Prequal {
    /// For one channel.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            reports: Arc::new(Reports::new(now)),
            settings: Settings {
                hot_quantile: 0.84,
                max_age: Duration::from_secs(1),
                pool_size: MAX_POOL,
            },
        }
    }

    /// More calls in flight than this part of the reports have is hot. Default 0.84.
    #[must_use]
    pub const fn with_hot_quantile(mut self, quantile: f64) -> Self {
        self.settings.hot_quantile = quantile.clamp(0.0, 1.0);
        self
    }

    /// Older reports say nothing. Default 1 s.
    #[must_use]
    pub const fn with_max_age(mut self, age: Duration) -> Self {
        self.settings.max_age = age;
        self
    }

    /// So many reports are compared, from 2 to 16. Default 16; half of the endpoints, where those
    /// are few.
    #[must_use]
    pub fn with_pool_size(mut self, size: usize) -> Self {
        self.settings.pool_size = size.clamp(2, MAX_POOL);
        self
    }
}

impl Policy for Prequal {
    fn picker(&self, members: &[Member], _: Instant, _: &mut dyn RngCore) -> Arc<dyn Picker> {
        let seats = Seats::new(members);
        let numbered = (0u32..).zip(seats.list());
        let by_number = numbered
            .map(|(place, seat)| (seat.replica.number(), place))
            .collect();
        let few = match seats.len() {
            n @ ..=4 => n,
            n @ ..=24 => (n / 2).max(2),
            _ => MAX_POOL,
        };
        Arc::new(PrequalPicker {
            by_number,
            reports: Arc::clone(&self.reports),
            settings: self.settings,
            pool_size: few.min(self.settings.pool_size),
            seats,
        })
    }

    fn learns(&self) -> Learns {
        Learns::Reports(Arc::clone(&self.reports))
    }
}

// === impl Reports ===

impl Reports {
    fn new(now: Instant) -> Self {
        Self {
            born: now,
            // Zero is nobody's.
            numbers: AtomicU32::new(1),
            next: AtomicUsize::new(0),
            ring: std::array::from_fn(|_| Entry {
                number: AtomicU32::new(0),
                in_flight: AtomicU32::new(0),
                micros: AtomicU32::new(0),
                uses: AtomicU32::new(0),
                at: AtomicU64::new(NEVER),
            }),
        }
    }

    pub(super) fn next_number(&self) -> u32 {
        self.numbers.fetch_add(1, Relaxed)
    }

    pub(super) fn learn(&self, number: u32, now: Instant, report: &LoadReport) {
        let (Some(in_flight), Some(latency)) = (report.in_flight, report.latency) else {
            return;
        };
        let entry = &self.ring[self.next.fetch_add(1, Relaxed) % MAX_POOL];
        let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        entry.number.store(number, Relaxed);
        entry.in_flight.store(in_flight, Relaxed);
        entry.micros.store(micros, Relaxed);
        entry.uses.store(USES, Relaxed);
        entry.at.store(self.at(now), Relaxed);
    }

    /// Nanoseconds since it was made.
    fn at(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.born);
        u64::try_from(age.as_nanos()).unwrap_or(NEVER - 1)
    }
}

// === impl PrequalPicker ===

impl PrequalPicker {
    /// The freshest reports that can be used, at most as many as are compared.
    fn known(&self, now: Instant, into: &mut [Known; MAX_POOL]) -> usize {
        let Reports { next, ring, .. } = &*self.reports;
        let at = self.reports.at(now);
        let max_age = u64::try_from(self.settings.max_age.as_nanos()).unwrap_or(NEVER);
        let newest = next.load(Relaxed).wrapping_add(MAX_POOL - 1);
        let mut count = 0;
        for back in 0..MAX_POOL {
            let place = newest.wrapping_sub(back) % MAX_POOL;
            let entry = &ring[place];
            let told_at = entry.at.load(Relaxed);
            if told_at == NEVER || at.saturating_sub(told_at) >= max_age {
                // Those behind it are older.
                break;
            }
            if entry.uses.load(Relaxed) == 0 {
                continue;
            }
            let Some(&seat) = self.by_number.get(&entry.number.load(Relaxed)) else {
                continue;
            };
            if !self.seats.list()[seat as usize].replica.is_sound(now) {
                continue;
            }
            into[count] = Known {
                seat,
                entry: u32::try_from(place).unwrap_or(0),
                in_flight: entry.in_flight.load(Relaxed),
                micros: entry.micros.load(Relaxed),
            };
            count += 1;
            if count == self.pool_size {
                break;
            }
        }
        count
    }

    /// The place of the best among them.
    fn best(&self, known: &[Known]) -> usize {
        let mut loads = [0; MAX_POOL];
        for (load, known) in loads.iter_mut().zip(known) {
            *load = known.in_flight;
        }
        let loads = &mut loads[..known.len()];
        loads.sort_unstable();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place among sixteen"
        )]
        let rank = (self.settings.hot_quantile * (known.len() - 1) as f64) as usize;
        let most = loads[rank];
        let cold = |one: &Known| one.in_flight <= most && one.in_flight < u32::MAX;
        let places = 0..known.len();
        let fastest = places
            .clone()
            .filter(|place| cold(&known[*place]))
            .min_by_key(|place| known[*place].micros);
        let freest = || places.min_by_key(|place| known[*place].in_flight);
        fastest.or_else(freest).unwrap_or(0)
    }

    fn by_least_request(&self, call: &CallInfo<'_>, now: Instant, rng: &mut dyn RngCore) -> &Seat {
        self.seats.best_of(2, call, now, rng, has_less)
    }
}

impl Picker for PrequalPicker {
    fn pick(&self, now: Instant, rng: &mut dyn RngCore, call: &CallInfo<'_>) -> Pick {
        // The reports may name the endpoint that just failed the call as the best.
        if below(EXPLORE, rng) == 0 || !call.tried.is_empty() {
            return Pick::ready(self.by_least_request(call, now, rng).index);
        }
        let mut known = [Known {
            seat: 0,
            entry: 0,
            in_flight: 0,
            micros: 0,
        }; MAX_POOL];
        let count = self.known(now, &mut known);
        let known = &known[..count];
        if known.len() < 2 {
            return Pick::ready(self.by_least_request(call, now, rng).index);
        }
        let best = known[self.best(known)];
        let used = &self.reports.ring[best.entry as usize].uses;
        let _ = used.fetch_update(Relaxed, Relaxed, |uses| uses.checked_sub(1));
        for one in known.iter().filter(|one| one.seat == best.seat) {
            let entry = &self.reports.ring[one.entry as usize];
            entry.in_flight.fetch_add(1, Relaxed);
        }
        let seat = &self.seats.list()[best.seat as usize];
        if seat.replica.admits(now, rng) {
            Pick::ready(seat.index)
        } else {
            Pick::ready(self.by_least_request(call, now, rng).index)
        }
    }
}

// === impl Spread ===

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Outcome, Verdict, testing::Bench},
        *,
    };

    fn tell(bench: &Bench, index: usize, in_flight: u32, millis: u64) {
        let mut outcome = Outcome::new(bench.now, Duration::ZERO, Verdict::Served);
        outcome.report = Some(LoadReport {
            in_flight: Some(in_flight),
            latency: Some(Duration::from_millis(millis)),
            ..LoadReport::default()
        });
        bench.members[index].replica.learn(bench.now, &outcome);
    }

    fn bench(count: usize) -> (Bench, Prequal) {
        let policy = Prequal::new(Instant::now());
        (Bench::learning(count, &policy.learns()), policy)
    }

    /// Where picks go mostly, each with fresh reports.
    fn favourite(bench: &mut Bench, policy: &Prequal, reports: &[(u32, u64)]) -> usize {
        let mut counts = vec![0; bench.members.len()];
        for _ in 0..200 {
            for (index, (in_flight, millis)) in reports.iter().enumerate() {
                tell(bench, index, *in_flight, *millis);
            }
            counts[bench.picks(policy, 1)[0]] += 1;
        }
        let most = *counts.iter().max().unwrap();
        assert!(most > 160, "{counts:?}");
        counts.iter().position(|count| *count == most).unwrap()
    }

    #[test]
    fn the_fastest_of_the_cold_is_taken_however_fast_a_hot_one_is() {
        let (mut bench, policy) = bench(4);
        let reports = [(2, 30), (3, 20), (2, 40), (9, 1)];
        assert_eq!(favourite(&mut bench, &policy, &reports), 1);
    }

    #[test]
    fn calls_sent_since_a_report_count_and_each_report_is_used_twice() {
        let (mut bench, policy) = bench(2);
        tell(&bench, 0, 1, 1);
        tell(&bench, 1, 1, 9);
        let reports = &policy.reports.ring;
        bench.picks(&policy, 3);
        let used = |place: usize| (USES - reports[place].uses.load(Relaxed)) as usize;
        let more = |place: usize| reports[place].in_flight.load(Relaxed) as usize - 1;
        assert!(used(0) > 0 && used(0) == more(0) && used(1) == more(1));
        bench.picks(&policy, 100);
        assert!(used(0) == 2 || used(1) == 2, "fewer than two are left");
    }

    #[test]
    fn without_fresh_reports_it_is_least_request() {
        let (mut bench, policy) = bench(4);
        tell(&bench, 3, 0, 1);
        tell(&bench, 3, 0, 1);
        bench.members[2].replica.begin();
        bench.now += Duration::from_secs(1);
        let counts = bench.counts(&policy, 3000);
        assert_eq!(counts[2], 0);
        let even = |index: usize| (850..1150).contains(&counts[index]);
        assert!(even(0) && even(1) && even(3), "{counts:?}");
    }

    #[test]
    fn one_that_is_left_alone_is_not_taken_whatever_it_said() {
        let (mut bench, policy) = bench(4);
        bench.members[1]
            .replica
            .push_back(bench.now, Duration::from_secs(1));
        let reports = [(5, 30), (0, 1), (2, 5), (3, 20)];
        assert_eq!(favourite(&mut bench, &policy, &reports), 2);
    }
}
