//! Endpoints in order of preference: others get calls when those before them cannot take all.

use super::{CallInfo, Learns, LoadReport, Member, Pick, Picker, Policy, Seats, unit};
use rand::RngCore;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Prefers some endpoints, and balances among them by another policy.
///
/// By priority, others get calls only when none of the preferred is connected and sound (gRFC
/// A56). By nearness, which is the same host, then the same zone, then the rest, they get a part
/// before: while `n` of a hundred near endpoints are connected and not ejected, those get `1.4 × n`
/// of a hundred calls (Envoy's overprovisioning factor).
#[derive(Clone, Debug)]
pub struct Tiers {
    by: TierBy,
    within: Arc<dyn Policy>,
}

/// What endpoints are preferred by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierBy {
    /// [`Member::priority`].
    Priority,
    /// [`Member::nearness`].
    Nearness,
}

#[derive(Debug)]
struct TiersPicker {
    /// The most preferred first.
    tiers: Vec<Tier>,
}

#[derive(Debug)]
struct Tier {
    seats: Seats,
    picker: Arc<dyn Picker>,
    /// Its members' places among all.
    places: Vec<usize>,
    /// Up to where, of 1, the calls are for this tier or one before it.
    upto: f64,
}

/// A tier that misses a few of its endpoints still takes all calls.
const OVERPROVISIONING: f64 = 1.4;

// === impl Tiers ===

impl Tiers {
    /// Balances by `within` among endpoints that are preferred alike.
    #[must_use]
    pub const fn new(by: TierBy, within: Arc<dyn Policy>) -> Self {
        Self { by, within }
    }

    /// The part of all calls that a tier can take. Who pushes back is for each pick to see: when
    /// that ends nobody makes another picker.
    fn capacity(&self, members: &[Member], places: &[usize]) -> f64 {
        let is_in = |place: &&usize| {
            let member = &members[**place];
            member.is_ready && !member.replica.is_out()
        };
        let count = places.iter().filter(is_in).count();
        match self.by {
            TierBy::Priority => f64::from(u8::from(count > 0)),
            #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
            TierBy::Nearness => (OVERPROVISIONING * count as f64 / places.len() as f64).min(1.0),
        }
    }
}

impl Policy for Tiers {
    fn picker(&self, members: &[Member], now: Instant, rng: &mut dyn RngCore) -> Arc<dyn Picker> {
        let mut groups = BTreeMap::<_, Vec<usize>>::new();
        for (place, member) in members.iter().enumerate() {
            let rank = match self.by {
                TierBy::Priority => member.priority,
                TierBy::Nearness => member.nearness as u32,
            };
            groups.entry(rank).or_default().push(place);
        }
        let mut tiers = Vec::new();
        let mut upto = 0.0;
        for places in groups.into_values() {
            let capacity = self.capacity(members, &places);
            let of_tier: Vec<_> = places.iter().map(|place| members[*place].clone()).collect();
            if !of_tier.iter().any(|member| member.is_ready) {
                continue;
            }
            upto += (1.0_f64 - upto).min(capacity);
            tiers.push(Tier {
                seats: Seats::new(&of_tier),
                picker: self.within.picker(&of_tier, now, rng),
                places,
                upto,
            });
        }
        // What nobody can take is shared as the rest is.
        if upto > 0.0 {
            for tier in &mut tiers {
                tier.upto /= upto;
            }
        }
        Arc::new(TiersPicker { tiers })
    }

    fn refresh(&self) -> Option<Duration> {
        self.within.refresh()
    }

    fn learns(&self) -> Learns {
        self.within.learns()
    }

    fn reports_every(&self) -> Option<Duration> {
        self.within.reports_every()
    }

    fn on_report(&self, member: &Member, now: Instant, report: &LoadReport) {
        self.within.on_report(member, now, report);
    }
}

// === impl TiersPicker ===

impl Picker for TiersPicker {
    fn pick(&self, now: Instant, rng: &mut dyn RngCore, call: &CallInfo<'_>) -> Pick {
        let first = match &self.tiers[..] {
            [] => return Pick::Queue,
            [first, ..] if first.upto >= 1.0 => 0,
            tiers => {
                let drawn = unit(rng);
                tiers.iter().position(|tier| drawn < tier.upto).unwrap_or(0)
            }
        };
        let (before, after) = self.tiers.split_at(first);
        let mut in_turn = after.iter().chain(before);
        let is_sound = |tier: &&Tier| tier.seats.next_sound(0, now).replica.is_sound(now);
        let tier = in_turn.find(is_sound).unwrap_or(&self.tiers[first]);
        match tier.picker.pick(now, rng, call) {
            Pick::Ready(place, ticket) => match tier.places.get(place) {
                Some(place) => Pick::Ready(*place, ticket),
                None => Pick::Queue,
            },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Nearness, RoundRobin, testing::Bench},
        *,
    };

    fn bench(by: TierBy, ranks: &[u32]) -> (Bench, Tiers) {
        let mut bench = Bench::new(ranks.len());
        for (member, rank) in bench.members.iter_mut().zip(ranks) {
            member.priority = *rank;
            member.nearness = [Nearness::Host, Nearness::Zone, Nearness::Elsewhere][*rank as usize];
        }
        (bench, Tiers::new(by, Arc::new(RoundRobin)))
    }

    #[test]
    fn others_get_calls_only_when_none_of_the_first_priority_is_left() {
        let (mut bench, policy) = bench(TierBy::Priority, &[1, 0, 0, 2]);
        assert_eq!(bench.counts(&policy, 100), [0, 50, 50, 0]);
        bench.members[1].is_ready = false;
        assert_eq!(bench.counts(&policy, 100), [0, 0, 100, 0]);
        bench.members[2]
            .replica
            .push_back(bench.now, Duration::from_secs(1));
        assert_eq!(bench.counts(&policy, 100), [100, 0, 0, 0]);
        bench.members[0].is_ready = false;
        assert_eq!(bench.counts(&policy, 100), [0, 0, 0, 100]);
        bench.members[3].is_ready = false;
        assert_eq!(
            bench.counts(&policy, 100),
            [0, 0, 100, 0],
            "better than none"
        );
    }

    #[test]
    fn nearer_ones_get_all_until_many_of_them_are_gone() {
        let (mut bench, policy) = bench(TierBy::Nearness, &[1, 1, 1, 1, 2, 2]);
        assert_eq!(bench.counts(&policy, 400), [100, 100, 100, 100, 0, 0]);
        bench.members[0].is_ready = false;
        assert_eq!(bench.counts(&policy, 300), [0, 100, 100, 100, 0, 0]);
        bench.members[1].is_ready = false;
        let far: f64 = bench.shares(&policy, 20_000)[4..].iter().sum();
        assert!((far - 0.3).abs() < 0.02, "{far}");
    }

    #[test]
    fn a_tier_that_pushed_back_when_the_picker_was_made_gets_its_calls_afterwards() {
        for by in [TierBy::Priority, TierBy::Nearness] {
            let (mut bench, policy) = bench(by, &[0, 1]);
            let pause = Duration::from_millis(100);
            bench.members[0].replica.push_back(bench.now, pause);
            let picker = policy.picker(&bench.members, bench.now, &mut bench.rng);
            let call = CallInfo {
                path: "/a.B/C",
                headers: &bench.headers,
                tried: &[],
            };
            for (now, expected) in [(bench.now, 1), (bench.now + pause, 0)] {
                for _ in 0..100 {
                    match picker.pick(now, &mut bench.rng, &call) {
                        Pick::Ready(index, _) => assert_eq!(index, expected, "{by:?}"),
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn one_on_the_same_host_that_fails_is_passed_over_at_once() {
        let (mut bench, policy) = bench(TierBy::Nearness, &[0, 1, 2]);
        let picker = policy.picker(&bench.members, bench.now, &mut bench.rng);
        bench.members[0]
            .replica
            .push_back(bench.now, Duration::from_secs(1));
        let call = CallInfo {
            path: "/a.B/C",
            headers: &bench.headers,
            tried: &[],
        };
        let pick = picker.pick(bench.now, &mut bench.rng, &call);
        assert!(matches!(pick, Pick::Ready(1, _)), "{pick:?}");
    }
}
