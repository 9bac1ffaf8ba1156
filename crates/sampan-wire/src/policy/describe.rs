//! Policies as text, for people: each value, and who said so.

use super::{
    CacheScope, Declared, EffectivePolicy, HedgePolicy, Idempotency, MethodKind, Origin, Repeat,
    RetryPolicy,
};
use crate::service_config::{Named, ServiceConfig};
use std::{
    fmt::{self, Write as _},
    time::Duration,
};

/// What holds for a method, one line a value.
///
/// ```
/// use sampan_wire::policy::{Declared, EffectivePolicy, MethodKind, Sayings, describe};
/// let mut declared = Declared::unknown("/a.B/C");
/// declared.kind = Some(MethodKind::Unary);
/// let policy = EffectivePolicy::merge(&declared, &Sayings::default());
/// let text = describe(&declared, &policy);
/// assert!(text.starts_with("/a.B/C (unary)\n  deadline        30s "), "{text}");
/// ```
#[must_use]
pub fn describe(declared: &Declared, policy: &EffectivePolicy) -> String {
    let mut rows = Rows::default();
    let deadline = policy.deadline.unasked();
    let limit = deadline
        .value
        .map_or("none".to_owned(), |limit| format!("{limit:?}"));
    rows.add("deadline", limit, deadline.origin);
    let wait = policy.wait_for_ready;
    let waits = if wait.value { "yes" } else { "no" };
    rows.add("wait for ready", waits, wait.origin);
    rows.add(
        "repeats",
        repeats(policy.repeat.value.as_ref()),
        policy.repeat.origin,
    );
    for (name, size) in [
        ("request size", policy.max_request_bytes),
        ("response size", policy.max_response_bytes),
    ] {
        rows.add(name, bytes(size.value), size.origin);
    }
    rows.add("cache", cache(policy), policy.cache.origin);
    let compression = policy.compression;
    if compression.origin != Origin::Default {
        let sent = compression.value.sent();
        let sent = sent.map_or("none", |sent| sent.name());
        let taken = compression.value.taken().list();
        let text = format!("{sent}, takes {taken}");
        rows.add("compression", text, compression.origin);
    }
    let mut text = heading(declared);
    rows.write(&mut text);
    for set_aside in &policy.set_aside {
        let (origin, reason) = (set_aside.origin, set_aside.reason);
        let _ = writeln!(text, "  not used: {reason} ({origin})");
    }
    text
}

/// What a service config says about a channel as a whole, one line a value.
#[must_use]
pub fn describe_channel(config: Option<&ServiceConfig>) -> String {
    let by = |is_said: bool| if is_said { "service config" } else { "default" };
    let mut rows = Rows::default();
    let balance = config.and_then(ServiceConfig::balance);
    let name = balance.map_or("sampan.least_time", |balance| balance.name());
    rows.add_by("balance", name, by(balance.is_some()));
    let throttling = config.and_then(ServiceConfig::retry_throttling);
    let (tokens, ratio) = throttling.map_or((10, 100), |throttling| {
        (throttling.max_tokens, throttling.token_ratio_thousandths)
    });
    let ratio = f64::from(ratio) / 1000.0;
    let tokens = format!("{tokens} tokens, a success gives {ratio}");
    rows.add_by("retry throttle", tokens, by(throttling.is_some()));
    let health = config.and_then(ServiceConfig::health_check);
    let watched = match health {
        None => "not watched".to_owned(),
        Some("") => "of the server".to_owned(),
        Some(service) => format!("of {service}"),
    };
    rows.add_by("health", watched, by(health.is_some()));
    let mut text = "channel\n".to_owned();
    rows.write(&mut text);
    text
}

fn heading(declared: &Declared) -> String {
    let kind = match declared.kind {
        None => "shape not known",
        Some(MethodKind::Unary) => "unary",
        Some(MethodKind::ClientStreaming) => "client stream",
        Some(MethodKind::ServerStreaming) => "server stream",
        Some(MethodKind::Bidirectional) => "bidirectional",
    };
    let twice = match declared.idempotency {
        Idempotency::Unknown => "",
        Idempotency::NoSideEffects => ", NO_SIDE_EFFECTS",
        Idempotency::Idempotent => ", IDEMPOTENT",
    };
    format!("{} ({kind}{twice})\n", declared.path)
}

fn repeats(repeat: Option<&Repeat>) -> String {
    match repeat {
        None => "none".to_owned(),
        Some(Repeat::Retry(retry)) => {
            let RetryPolicy {
                retryable_codes,
                initial_backoff,
                max_backoff,
                backoff_multiplier,
                ..
            } = retry;
            let most = retry.max_attempts.min(RetryPolicy::MAX_ATTEMPTS);
            format!(
                "retry, {most} attempts, on {retryable_codes}, \
                 after {initial_backoff:?} × {backoff_multiplier} up to {max_backoff:?}"
            )
        }
        Some(Repeat::Hedge(hedge)) => {
            let HedgePolicy {
                delay,
                non_fatal_codes,
                ..
            } = hedge;
            let most = hedge.max_attempts.min(RetryPolicy::MAX_ATTEMPTS);
            let codes = if non_fatal_codes.is_empty() {
                String::new()
            } else {
                format!(", at once on {non_fatal_codes}")
            };
            format!("hedge, {most} attempts, {delay:?} apart{codes}")
        }
    }
}

fn bytes(size: Option<usize>) -> String {
    match size {
        None => "no limit".to_owned(),
        Some(size) if size >= 1 << 20 && size.is_multiple_of(1 << 20) => {
            format!("{} MiB", size >> 20)
        }
        Some(size) if size >= 1 << 10 && size.is_multiple_of(1 << 10) => {
            format!("{} KiB", size >> 10)
        }
        Some(size) => format!("{size} bytes"),
    }
}

fn cache(policy: &EffectivePolicy) -> String {
    let Some(cache) = &policy.cache.value else {
        return "none".to_owned();
    };
    let scope = match cache.scope {
        CacheScope::Private => "private",
        CacheScope::Public => "public",
    };
    let mut text = format!("{:?}, {scope}", cache.ttl);
    if !cache.vary.is_empty() {
        let _ = write!(text, ", by {}", cache.vary.join(", "));
    }
    for (while_, stale) in [
        ("while it is fetched anew", cache.stale_while_revalidate),
        ("while the service fails", cache.stale_if_error),
    ] {
        if stale > Duration::ZERO {
            let _ = write!(text, ", {stale:?} longer {while_}");
        }
    }
    text
}

/// Name, value, who said so.
#[derive(Default)]
struct Rows(Vec<[String; 3]>);

// === impl Rows ===

impl Rows {
    fn add(&mut self, name: &str, value: impl Into<String>, origin: Origin) {
        self.add_by(name, value, &origin.to_string());
    }

    fn add_by(&mut self, name: &str, value: impl Into<String>, by: &str) {
        self.0.push([name.to_owned(), value.into(), by.to_owned()]);
    }

    fn write(&self, text: &mut String) {
        let widest = self
            .0
            .iter()
            .map(|[_, value, _]| value.chars().count())
            .max();
        let widest = widest.unwrap_or_default();
        for [name, value, by] in &self.0 {
            let _ = writeln!(text, "  {name:<14}  {value:<widest$}  {by}");
        }
    }
}

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call => f.write_str("call"),
            Self::Channel => f.write_str("channel"),
            Self::ServiceConfig(place) => {
                let names = match place.names {
                    Named::Method => "by its name",
                    Named::Service => "by its service",
                    Named::All => "for all methods",
                };
                write!(f, "service config, methodConfig[{}], {names}", place.index)
            }
            Self::Proto => f.write_str(".proto"),
            Self::Default => f.write_str("default"),
        }
    }
}
