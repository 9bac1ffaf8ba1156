//! Balancing as a service config asks for it.
//!
//! Source: gRFC A24, and those of each balancer.

use super::{
    Balancing, FailurePercentage, LeastRequest, LeastTime, OutlierSettings, PeakEwma, PickFirst,
    Policy, Prequal, Random, RingHash, RoundRobin, SlowStart, SuccessRate, TierBy, Tiers,
    UtilizationMetric, Weighted, WeightedRoundRobin,
};
use sampan_wire::service_config::balance::{self as config, BalanceConfig};
use std::sync::Arc;
use tokio::time::Instant;

impl From<&BalanceConfig> for Balancing {
    /// What the config does not speak of is as everywhere: outliers are ejected, and endpoints
    /// that join start slowly.
    fn from(config: &BalanceConfig) -> Self {
        let mut balancing = Self::default();
        balancing.policy = balancing.follow(config);
        balancing
    }
}

impl Balancing {
    /// Takes over what goes with the policy that is asked for, and gives that.
    fn follow(&mut self, config: &BalanceConfig) -> Arc<dyn Policy> {
        match config {
            BalanceConfig::PickFirst(one) if one.shuffle_address_list => {
                Arc::new(PickFirst::shuffled())
            }
            BalanceConfig::PickFirst(_) => Arc::new(PickFirst::in_order()),
            BalanceConfig::RoundRobin => Arc::new(RoundRobin),
            BalanceConfig::Random => Arc::new(Random),
            BalanceConfig::WeightedRoundRobin(one) => Arc::new(weighted_round_robin(one)),
            BalanceConfig::LeastRequest(one) => Arc::new(LeastRequest::of(one.choice_count)),
            BalanceConfig::LeastTime => Arc::new(LeastTime),
            BalanceConfig::RingHash(one) => Arc::new(ring_hash(one)),
            BalanceConfig::OutlierDetection(one) => {
                self.outliers = Some(outliers(one));
                self.follow(&one.child)
            }
            BalanceConfig::Priority(one) => {
                // Resolvers give endpoints a number, no name: one child balances for all.
                let child = match one.priorities.first() {
                    Some(first) => self.follow(&first.config),
                    None => Arc::clone(&self.policy),
                };
                Arc::new(Tiers::new(TierBy::Priority, child))
            }
            BalanceConfig::RandomSubsetting(one) => {
                self.subset = Some(one.subset_size as usize);
                self.follow(&one.child)
            }
            BalanceConfig::PeakEwma(one) => Arc::new(
                PeakEwma::default()
                    .with_decay(one.decay)
                    .with_initial(one.initial_round_trip)
                    .with_penalty(one.failure_penalty),
            ),
            BalanceConfig::Prequal(one) => Arc::new(
                Prequal::new(Instant::now().into_std())
                    .with_hot_quantile(one.hot_quantile)
                    .with_max_age(one.max_age)
                    .with_pool_size(one.pool_size as usize),
            ),
            BalanceConfig::Weighted(one) => Arc::new(Weighted::by_address(
                one.weights.clone(),
                one.default_weight,
            )),
            BalanceConfig::Locality(one) => {
                let child = self.follow(&one.child);
                Arc::new(Tiers::new(TierBy::Nearness, child))
            }
            BalanceConfig::SlowStart(one) => {
                self.slow_start = SlowStart {
                    window: one.window,
                    least: f64::from(one.min_weight_percent) / 100.0,
                    aggression: one.aggression,
                };
                self.follow(&one.child)
            }
        }
    }
}

fn weighted_round_robin(config: &config::WeightedRoundRobin) -> WeightedRoundRobin {
    // Those that nobody knows are in no report.
    let metrics = config.metric_names_for_computing_utilization.iter();
    let metrics = metrics.filter_map(|name| UtilizationMetric::from_name(name));
    let policy = WeightedRoundRobin::default()
        .with_metrics(metrics)
        .with_blackout(config.blackout_period)
        .with_expiration(config.weight_expiration_period)
        .with_update(config.weight_update_period)
        .with_error_penalty(config.error_utilization_penalty);
    if config.enable_oob_load_report {
        policy.with_reports_every(config.oob_reporting_period)
    } else {
        policy
    }
}

fn ring_hash(config: &config::RingHash) -> RingHash {
    // A name that is none is found in no request.
    let header = config.request_hash_header.as_deref();
    let header = header.and_then(|name| name.parse().ok());
    let ring = header.map_or_else(RingHash::default, RingHash::by_header);
    ring.with_sizes(config.min_ring_size as usize, config.max_ring_size as usize)
}

fn outliers(config: &config::OutlierDetection) -> OutlierSettings {
    OutlierSettings {
        interval: config.interval,
        base_ejection: config.base_ejection_time,
        max_ejection: config.max_ejection_time,
        max_ejection_percent: config.max_ejection_percent,
        consecutive_failures: config.consecutive_failures,
        success_rate: config.success_rate.as_ref().map(|rule| SuccessRate {
            stdev_factor: f64::from(rule.stdev_factor) / 1000.0,
            enforcement_percent: rule.enforcement_percentage,
            minimum_hosts: rule.minimum_hosts as usize,
            request_volume: u64::from(rule.request_volume),
        }),
        failure_percentage: config
            .failure_percentage
            .as_ref()
            .map(|rule| FailurePercentage {
                threshold: rule.threshold,
                enforcement_percent: rule.enforcement_percentage,
                minimum_hosts: rule.minimum_hosts as usize,
                request_volume: u64::from(rule.request_volume),
            }),
        panic_percent: config.panic_threshold,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Learns,
            testing::{Bench, SECOND},
        },
        *,
    };
    use sampan_wire::service_config::ServiceConfig;

    fn balancing(json: &str) -> Balancing {
        let text = format!(r#"{{"loadBalancingConfig": [{json}]}}"#);
        let config = ServiceConfig::parse(&text).unwrap();
        Balancing::from(config.balance().unwrap())
    }

    #[test]
    fn a_service_config_chooses_the_policy_and_all_that_goes_with_it() {
        let balancing = balancing(
            r#"{"outlier_detection_experimental": {
                "interval": "3s",
                "consecutiveFailures": 7,
                "successRateEjection": {"stdevFactor": 2500},
                "childPolicy": [{"random_subsetting_experimental": {
                    "subsetSize": 5,
                    "childPolicy": [{"sampan.slow_start": {
                        "window": "4s",
                        "childPolicy": [{"sampan.weighted": {"weights": {"10.0.0.1:1": 3}}}]
                    }}]
                }}]
            }}"#,
        );
        let outliers = balancing.outliers.unwrap();
        assert_eq!(outliers.interval, 3 * SECOND);
        assert_eq!(outliers.consecutive_failures, Some(7));
        assert!((outliers.success_rate.unwrap().stdev_factor - 2.5).abs() < 1e-9);
        assert_eq!(balancing.subset, Some(5));
        assert_eq!(balancing.slow_start.window, 4 * SECOND);
        let counts = Bench::new(3).counts(&*balancing.policy, 5000);
        for (count, expected) in counts.iter().zip([1000, 3000, 1000]) {
            assert!(count.abs_diff(expected) <= 10, "{counts:?}");
        }
    }

    #[test]
    fn slow_start_has_one_default_by_service_config_and_builder() {
        let json = r#"{"sampan.slow_start": {"childPolicy": [{"round_robin": {}}]}}"#;
        assert_eq!(balancing(json).slow_start, Balancing::default().slow_start);
    }

    #[test]
    fn reports_are_asked_for_beside_calls_where_the_service_config_wants_them() {
        let every = |json| balancing(json).policy.reports_every();
        assert_eq!(every(r#"{"weighted_round_robin": {}}"#), None);
        let json = r#"{"sampan.locality": {"childPolicy": [{"weighted_round_robin": {
            "enableOobLoadReport": true, "oobReportingPeriod": "20s"
        }}]}}"#;
        assert_eq!(every(json), Some(20 * SECOND));
    }

    #[test]
    fn a_service_config_says_which_metrics_weights_are_made_of() {
        let policy = balancing(
            r#"{"weighted_round_robin": {
                "metricNamesForComputingUtilization": ["named_metrics.queue", "no_such_field"]
            }}"#,
        )
        .policy;
        let Learns::Weight(settings) = policy.learns() else {
            panic!("{policy:?}");
        };
        let queue = UtilizationMetric::Named("queue".to_owned());
        assert_eq!(*settings.metrics, [queue]);
    }

    #[test]
    fn every_balancer_of_a_service_config_has_its_policy() {
        for (json, policy) in [
            (
                r#"{"pick_first": {"shuffleAddressList": true}}"#,
                "PickFirst",
            ),
            (r#"{"round_robin": {}}"#, "RoundRobin"),
            (r#"{"random": {}}"#, "Random"),
            (r#"{"weighted_round_robin": {}}"#, "WeightedRoundRobin"),
            (
                r#"{"least_request_experimental": {"choiceCount": 3}}"#,
                "LeastRequest",
            ),
            (
                r#"{"ring_hash_experimental": {"requestHashHeader": "user"}}"#,
                "RingHash",
            ),
            (
                r#"{"priority_experimental": {
                    "children": {"a": {"config": [{"round_robin": {}}]}},
                    "priorities": ["a"]
                }}"#,
                "Tiers { by: Priority, within: RoundRobin",
            ),
            (r#"{"sampan.least_time": {}}"#, "LeastTime"),
            (r#"{"sampan.peak_ewma": {}}"#, "PeakEwma"),
            (r#"{"sampan.prequal": {}}"#, "Prequal"),
            (
                r#"{"sampan.locality": {"childPolicy": [{"random": {}}]}}"#,
                "Tiers { by: Nearness, within: Random",
            ),
        ] {
            let made = format!("{:?}", balancing(json).policy);
            assert!(made.starts_with(policy), "{json}: {made}");
        }
    }
}
