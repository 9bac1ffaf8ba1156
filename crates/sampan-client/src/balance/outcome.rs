//! How attempts end, as policies hear of it.

use super::LoadReport;
use std::time::{Duration, Instant};

/// How one attempt went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// When it was picked.
    pub started: Instant,
    /// From there to its answer, where that is one message: how long a stream takes says nothing
    /// of its endpoint.
    pub round_trip: Option<Duration>,
    /// Whose doing its end was.
    pub verdict: Verdict,
    /// For how long the endpoint asked to be left alone.
    pub pushback: Option<Duration>,
    /// What the endpoint said of its load.
    pub report: Option<LoadReport>,
}

/// Whose doing the end of an attempt was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint did its part: OK, or a status that is the caller's fault.
    Served,
    /// The endpoint failed: UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE or DATA_LOSS.
    Failed,
    /// The caller gave up before its deadline: it says nothing of the endpoint.
    GaveUp,
}

// === impl Outcome ===

impl Outcome {
    /// One without pushback or report.
    #[must_use]
    pub const fn new(started: Instant, round_trip: Duration, verdict: Verdict) -> Self {
        Self {
            started,
            round_trip: Some(round_trip),
            verdict,
            pushback: None,
            report: None,
        }
    }
}
