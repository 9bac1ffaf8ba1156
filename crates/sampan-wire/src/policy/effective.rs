//! What holds for the calls of a method, out of all that is said about it.
//!
//! | | decides |
//! |---|---|
//! | deadline | the earliest of call, channel, service config and inbound call; where none of them says anything the .proto, then the default |
//! | sizes | the smallest of call, channel and service config, then the default (as gRPC has it) |
//! | all else | call, then channel, then service config, then .proto, then the default |

use super::{
    CachePolicy, CacheScope, CallPolicy, CompressionPolicy, Idempotency, Method, MethodKind, Repeat,
};
use crate::{
    compression::Compression,
    service_config::{ConfigPlace, ServiceConfig},
};
use std::time::Duration;

/// What holds for the calls of one method.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectivePolicy {
    /// How long a call may take.
    pub deadline: DeadlineRule,
    /// Whether a call waits while no endpoint can be reached, instead of failing.
    pub wait_for_ready: Sourced<bool>,
    /// The longest request message.
    pub max_request_bytes: Sourced<Option<usize>>,
    /// The longest response message.
    pub max_response_bytes: Sourced<Option<usize>>,
    /// How a call is sent more than once, if it may be.
    pub repeat: Sourced<Option<Repeat>>,
    /// How long answers may be kept, if at all.
    pub cache: Sourced<Option<CacheRule>>,
    /// What is sent compressed, and what is taken so.
    pub compression: Sourced<Compression>,
    /// What was said and does not hold, with the reason.
    pub set_aside: Vec<SetAside>,
}

/// A value, and who said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// What holds.
    pub value: T,
    /// Who said so.
    pub origin: Origin,
}

/// Who says what holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The call itself.
    Call,
    /// The channel's own settings.
    Channel,
    /// The service config, at this place.
    ServiceConfig(ConfigPlace),
    /// The method's .proto.
    Proto,
    /// Nobody: a default.
    Default,
}

/// How long calls may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineRule {
    /// Bounds every call, its own and inbound deadlines included.
    pub bound: Option<Sourced<Duration>>,
    /// Holds where nobody set any deadline.
    pub fallback: Sourced<Option<Duration>>,
}

/// A policy that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Who said so.
    pub origin: Origin,
    /// Why it does not hold.
    pub reason: &'static str,
}

/// How long answers may be kept: a [`CachePolicy`] of any source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRule {
    /// How long an answer is fresh.
    pub ttl: Duration,
    /// Request metadata that is part of the key, in lower case.
    pub vary: Vec<String>,
    /// Who may share an answer.
    pub scope: CacheScope,
    /// How much longer an old answer may be given while a new one is fetched.
    pub stale_while_revalidate: Duration,
    /// How much longer an old answer may be given while the service fails.
    pub stale_if_error: Duration,
}

/// What is known of a method: what its .proto says, from wherever it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    /// `/pkg.Service/Method`
    pub path: String,
    /// Which sides stream; None where nobody says.
    pub kind: Option<MethodKind>,
    /// What running it twice does.
    pub idempotency: Idempotency,
    /// How long a call may take when nobody else sets a deadline.
    pub timeout: Option<Duration>,
    /// How a call is sent more than once.
    pub repeat: Option<Repeat>,
    /// How long answers may be kept.
    pub cache: Option<CacheRule>,
    /// How messages are compressed.
    pub compression: Option<CompressionPolicy>,
}

/// What is said about calls beside their .proto.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sayings<'a> {
    /// By the call.
    pub call: Option<&'a CallPolicy>,
    /// By the channel's settings.
    pub channel: Option<&'a CallPolicy>,
    /// By the service config.
    pub service_config: Option<&'a ServiceConfig>,
}

/// What a call may take when nobody gave it a deadline and only one message goes each way.
pub const DEFAULT_UNARY_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest response message where nobody says otherwise.
pub const DEFAULT_MAX_RESPONSE_BYTES: usize = 4 << 20;

// === impl Sayings ===

impl<'a> Sayings<'a> {
    /// By the call alone.
    #[must_use]
    pub fn of_call(call: &'a CallPolicy) -> Self {
        Self {
            call: Some(call),
            ..Self::default()
        }
    }
}

// === impl EffectivePolicy ===

impl EffectivePolicy {
    /// What holds for this method.
    #[must_use]
    pub fn merge(declared: &Declared, sayings: &Sayings<'_>) -> Self {
        let told: Vec<Told> = [
            sayings.call.map(|policy| Told::of(policy, Origin::Call)),
            sayings
                .channel
                .map(|policy| Told::of(policy, Origin::Channel)),
            sayings
                .service_config
                .and_then(|config| Told::by_config(config, &declared.path)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut set_aside = Vec::new();
        let repeat = repeat(declared, &told, &mut set_aside);
        let smallest = |field: fn(&CallPolicy) -> Option<usize>, default| {
            let said = told.iter().filter_map(|told| told.say(field));
            match said.min_by_key(|said| said.value) {
                Some(said) => said.map(Some),
                None => Sourced::default(default),
            }
        };
        let wait = told
            .iter()
            .find_map(|told| told.say(CallPolicy::wait_for_ready));
        let compression = told
            .iter()
            .find_map(|told| told.say(CallPolicy::compression))
            .or_else(|| compression(declared, &mut set_aside));
        Self {
            deadline: DeadlineRule::merge(declared, &told),
            wait_for_ready: wait.unwrap_or(Sourced::default(false)),
            max_request_bytes: smallest(CallPolicy::max_request_bytes, None),
            max_response_bytes: smallest(
                CallPolicy::max_response_bytes,
                Some(DEFAULT_MAX_RESPONSE_BYTES),
            ),
            repeat,
            cache: match &declared.cache {
                Some(cache) => Sourced::new(Some(cache.clone()), Origin::Proto),
                None => Sourced::default(None),
            },
            compression: compression.unwrap_or(Sourced::default(Compression::none())),
            set_aside,
        }
    }
}

/// What the .proto says of it, where this build can do that.
fn compression(declared: &Declared, set_aside: &mut Vec<SetAside>) -> Option<Sourced<Compression>> {
    let declared = declared.compression?;
    let here = declared.here();
    if here.is_none() {
        set_aside.push(SetAside {
            origin: Origin::Proto,
            reason: match declared {
                CompressionPolicy::Gzip => "compression by gzip, for this build has no gzip",
                CompressionPolicy::Deflate => {
                    "compression by deflate, for this build has no deflate"
                }
                _ => "compression by zstd, for this build has no zstd",
            },
        });
    }
    Some(Sourced::new(here?, Origin::Proto))
}

/// The first that may hold.
fn repeat(
    declared: &Declared,
    told: &[Told],
    set_aside: &mut Vec<SetAside>,
) -> Sourced<Option<Repeat>> {
    let by_others = told
        .iter()
        .filter_map(|told| told.say(|policy| policy.repeat));
    let by_proto = declared
        .repeat
        .map(|repeat| Sourced::new(Some(repeat), Origin::Proto));
    for said in by_others.chain(by_proto) {
        match why_not(declared, &said) {
            None => return said,
            Some(reason) => set_aside.push(SetAside {
                origin: said.origin,
                reason,
            }),
        }
    }
    Sourced::default(None)
}

fn why_not(declared: &Declared, said: &Sourced<Option<Repeat>>) -> Option<&'static str> {
    let is_repeatable = declared.idempotency.is_repeatable();
    match said.value? {
        Repeat::Retry(_) if is_repeatable || said.origin != Origin::Proto => None,
        Repeat::Retry(_) => Some("retry, for the method is neither NO_SIDE_EFFECTS nor IDEMPOTENT"),
        Repeat::Hedge(_) if !is_repeatable => {
            Some("hedging, for the method is neither NO_SIDE_EFFECTS nor IDEMPOTENT")
        }
        Repeat::Hedge(_) if declared.kind.is_some_and(MethodKind::has_single_request) => None,
        Repeat::Hedge(_) => Some("hedging, for the method's request is a stream"),
    }
}

/// What one of them says.
struct Told {
    policy: CallPolicy,
    origin: Origin,
}

// === impl Told ===

impl Told {
    const fn of(policy: &CallPolicy, origin: Origin) -> Self {
        let policy = *policy;
        Self { policy, origin }
    }

    fn by_config(config: &ServiceConfig, path: &str) -> Option<Self> {
        let (method, place) = config.method(path)?;
        let bytes = |max: Option<u32>| max.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        let policy = CallPolicy {
            timeout: method.timeout,
            wait_for_ready: method.wait_for_ready,
            max_request_bytes: bytes(method.max_request_bytes),
            max_response_bytes: bytes(method.max_response_bytes),
            repeat: method.repeat.map(Some),
            compression: None,
        };
        let origin = Origin::ServiceConfig(place);
        Some(Self { policy, origin })
    }

    fn say<T>(&self, field: impl Fn(&CallPolicy) -> Option<T>) -> Option<Sourced<T>> {
        Some(Sourced::new(field(&self.policy)?, self.origin))
    }
}

// === impl DeadlineRule ===

impl DeadlineRule {
    fn merge(declared: &Declared, told: &[Told]) -> Self {
        let bounds = told.iter().filter_map(|told| told.say(CallPolicy::timeout));
        let fallback = match declared.timeout {
            Some(timeout) => Sourced::new(Some(timeout), Origin::Proto),
            None => {
                let is_unary = declared.kind == Some(MethodKind::Unary);
                Sourced::default(is_unary.then_some(DEFAULT_UNARY_TIMEOUT))
            }
        };
        Self {
            bound: bounds.min_by_key(|bound| bound.value),
            fallback,
        }
    }

    /// How long a call may take that was `asked` to end within so long: by its own deadline or
    /// what is left of the inbound call's, whichever is earlier.
    #[must_use]
    pub fn limit(&self, asked: Option<Duration>) -> Option<Duration> {
        let bound = self.bound.map(|bound| bound.value);
        let set = [asked, bound].into_iter().flatten().min();
        set.or(self.fallback.value)
    }

    /// What holds for a call that asks for nothing itself.
    #[must_use]
    pub fn unasked(&self) -> Sourced<Option<Duration>> {
        match self.bound {
            Some(bound) => bound.map(Some),
            None => self.fallback,
        }
    }
}

// === impl Sourced ===

impl<T> Sourced<T> {
    const fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    const fn default(value: T) -> Self {
        Self::new(value, Origin::Default)
    }

    fn map<U>(self, change: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced::new(change(self.value), self.origin)
    }
}

// === impl CacheRule ===

impl From<&CachePolicy> for CacheRule {
    fn from(cache: &CachePolicy) -> Self {
        Self {
            ttl: cache.ttl,
            vary: cache.vary.iter().map(|&name| name.to_owned()).collect(),
            scope: cache.scope,
            stale_while_revalidate: cache.stale_while_revalidate,
            stale_if_error: cache.stale_if_error,
        }
    }
}

// === impl Declared ===

impl Declared {
    /// A method of which nothing is known but its path.
    #[must_use]
    pub fn unknown(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..Self::default()
        }
    }
}

impl From<&Method> for Declared {
    fn from(method: &Method) -> Self {
        let policy = method.policy();
        Self {
            path: method.path().to_owned(),
            kind: Some(method.kind()),
            idempotency: method.idempotency(),
            timeout: policy.timeout(),
            repeat: policy.repeat().copied(),
            cache: policy.cache().map(CacheRule::from),
            compression: policy.compression(),
        }
    }
}

#[cfg(test)]
mod tests;
