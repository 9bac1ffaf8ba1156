//! Each endpoint in turn, as often as its weight says.

use super::{CallInfo, Member, Pick, Picker, Policy, Seats, turns::Turns};
use rand::RngCore;
use std::{collections::BTreeMap, sync::Arc, time::Instant};

/// Each endpoint in turn, as often as its weight says against the others'. One of weight 0 gets
/// no calls while others are ready.
#[derive(Clone, Debug, Default)]
pub struct Weighted {
    by_address: Option<(BTreeMap<String, u32>, u32)>,
}

/// Also where weights are learnt.
#[derive(Debug)]
pub(super) struct WeightedPicker {
    seats: Seats,
    turns: Turns,
}

// === impl Weighted ===

impl Weighted {
    /// By these weights instead of the members' own; `others` is that of addresses that are not
    /// named.
    #[must_use]
    pub const fn by_address(weights: BTreeMap<String, u32>, others: u32) -> Self {
        Self {
            by_address: Some((weights, others)),
        }
    }

    fn weight_of(&self, member: &Member) -> u32 {
        match &self.by_address {
            None => member.weight,
            Some((weights, others)) => weights.get(&*member.address).copied().unwrap_or(*others),
        }
    }
}

impl Policy for Weighted {
    fn picker(&self, members: &[Member], _: Instant, rng: &mut dyn RngCore) -> Arc<dyn Picker> {
        let seats = Seats::new(members);
        let ready = members.iter().filter(|member| member.is_ready);
        let weights: Vec<_> = ready.map(|one| f64::from(self.weight_of(one))).collect();
        Arc::new(WeightedPicker::new(seats, &weights, rng))
    }
}

// === impl WeightedPicker ===

impl WeightedPicker {
    pub(super) fn new(seats: Seats, weights: &[f64], rng: &mut dyn RngCore) -> Self {
        let turns = Turns::new(weights, rng);
        Self { seats, turns }
    }
}

impl Picker for WeightedPicker {
    fn pick(&self, now: Instant, rng: &mut dyn RngCore, _: &CallInfo<'_>) -> Pick {
        let seat = self.seats.first_of(now, rng, |_| self.turns.take());
        Pick::ready(seat.index)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::Bench, *};
    use std::time::Duration;

    #[test]
    fn shares_follow_the_weights_also_when_one_is_left_out() {
        let mut bench = Bench::new(4);
        for (member, weight) in bench.members.iter_mut().zip([1, 2, 3, 4]) {
            member.weight = weight;
        }
        let near = |shares: Vec<f64>, expected: [f64; 4]| {
            for (share, expected) in shares.iter().zip(expected) {
                assert!((share - expected).abs() <= expected * 0.01, "{shares:?}");
            }
        };
        near(
            bench.shares(&Weighted::default(), 50_000),
            [0.1, 0.2, 0.3, 0.4],
        );
        let pause = Duration::from_secs(1);
        bench.members[3].replica.push_back(bench.now, pause);
        let third = 1.0 / 6.0;
        near(
            bench.shares(&Weighted::default(), 50_000),
            [third, 2.0 * third, 0.5, 0.0],
        );
    }
}
