//! A pick allocates nothing, and neither does what is learnt from the end of a call.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use sampan_client::balance::{
    CallInfo, LeastRequest, LeastTime, LoadReport, Member, Outcome, PeakEwma, PickFirst, Policy,
    Prequal, Random, Replica, RingHash, RngCore, RoundRobin, TierBy, Tiers, Verdict, Weighted,
    WeightedRoundRobin,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Not random, but that does not matter here.
struct Counting(u64);

impl RngCore for Counting {
    fn next_u32(&mut self) -> u32 {
        u32::try_from(self.next_u64() >> 32).unwrap()
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.0
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.next_u64().to_le_bytes()[7]);
    }
}

#[test]
fn picks_and_ends_of_calls_allocate_nothing() {
    let now = Instant::now();
    let policies: [Box<dyn Policy>; 11] = [
        Box::new(PickFirst::shuffled()),
        Box::new(RoundRobin),
        Box::new(Random),
        Box::new(Weighted::default()),
        Box::new(LeastRequest::default()),
        Box::new(LeastTime),
        Box::new(PeakEwma::default()),
        Box::new(WeightedRoundRobin::default()),
        Box::new(Prequal::new(now)),
        Box::new(RingHash::default()),
        Box::new(Tiers::new(
            TierBy::Nearness,
            Arc::new(LeastRequest::default()),
        )),
    ];
    let headers = http::HeaderMap::new();
    let call = CallInfo {
        path: "/a.B/C",
        headers: &headers,
        tried: &[],
    };
    let mut rng = Counting(1);
    for policy in policies {
        let member = |number| {
            let replica = Replica::new(now, policy.learns(), None);
            Member::new(format!("10.0.0.{number}:1"), Arc::new(replica))
        };
        let members: Vec<_> = (0..20).map(member).collect();
        let picker = policy.picker(&members, now, &mut rng);
        let mut outcome = Outcome::new(now, Duration::from_millis(3), Verdict::Served);
        outcome.report = Some(LoadReport {
            cpu_utilization: 0.5,
            calls_per_second: 100.0,
            in_flight: Some(3),
            latency: Some(Duration::from_millis(2)),
            ..LoadReport::default()
        });
        let allocations = allocation_counter::measure(|| {
            for number in 0..1000 {
                picker.pick(now, &mut rng, &call);
                members[number % 20].replica.learn(now, &outcome);
            }
        });
        assert_eq!(allocations.count_total, 0, "{policy:?}");
    }
}
