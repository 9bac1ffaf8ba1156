//! Refuses policies that are unsafe or have no meaning.

use super::options::{self, CachePolicy, HedgePolicy, MethodPolicy, Repeat, RetryPolicy};
use super::place::OptionPlaces;
use super::{Facts, Idempotency};
use crate::diagnose;
use crate::error::Fault;
use prost_reflect::MethodDescriptor;
use prost_types::Duration;
use sampan_wire::{Code, metadata};

/// The longest `google.protobuf.Duration`: 10,000 years.
const MAX_SECONDS: i64 = 315_576_000_000;

pub(super) fn faults(
    method: &MethodDescriptor,
    facts: &Facts,
    places: &OptionPlaces<'_>,
) -> Vec<Fault> {
    let mut check = Check {
        name: method.name(),
        places,
        faults: Vec::new(),
    };
    let MethodPolicy {
        timeout,
        repeat,
        cache,
        compression,
    } = &facts.policy;
    check.positive(timeout.as_ref(), &["timeout"]);
    if places.has(&["retry"]) && places.has(&["hedge"]) {
        check
            .faults
            .push(diagnose::both_ways().at(places.of(&["hedge"])));
    }
    match repeat {
        Some(Repeat::Retry(retry)) => {
            check.repeatable(facts, "retry", "retried");
            check.retry(retry);
        }
        Some(Repeat::Hedge(hedge)) => {
            check.repeatable(facts, "hedge", "hedged");
            check.hedge(method, hedge);
        }
        None => {}
    }
    if let Some(cache) = cache {
        check.cache(facts, cache);
    }
    check.compression(*compression);
    check.faults
}

struct Check<'a> {
    name: &'a str,
    places: &'a OptionPlaces<'a>,
    faults: Vec<Fault>,
}

// === impl Check ===

impl Check<'_> {
    fn fault(&mut self, field: &[&str], message: String, hint: &str) {
        self.faults.push(
            Fault::new(message)
                .at(self.places.of(field))
                .with_hint(hint),
        );
    }

    fn repeatable(&mut self, facts: &Facts, field: &str, done: &str) {
        if facts.idempotency == Idempotency::Unknown {
            self.fault(
                &[field],
                format!(
                    "{} must not be {done}: it is neither NO_SIDE_EFFECTS nor IDEMPOTENT",
                    self.name
                ),
                &format!(
                    "if a second run does no harm, add `option idempotency_level = IDEMPOTENT;`; \
                     else take `{field}` out"
                ),
            );
        }
    }

    fn retry(&mut self, retry: &RetryPolicy) {
        self.attempts(retry.max_attempts, "retry");
        if retry.retryable_codes.is_empty() {
            self.fault(
                &["retry", "retryable_codes"],
                "retryable_codes is empty: nothing would be tried again".to_owned(),
                "name the statuses to retry on, such as `retryable_codes: [ UNAVAILABLE ]`",
            );
        }
        self.codes(&retry.retryable_codes, &["retry", "retryable_codes"]);
        self.positive(
            retry.initial_backoff.as_ref(),
            &["retry", "initial_backoff"],
        );
        self.positive(retry.max_backoff.as_ref(), &["retry", "max_backoff"]);
        // Zero is what proto3 says when nothing was written.
        let multiplier = retry.backoff_multiplier;
        let field = ["retry", "backoff_multiplier"];
        if !(multiplier.is_finite() && multiplier > 0.0)
            && (multiplier != 0.0 || self.places.has(&field))
        {
            self.fault(
                &field,
                format!("backoff_multiplier is {multiplier}: it must be more than 0"),
                "leave it out for the default of 2",
            );
        }
    }

    fn hedge(&mut self, method: &MethodDescriptor, hedge: &HedgePolicy) {
        if method.is_client_streaming() {
            self.fault(
                &["hedge"],
                format!("{} must not be hedged: its request is a stream", self.name),
                "hedging is for calls with one request message; take `hedge` out",
            );
        }
        self.attempts(hedge.max_attempts, "hedge");
        self.codes(&hedge.non_fatal_codes, &["hedge", "non_fatal_codes"]);
        self.not_negative(hedge.delay.as_ref(), &["hedge", "delay"]);
    }

    fn cache(&mut self, facts: &Facts, cache: &CachePolicy) {
        if facts.idempotency != Idempotency::NoSideEffects {
            self.fault(
                &["cache"],
                format!(
                    "answers of {} must not be cached: it is not NO_SIDE_EFFECTS",
                    self.name
                ),
                "if it only reads, add `option idempotency_level = NO_SIDE_EFFECTS;`; \
                 else take `cache` out",
            );
        }
        if cache.ttl.is_none() {
            self.fault(
                &["cache"],
                "cache has no ttl: nothing would be kept".to_owned(),
                "say how long an answer is fresh, such as `ttl: { seconds: 2 }`",
            );
        }
        self.positive(cache.ttl.as_ref(), &["cache", "ttl"]);
        self.not_negative(
            cache.stale_while_revalidate.as_ref(),
            &["cache", "stale_while_revalidate"],
        );
        self.not_negative(cache.stale_if_error.as_ref(), &["cache", "stale_if_error"]);
        for name in &cache.vary {
            self.metadata_name(name);
        }
    }

    fn compression(&mut self, number: i32) {
        let field = ["compression"];
        if options::compression(number).is_none() && (number != 0 || self.places.has(&field)) {
            let said = match number {
                0 => "UNSPECIFIED".to_owned(),
                number => number.to_string(),
            };
            self.fault(
                &field,
                format!("compression is {said}: nothing is compressed so"),
                "write GZIP, DEFLATE, ZSTD or IDENTITY, or leave it out",
            );
        }
    }

    fn metadata_name(&mut self, name: &str) {
        let letters = |letter: char| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_.".contains(letter)
        };
        let field = ["cache", "vary"];
        if name.chars().any(|letter| letter.is_ascii_uppercase()) {
            self.fault(
                &field,
                format!("`{name}` in vary is not in lower case, as metadata names are"),
                &format!("write `{}`", name.to_ascii_lowercase()),
            );
        } else if name.is_empty() || !name.chars().all(letters) {
            self.fault(
                &field,
                format!("`{name}` in vary is no name of metadata"),
                "names are made of a-z, 0-9, `-`, `_` and `.`",
            );
        } else if metadata::is_reserved(name) {
            self.fault(
                &field,
                format!("`{name}` in vary is not metadata: the protocol sets it itself"),
                "name what your callers send",
            );
        }
    }

    fn attempts(&mut self, attempts: u32, field: &str) {
        if attempts < 2 {
            self.fault(
                &[field, "max_attempts"],
                format!(
                    "max_attempts is {attempts}: the first try counts, so it must be at least 2"
                ),
                &format!("write 2 or more, or take `{field}` out"),
            );
        }
    }

    fn codes(&mut self, codes: &[i32], field: &[&str]) {
        let name = field.last().copied().unwrap_or_default();
        for number in codes {
            match u8::try_from(*number).ok().and_then(Code::from_u8) {
                Some(Code::Ok) => {
                    self.fault(field, format!("OK in {name} is no failure"), "take it out")
                }
                Some(_) => {}
                None => self.fault(
                    field,
                    format!("{number} in {name} is no status code"),
                    "codes are 1 (CANCELLED) to 16 (UNAUTHENTICATED)",
                ),
            }
        }
    }

    fn positive(&mut self, duration: Option<&Duration>, field: &[&str]) {
        let Some(duration) = duration else { return };
        if self.well_formed(duration, field) && (duration.seconds, duration.nanos) <= (0, 0) {
            let name = field.last().copied().unwrap_or_default();
            self.fault(
                field,
                format!("{name} must be more than zero"),
                "write such as `{ seconds: 1 }` or `{ nanos: 250000000 }`",
            );
        }
    }

    fn not_negative(&mut self, duration: Option<&Duration>, field: &[&str]) {
        let Some(duration) = duration else { return };
        if self.well_formed(duration, field) && (duration.seconds < 0 || duration.nanos < 0) {
            let name = field.last().copied().unwrap_or_default();
            self.fault(
                field,
                format!("{name} must not be negative"),
                "write zero or more",
            );
        }
    }

    fn well_formed(&mut self, duration: &Duration, field: &[&str]) -> bool {
        let Duration { seconds, nanos } = *duration;
        let name = field.last().copied().unwrap_or_default();
        if nanos.unsigned_abs() > 999_999_999 {
            self.fault(
                field,
                format!("{name} has {nanos} nanos: a second or more goes into `seconds`"),
                "nanos go from 0 to 999999999",
            );
            return false;
        }
        let mixed = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
        if mixed || seconds.abs() > MAX_SECONDS {
            self.fault(
                field,
                format!("{name} is no duration: {seconds} seconds and {nanos} nanos"),
                "both have the same sign, and seconds are at most 315576000000",
            );
            return false;
        }
        true
    }
}
