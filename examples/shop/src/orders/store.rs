//! What orders needs of a database.

use super::lifecycle::{Refusal, Step};
use crate::{
    chain::Chain,
    moment::Moment,
    proto::{Item, Order, OrderEvent, Stage},
};
use sampan::Status;
use std::fmt;

/// Keeps orders and their events. What a call has answered is on disk.
///
/// # Cancel safety
/// A call that is dropped may or may not have written; each can be made again.
#[sampan::async_trait]
pub(super) trait Store: fmt::Debug + Send + Sync {
    /// Writes the order with its first event, unless its key is taken; gives the order that
    /// has the key now, as it was placed.
    async fn place(&self, order: NewOrder) -> Result<Order, StoreError>;

    /// The order that has this key, as it was placed.
    async fn placed_by_key(&self, idempotency_key: &str) -> Result<Option<Order>, StoreError>;

    /// The order as it is now.
    async fn order(&self, id: &str) -> Result<Option<Order>, StoreError>;

    /// The newest orders first.
    async fn newest(&self, limit: u32) -> Result<Vec<Order>, StoreError>;

    /// Writes a step unless it was written before; gives the order and its event of that step.
    async fn record(&self, id: &str, step: Step, at: Moment) -> Result<Recorded, StoreError>;

    /// Events of an order that come after `stage`, in order.
    async fn events_after(&self, id: &str, stage: Stage) -> Result<Vec<OrderEvent>, StoreError>;
}

/// An order that nobody has seen yet.
#[derive(Clone, Debug)]
pub(super) struct NewOrder {
    pub(super) id: String,
    pub(super) idempotency_key: String,
    pub(super) items: Vec<Item>,
    pub(super) total_cents: i64,
    pub(super) placed_at: Moment,
}

/// The outcome of a step.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) order: Order,
    pub(super) event: OrderEvent,
    /// Whether this call wrote it.
    pub(super) new: bool,
}

/// Why a database did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// The shop's rules are against it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It may work in a moment.
    #[error("the database cannot be reached")]
    Unavailable(#[source] Source),
    /// It will not work by itself.
    #[error("the database failed")]
    Failed(#[source] Source),
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The note of an order's first event.
pub(super) const PLACED_NOTE: &str = "Order placed";

// === impl NewOrder ===

impl NewOrder {
    /// The order as its caller sees it.
    pub(super) fn into_order(self) -> Order {
        Order {
            id: self.id,
            items: self.items,
            total_cents: self.total_cents,
            stage: Stage::Placed.into(),
            placed_at: Some(self.placed_at.into()),
        }
    }
}

// === impl StoreError ===

impl StoreError {
    pub(super) fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable(source.into())
    }

    pub(super) fn failed(source: impl Into<Source>) -> Self {
        Self::Failed(source.into())
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => refusal.into(),
            StoreError::Unavailable(source) => {
                tracing::warn!(error = %Chain(&*source), "the database cannot be reached");
                Self::unavailable("the database cannot be reached")
            }
            StoreError::Failed(source) => {
                tracing::error!(error = %Chain(&*source), "the database failed");
                Self::internal("the database failed")
            }
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::UnknownOrder => Self::not_found(message),
            Refusal::OtherItems => Self::already_exists(message),
            Refusal::PaidAlready
            | Refusal::PaymentUsed
            | Refusal::NotPaid
            | Refusal::NotNext { .. } => Self::failed_precondition(message),
        }
    }
}
