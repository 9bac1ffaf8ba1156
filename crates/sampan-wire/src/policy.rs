//! What a service's author says about each method; compiled into generated clients.
//!
//! All types are built in `const` context, so that generated code holds them as statics.

mod call;
mod codes;
mod describe;
mod effective;

use crate::{
    Code,
    compression::{Compression, Encoding},
};
pub use call::CallPolicy;
pub use codes::CodeSet;
pub use describe::{describe, describe_channel};
pub use effective::{
    CacheRule, DEFAULT_MAX_RESPONSE_BYTES, DEFAULT_UNARY_TIMEOUT, DeadlineRule, Declared,
    EffectivePolicy, Origin, Sayings, SetAside, Sourced,
};
use std::{fmt, time::Duration};

/// One method of a service: its path, shape, and policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Method {
    path: &'static str,
    kind: MethodKind,
    idempotency: Idempotency,
    policy: MethodPolicy,
    descriptors: Descriptors,
}

/// The files that describe a method, encoded.
#[derive(Clone, Copy, PartialEq)]
struct Descriptors(&'static [u8]);

/// Which sides of a call stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodKind {
    /// One request, one response.
    Unary,
    /// Many requests, one response.
    ClientStreaming,
    /// One request, many responses.
    ServerStreaming,
    /// Many of both.
    Bidirectional,
}

/// What running a method twice does. Source: `google.protobuf.MethodOptions.IdempotencyLevel`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Idempotency {
    /// Nothing was said: a second run may do harm.
    #[default]
    Unknown,
    /// It only reads.
    NoSideEffects,
    /// A second run changes nothing more.
    Idempotent,
}

/// What holds for calls of one method where nobody said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MethodPolicy {
    timeout: Option<Duration>,
    repeat: Option<Repeat>,
    cache: Option<CachePolicy>,
    compression: Option<CompressionPolicy>,
}

/// How a method's messages are compressed, whether this build can do it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompressionPolicy {
    /// They are not, and answers are not to be.
    Identity,
    /// By gzip.
    Gzip,
    /// By deflate, which is zlib to gRPC.
    Deflate,
    /// By zstd.
    Zstd,
}

/// How a call is sent more than once. Never both ways (gRFC A6).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Repeat {
    /// After a failure.
    Retry(RetryPolicy),
    /// Without waiting for one.
    Hedge(HedgePolicy),
}

/// When and how often a failed call is tried again. Source: gRFC A6.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Counts the first try; a client makes no more than 5.
    pub max_attempts: u32,
    /// Statuses after which another try is made.
    pub retryable_codes: CodeSet,
    /// Longest wait before the second try. Default 50 ms.
    pub initial_backoff: Duration,
    /// Longest wait before any try. Default 1 s.
    pub max_backoff: Duration,
    /// Growth of the wait from try to try. Default 2.
    pub backoff_multiplier: f64,
}

/// Sends a request more than once without waiting for a failure. Source: gRFC A6.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HedgePolicy {
    /// Counts the first try; a client makes no more than 5.
    pub max_attempts: u32,
    /// Between two tries.
    pub delay: Duration,
    /// Statuses that start the next try at once instead of ending the call.
    pub non_fatal_codes: CodeSet,
}

/// How long answers may be kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CachePolicy {
    /// How long an answer is fresh.
    pub ttl: Duration,
    /// Request metadata that is part of the key, in lower case.
    pub vary: &'static [&'static str],
    /// Who may share an answer.
    pub scope: CacheScope,
    /// How much longer an old answer may be given while a new one is fetched.
    pub stale_while_revalidate: Duration,
    /// How much longer an old answer may be given while the service fails.
    pub stale_if_error: Duration,
}

/// Who may share a cached answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CacheScope {
    /// Callers with the same credentials.
    #[default]
    Private,
    /// Everybody.
    Public,
}

/// What a generated stub tells the channel of a call, in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CallFacts {
    /// The method that is called.
    pub method: &'static Method,
    /// The largest message that the stub takes: the channel refuses a larger one before the
    /// stub's decoder sees it.
    pub max_decoding_message_size: usize,
}

/// The largest message a stub takes, told to the channel in the request's extensions, so that
/// it refuses a larger one with RESOURCE_EXHAUSTED before the stub's decoder sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxDecodingMessageSize(pub usize);

// === impl Method ===

impl Method {
    /// A method at `path` (`"/pkg.Service/Method"`) without a policy.
    #[must_use]
    pub const fn new(path: &'static str, kind: MethodKind) -> Self {
        Self {
            path,
            kind,
            idempotency: Idempotency::Unknown,
            policy: MethodPolicy::NONE,
            descriptors: Descriptors(&[]),
        }
    }

    /// Says where it is described: an encoded `google.protobuf.FileDescriptorSet`.
    #[must_use]
    pub const fn with_descriptor_set(mut self, encoded: &'static [u8]) -> Self {
        self.descriptors = Descriptors(encoded);
        self
    }

    /// Where it is described: the encoded `google.protobuf.FileDescriptorSet` of its package and
    /// all that this imports, options of one's own included. None where nobody said: generated
    /// code does. Who looks at it decodes it once, by a crate of choice.
    #[must_use]
    pub const fn descriptor_set(&self) -> Option<&'static [u8]> {
        match self.descriptors.0 {
            [] => None,
            encoded => Some(encoded),
        }
    }

    /// Says what running it twice does.
    #[must_use]
    pub const fn with_idempotency(mut self, idempotency: Idempotency) -> Self {
        self.idempotency = idempotency;
        self
    }

    /// Says what holds for its calls.
    #[must_use]
    pub const fn with_policy(mut self, policy: MethodPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The path of its HTTP requests, `"/pkg.Service/Method"`.
    #[must_use]
    pub const fn path(&self) -> &'static str {
        self.path
    }

    /// Which sides stream.
    #[must_use]
    pub const fn kind(&self) -> MethodKind {
        self.kind
    }

    /// What running it twice does.
    #[must_use]
    pub const fn idempotency(&self) -> Idempotency {
        self.idempotency
    }

    /// What holds for its calls.
    #[must_use]
    pub const fn policy(&self) -> &MethodPolicy {
        &self.policy
    }
}

// === impl Descriptors ===

impl fmt::Debug for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

// === impl MethodKind ===

impl MethodKind {
    /// Whether the caller sends exactly one message.
    #[must_use]
    pub const fn has_single_request(self) -> bool {
        matches!(self, Self::Unary | Self::ServerStreaming)
    }
}

// === impl Idempotency ===

impl Idempotency {
    /// Whether a call may run twice.
    #[must_use]
    pub const fn is_repeatable(self) -> bool {
        matches!(self, Self::NoSideEffects | Self::Idempotent)
    }
}

// === impl MethodPolicy ===

impl MethodPolicy {
    /// Nothing said: every default holds.
    pub const NONE: Self = Self {
        timeout: None,
        repeat: None,
        cache: None,
        compression: None,
    };

    /// How long a call may take when nobody else sets a deadline.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Tries failed calls again. Takes the place of hedging.
    #[must_use]
    pub const fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.repeat = Some(Repeat::Retry(retry));
        self
    }

    /// Sends calls more than once. Takes the place of retries.
    #[must_use]
    pub const fn with_hedge(mut self, hedge: HedgePolicy) -> Self {
        self.repeat = Some(Repeat::Hedge(hedge));
        self
    }

    /// Lets answers be kept.
    #[must_use]
    pub const fn with_cache(mut self, cache: CachePolicy) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Says how messages are compressed when nobody else does.
    #[must_use]
    pub const fn with_compression(mut self, compression: CompressionPolicy) -> Self {
        self.compression = Some(compression);
        self
    }

    /// How long a call may take when nobody else sets a deadline.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// How a call is sent more than once, if it may be.
    #[must_use]
    pub const fn repeat(&self) -> Option<&Repeat> {
        self.repeat.as_ref()
    }

    /// When a failed call is tried again, if ever.
    #[must_use]
    pub const fn retry(&self) -> Option<&RetryPolicy> {
        match &self.repeat {
            Some(Repeat::Retry(retry)) => Some(retry),
            _ => None,
        }
    }

    /// When a call is sent more than once without a failure, if ever.
    #[must_use]
    pub const fn hedge(&self) -> Option<&HedgePolicy> {
        match &self.repeat {
            Some(Repeat::Hedge(hedge)) => Some(hedge),
            _ => None,
        }
    }

    /// How long answers may be kept, if at all.
    #[must_use]
    pub const fn cache(&self) -> Option<&CachePolicy> {
        self.cache.as_ref()
    }

    /// How messages are compressed when nobody else says.
    #[must_use]
    pub const fn compression(&self) -> Option<CompressionPolicy> {
        self.compression
    }
}

// === impl CompressionPolicy ===

impl CompressionPolicy {
    /// As `grpc-encoding` names it, and the cargo feature.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }

    /// What it means here; None where this build has no such encoding.
    #[must_use]
    pub fn here(self) -> Option<Compression> {
        match self {
            Self::Identity => Some(Compression::none()),
            other => Encoding::of_name(other.name().as_bytes()).map(Compression::new),
        }
    }
}

// === impl RetryPolicy ===

impl RetryPolicy {
    /// The most tries a client makes, whatever a policy says (gRFC A6).
    pub const MAX_ATTEMPTS: u32 = 5;
    /// Wait before the second try where a policy names none.
    pub const DEFAULT_INITIAL_BACKOFF: Duration = Duration::from_millis(50);
    /// Bound of every wait where a policy names none.
    pub const DEFAULT_MAX_BACKOFF: Duration = Duration::from_secs(1);
    /// Growth of the wait where a policy names none.
    pub const DEFAULT_BACKOFF_MULTIPLIER: f64 = 2.0;

    /// Tries up to `max_attempts` times on these codes, with the default waits.
    #[must_use]
    pub const fn new(max_attempts: u32, retryable_codes: &[Code]) -> Self {
        Self {
            max_attempts,
            retryable_codes: CodeSet::of(retryable_codes),
            initial_backoff: Self::DEFAULT_INITIAL_BACKOFF,
            max_backoff: Self::DEFAULT_MAX_BACKOFF,
            backoff_multiplier: Self::DEFAULT_BACKOFF_MULTIPLIER,
        }
    }
}

// === impl MaxDecodingMessageSize ===

impl Default for MaxDecodingMessageSize {
    /// 4 MiB.
    fn default() -> Self {
        Self(4 * 1024 * 1024)
    }
}
