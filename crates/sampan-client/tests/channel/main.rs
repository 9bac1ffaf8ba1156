//! Channels against servers on loopback, in memory, and against peers that play a script.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod around;
mod attempts;
mod balancing;
mod caching;
mod calls;
mod channelz;
mod compat;
mod compressing;
mod connections;
mod connectivity;
mod connectors;
mod credentials;
mod deadlines;
mod elsewhere;
mod endpoints;
mod failures;
mod faults;
mod gate;
mod hedging;
#[cfg(feature = "k8s")]
mod kubernetes;
mod lifetimes;
mod load_reports;
mod metrics;
mod names;
mod policies;
mod proxies;
mod resolvers;
mod retries;
mod spans;
mod stream_retries;
mod streams;
mod support;
mod unreachable;
