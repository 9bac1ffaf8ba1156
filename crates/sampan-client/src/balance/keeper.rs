//! What a channel holds to balance by.

use super::{
    Balancing, Connects, KnownWeight, Learns, LoadReport, Member, Outliers, Picker, Policy,
    Replica, SlowStart, Subset,
};
use crate::chance::Dice;
use rand::RngCore as _;
use sampan_middleware::metrics::client::{ClientMetrics, Upkeep, WeightUpdate};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// One channel's policy, and who is out.
#[derive(Debug)]
pub(crate) struct Keeper {
    policy: Arc<dyn Policy>,
    is_asked_always: bool,
    outliers: Option<Arc<Outliers>>,
    slow_start: SlowStart,
    subset: Subset,
    upkeep: Option<&'static Upkeep>,
}

/// Between two looks at who is out.
const TICK: Duration = Duration::from_secs(1);

// === impl Keeper ===

impl Keeper {
    pub(crate) fn new(balancing: Balancing, metrics: Option<&'static ClientMetrics>) -> Self {
        let upkeep = metrics.map(|metrics| &metrics.upkeep);
        Self {
            upkeep,
            policy: balancing.policy,
            is_asked_always: balancing.is_asked_always,
            outliers: balancing
                .outliers
                .map(|settings| Arc::new(Outliers::new(settings).counted_by(upkeep))),
            slow_start: balancing.slow_start,
            subset: Subset {
                size: balancing.subset.unwrap_or(usize::MAX),
                seed: Dice.next_u64(),
            },
        }
    }

    /// For a new endpoint.
    pub(crate) fn replica(&self, now: Instant) -> Arc<Replica> {
        let replica = Replica::new(now, self.policy.learns(), self.outliers.clone());
        Arc::new(replica.with_slow_start(self.slow_start))
    }

    /// Which endpoints are used, `most` of them.
    pub(crate) fn subset(&self, most: usize) -> Subset {
        Subset {
            size: self.subset.size.min(most),
            ..self.subset
        }
    }

    /// Whether a pick is needed also where there is one endpoint alone.
    pub(crate) const fn is_asked_always(&self) -> bool {
        self.is_asked_always
    }

    /// Which endpoints are to be connected.
    pub(crate) fn connects(&self) -> Connects {
        self.policy.connects()
    }

    /// How often endpoints are asked to tell their load beside calls.
    pub(crate) fn reports_every(&self) -> Option<Duration> {
        self.policy.reports_every()
    }

    /// `member` told its load beside calls.
    pub(crate) fn hear(&self, member: &Member, now: Instant, report: &LoadReport) {
        member.replica.hear(now, report);
        self.policy.on_report(member, now, report);
    }

    /// None while no member is ready.
    pub(crate) fn picker(&self, members: &[Member], now: Instant) -> Option<Arc<dyn Picker>> {
        let is_any_ready = members.iter().any(|member| member.is_ready);
        if is_any_ready {
            self.count_weights(members, now);
        }
        is_any_ready.then(|| self.policy.picker(members, now, &mut Dice))
    }

    /// Counts what weights are made of, where the policy takes them.
    fn count_weights(&self, members: &[Member], now: Instant) {
        let Some(upkeep) = self.upkeep else {
            return;
        };
        let (Learns::Weight(settings) | Learns::WeightBesideCalls(settings)) = self.policy.learns()
        else {
            return;
        };
        let mut update = WeightUpdate::default();
        for member in members.iter().filter(|member| member.is_ready) {
            let known = member.replica.known_weight(&settings, now);
            match known {
                KnownWeight::Usable(_) => {}
                KnownWeight::NotYet => update.not_yet_usable += 1,
                KnownWeight::Stale => update.stale += 1,
            }
            update.weights.push(match known {
                KnownWeight::Usable(weight) => weight,
                KnownWeight::NotYet | KnownWeight::Stale => 0.0,
            });
        }
        upkeep.weighed(&update);
    }

    /// These are all endpoints there are.
    pub(crate) fn follow(&self, members: &[Member]) {
        for member in members {
            member.replica.set_alone(members.len() == 1);
        }
        if let Some(outliers) = &self.outliers {
            outliers.follow(members);
        }
    }

    /// Gives whether pickers have to be made anew. To be called each [`pause`](Self::pause).
    pub(crate) fn tick(&self, now: Instant) -> bool {
        let outliers = self.outliers.as_ref();
        let has_changed = outliers.is_some_and(|outliers| outliers.tick(now, &mut Dice));
        has_changed || self.policy.refresh().is_some()
    }

    pub(crate) fn pause(&self) -> Duration {
        self.policy
            .refresh()
            .map_or(TICK, |refresh| refresh.min(TICK))
    }
}
