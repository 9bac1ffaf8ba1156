//! How a channel balances, as its builder is told.

use super::{
    LeastRequest, LeastTime, OutlierSettings, PeakEwma, PickFirst, Policy, Prequal, Random,
    RoundRobin, SlowStart, TierBy, Tiers, WeightedRoundRobin,
};
use std::sync::Arc;
use tokio::time::Instant;

/// How a channel chooses among its endpoints.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Balance {
    /// Of two endpoints drawn at random, the one that should answer first, by how long its
    /// calls took of late and how many it has in flight.
    PeakEwma,
    /// Of two endpoints drawn at random, the one with fewer calls in flight, unless one is much
    /// slower than the other.
    #[default]
    LeastTime,
    /// Of two endpoints drawn at random, the one with fewer calls in flight.
    LeastRequest,
    /// Each endpoint in turn.
    RoundRobin,
    /// Any endpoint, by chance.
    Random,
    /// One endpoint, the first of its resolver that can be connected to, and another only when it
    /// is lost.
    PickFirst,
    /// Each endpoint in turn, as often as its load reports say that it can.
    WeightedRoundRobin,
    /// Endpoints that said of late that they are free and fast.
    Prequal,
    /// By a policy with settings of its own, or one that you wrote.
    Policy(Arc<dyn Policy>),
}

/// How a channel balances, with all that goes with it.
///
/// ```
/// use sampan_client::balance::{Balance, Balancing, OutlierSettings};
///
/// let outliers = OutlierSettings {
///     consecutive_failures: Some(7),
///     ..OutlierSettings::default()
/// };
/// let balancing = Balancing::by(Balance::PeakEwma).with_outliers(Some(outliers));
/// # drop(balancing);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Balancing {
    pub(crate) policy: Arc<dyn Policy>,
    /// Whether the policy decides also when there is nothing to choose.
    pub(crate) is_asked_always: bool,
    pub(crate) outliers: Option<OutlierSettings>,
    pub(crate) slow_start: SlowStart,
    pub(crate) subset: Option<usize>,
}

// === impl Balance ===

impl Balance {
    /// By a policy with settings of its own, or one that you wrote.
    pub fn policy(policy: impl Policy + 'static) -> Self {
        Self::Policy(Arc::new(policy))
    }

    fn into_policy(self) -> Arc<dyn Policy> {
        match self {
            Self::LeastTime => Arc::new(LeastTime),
            Self::LeastRequest => Arc::new(LeastRequest::default()),
            Self::RoundRobin => Arc::new(RoundRobin),
            Self::Random => Arc::new(Random),
            Self::PickFirst => Arc::new(PickFirst::in_order()),
            Self::PeakEwma => Arc::new(PeakEwma::default()),
            Self::WeightedRoundRobin => Arc::new(WeightedRoundRobin::default()),
            Self::Prequal => Arc::new(Prequal::new(Instant::now().into_std())),
            Self::Policy(policy) => policy,
        }
    }
}

// === impl Balancing ===

impl Balancing {
    /// By this; outliers are ejected and endpoints that join start slowly.
    pub fn by(balance: Balance) -> Self {
        Self {
            is_asked_always: matches!(balance, Balance::Policy(_)),
            policy: balance.into_policy(),
            outliers: Some(OutlierSettings::default()),
            slow_start: SlowStart::default(),
            subset: None,
        }
    }

    /// When endpoints are taken out that fail where others do not; None: never.
    pub const fn with_outliers(mut self, outliers: Option<OutlierSettings>) -> Self {
        self.outliers = outliers;
        self
    }

    /// How the share of an endpoint grows that joins others.
    pub const fn with_slow_start(mut self, slow_start: SlowStart) -> Self {
        self.slow_start = slow_start;
        self
    }

    /// Uses only so many of the endpoints, each channel others. Default: all.
    pub const fn with_subset(mut self, size: usize) -> Self {
        self.subset = Some(size);
        self
    }

    /// Prefers endpoints on the same host, then those in the same zone.
    pub fn near_first(self) -> Self {
        self.in_tiers(TierBy::Nearness)
    }

    /// Prefers endpoints of a lower priority number.
    pub fn by_priority(self) -> Self {
        self.in_tiers(TierBy::Priority)
    }

    fn in_tiers(mut self, by: TierBy) -> Self {
        self.policy = Arc::new(Tiers::new(by, self.policy));
        self
    }
}

impl Default for Balancing {
    fn default() -> Self {
        Self::by(Balance::default())
    }
}

impl From<Balance> for Balancing {
    fn from(balance: Balance) -> Self {
        Self::by(balance)
    }
}
