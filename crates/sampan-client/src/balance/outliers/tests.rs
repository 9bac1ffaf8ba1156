use super::*;
use crate::balance::{
    Learns, LeastRequest, Outcome, RoundRobin, Verdict,
    testing::{Bench, SECOND},
};
use proptest::prelude::*;

struct Ring {
    bench: Bench,
    outliers: Arc<Outliers>,
}

impl Ring {
    fn new(count: usize, settings: OutlierSettings) -> Self {
        let outliers = Arc::new(Outliers::new(settings));
        let mut bench = Bench::new(count);
        for member in &mut bench.members {
            let guard = Some(Arc::clone(&outliers));
            member.replica = Arc::new(Replica::new(bench.start, Learns::Nothing, guard));
        }
        outliers.follow(&bench.members);
        let mut ring = Self { bench, outliers };
        ring.tick(0);
        ring
    }

    fn answer(&self, index: usize, verdict: Verdict, times: usize) {
        let replica = &self.bench.members[index].replica;
        for _ in 0..times {
            replica.begin();
            let outcome = Outcome::new(self.bench.now, Duration::from_millis(1), verdict);
            replica.learn(self.bench.now, &outcome);
            replica.leave();
        }
    }

    fn tick(&mut self, seconds: u32) -> bool {
        self.bench.now = self.bench.start + SECOND * seconds;
        self.outliers.tick(self.bench.now, &mut self.bench.rng)
    }

    fn out(&self) -> Vec<usize> {
        let members = self.bench.members.iter().enumerate();
        let out = members.filter(|(_, member)| member.replica.is_ejected());
        out.map(|(index, _)| index).collect()
    }

    fn picked(&mut self) -> Vec<usize> {
        self.bench.counts(&RoundRobin, 600)
    }
}

#[test]
fn failures_in_a_row_take_one_out_until_its_time_is_over_and_longer_each_time() {
    let mut ring = Ring::new(3, OutlierSettings::default());
    ring.answer(1, Verdict::Failed, 4);
    ring.answer(1, Verdict::Served, 1);
    ring.answer(1, Verdict::Failed, 4);
    assert_eq!(ring.picked(), [200; 3]);
    ring.answer(1, Verdict::Failed, 1);
    assert_eq!(ring.picked(), [300, 0, 300]);
    ring.tick(29);
    assert_eq!(ring.picked(), [300, 0, 300]);
    assert!(ring.tick(30));
    assert_eq!(ring.picked(), [200; 3]);
    ring.answer(1, Verdict::Failed, 5);
    ring.tick(89);
    assert_eq!(ring.out(), [1]);
    ring.tick(90);
    assert_eq!(ring.out(), [0; 0]);
}

#[test]
fn two_failures_that_were_waited_for_take_one_out_unless_the_number_is_set() {
    for (most, failures, out) in [(5, 2, &[1][..]), (7, 3, &[])] {
        let settings = OutlierSettings {
            consecutive_failures: Some(most),
            ..OutlierSettings::default()
        };
        let ring = Ring::new(3, settings);
        for (replica, waited) in [(0, 499), (1, 500)] {
            let now = ring.bench.now + Duration::from_millis(waited);
            let outcome = Outcome::new(ring.bench.now, Duration::ZERO, Verdict::Failed);
            for _ in 0..failures {
                ring.bench.members[replica].replica.learn(now, &outcome);
            }
        }
        assert_eq!(ring.out(), out);
    }
}

#[test]
fn an_endpoint_alone_is_never_taken_out() {
    let mut ring = Ring::new(1, OutlierSettings::default());
    ring.answer(0, Verdict::Failed, 100);
    assert_eq!(ring.out(), [0; 0]);
    assert_eq!(ring.picked(), [600]);
}

#[test]
fn the_only_one_that_is_connected_is_never_taken_out() {
    let mut ring = Ring::new(3, OutlierSettings::default());
    ring.bench.members[0].is_ready = false;
    ring.bench.members[2].is_ready = false;
    ring.outliers.follow(&ring.bench.members);
    ring.answer(1, Verdict::Failed, 100);
    assert_eq!(ring.out(), [0; 0]);
}

#[test]
fn when_more_than_half_are_out_all_get_calls() {
    let mut ring = Ring::new(4, OutlierSettings::default());
    ring.answer(0, Verdict::Failed, 5);
    ring.answer(1, Verdict::Failed, 5);
    assert_eq!(ring.picked(), [0, 0, 300, 300]);
    ring.answer(2, Verdict::Failed, 5);
    assert_eq!(ring.out(), [0, 1, 2]);
    assert_eq!(ring.picked(), [150; 4]);
    // One that is gone counts as out.
    let mut ring = Ring::new(4, OutlierSettings::default());
    ring.answer(0, Verdict::Failed, 5);
    ring.answer(1, Verdict::Failed, 5);
    ring.bench.members[3].is_ready = false;
    ring.outliers.follow(&ring.bench.members);
    assert_eq!(ring.picked(), [200, 200, 200, 0]);
}

#[test]
fn one_that_sheds_with_pushback_is_left_alone_but_not_taken_out() {
    let mut ring = Ring::new(2, OutlierSettings::default());
    for _ in 0..20 {
        let mut outcome = Outcome::new(ring.bench.now, SECOND, Verdict::Failed);
        outcome.pushback = Some(SECOND);
        ring.bench.members[0]
            .replica
            .learn(ring.bench.now, &outcome);
    }
    assert_eq!(ring.out(), [0; 0]);
    assert_eq!(ring.picked(), [0, 600]);
    ring.bench.now += SECOND;
    assert_eq!(ring.picked(), [300, 300]);
}

#[test]
fn a_success_rate_far_below_the_others_takes_one_out() {
    let settings = OutlierSettings {
        consecutive_failures: None,
        ..OutlierSettings::default()
    };
    let mut ring = Ring::new(6, settings);
    let calls = |ring: &Ring, bad: usize, count: usize| {
        for index in 0..6 {
            let verdict = if index == bad {
                Verdict::Failed
            } else {
                Verdict::Served
            };
            ring.answer(index, verdict, count / 2);
            ring.answer(index, Verdict::Served, count / 2);
        }
    };
    calls(&ring, 4, 98);
    assert!(!ring.tick(10), "too few calls");
    calls(&ring, 4, 100);
    assert!(!ring.tick(19), "not yet");
    assert!(ring.tick(20));
    assert_eq!(ring.out(), [4]);
    // One in ten is as many as may be out.
    calls(&ring, 2, 100);
    ring.tick(30);
    assert_eq!(ring.out(), [4]);
}

#[test]
fn calls_that_are_shed_with_pushback_count_for_no_rate() {
    let mut ring = Ring::new(6, OutlierSettings::default());
    for index in 0..6 {
        ring.answer(index, Verdict::Served, 100);
    }
    let shedding = Arc::clone(&ring.bench.members[4].replica);
    for _ in 0..100 {
        shedding.begin();
        let mut outcome = Outcome::new(ring.bench.now, Duration::ZERO, Verdict::Failed);
        outcome.pushback = Some(Duration::from_millis(1));
        shedding.learn(ring.bench.now, &outcome);
        shedding.leave();
    }
    assert!(!ring.tick(10));
    assert_eq!(shedding.failed_attempts(), 100);
}

#[test]
fn a_failure_percentage_needs_no_others_to_be_better() {
    let settings = OutlierSettings {
        consecutive_failures: None,
        success_rate: None,
        failure_percentage: Some(FailurePercentage::default()),
        max_ejection_percent: 40,
        ..OutlierSettings::default()
    };
    let mut ring = Ring::new(5, settings);
    for index in 0..5 {
        ring.answer(index, Verdict::Served, 15);
        ring.answer(index, Verdict::Failed, 85);
    }
    assert!(!ring.tick(10), "85 is not above 85");
    for index in 0..5 {
        ring.answer(index, Verdict::Failed, 50);
    }
    assert!(ring.tick(20));
    assert_eq!(ring.out(), [0, 1], "no more than 40 %");
}

#[test]
fn endpoints_that_come_and_go_do_not_free_those_that_are_out() {
    let mut ring = Ring::new(4, OutlierSettings::default());
    ring.answer(3, Verdict::Failed, 5);
    let gone = ring.bench.members.remove(0);
    ring.outliers.follow(&ring.bench.members);
    drop(gone);
    assert_eq!(ring.out(), [2]);
    assert!(ring.tick(30));
    assert_eq!(ring.out(), [0; 0]);
}

proptest! {
    #[test]
    fn somebody_is_always_picked_and_one_at_least_is_never_out(
        failures in prop::collection::vec((0usize..6, 1usize..12, 0u32..40), 1..60),
        count in 1usize..6,
    ) {
        let mut ring = Ring::new(count, OutlierSettings::default());
        let mut seconds = 0;
        for (index, times, pause) in failures {
            ring.answer(index % count, Verdict::Failed, times);
            seconds += pause;
            ring.tick(seconds);
            prop_assert!(ring.out().len() < count);
            let out = ring.out();
            for picked in ring.bench.picks(&LeastRequest::default(), 20) {
                prop_assert!(!out.contains(&picked) || out.len() * 2 > count);
            }
        }
    }
}
