//! Decisions about calls, as plain types: no clock, no randomness of their own, no IO.
//!
//! | decides | |
//! |---|---|
//! | [`Hedging`] | when a call is sent once more without a failure, and which answer counts |
//! | [`RetryBudget`] | how many attempts beyond the first there may be at all |
//! | [`CircuitBreaker`] | how much may be under way |
//!
//! The channel uses them as its settings and policies say. They are there for layers of one's own
//! too: each takes `now`, and what it decides on.

mod circuit;
mod hedge;
mod retry_budget;
mod table;
mod told;

pub use circuit::{CircuitBreaker, CircuitLimits, CircuitOpen, Entered, Load};
pub use hedge::{AttemptSet, HedgeOutcome, HedgeStep, HedgeVerdict, Hedging, Pushback};
pub use retry_budget::{RetryBudget, RetryBudgetSettings};
pub(crate) use table::PolicyTable;
pub(crate) use told::ToldConfig;
