//! `sampan/v1/options.proto` as Rust types. Field by field the same; a test compares.

use prost_types::Duration;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MethodPolicy {
    #[prost(message, optional, tag = "1")]
    pub(crate) timeout: Option<Duration>,
    #[prost(oneof = "Repeat", tags = "2, 3")]
    pub(crate) repeat: Option<Repeat>,
    #[prost(message, optional, tag = "4")]
    pub(crate) cache: Option<CachePolicy>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Repeat {
    #[prost(message, tag = "2")]
    Retry(RetryPolicy),
    #[prost(message, tag = "3")]
    Hedge(HedgePolicy),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RetryPolicy {
    #[prost(uint32, tag = "1")]
    pub(crate) max_attempts: u32,
    #[prost(int32, repeated, tag = "2")]
    pub(crate) retryable_codes: Vec<i32>,
    #[prost(message, optional, tag = "3")]
    pub(crate) initial_backoff: Option<Duration>,
    #[prost(message, optional, tag = "4")]
    pub(crate) max_backoff: Option<Duration>,
    #[prost(double, tag = "5")]
    pub(crate) backoff_multiplier: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HedgePolicy {
    #[prost(uint32, tag = "1")]
    pub(crate) max_attempts: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) delay: Option<Duration>,
    #[prost(int32, repeated, tag = "3")]
    pub(crate) non_fatal_codes: Vec<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CachePolicy {
    #[prost(message, optional, tag = "1")]
    pub(crate) ttl: Option<Duration>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) vary: Vec<String>,
    #[prost(int32, tag = "3")]
    pub(crate) scope: i32,
    #[prost(message, optional, tag = "4")]
    pub(crate) stale_while_revalidate: Option<Duration>,
    #[prost(message, optional, tag = "5")]
    pub(crate) stale_if_error: Option<Duration>,
}

/// Number of `CachePolicy.Scope.PUBLIC`.
pub(crate) const SCOPE_PUBLIC: i32 = 1;
