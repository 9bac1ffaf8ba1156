//! What is compared.

use sampan_client::balance::{
    LeastRequest, LeastTime, PeakEwma, Policy, Prequal, Random, RoundRobin, WeightedRoundRobin,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A policy, and whether outliers are ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    kind: Kind,
    ejects: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Random,
    RoundRobin,
    LeastRequest,
    LeastTime,
    PeakEwma,
    WeightedRoundRobin,
    Prequal,
}

// === impl Contender ===

impl Contender {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self { kind, ejects: true }
    }

    /// Without ejection of outliers.
    pub(crate) const fn bare(kind: Kind) -> Self {
        Self {
            kind,
            ejects: false,
        }
    }

    pub(crate) const fn ejects(self) -> bool {
        self.ejects
    }

    pub(crate) const fn name(self) -> &'static str {
        match (self.kind, self.ejects) {
            (Kind::Random, _) => "random",
            (Kind::RoundRobin, _) => "round_robin",
            (Kind::LeastRequest, true) => "least_request",
            (Kind::LeastRequest, false) => "  without ejection",
            (Kind::LeastTime, _) => "least_time",
            (Kind::PeakEwma, _) => "peak_ewma",
            (Kind::WeightedRoundRobin, _) => "weighted_round_robin",
            (Kind::Prequal, _) => "prequal",
        }
    }

    pub(crate) fn policy(self, now: Instant) -> Arc<dyn Policy> {
        match self.kind {
            Kind::Random => Arc::new(Random),
            Kind::RoundRobin => Arc::new(RoundRobin),
            Kind::LeastRequest => Arc::new(LeastRequest::default()),
            Kind::LeastTime => Arc::new(LeastTime),
            Kind::PeakEwma => Arc::new(PeakEwma::default()),
            // The runs are shorter than its 10 s.
            Kind::WeightedRoundRobin => {
                Arc::new(WeightedRoundRobin::default().with_blackout(Duration::from_secs(1)))
            }
            Kind::Prequal => Arc::new(Prequal::new(now)),
        }
    }
}

/// What the table compares.
pub(crate) const ALL: [Contender; 8] = [
    Contender::new(Kind::Random),
    Contender::new(Kind::RoundRobin),
    Contender::new(Kind::LeastRequest),
    Contender::bare(Kind::LeastRequest),
    Contender::new(Kind::LeastTime),
    Contender::new(Kind::PeakEwma),
    Contender::new(Kind::WeightedRoundRobin),
    Contender::new(Kind::Prequal),
];
