//! What the tests of pickers stand on.

use super::{CallInfo, Learns, Member, Pick, Policy, Replica};
use rand::{SeedableRng, rngs::SmallRng};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Some replicas, a clock that stands and a random source that repeats.
pub(super) struct Bench {
    pub(super) members: Vec<Member>,
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) rng: SmallRng,
    pub(super) headers: http::HeaderMap,
    pub(super) tried: Vec<Arc<Replica>>,
}

// === impl Bench ===

impl Bench {
    pub(super) fn new(count: usize) -> Self {
        Self::learning(count, &Learns::Nothing)
    }

    pub(super) fn learning(count: usize, learns: &Learns) -> Self {
        let start = Instant::now();
        let member = |number| {
            let replica = Replica::new(start, learns.clone(), None);
            Member::new(format!("10.0.0.{number}:1"), Arc::new(replica))
        };
        Self {
            members: (0..count).map(member).collect(),
            start,
            now: start,
            rng: SmallRng::seed_from_u64(7),
            headers: http::HeaderMap::new(),
            tried: Vec::new(),
        }
    }

    /// Where so many picks go, in their order.
    pub(super) fn picks(&mut self, policy: &dyn Policy, count: usize) -> Vec<usize> {
        let picker = policy.picker(&self.members, self.now, &mut self.rng);
        let call = CallInfo {
            path: "/a.B/C",
            headers: &self.headers,
            tried: &self.tried,
        };
        (0..count)
            .map(|_| match picker.pick(self.now, &mut self.rng, &call) {
                Pick::Ready(index, _) => index,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// How many of so many picks each member gets.
    pub(super) fn counts(&mut self, policy: &dyn Policy, count: usize) -> Vec<usize> {
        let mut counts = vec![0; self.members.len()];
        for index in self.picks(policy, count) {
            counts[index] += 1;
        }
        counts
    }

    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    pub(super) fn shares(&mut self, policy: &dyn Policy, count: usize) -> Vec<f64> {
        let share = |picked: usize| picked as f64 / count as f64;
        self.counts(policy, count).into_iter().map(share).collect()
    }
}
