//! `loadBalancingConfig`: how endpoints are chosen.
//!
//! A list, of which the first balancer that is known holds; those behind it are not looked at.
//! Names and fields are gRPC's where gRPC has them. Our own begin with `sampan.`, but for
//! `random`, and two fields of `outlier_detection_experimental`.
//!
//! Source: gRFC A24, and beside each type.

mod read;

pub(super) use read::{first_known, named};

use std::{collections::BTreeMap, time::Duration};

/// How endpoints are chosen, checked and with its defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub enum BalanceConfig {
    /// `pick_first`: one endpoint, the first that can be reached.
    PickFirst(PickFirst),
    /// `round_robin`: each in turn.
    RoundRobin,
    /// `random`: any.
    Random,
    /// `weighted_round_robin`: by the load that endpoints report.
    WeightedRoundRobin(WeightedRoundRobin),
    /// `least_request_experimental`: of some drawn at random, the one with the fewest calls.
    LeastRequest(LeastRequest),
    /// `sampan.least_time`: of two drawn at random, the one with fewer calls, unless one is slow.
    LeastTime,
    /// `ring_hash_experimental`: calls that are alike go to one endpoint.
    RingHash(RingHash),
    /// `outlier_detection_experimental`: leaves out endpoints that do worse than the others.
    OutlierDetection(Box<OutlierDetection>),
    /// `priority_experimental`: the first group that can be reached.
    Priority(Priority),
    /// `random_subsetting_experimental`: connects to some of the endpoints only.
    RandomSubsetting(Box<RandomSubsetting>),
    /// `sampan.peak_ewma`: the lower product of latency and calls in flight, of two.
    PeakEwma(PeakEwma),
    /// `sampan.prequal`: by what endpoints say of their calls in flight and their latency.
    Prequal(Prequal),
    /// `sampan.weighted`: shares in the proportion of fixed weights.
    Weighted(Weighted),
    /// `sampan.locality`: this host first, then this zone, then the rest.
    Locality(Box<Locality>),
    /// `sampan.slow_start`: brings a new endpoint up to its share little by little.
    SlowStart(Box<SlowStart>),
}

/// Source: gRFC A62.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PickFirst {
    /// Tries addresses in random order. Default: in the resolver's.
    pub shuffle_address_list: bool,
}

/// Source: gRFC A58, A114.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedRoundRobin {
    /// Asks for reports out of band. Default: those that come with calls.
    pub enable_oob_load_report: bool,
    /// How often reports are asked for out of band. Default 10 s.
    pub oob_reporting_period: Duration,
    /// How long an endpoint has to report before its weight counts. Default 10 s.
    pub blackout_period: Duration,
    /// After so long without a report a weight no longer counts. Default 3 min.
    pub weight_expiration_period: Duration,
    /// How often weights are reckoned anew; at least 100 ms. Default 1 s.
    pub weight_update_period: Duration,
    /// How much errors lower a weight; not negative. Default 1.
    pub error_utilization_penalty: f64,
    /// Parts of load reports, the largest of which says how much of an endpoint is in use:
    /// `cpu_utilization`, `named_metrics.queue`. Default: none, as A58 has it.
    pub metric_names_for_computing_utilization: Vec<String>,
}

/// Source: gRFC A48.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeastRequest {
    /// How many are drawn, 2 to 10. Default 2.
    pub choice_count: u32,
}

/// Source: gRFC A42, A76.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingHash {
    /// Default 1024, at least 1.
    pub min_ring_size: u32,
    /// Not less than the minimum, at most 8 Mi. Default 4096, or the minimum where that is more.
    pub max_ring_size: u32,
    /// The metadata whose value tells calls apart, in lower case.
    pub request_hash_header: Option<String>,
}

/// Source: gRFC A50.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierDetection {
    /// Between two looks at the counts. Default 10 s.
    pub interval: Duration,
    /// Times how often it was ejected. Default 30 s.
    pub base_ejection_time: Duration,
    /// Default 300 s, or the base where that is more.
    pub max_ejection_time: Duration,
    /// Of all endpoints; one may always be ejected. Default 10.
    pub max_ejection_percent: u32,
    /// Default: off.
    pub success_rate: Option<SuccessRateEjection>,
    /// Default: off.
    pub failure_percentage: Option<FailurePercentageEjection>,
    /// Our own, `consecutiveFailures`: ejects at so many failures in a row. Default: off.
    pub consecutive_failures: Option<u32>,
    /// Our own, `panicThreshold`: when more than so many percent are ejected, ejections are
    /// ignored. Default 50.
    pub panic_threshold: u32,
    /// Chooses among the others.
    pub child: BalanceConfig,
}

/// Ejects whose success rate is far below the mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuccessRateEjection {
    /// Of standard deviations, in thousandths. Default 1900.
    pub stdev_factor: u32,
    /// The chance of being ejected then. Default 100.
    pub enforcement_percentage: u32,
    /// Fewer endpoints with enough calls are not judged. Default 5.
    pub minimum_hosts: u32,
    /// An endpoint with fewer calls in an interval is not judged. Default 100.
    pub request_volume: u32,
}

/// Ejects who fails too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailurePercentageEjection {
    /// From so many percent of failures on. Default 85.
    pub threshold: u32,
    /// The chance of being ejected then. Default 100.
    pub enforcement_percentage: u32,
    /// Fewer endpoints are not judged. Default 5.
    pub minimum_hosts: u32,
    /// An endpoint with fewer calls in an interval is not judged. Default 50.
    pub request_volume: u32,
}

/// Source: gRFC A56.
#[derive(Clone, Debug, PartialEq)]
pub struct Priority {
    /// The first one first. Children that `priorities` does not name are left out.
    pub priorities: Vec<PriorityChild>,
}

/// One group of a [`Priority`].
#[derive(Clone, Debug, PartialEq)]
pub struct PriorityChild {
    /// As `children` names it.
    pub name: String,
    /// Chooses within the group.
    pub config: BalanceConfig,
    /// Its wishes to resolve again are not heard. Default: they are.
    pub ignore_reresolution_requests: bool,
}

/// Source: gRFC A68.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomSubsetting {
    /// How many endpoints, at least 1.
    pub subset_size: u32,
    /// Chooses among them.
    pub child: BalanceConfig,
}

/// Source: Finagle's load balancer of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeakEwma {
    /// After so long an old latency counts 1/e. Default 10 s.
    pub decay: Duration,
    /// What an endpoint is taken for that was never measured. Default 30 ms.
    pub initial_round_trip: Duration,
    /// What a failure counts as. Default 5 s.
    pub failure_penalty: Duration,
}

/// Source: Prequal (NSDI 2024), the rule of hot and cold.
#[derive(Clone, Debug, PartialEq)]
pub struct Prequal {
    /// Who has more calls in flight than this part of all is hot; over 0 and at most 1.
    /// Default 0.84.
    pub hot_quantile: f64,
    /// After so long what an endpoint said is forgotten. Default 1 s.
    pub max_age: Duration,
    /// How many reports are compared, 2 to 16. Default 16.
    pub pool_size: u32,
}

/// Shares in the proportion of fixed weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighted {
    /// By address, such as `10.0.0.1:50051` or `unix:/run/a.sock`. 0 takes no calls.
    pub weights: BTreeMap<String, u32>,
    /// Of endpoints that are not named. Default 1.
    pub default_weight: u32,
}

/// This host first, then this zone, then the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Locality {
    /// Chooses among those at the same distance.
    pub child: BalanceConfig,
}

/// Source: Envoy, "slow start mode".
#[derive(Clone, Debug, PartialEq)]
pub struct SlowStart {
    /// Until an endpoint has its full share. Default 10 s.
    pub window: Duration,
    /// The share it begins with, 1 to 100. Default 10.
    pub min_weight_percent: u32,
    /// Over 0; 1 grows evenly, more grows faster at first. Default 1.
    pub aggression: f64,
    /// Chooses by the shares.
    pub child: BalanceConfig,
}

// === impl BalanceConfig ===

impl BalanceConfig {
    /// As service configs name it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PickFirst(_) => "pick_first",
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::WeightedRoundRobin(_) => "weighted_round_robin",
            Self::LeastRequest(_) => "least_request_experimental",
            Self::LeastTime => "sampan.least_time",
            Self::RingHash(_) => "ring_hash_experimental",
            Self::OutlierDetection(_) => "outlier_detection_experimental",
            Self::Priority(_) => "priority_experimental",
            Self::RandomSubsetting(_) => "random_subsetting_experimental",
            Self::PeakEwma(_) => "sampan.peak_ewma",
            Self::Prequal(_) => "sampan.prequal",
            Self::Weighted(_) => "sampan.weighted",
            Self::Locality(_) => "sampan.locality",
            Self::SlowStart(_) => "sampan.slow_start",
        }
    }
}

// === impl defaults ===

impl Default for WeightedRoundRobin {
    fn default() -> Self {
        Self {
            enable_oob_load_report: false,
            oob_reporting_period: Duration::from_secs(10),
            blackout_period: Duration::from_secs(10),
            weight_expiration_period: Duration::from_secs(180),
            weight_update_period: Duration::from_secs(1),
            error_utilization_penalty: 1.0,
            metric_names_for_computing_utilization: Vec::new(),
        }
    }
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self { choice_count: 2 }
    }
}

impl Default for RingHash {
    fn default() -> Self {
        Self {
            min_ring_size: 1024,
            max_ring_size: 4096,
            request_hash_header: None,
        }
    }
}

impl Default for SuccessRateEjection {
    fn default() -> Self {
        Self {
            stdev_factor: 1900,
            enforcement_percentage: 100,
            minimum_hosts: 5,
            request_volume: 100,
        }
    }
}

impl Default for FailurePercentageEjection {
    fn default() -> Self {
        Self {
            threshold: 85,
            enforcement_percentage: 100,
            minimum_hosts: 5,
            request_volume: 50,
        }
    }
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self {
            decay: Duration::from_secs(10),
            initial_round_trip: Duration::from_millis(30),
            failure_penalty: Duration::from_secs(5),
        }
    }
}

impl Default for Prequal {
    fn default() -> Self {
        Self {
            hot_quantile: 0.84,
            max_age: Duration::from_secs(1),
            pool_size: 16,
        }
    }
}

#[cfg(test)]
mod tests;
