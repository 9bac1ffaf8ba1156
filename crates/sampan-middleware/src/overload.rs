//! Decisions about load, for client and server, as plain types: no clock, no randomness of their
//! own, no IO.
//!
//! | decides | |
//! |---|---|
//! | [`AdaptiveConcurrency`] | how many calls may be in flight, found out from latency |
//! | [`QueueDelay`] | which requests are shed when they wait too long |
//! | [`Shedder`] | the same for a server's calls, with the answer that the shed ones get |
//! | [`RateLimit`] | how many calls a second there may be |

mod adaptive;
mod queue_delay;
mod rate_limit;
mod retry_info;
mod shedder;

pub use adaptive::{AdaptiveConcurrency, AdaptiveSettings};
pub use queue_delay::{Priority, QueueDelay, QueueDelaySettings, Shed, ShedReason};
pub use rate_limit::{RateExceeded, RateLimit};
pub use shedder::Shedder;
