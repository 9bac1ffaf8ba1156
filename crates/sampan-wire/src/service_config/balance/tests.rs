use super::*;
use crate::service_config::{ServiceConfig, ServiceConfigError};

fn balance(balancer: &str) -> Result<Option<BalanceConfig>, ServiceConfigError> {
    let text = format!(r#"{{"loadBalancingConfig": [{balancer}]}}"#);
    ServiceConfig::parse(&text).map(|config| config.balance().cloned())
}

#[test]
fn the_first_balancer_that_is_known_holds() {
    let found = balance(r#"{"xds_experimental": 3}, {"round_robin": {}}, {"pick_first": 3}"#);
    assert_eq!(found, Ok(Some(BalanceConfig::RoundRobin)));
    for (balancers, field) in [
        (r#"{"unknown": {}}"#, "loadBalancingConfig"),
        ("", "loadBalancingConfig"),
        (
            r#"{"round_robin": {}, "random": {}}"#,
            "loadBalancingConfig[0]",
        ),
        (
            r#"{"round_robin": []}"#,
            "loadBalancingConfig[0].round_robin",
        ),
    ] {
        assert_eq!(
            balance(balancers).unwrap_err().field(),
            field,
            "{balancers}"
        );
    }
}

#[test]
fn balancers_have_their_fields_defaults_and_limits() {
    use BalanceConfig as B;
    let least = |choice_count| B::LeastRequest(LeastRequest { choice_count });
    let ring = |min_ring_size, max_ring_size, header: Option<&str>| {
        B::RingHash(RingHash {
            min_ring_size,
            max_ring_size,
            request_hash_header: header.map(str::to_owned),
        })
    };
    let shuffled = PickFirst {
        shuffle_address_list: true,
    };
    let heavy = [("10.0.0.1:1".to_owned(), 3)];
    for (name, fields, expected) in [
        (
            "pick_first",
            r#""shuffleAddressList": true"#,
            B::PickFirst(shuffled),
        ),
        ("random", "", B::Random),
        ("sampan.least_time", "", B::LeastTime),
        ("least_request_experimental", "", least(2)),
        (
            "least_request_experimental",
            r#""choiceCount": 99"#,
            least(10),
        ),
        ("ring_hash_experimental", "", ring(1024, 4096, None)),
        (
            "ring_hash_experimental",
            r#""minRingSize": 5000"#,
            ring(5000, 5000, None),
        ),
        (
            "ring_hash_experimental",
            r#""maxRingSize": "8388608", "requestHashHeader": "X-User""#,
            ring(1024, 8 << 20, Some("x-user")),
        ),
        (
            "sampan.weighted",
            r#""weights": {"10.0.0.1:1": 3}"#,
            B::Weighted(Weighted {
                weights: heavy.into(),
                default_weight: 1,
            }),
        ),
        (
            "sampan.locality",
            r#""childPolicy": [{"random": {}}]"#,
            B::Locality(Box::new(Locality { child: B::Random })),
        ),
    ] {
        let found = balance(&format!(r#"{{"{name}": {{{fields}}}}}"#));
        assert_eq!(found.as_ref().unwrap().as_ref().unwrap().name(), name);
        assert_eq!(found, Ok(Some(expected)));
    }
    for (name, fields, wrong) in [
        (
            "least_request_experimental",
            r#""choiceCount": 1"#,
            ".choiceCount",
        ),
        (
            "ring_hash_experimental",
            r#""maxRingSize": 8388609"#,
            ".maxRingSize",
        ),
        (
            "ring_hash_experimental",
            r#""minRingSize": 9, "maxRingSize": 8"#,
            ".minRingSize",
        ),
        (
            "ring_hash_experimental",
            r#""requestHashHeader": "x-bin""#,
            ".requestHashHeader",
        ),
        (
            "weighted_round_robin",
            r#""errorUtilizationPenalty": -1"#,
            ".errorUtilizationPenalty",
        ),
        (
            "weighted_round_robin",
            r#""metricNamesForComputingUtilization": ["cpu_utilization", 1]"#,
            ".metricNamesForComputingUtilization[1]",
        ),
        (
            "random_subsetting_experimental",
            r#""subsetSize": 0"#,
            ".subsetSize",
        ),
        ("sampan.prequal", r#""hotQuantile": 1.1"#, ".hotQuantile"),
        ("sampan.prequal", r#""poolSize": 1"#, ".poolSize"),
        ("sampan.prequal", r#""poolSize": 17"#, ".poolSize"),
        ("sampan.locality", "", ".childPolicy"),
    ] {
        let error = balance(&format!(r#"{{"{name}": {{{fields}}}}}"#)).unwrap_err();
        assert_eq!(
            error.field(),
            format!("loadBalancingConfig[0].{name}{wrong}")
        );
    }
}

#[test]
fn outlier_detection_has_its_own_defaults_and_checks() {
    let detect = |fields: &str| {
        balance(&format!(
            r#"{{"outlier_detection_experimental":
                {{{fields} "childPolicy": [{{"unknown": 1}}, {{"random": {{}}}}]}}}}"#
        ))
    };
    let Ok(Some(BalanceConfig::OutlierDetection(plain))) = detect("") else {
        panic!("not read");
    };
    let second = Duration::from_secs(1);
    assert_eq!(
        (plain.interval, plain.base_ejection_time),
        (10 * second, 30 * second)
    );
    assert_eq!(
        (plain.max_ejection_time, plain.max_ejection_percent),
        (300 * second, 10)
    );
    assert_eq!((plain.success_rate, plain.failure_percentage), (None, None));
    assert_eq!(plain.child, BalanceConfig::Random);
    let Ok(Some(BalanceConfig::OutlierDetection(told))) = detect(
        r#""baseEjectionTime": "400s", "failurePercentageEjection": {"threshold": 50},
           "consecutiveFailures": 7,"#,
    ) else {
        panic!("not read");
    };
    assert_eq!(told.max_ejection_time, 400 * second);
    let ejection = FailurePercentageEjection {
        threshold: 50,
        ..Default::default()
    };
    assert_eq!(told.failure_percentage, Some(ejection));
    assert_eq!(told.consecutive_failures, Some(7));
    for (fields, wrong) in [
        (r#""maxEjectionPercent": 101,"#, "maxEjectionPercent"),
        (r#""interval": "0s","#, "interval"),
        (
            r#""successRateEjection": {"enforcementPercentage": 101},"#,
            "successRateEjection.enforcementPercentage",
        ),
    ] {
        let field = detect(fields).unwrap_err().field().to_owned();
        assert_eq!(
            field,
            format!("loadBalancingConfig[0].outlier_detection_experimental.{wrong}")
        );
    }
}

#[test]
fn priorities_name_their_children_once_and_nest_no_deeper_than_eight() {
    let priority = |order: &str| {
        balance(&format!(
            r#"{{"priority_experimental": {{"children": {{
                "a": {{"config": [{{"random": {{}}}}], "ignoreReresolutionRequests": true}},
                "b": {{"config": [{{"round_robin": {{}}}}]}}
            }}, "priorities": {order}}}}}"#
        ))
    };
    let child = |name: &str, config, ignore_reresolution_requests| PriorityChild {
        name: name.to_owned(),
        config,
        ignore_reresolution_requests,
    };
    let priorities = vec![
        child("b", BalanceConfig::RoundRobin, false),
        child("a", BalanceConfig::Random, true),
    ];
    let expected = BalanceConfig::Priority(Priority { priorities });
    assert_eq!(priority(r#"["b", "a"]"#), Ok(Some(expected)));
    for order in [r#"["c"]"#, r#"["a", "a"]"#, "[]"] {
        assert!(priority(order).is_err(), "{order}");
    }
    let nested = |depth| {
        let locality = |child| format!(r#"{{"sampan.locality": {{"childPolicy": [{child}]}}}}"#);
        balance(&(1..depth).fold(r#"{"random": {}}"#.to_owned(), |child, _| locality(child)))
    };
    assert!(nested(8).is_ok());
    assert!(nested(9).is_err());
}
