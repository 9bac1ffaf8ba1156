//! What a pick costs: `cargo bench -p sampan-client --bench pick`.

#![allow(missing_docs, reason = "criterion's macros make a public function")]

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use rand::{SeedableRng, rngs::SmallRng};
use sampan_client::balance::{
    CallInfo, LeastRequest, LeastTime, LoadReport, Member, Outcome, PeakEwma, PickFirst, Picker,
    Policy, Prequal, Random, Replica, RingHash, RoundRobin, TierBy, Tiers, Verdict, Weighted,
    WeightedRoundRobin,
};
use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

/// Replicas with calls in flight, latencies and fresh reports, as they are under load.
fn picker(policy: &dyn Policy, count: u32, now: Instant) -> (Vec<Member>, Arc<dyn Picker>) {
    let begun = now.checked_sub(Duration::from_secs(20)).unwrap_or(now);
    let members: Vec<_> = (0..count)
        .map(|number| {
            let replica = Arc::new(Replica::new(begun, policy.learns(), None));
            for at in [begun, now] {
                let took = Duration::from_micros(u64::from(900 + number % 200));
                let mut outcome = Outcome::new(at, took, Verdict::Served);
                outcome.report = Some(LoadReport {
                    cpu_utilization: 0.5,
                    calls_per_second: f64::from(100 + number % 50),
                    in_flight: Some(number % 7),
                    latency: Some(took),
                    ..LoadReport::default()
                });
                replica.learn(at, &outcome);
            }
            for _ in 0..number % 5 {
                replica.begin();
            }
            let mut member =
                Member::new(format!("10.0.{}.{}:1", number / 256, number % 256), replica);
            member.weight = 1 + number % 3;
            member
        })
        .collect();
    let picker = policy.picker(&members, now, &mut SmallRng::seed_from_u64(1));
    (members, picker)
}

fn picks(criterion: &mut Criterion) {
    let now = Instant::now();
    let policies: [(&str, Box<dyn Policy>); 11] = [
        ("pick_first", Box::new(PickFirst::in_order())),
        ("round_robin", Box::new(RoundRobin)),
        ("random", Box::new(Random)),
        ("weighted", Box::new(Weighted::default())),
        ("least_request", Box::new(LeastRequest::default())),
        ("least_time", Box::new(LeastTime)),
        ("peak_ewma", Box::new(PeakEwma::default())),
        (
            "weighted_round_robin",
            Box::new(WeightedRoundRobin::default()),
        ),
        ("prequal", Box::new(Prequal::new(now))),
        (
            "ring_hash",
            Box::new(RingHash::by_header(HeaderName::from_static("user"))),
        ),
        (
            "near, then least_request",
            Box::new(Tiers::new(
                TierBy::Nearness,
                Arc::new(LeastRequest::default()),
            )),
        ),
    ];
    let mut headers = HeaderMap::new();
    headers.insert("user", HeaderValue::from_static("0f3a-77c1"));
    let call = CallInfo {
        path: "/orders.v1.Orders/GetOrder",
        headers: &headers,
        tried: &[],
    };
    let mut rng = SmallRng::seed_from_u64(2);
    for (name, policy) in &policies {
        for count in [10, 1000] {
            let (_members, picker) = picker(&**policy, count, now);
            criterion.bench_function(&format!("{name}/{count}"), |bencher| {
                bencher.iter(|| black_box(picker.pick(black_box(now), &mut rng, &call)));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots();
    targets = picks
}
criterion_main!(benches);
