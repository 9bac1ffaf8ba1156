//! Reads and checks balancers.

use super::{
    BalanceConfig, FailurePercentageEjection, LeastRequest, Locality, OutlierDetection, PeakEwma,
    PickFirst, Prequal, Priority, PriorityChild, RandomSubsetting, RingHash, SlowStart,
    SuccessRateEjection, Weighted, WeightedRoundRobin,
};
use crate::service_config::{
    ServiceConfigError,
    json::{Fields, Node},
};

use std::{collections::BTreeMap, time::Duration};

type Result<T, E = ServiceConfigError> = std::result::Result<T, E>;

/// Within one another; each of them holds state per endpoint.
const MAX_DEPTH: usize = 8;
const MAX_CHOICES: u32 = 10;
const MAX_RING: u32 = 8 << 20;
const MIN_WEIGHT_UPDATE: Duration = Duration::from_millis(100);

/// `loadBalancingConfig`
pub(in crate::service_config) fn first_known(list: &Node<'_>) -> Result<BalanceConfig> {
    choose(list, 0)
}

/// `loadBalancingPolicy`, which names one that needs no fields.
pub(in crate::service_config) fn named(node: &Node<'_>) -> Result<BalanceConfig> {
    match node.text()?.to_ascii_lowercase().as_str() {
        "pick_first" => Ok(BalanceConfig::PickFirst(PickFirst::default())),
        "round_robin" => Ok(BalanceConfig::RoundRobin),
        _ => Err(node.wrong("pick_first or round_robin; others go into loadBalancingConfig")),
    }
}

fn choose(list: &Node<'_>, depth: usize) -> Result<BalanceConfig> {
    if depth == MAX_DEPTH {
        return Err(list.wrong(format!("no more than {MAX_DEPTH} balancers deep")));
    }
    for node in list.list()? {
        let fields = node.map()?;
        if fields.len() != 1 {
            return Err(node.wrong("an object with one key, the balancer's name"));
        }
        let (name, config) = match fields.entries().next() {
            Some(entry) => entry,
            None => return Err(node.wrong("an object with the balancer's fields")),
        };
        if let Some(known) = one(name, &config, depth)? {
            return Ok(known);
        }
    }
    Err(list.wrong("a list with at least one balancer that is known, such as round_robin"))
}

/// None when nobody knows it by that name.
fn one(name: &str, node: &Node<'_>, depth: usize) -> Result<Option<BalanceConfig>> {
    use BalanceConfig as B;
    Ok(Some(match name {
        "pick_first" => B::PickFirst(pick_first(node)?),
        "round_robin" => node.object(&[]).map(|_| B::RoundRobin)?,
        "random" => node.object(&[]).map(|_| B::Random)?,
        "weighted_round_robin" => B::WeightedRoundRobin(weighted_round_robin(node)?),
        "least_request_experimental" => B::LeastRequest(least_request(node)?),
        "sampan.least_time" => node.object(&[]).map(|_| B::LeastTime)?,
        "ring_hash_experimental" => B::RingHash(ring_hash(node)?),
        "outlier_detection_experimental" => {
            B::OutlierDetection(Box::new(outlier_detection(node, depth)?))
        }
        "priority_experimental" => B::Priority(priority(node, depth)?),
        "random_subsetting_experimental" => {
            B::RandomSubsetting(Box::new(random_subsetting(node, depth)?))
        }
        "sampan.peak_ewma" => B::PeakEwma(peak_ewma(node)?),
        "sampan.prequal" => B::Prequal(prequal(node)?),
        "sampan.weighted" => B::Weighted(weighted(node)?),
        "sampan.locality" => {
            let child = child(&node.object(&["childPolicy"])?, depth)?;
            B::Locality(Box::new(Locality { child }))
        }
        "sampan.slow_start" => B::SlowStart(Box::new(slow_start(node, depth)?)),
        _ => return Ok(None),
    }))
}

fn child(fields: &Fields<'_>, depth: usize) -> Result<BalanceConfig> {
    let list = fields.required("childPolicy", "a list of balancers")?;
    choose(&list, depth + 1)
}

fn pick_first(node: &Node<'_>) -> Result<PickFirst> {
    let fields = node.object(&["shuffleAddressList"])?;
    let shuffle = fields.optional("shuffleAddressList", Node::boolean)?;
    Ok(PickFirst {
        shuffle_address_list: shuffle.unwrap_or_default(),
    })
}

fn weighted_round_robin(node: &Node<'_>) -> Result<WeightedRoundRobin> {
    let fields = node.object(&[
        "enableOobLoadReport",
        "oobReportingPeriod",
        "blackoutPeriod",
        "weightExpirationPeriod",
        "weightUpdatePeriod",
        "errorUtilizationPenalty",
        "metricNamesForComputingUtilization",
    ])?;
    let duration = |name, default| -> Result<Duration> {
        Ok(fields.optional(name, Node::duration)?.unwrap_or(default))
    };
    let penalty = |node: &Node<'_>| match node.number()? {
        penalty if penalty >= 0.0 => Ok(penalty),
        _ => Err(node.wrong("0 or more")),
    };
    let names = |node: &Node<'_>| -> Result<Vec<String>> {
        let names = node.list()?;
        names
            .iter()
            .map(|name| Ok(name.text()?.to_owned()))
            .collect()
    };
    let default = WeightedRoundRobin::default();
    Ok(WeightedRoundRobin {
        enable_oob_load_report: fields
            .optional("enableOobLoadReport", Node::boolean)?
            .unwrap_or(default.enable_oob_load_report),
        oob_reporting_period: duration("oobReportingPeriod", default.oob_reporting_period)?,
        blackout_period: duration("blackoutPeriod", default.blackout_period)?,
        weight_expiration_period: duration(
            "weightExpirationPeriod",
            default.weight_expiration_period,
        )?,
        weight_update_period: duration("weightUpdatePeriod", default.weight_update_period)?
            .max(MIN_WEIGHT_UPDATE),
        error_utilization_penalty: fields
            .optional("errorUtilizationPenalty", penalty)?
            .unwrap_or(default.error_utilization_penalty),
        metric_names_for_computing_utilization: fields
            .optional("metricNamesForComputingUtilization", names)?
            .unwrap_or_default(),
    })
}

fn least_request(node: &Node<'_>) -> Result<LeastRequest> {
    let fields = node.object(&["choiceCount"])?;
    let count = fields.optional("choiceCount", |node| node.unsigned(2..=u32::MAX))?;
    let choice_count = count.unwrap_or(2).min(MAX_CHOICES);
    Ok(LeastRequest { choice_count })
}

fn ring_hash(node: &Node<'_>) -> Result<RingHash> {
    let fields = node.object(&["minRingSize", "maxRingSize", "requestHashHeader"])?;
    let size = |name| fields.optional(name, |node| node.unsigned(1..=MAX_RING));
    let default = RingHash::default();
    let (min, max) = (size("minRingSize")?, size("maxRingSize")?);
    let (min_ring_size, max_ring_size) = match (min, max) {
        (Some(min), Some(max)) if min > max => {
            let min = fields.required("minRingSize", "a whole number")?;
            return Err(min.wrong(format!("no more than maxRingSize, {max}")));
        }
        (Some(min), None) => (min, default.max_ring_size.max(min)),
        (None, Some(max)) => (default.min_ring_size.min(max), max),
        (min, max) => (
            min.unwrap_or(default.min_ring_size),
            max.unwrap_or(default.max_ring_size),
        ),
    };
    let header = fields.optional("requestHashHeader", header_name)?;
    Ok(RingHash {
        min_ring_size,
        max_ring_size,
        request_hash_header: header.flatten(),
    })
}

/// None when it is empty.
fn header_name(node: &Node<'_>) -> Result<Option<String>> {
    let name = node.text()?.to_ascii_lowercase();
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.ends_with("-bin") || !name.bytes().all(is_letter) {
        return Err(node.wrong("a name of metadata without -bin, such as \"x-user\""));
    }
    Ok(Some(name).filter(|name| !name.is_empty()))
}

fn outlier_detection(node: &Node<'_>, depth: usize) -> Result<OutlierDetection> {
    let fields = node.object(&[
        "interval",
        "baseEjectionTime",
        "maxEjectionTime",
        "maxEjectionPercent",
        "successRateEjection",
        "failurePercentageEjection",
        "consecutiveFailures",
        "panicThreshold",
        "childPolicy",
    ])?;
    let duration = |name, default| -> Result<Duration> {
        let default = Duration::from_secs(default);
        Ok(fields.optional(name, Node::duration)?.unwrap_or(default))
    };
    let base_ejection_time = duration("baseEjectionTime", 30)?;
    let interval = fields.optional("interval", Node::positive_duration)?;
    Ok(OutlierDetection {
        interval: interval.unwrap_or(Duration::from_secs(10)),
        base_ejection_time,
        max_ejection_time: fields
            .optional("maxEjectionTime", Node::duration)?
            .unwrap_or_else(|| Duration::from_secs(300).max(base_ejection_time)),
        max_ejection_percent: percent(&fields, "maxEjectionPercent", 10)?,
        success_rate: fields.optional("successRateEjection", success_rate)?,
        failure_percentage: fields.optional("failurePercentageEjection", failure_percentage)?,
        consecutive_failures: fields
            .optional("consecutiveFailures", |node| node.unsigned(1..=u32::MAX))?,
        panic_threshold: percent(&fields, "panicThreshold", 50)?,
        child: child(&fields, depth)?,
    })
}

fn success_rate(node: &Node<'_>) -> Result<SuccessRateEjection> {
    let names = [
        "stdevFactor",
        "enforcementPercentage",
        "minimumHosts",
        "requestVolume",
    ];
    let fields = node.object(&names)?;
    let default = SuccessRateEjection::default();
    Ok(SuccessRateEjection {
        stdev_factor: count(&fields, "stdevFactor", default.stdev_factor)?,
        enforcement_percentage: percent(&fields, "enforcementPercentage", 100)?,
        minimum_hosts: count(&fields, "minimumHosts", default.minimum_hosts)?,
        request_volume: count(&fields, "requestVolume", default.request_volume)?,
    })
}

fn failure_percentage(node: &Node<'_>) -> Result<FailurePercentageEjection> {
    let names = [
        "threshold",
        "enforcementPercentage",
        "minimumHosts",
        "requestVolume",
    ];
    let fields = node.object(&names)?;
    let default = FailurePercentageEjection::default();
    Ok(FailurePercentageEjection {
        threshold: percent(&fields, "threshold", default.threshold)?,
        enforcement_percentage: percent(&fields, "enforcementPercentage", 100)?,
        minimum_hosts: count(&fields, "minimumHosts", default.minimum_hosts)?,
        request_volume: count(&fields, "requestVolume", default.request_volume)?,
    })
}

fn count(fields: &Fields<'_>, name: &str, default: u32) -> Result<u32> {
    let count = fields.optional(name, |node| node.unsigned(0..=u32::MAX))?;
    Ok(count.unwrap_or(default))
}

fn percent(fields: &Fields<'_>, name: &str, default: u32) -> Result<u32> {
    let percent = fields.optional(name, |node| node.unsigned(0..=100))?;
    Ok(percent.unwrap_or(default))
}

fn priority(node: &Node<'_>, depth: usize) -> Result<Priority> {
    let fields = node.object(&["children", "priorities"])?;
    let children = fields.required("children", "an object")?.map()?;
    let mut named = BTreeMap::new();
    for (name, node) in children.entries() {
        let fields = node.object(&["config", "ignoreReresolutionRequests"])?;
        let list = fields.required("config", "a list of balancers")?;
        let ignore = fields.optional("ignoreReresolutionRequests", Node::boolean)?;
        let child = PriorityChild {
            name: name.to_owned(),
            config: choose(&list, depth + 1)?,
            ignore_reresolution_requests: ignore.unwrap_or_default(),
        };
        named.insert(name, child);
    }
    let order = fields.required("priorities", "a list of names out of children")?;
    let mut priorities = Vec::new();
    for name in order.list()? {
        let child = named.remove(name.text()?);
        let child = child.ok_or_else(|| name.wrong("a name out of children, there once"))?;
        priorities.push(child);
    }
    if priorities.is_empty() {
        return Err(order.wrong("a list with at least one name"));
    }
    Ok(Priority { priorities })
}

fn random_subsetting(node: &Node<'_>, depth: usize) -> Result<RandomSubsetting> {
    let fields = node.object(&["subsetSize", "childPolicy"])?;
    Ok(RandomSubsetting {
        subset_size: fields
            .required("subsetSize", "a whole number of 1 or more")?
            .unsigned(1..=u32::MAX)?,
        child: child(&fields, depth)?,
    })
}

fn peak_ewma(node: &Node<'_>) -> Result<PeakEwma> {
    let fields = node.object(&["decay", "initialRoundTrip", "failurePenalty"])?;
    let duration = |name, default| -> Result<Duration> {
        Ok(fields
            .optional(name, Node::positive_duration)?
            .unwrap_or(default))
    };
    let default = PeakEwma::default();
    Ok(PeakEwma {
        decay: duration("decay", default.decay)?,
        initial_round_trip: duration("initialRoundTrip", default.initial_round_trip)?,
        failure_penalty: duration("failurePenalty", default.failure_penalty)?,
    })
}

fn prequal(node: &Node<'_>) -> Result<Prequal> {
    let fields = node.object(&["hotQuantile", "maxAge", "poolSize"])?;
    let quantile = |node: &Node<'_>| match node.positive_number()? {
        quantile if quantile <= 1.0 => Ok(quantile),
        _ => Err(node.wrong("1 or less")),
    };
    let default = Prequal::default();
    Ok(Prequal {
        hot_quantile: fields
            .optional("hotQuantile", quantile)?
            .unwrap_or(default.hot_quantile),
        max_age: fields
            .optional("maxAge", Node::positive_duration)?
            .unwrap_or(default.max_age),
        pool_size: fields
            .optional("poolSize", |node| node.unsigned(2..=16))?
            .unwrap_or(default.pool_size),
    })
}

fn weighted(node: &Node<'_>) -> Result<Weighted> {
    let fields = node.object(&["weights", "defaultWeight"])?;
    let weights = fields.optional("weights", |node| {
        let weight =
            |(name, node): (&str, Node<'_>)| Ok((name.to_owned(), node.unsigned(0..=1_000_000)?));
        node.map()?.entries().map(weight).collect()
    })?;
    let default_weight = fields.optional("defaultWeight", |node| node.unsigned(0..=1_000_000))?;
    Ok(Weighted {
        weights: weights.unwrap_or_default(),
        default_weight: default_weight.unwrap_or(1),
    })
}

fn slow_start(node: &Node<'_>, depth: usize) -> Result<SlowStart> {
    let fields = node.object(&["window", "minWeightPercent", "aggression", "childPolicy"])?;
    let window = fields.optional("window", Node::positive_duration)?;
    let least = fields.optional("minWeightPercent", |node| node.unsigned(1..=100))?;
    let aggression = fields.optional("aggression", Node::positive_number)?;
    Ok(SlowStart {
        window: window.unwrap_or(Duration::from_secs(10)),
        min_weight_percent: least.unwrap_or(10),
        aggression: aggression.unwrap_or(1.0),
        child: child(&fields, depth)?,
    })
}
