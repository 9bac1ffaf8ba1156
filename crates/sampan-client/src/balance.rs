//! Chooses the endpoint of each attempt.
//!
//! A [`Policy`] makes a [`Picker`] of the endpoints that are connected, anew when they change. A
//! picker is pure: it sees the time, a random source, the call, and what each endpoint's
//! [`Replica`] has learnt. What it learns from lies in atomics of each replica, so that a pick
//! takes no lock and allocates nothing.

mod configured;
mod estimate;
mod join;
mod keeper;
mod least_request;
mod least_time;
mod orca;
mod outcome;
mod outliers;
mod pace;
mod peak_ewma;
mod pick_first;
mod prequal;
mod random;
mod replica;
mod report;
mod ring_hash;
mod round_robin;
mod seats;
mod settings;
mod subset;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tiers;
mod turns;
mod weighted;
mod weighted_round_robin;

pub use estimate::LatencySettings;
pub use join::SlowStart;
pub use least_request::LeastRequest;
pub use least_time::LeastTime;
pub use outcome::{Outcome, Verdict};
pub use outliers::{FailurePercentage, OutlierSettings, Outliers, SuccessRate};
pub use peak_ewma::PeakEwma;
pub use pick_first::PickFirst;
pub use prequal::{Prequal, Reports};
pub use rand::RngCore;
pub use random::Random;
pub use replica::{Learns, Replica};
pub use report::{UtilizationMetric, WeightSettings};
pub use ring_hash::RingHash;
pub use round_robin::RoundRobin;
pub use sampan_wire::orca::LoadReport;
pub use settings::{Balance, Balancing};
pub use subset::Subset;
pub use tiers::{TierBy, Tiers};
pub use weighted::Weighted;
pub use weighted_round_robin::WeightedRoundRobin;

pub(crate) use keeper::Keeper;
pub(crate) use orca::{load_report, pushback};
use report::KnownWeight;

use seats::Seats;
use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tonic::Status;

/// Chooses among endpoints: the settings of a way to balance, from which pickers are made.
pub trait Policy: fmt::Debug + Send + Sync {
    /// A picker over those of `members` that are ready, of which there is one at least. Its
    /// picks are indices into `members`: those that are ready, then the others, both in the order
    /// that their resolver gave when it last gave others.
    ///
    /// Called when endpoints come, go, connect, or are ejected, and each [`refresh`](Self::refresh).
    fn picker(&self, members: &[Member], now: Instant, rng: &mut dyn RngCore) -> Arc<dyn Picker>;

    /// How often pickers are made anew although the endpoints are the same. Default: never.
    fn refresh(&self) -> Option<Duration> {
        None
    }

    /// What each endpoint's [`Replica`] learns from the ends of calls. Default: nothing.
    fn learns(&self) -> Learns {
        Learns::Nothing
    }

    /// Which endpoints the channel connects to. Default: all.
    fn connects(&self) -> Connects {
        Connects::All
    }

    /// How often endpoints are asked to tell their load beside calls, on a stream that the channel
    /// keeps to each; servers send as seldom as they like, every 30 s by default. Default: not at
    /// all. Source: gRFC A51.
    fn reports_every(&self) -> Option<Duration> {
        None
    }

    /// An endpoint told its load beside calls; its [`Replica`] has heard of it already. Default:
    /// does nothing.
    fn on_report(&self, member: &Member, now: Instant, report: &LoadReport) {
        let _ = (member, now, report);
    }
}

/// Which endpoints a channel connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Connects {
    /// All of them, at once.
    All,
    /// One: the first that can be connected to, address families in turns, each with 250 ms
    /// before the next is tried too (gRFC A61).
    One {
        /// In an order of the channel's own, instead of the resolver's.
        is_shuffled: bool,
    },
}

/// Picks one of the endpoints that it was made of.
///
/// Several threads pick at once, and each call waits for its pick: it should neither lock nor
/// allocate.
pub trait Picker: fmt::Debug + Send + Sync {
    /// The endpoint of one attempt.
    fn pick(&self, now: Instant, rng: &mut dyn RngCore, call: &CallInfo<'_>) -> Pick;
}

/// What a [`Picker`] decides.
#[derive(Debug)]
pub enum Pick {
    /// The member with this index takes the call; the ticket hears how it went.
    Ready(usize, Ticket),
    /// The call waits until the endpoints change.
    Queue,
    /// The call fails so, unless it waits for readiness or is tried again.
    Fail(Status),
    /// The call fails so, and is not tried again.
    Drop(Status),
}

/// Hears the end of one attempt.
///
/// What the built-in policies learn is kept by each [`Replica`], so theirs are empty and cost
/// nothing.
#[derive(Default)]
pub struct Ticket {
    observer: Option<Box<Observer>>,
}

type Observer = dyn FnOnce(&Outcome) + Send;

/// What a picker may know of a call.
#[derive(Clone, Copy, Debug)]
pub struct CallInfo<'a> {
    /// `/package.Service/Method`.
    pub path: &'a str,
    /// What the caller sends with it.
    pub headers: &'a http::HeaderMap,
    /// What was learnt of the endpoints that earlier attempts of the call went to, and hedges that
    /// are under way. Empty at a first attempt.
    pub tried: &'a [Arc<Replica>],
}

/// One endpoint, as a [`Policy`] sees it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it is: `10.0.0.7:50051`, `unix:/run/orders.sock`.
    pub address: Arc<str>,
    /// What was learnt of it. It stays the same while the endpoint does.
    pub replica: Arc<Replica>,
    /// Its share against the others', for policies that look at it. Default 1.
    pub weight: u32,
    /// Lower ones go first, for [`Tiers`] by priority. Default 0.
    pub priority: u32,
    /// How far away it is.
    pub nearness: Nearness,
    /// What else its resolver knows of it, by name.
    pub attributes: Arc<BTreeMap<String, String>>,
    /// Whether it is connected.
    pub is_ready: bool,
}

/// How far away an endpoint is. Nearer is less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nearness {
    /// On the same host.
    Host,
    /// In the same zone.
    Zone,
    /// Somewhere else, or nobody knows.
    #[default]
    Elsewhere,
}

// === impl Ticket ===

impl Ticket {
    /// One that tells nobody.
    #[must_use]
    pub const fn silent() -> Self {
        Self { observer: None }
    }

    /// One that tells `observer` how the attempt ended. An attempt that never left is not told.
    pub fn telling(observer: impl FnOnce(&Outcome) + Send + 'static) -> Self {
        Self {
            observer: Some(Box::new(observer)),
        }
    }

    /// Whether somebody wants to be told.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.observer.is_none()
    }

    /// Tells how the attempt ended.
    pub fn tell(self, outcome: &Outcome) {
        if let Some(observer) = self.observer {
            observer(outcome);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("is_silent", &self.is_silent())
            .finish()
    }
}

// === impl Pick ===

impl Pick {
    /// This member, and nobody is told how the call goes.
    #[must_use]
    pub const fn ready(index: usize) -> Self {
        Self::Ready(index, Ticket::silent())
    }
}

// === impl CallInfo ===

impl CallInfo<'_> {
    /// Whether another attempt of the call went to this endpoint: one that it was not tried on is
    /// better, where both would do.
    #[must_use]
    pub fn was_tried_on(&self, replica: &Arc<Replica>) -> bool {
        self.tried.iter().any(|tried| Arc::ptr_eq(tried, replica))
    }
}

// === impl Member ===

impl Member {
    /// An endpoint that is connected, as good as any other.
    pub fn new(address: impl Into<Arc<str>>, replica: Arc<Replica>) -> Self {
        Self {
            address: address.into(),
            replica,
            weight: 1,
            priority: 0,
            nearness: Nearness::default(),
            attributes: Arc::default(),
            is_ready: true,
        }
    }
}

/// A number below `count`, with a bias that nobody can measure.
fn below(count: usize, rng: &mut dyn RngCore) -> usize {
    let drawn = u128::from(rng.next_u64()) * (count as u128);
    usize::try_from(drawn >> 64).unwrap_or(0)
}

/// A number from 0 up to 1.
fn unit(rng: &mut dyn RngCore) -> f64 {
    use rand::Rng as _;
    rng.random()
}
