//! What holds for every policy.

use super::{
    Balance, Balancing, LeastRequest, Outcome, PickFirst, Policy, Replica, RingHash, TierBy, Tiers,
    Verdict, Weighted,
    testing::{Bench, SECOND},
};
use http::HeaderName;
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};

fn policies() -> Vec<Arc<dyn Policy>> {
    let named = [
        Balance::LeastTime,
        Balance::LeastRequest,
        Balance::RoundRobin,
        Balance::Random,
        Balance::PickFirst,
        Balance::PeakEwma,
        Balance::WeightedRoundRobin,
        Balance::Prequal,
    ];
    let mut policies: Vec<_> = named.map(|one| Balancing::by(one).policy).into();
    let least_request: Arc<dyn Policy> = Arc::new(LeastRequest::of(3));
    policies.extend([
        Arc::new(PickFirst::in_order()) as Arc<dyn Policy>,
        Arc::new(Weighted::default()),
        Arc::new(RingHash::by_header(HeaderName::from_static("user"))),
        Arc::new(Tiers::new(TierBy::Priority, Arc::clone(&least_request))),
        Arc::new(Tiers::new(TierBy::Nearness, least_request)),
    ]);
    policies
}

/// Whether a replica is connected, whether it pushes back, its calls in flight, how long they
/// took, its weight and its priority.
type Facts = (bool, bool, u32, u64, u32, u32);

fn replicas() -> impl Strategy<Value = Vec<Facts>> {
    let facts = (
        any::<bool>(),
        any::<bool>(),
        0u32..20,
        1u64..500,
        1u32..5,
        0u32..3,
    );
    let is_any_ready = |all: &Vec<Facts>| all.iter().any(|one| one.0);
    prop::collection::vec(facts, 1..12).prop_filter("one is connected", is_any_ready)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_dead_are_never_picked_and_those_that_push_back_only_when_all_do(all in replicas()) {
        for policy in policies() {
            let mut bench = Bench::learning(all.len(), &policy.learns());
            for (member, facts) in bench.members.iter_mut().zip(&all) {
                let (is_ready, pushes_back, in_flight, millis, weight, priority) = *facts;
                (member.is_ready, member.weight, member.priority) = (is_ready, weight, priority);
                let took = Duration::from_millis(millis);
                let mut outcome = Outcome::new(bench.start, took, Verdict::Served);
                outcome.pushback = pushes_back.then_some(SECOND);
                member.replica.learn(bench.now, &outcome);
                (0..in_flight).for_each(|_| Replica::begin(&member.replica));
            }
            let must_ask = all.iter().all(|one| !one.0 || one.1);
            for index in bench.picks(&*policy, 20) {
                let (is_ready, pushes_back, ..) = all[index];
                prop_assert!(is_ready, "{policy:?}");
                prop_assert!(must_ask || !pushes_back, "{policy:?}");
            }
        }
    }
}

#[test]
fn a_call_that_is_tried_again_goes_elsewhere_though_the_first_is_free_and_fast() {
    let compared = [
        Balance::LeastTime,
        Balance::LeastRequest,
        Balance::PeakEwma,
        Balance::Prequal,
    ];
    for balance in compared {
        let policy = Balancing::by(balance.clone()).policy;
        let mut bench = Bench::learning(3, &policy.learns());
        for (index, member) in bench.members.iter().enumerate() {
            let took = Duration::from_millis(1 + 100 * index as u64);
            let outcome = Outcome::new(bench.start, took, Verdict::Served);
            member.replica.learn(bench.now, &outcome);
            (0..index).for_each(|_| Replica::begin(&member.replica));
        }
        bench.tried.push(Arc::clone(&bench.members[0].replica));
        let counts = bench.counts(&*policy, 200);
        assert_eq!(counts[0], 0, "{balance:?}: {counts:?}");
        for other in 1..3 {
            bench.members[other].replica.push_back(bench.now, SECOND);
        }
        let counts = bench.counts(&*policy, 200);
        assert_eq!(counts[0], 200, "{balance:?}, the only one: {counts:?}");
    }
}
