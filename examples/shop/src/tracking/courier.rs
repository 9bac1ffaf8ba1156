//! Couriers: each moves one parcel, step by step.

use super::way;
use crate::proto::{OrderEvent, RecordEventRequest, Stage, orders_client::OrdersClient};
use sampan::{Channel, Code, Status};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// All couriers of this process.
#[derive(Clone, Debug)]
pub(super) struct Couriers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    orders: OrdersClient<Channel>,
    step: Duration,
    /// Orders that have a courier.
    busy: Mutex<HashSet<String>>,
}

/// One courier's hold on an order; let go when it ends, however it ends.
#[derive(Debug)]
struct Hold {
    shared: Arc<Shared>,
    order_id: String,
}

/// More parcels wait until somebody looks for them again.
const MAX_COURIERS: usize = 1_000;
/// Tries for one step before a courier gives up; the next who tracks the parcel sends another.
const TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

// === impl Couriers ===

impl Couriers {
    pub(super) fn new(orders: OrdersClient<Channel>, step: Duration) -> Self {
        Self(Arc::new(Shared {
            orders,
            step,
            busy: Mutex::default(),
        }))
    }

    /// Sends a courier for a parcel that is on its way and has none.
    pub(super) fn look_after(&self, event: &OrderEvent) {
        let stage = event.stage();
        if way::next_stop(stage).is_none() {
            return;
        }
        if let Some(hold) = self.hold(&event.order_id) {
            tokio::spawn(hold.carry(stage));
        }
    }

    fn hold(&self, order_id: &str) -> Option<Hold> {
        let mut busy = self.0.busy();
        if busy.len() >= MAX_COURIERS || !busy.insert(order_id.to_owned()) {
            return None;
        }
        Some(Hold {
            shared: self.0.clone(),
            order_id: order_id.to_owned(),
        })
    }
}

// === impl Hold ===

impl Hold {
    /// Moves the parcel from `stage` to its end. What was recorded before, by an earlier
    /// courier, orders does not record again.
    async fn carry(self, mut stage: Stage) {
        while let Some((next, note)) = way::next_stop(stage) {
            tokio::time::sleep(self.shared.step).await;
            if let Err(status) = self.record(next, note).await {
                let order_id = &self.order_id;
                tracing::warn!(order_id, %status, "a courier gave up");
                return;
            }
            stage = next;
        }
    }

    async fn record(&self, stage: Stage, note: &str) -> Result<(), Status> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES {
            match self.try_record(stage, note).await {
                Err(status) if is_passing(status.code()) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                done => return done,
            }
        }
        self.try_record(stage, note).await
    }

    async fn try_record(&self, stage: Stage, note: &str) -> Result<(), Status> {
        let request = RecordEventRequest {
            order_id: self.order_id.clone(),
            stage: stage.into(),
            note: note.to_owned(),
        };
        self.shared
            .orders
            .clone()
            .record_event(request)
            .await
            .map(drop)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.busy().remove(&self.order_id);
    }
}

// === impl Shared ===

impl Shared {
    fn busy(&self) -> MutexGuard<'_, HashSet<String>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted
    )
}
