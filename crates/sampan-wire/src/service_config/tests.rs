use super::*;
use crate::{
    Code,
    policy::{CodeSet, HedgePolicy, Repeat, RetryPolicy},
};
use proptest::prelude::*;
use std::time::Duration;

fn parse(text: &str) -> ServiceConfig {
    ServiceConfig::parse(text).unwrap()
}

fn fault(text: &str) -> String {
    ServiceConfig::parse(text).unwrap_err().to_string()
}

/// A config with these fields for all methods.
fn with_fields(fields: &str) -> String {
    format!(r#"{{"methodConfig": [{{"name": [{{}}], {fields}}}]}}"#)
}

const RETRY: &str = r#""maxAttempts": 9, "initialBackoff": "0.1s", "maxBackoff": "1s",
    "backoffMultiplier": 1.5, "retryableStatusCodes": ["unavailable", 10]"#;

#[test]
fn every_field_of_a_method_is_read() {
    let config = parse(&with_fields(&format!(
        r#""waitForReady": true, "timeout": "0.25s", "maxRequestMessageBytes": 1024,
        "maxResponseMessageBytes": "2048", "retryPolicy": {{{RETRY}}}"#
    )));
    let (method, place) = config.method("/a.B/C").unwrap();
    assert_eq!(place.names, Named::All);
    let retry = RetryPolicy {
        // More than a client makes is cut, not refused.
        max_attempts: 5,
        retryable_codes: CodeSet::of(&[Code::Unavailable, Code::Aborted]),
        initial_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(1),
        backoff_multiplier: 1.5,
    };
    assert_eq!(
        method,
        &MethodConfig {
            names: method.names.clone(),
            wait_for_ready: Some(true),
            timeout: Some(Duration::from_millis(250)),
            max_request_bytes: Some(1024),
            max_response_bytes: Some(2048),
            repeat: Some(Repeat::Retry(retry)),
        }
    );
}

#[test]
fn hedging_needs_nothing_but_its_attempts() {
    let read = |fields: &str| {
        let config = parse(&with_fields(&format!(r#""hedgingPolicy": {{{fields}}}"#)));
        config.methods()[0].repeat
    };
    let expected = HedgePolicy {
        max_attempts: 3,
        delay: Duration::ZERO,
        non_fatal_codes: CodeSet::NONE,
    };
    assert_eq!(read(r#""maxAttempts": 3"#), Some(Repeat::Hedge(expected)));
    let delayed = HedgePolicy {
        delay: Duration::from_millis(500),
        non_fatal_codes: CodeSet::of(&[Code::Internal]),
        ..expected
    };
    let fields = r#""maxAttempts": 3, "hedgingDelay": "0.5s", "nonFatalStatusCodes": ["INTERNAL"]"#;
    assert_eq!(read(fields), Some(Repeat::Hedge(delayed)));
}

#[test]
fn a_method_is_found_by_its_own_name_then_its_service_then_the_default() {
    let config = parse(
        r#"{"methodConfig": [
            {"name": [{}], "timeout": "1s"},
            {"name": [{"service": "a.B", "method": null}], "timeout": "2s"},
            {"name": [{"service": "a.B", "method": "C"}, {"service": "a.D", "method": "E"}]}
        ]}"#,
    );
    for (path, index, names) in [
        ("/a.B/C", 2, Named::Method),
        ("/a.D/E", 2, Named::Method),
        ("/a.B/Other", 1, Named::Service),
        ("/a.D/Other", 0, Named::All),
        ("/a.BB/C", 0, Named::All),
        ("/", 0, Named::All),
    ] {
        let (_, place) = config.method(path).unwrap();
        assert_eq!(place, ConfigPlace { index, names }, "{path}");
    }
    assert_eq!(parse("{}").method("/a.B/C"), None);
}

#[test]
fn the_rest_of_a_config_is_read() {
    let config = parse(
        r#"{
            "retryThrottling": {"maxTokens": 1000, "tokenRatio": 0.5466},
            "healthCheckConfig": {"serviceName": "a.B"},
            "connectionScaling": {"maxConnectionsPerSubchannel": 50},
            "loadBalancingPolicy": "ROUND_ROBIN"
        }"#,
    );
    let throttling = RetryThrottling {
        max_tokens: 1000,
        token_ratio_thousandths: 546,
    };
    assert_eq!(config.retry_throttling(), Some(throttling));
    assert_eq!(config.health_check(), Some("a.B"));
    assert_eq!(config.max_connections_per_endpoint(), Some(10));
    assert_eq!(config.balance(), Some(&BalanceConfig::RoundRobin));
}

#[test]
fn unknown_fields_are_ignored_and_told() {
    let config = parse(
        r#"{"methodConfigs": [], "methodConfig": [{"name": [{}], "timeuot": 3}], "zzz": {}}"#,
    );
    assert_eq!(
        config.unknown_fields(),
        [
            "methodConfigs (did you mean methodConfig?)",
            "zzz",
            "methodConfig[0].timeuot (did you mean timeout?)",
        ]
    );
}

#[test]
fn a_fault_names_the_field_its_value_and_what_would_be_right() {
    let without = |name: &str| {
        let fields = RETRY.replace(name, "unknown");
        with_fields(&format!(r#""retryPolicy": {{{fields}}}"#))
    };
    let policy = "methodConfig[0].retryPolicy";
    for name in [
        "initialBackoff",
        "maxBackoff",
        "backoffMultiplier",
        "maxAttempts",
    ] {
        let error = ServiceConfig::parse(&without(name)).unwrap_err();
        assert_eq!(error.field(), format!("{policy}.{name}"), "{error}");
    }
    let retry_with = |from: &str, to: &str| {
        assert!(RETRY.contains(from));
        with_fields(&format!(
            r#""retryPolicy": {{{}}}"#,
            RETRY.replace(from, to)
        ))
    };
    let attempts = "it must be a whole number of 2 or more";
    for (text, expected) in [
        (
            retry_with("9", "1"),
            format!("{policy}.maxAttempts is 1; {attempts}"),
        ),
        (
            retry_with("9", "2.5"),
            format!("{policy}.maxAttempts is 2.5; {attempts}"),
        ),
        (
            retry_with("9", "\"3\""),
            format!("{policy}.maxAttempts is \"3\"; {attempts}"),
        ),
        (
            retry_with("\"0.1s\"", "\"0s\""),
            format!("{policy}.initialBackoff is \"0s\"; it must be more than \"0s\""),
        ),
        (
            retry_with("1.5", "0"),
            format!("{policy}.backoffMultiplier is 0; it must be a number of more than 0"),
        ),
        (
            retry_with("[\"unavailable\", 10]", "[]"),
            format!(
                "{policy}.retryableStatusCodes is []; it must be a list with at least one status"
            ),
        ),
        (
            retry_with("10]", "17]"),
            format!(
                "{policy}.retryableStatusCodes[1] is 17; \
                 it must be a status, such as \"UNAVAILABLE\" or 14"
            ),
        ),
        (
            with_fields(&format!(
                r#""retryPolicy": {{{RETRY}}}, "hedgingPolicy": {{"maxAttempts": 2}}"#
            )),
            "methodConfig[0].hedgingPolicy is {\"maxAttempts\":2}; \
             it must be absent where there is a retryPolicy"
                .to_owned(),
        ),
        (
            with_fields(r#""timeout": "-1s""#),
            "methodConfig[0].timeout is \"-1s\"; \
             it must be seconds with an s, such as \"0.25s\""
                .to_owned(),
        ),
        (
            with_fields(r#""waitForReady": "yes""#),
            "methodConfig[0].waitForReady is \"yes\"; it must be true or false".to_owned(),
        ),
        (
            r#"{"retryThrottling": {"maxTokens": 1001, "tokenRatio": 0.1}}"#.to_owned(),
            "retryThrottling.maxTokens is 1001; it must be a whole number from 1 to 1000"
                .to_owned(),
        ),
        (
            r#"{"retryThrottling": {"maxTokens": 10, "tokenRatio": 0.0001}}"#.to_owned(),
            "retryThrottling.tokenRatio is 0.0001; it must be 0.001 or more".to_owned(),
        ),
        (
            r#"{"loadBalancingPolicy": "grpclb"}"#.to_owned(),
            "loadBalancingPolicy is \"grpclb\"; it must be pick_first or round_robin; \
             others go into loadBalancingConfig"
                .to_owned(),
        ),
        (
            "[]".to_owned(),
            "the whole is []; it must be an object".to_owned(),
        ),
    ] {
        assert_eq!(fault(&text), expected);
    }
}

#[test]
fn a_name_is_there_once_and_a_method_has_a_service() {
    let names = |second: &str| {
        fault(&format!(
            r#"{{"methodConfig": [{{"name": [{{"service": "a.B"}}]}}, {{"name": [{second}]}}]}}"#
        ))
    };
    assert_eq!(
        names(r#"{"service": "a.B", "method": ""}"#),
        "methodConfig[1].name[0] is {\"method\":\"\",\"service\":\"a.B\"}; \
         it must be there once; methodConfig[0] has it too"
    );
    assert_eq!(
        names(r#"{"method": "C"}"#),
        "methodConfig[1].name[0] is {\"method\":\"C\"}; \
         it must be with a service, or without a method"
    );
}

proptest! {
    /// Whatever the text: an answer, and if it is a config then one that keeps the limits.
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,80}") {
        let _ = ServiceConfig::parse(&text);
        let _ = choose(&format!("grpc_config={text}"), &Client { hostname: "a", draw: 0 });
    }

    #[test]
    fn a_policy_that_is_accepted_keeps_the_limits(
        attempts in any::<i32>(),
        backoff in "-?[0-9]{0,3}(\\.[0-9]{0,3})?s?",
        multiplier in -2.0f64..4.0,
        code in 0u32..20,
    ) {
        let text = with_fields(&format!(
            r#""retryPolicy": {{"maxAttempts": {attempts}, "initialBackoff": "{backoff}",
                "maxBackoff": "1s", "backoffMultiplier": {multiplier},
                "retryableStatusCodes": [{code}]}}"#
        ));
        if let Ok(config) = ServiceConfig::parse(&text) {
            let Some(Repeat::Retry(retry)) = config.methods()[0].repeat else {
                panic!("not read");
            };
            prop_assert!((2..=5).contains(&retry.max_attempts) && attempts >= 2);
            prop_assert!(!retry.initial_backoff.is_zero() && retry.backoff_multiplier > 0.0);
            prop_assert!(code <= 16);
        }
    }
}
