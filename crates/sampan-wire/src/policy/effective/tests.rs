use super::*;
use crate::{
    Code,
    policy::{HedgePolicy, MethodPolicy, RetryPolicy, describe},
    service_config::Named,
};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
static RETRY: RetryPolicy = RetryPolicy::new(3, &[Code::Unavailable]);
static READ: Method = Method::new("/a.B/Read", MethodKind::Unary)
    .with_idempotency(Idempotency::NoSideEffects)
    .with_policy(MethodPolicy::NONE.with_timeout(SECOND).with_retry(RETRY));

fn config(fields: &str) -> ServiceConfig {
    let name = r#""name": [{"service": "a.B"}]"#;
    ServiceConfig::parse(&format!(r#"{{"methodConfig": [{{{name}, {fields}}}]}}"#)).unwrap()
}

fn hedging() -> ServiceConfig {
    config(r#""hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "0.1s"}"#)
}

fn merged(declared: &Declared, service_config: &ServiceConfig) -> EffectivePolicy {
    let service_config = Some(service_config);
    let sayings = Sayings {
        service_config,
        ..Sayings::default()
    };
    EffectivePolicy::merge(declared, &sayings)
}

const BY_CONFIG: Origin = Origin::ServiceConfig(ConfigPlace {
    index: 0,
    names: Named::Service,
});

#[test]
fn each_says_over_the_next_and_what_it_leaves_open_the_next_decides() {
    let declared = Declared::from(&READ);
    let told = config(
        r#""waitForReady": true, "retryPolicy": {"maxAttempts": 2, "initialBackoff": "1s",
            "maxBackoff": "1s", "backoffMultiplier": 1, "retryableStatusCodes": [10]}"#,
    );
    let channel = CallPolicy::new().with_wait_for_ready(false);
    let call = CallPolicy::new().without_repeats();
    let merge = |call, channel, service_config| {
        let sayings = Sayings {
            call,
            channel,
            service_config,
        };
        let policy = EffectivePolicy::merge(&declared, &sayings);
        (
            policy.wait_for_ready,
            policy.repeat.origin,
            policy.repeat.value,
        )
    };
    let proto = Some(Repeat::Retry(RETRY));
    let (wait, origin, value) = merge(None, None, None);
    assert_eq!(
        (wait, origin, value),
        (Sourced::default(false), Origin::Proto, proto)
    );
    let (wait, origin, _) = merge(None, None, Some(&told));
    assert_eq!((wait, origin), (Sourced::new(true, BY_CONFIG), BY_CONFIG));
    let (wait, origin, _) = merge(None, Some(&channel), Some(&told));
    assert_eq!(
        (wait, origin),
        (Sourced::new(false, Origin::Channel), BY_CONFIG)
    );
    let (_, origin, value) = merge(Some(&call), Some(&channel), Some(&told));
    assert_eq!((origin, value), (Origin::Call, None));
}

#[test]
fn the_earliest_deadline_holds_and_the_proto_and_the_default_only_where_nobody_said_any() {
    let told = config(r#""timeout": "3s""#);
    let plain = Declared::from(&Method::new("/a.B/Plain", MethodKind::Unary));
    let stream = Declared::from(&Method::new("/a.B/Watch", MethodKind::ServerStreaming));
    let read = Declared::from(&READ);
    let none = ServiceConfig::default();
    for (declared, config, asked, expected) in [
        (&read, &none, None, Some(SECOND)),
        (&read, &none, Some(9 * SECOND), Some(9 * SECOND)),
        (&read, &told, None, Some(3 * SECOND)),
        (&read, &told, Some(9 * SECOND), Some(3 * SECOND)),
        (&read, &told, Some(2 * SECOND), Some(2 * SECOND)),
        (&plain, &none, None, Some(DEFAULT_UNARY_TIMEOUT)),
        (&stream, &none, None, None),
        (&stream, &told, None, Some(3 * SECOND)),
        (&Declared::unknown("/a.B/X"), &none, None, None),
    ] {
        let rule = merged(declared, config).deadline;
        assert_eq!(rule.limit(asked), expected, "{declared:?} {asked:?}");
    }
}

#[test]
fn the_smallest_size_holds() {
    let declared = Declared::from(&READ);
    let told = config(r#""maxResponseMessageBytes": 100, "maxRequestMessageBytes": 7"#);
    let channel = CallPolicy::new()
        .with_max_response_bytes(99)
        .with_max_request_bytes(8);
    let sayings = Sayings {
        channel: Some(&channel),
        service_config: Some(&told),
        ..Sayings::default()
    };
    let policy = EffectivePolicy::merge(&declared, &sayings);
    assert_eq!(
        policy.max_response_bytes,
        Sourced::new(Some(99), Origin::Channel)
    );
    assert_eq!(policy.max_request_bytes, Sourced::new(Some(7), BY_CONFIG));
    let policy = merged(&declared, &ServiceConfig::default());
    let default = Some(DEFAULT_MAX_RESPONSE_BYTES);
    assert_eq!(policy.max_response_bytes, Sourced::default(default));
    assert_eq!(policy.max_request_bytes, Sourced::default(None));
}

#[test]
fn hedging_is_set_aside_where_a_second_run_may_do_harm_or_the_request_is_a_stream() {
    let upload = Method::new("/a.B/Upload", MethodKind::ClientStreaming)
        .with_idempotency(Idempotency::Idempotent);
    let pay = Method::new("/a.B/Pay", MethodKind::Unary);
    for declared in [
        Declared::from(&upload),
        Declared::from(&pay),
        Declared::unknown("/a.B/Pay"),
    ] {
        let policy = merged(&declared, &hedging());
        assert_eq!(policy.repeat, Sourced::default(None), "{declared:?}");
        assert_eq!(policy.set_aside.len(), 1);
    }
    // What the .proto says holds then.
    let mut declared = Declared::from(&READ);
    let is_hedged =
        |policy: &EffectivePolicy| matches!(policy.repeat.value, Some(Repeat::Hedge(_)));
    assert!(is_hedged(&merged(&declared, &hedging())));
    declared.kind = Some(MethodKind::Bidirectional);
    assert_eq!(merged(&declared, &hedging()).repeat.origin, Origin::Proto);
}

#[test]
fn a_retry_of_a_method_that_may_do_harm_needs_more_than_its_proto() {
    let policy = MethodPolicy::NONE.with_retry(RETRY);
    let pay = Method::new("/a.B/Pay", MethodKind::Unary).with_policy(policy);
    let declared = Declared::from(&pay);
    let by_proto = merged(&declared, &ServiceConfig::default());
    assert_eq!(by_proto.repeat.value, None);
    assert_eq!(by_proto.set_aside[0].origin, Origin::Proto);
    let call = CallPolicy::new().with_retry(RETRY);
    let sayings = Sayings {
        call: Some(&call),
        ..Sayings::default()
    };
    let by_call = EffectivePolicy::merge(&declared, &sayings);
    assert_eq!(
        by_call.repeat,
        Sourced::new(Some(Repeat::Retry(RETRY)), Origin::Call)
    );
}

#[test]
fn a_description_has_each_value_and_who_said_so() {
    let declared = Declared::from(&READ);
    let told = config(r#""timeout": "0.25s", "maxResponseMessageBytes": 1048576"#);
    assert_eq!(
        describe(&declared, &merged(&declared, &told)),
        "\
/a.B/Read (unary, NO_SIDE_EFFECTS)
  deadline        250ms                                                       service config, methodConfig[0], by its service
  wait for ready  no                                                          default
  repeats         retry, 3 attempts, on UNAVAILABLE, after 50ms × 2 up to 1s  .proto
  request size    no limit                                                    default
  response size   1 MiB                                                       service config, methodConfig[0], by its service
  cache           none                                                        default
"
    );
    let pay = Declared::unknown("/a.B/Pay");
    let text = describe(&pay, &merged(&pay, &hedging()));
    assert!(
        text.ends_with(
            "  not used: hedging, for the method is neither NO_SIDE_EFFECTS nor IDEMPOTENT \
             (service config, methodConfig[0], by its service)\n"
        ),
        "{text}"
    );
}

proptest! {
    #[test]
    fn no_call_takes_longer_than_anybody_allows(
        asked in prop::option::of(0u64..100),
        call in prop::option::of(0u64..100),
        channel in prop::option::of(0u64..100),
        proto in prop::option::of(0u64..100),
    ) {
        let seconds = Duration::from_secs;
        let policy = |timeout: Option<u64>| CallPolicy {
            timeout: timeout.map(seconds),
            ..CallPolicy::new()
        };
        let declared = Declared {
            timeout: proto.map(seconds),
            ..Declared::unknown("/a.B/C")
        };
        let (by_call, by_channel) = (policy(call), policy(channel));
        let sayings = Sayings {
            call: Some(&by_call),
            channel: Some(&by_channel),
            service_config: None,
        };
        let limit = EffectivePolicy::merge(&declared, &sayings).deadline.limit(asked.map(seconds));
        let set = [asked, call, channel].into_iter().flatten().min();
        prop_assert_eq!(limit, set.or(proto).map(seconds));
    }

    #[test]
    fn nothing_that_may_do_harm_is_hedged(
        kind in 0usize..5,
        idempotency in 0usize..3,
        is_call in any::<bool>(),
    ) {
        use {Idempotency as I, MethodKind as K};
        let kinds = [K::Unary, K::ServerStreaming, K::ClientStreaming, K::Bidirectional];
        let declared = Declared {
            kind: kinds.get(kind).copied(),
            idempotency: [I::Unknown, I::NoSideEffects, I::Idempotent][idempotency],
            ..Declared::unknown("/a.B/C")
        };
        let hedge = HedgePolicy {
            max_attempts: 2,
            delay: SECOND,
            non_fatal_codes: Default::default(),
        };
        let policy = CallPolicy::new().with_hedge(hedge);
        let said = Some(&policy);
        let sayings = if is_call {
            Sayings { call: said, ..Sayings::default() }
        } else {
            Sayings { channel: said, ..Sayings::default() }
        };
        let is_hedged = EffectivePolicy::merge(&declared, &sayings).repeat.value.is_some();
        prop_assert_eq!(is_hedged, kind < 2 && idempotency > 0);
    }
}

#[test]
fn compression_is_what_call_or_channel_say_then_the_proto_where_this_build_can() {
    let ways = [
        CompressionPolicy::Identity,
        CompressionPolicy::Gzip,
        CompressionPolicy::Deflate,
        CompressionPolicy::Zstd,
    ];
    for way in ways {
        let policy = MethodPolicy::NONE.with_compression(way);
        let method = Method::new("/a.B/C", MethodKind::Unary).with_policy(policy);
        let declared = Declared::from(&method);
        let merged = EffectivePolicy::merge(&declared, &Sayings::default());
        let text = describe(&declared, &merged);
        match way.here() {
            Some(here) => {
                assert_eq!(merged.compression, Sourced::new(here, Origin::Proto));
                assert_eq!(merged.set_aside, []);
                let line = text.lines().find(|line| line.contains("compression"));
                assert!(line.unwrap().ends_with(".proto"), "{text}");
            }
            None => {
                assert_eq!(merged.compression.origin, Origin::Default);
                let name = way.name();
                let told = format!("not used: compression by {name}, for this build has no {name}");
                assert!(text.contains(&told), "{text}");
            }
        }
        let own = CallPolicy::new().with_compression(Compression::taking_all());
        let merged = EffectivePolicy::merge(&declared, &Sayings::of_call(&own));
        assert_eq!(merged.compression.origin, Origin::Call);
        assert_eq!(merged.set_aside, []);
    }
}
