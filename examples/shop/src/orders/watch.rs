//! Follows one order: what happened so far, then each event as it happens.
//!
//! The database is the truth; a wake only says that it is worth a look. So a wake that was
//! missed, or an event that another process wrote, shows up at the next poll.

use super::store::Store;
use crate::{
    proto::{OrderEvent, Stage},
    stopping::{self, Stopping},
};
use futures_util::{Stream, stream};
use sampan::Status;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::sync::broadcast::{self, error::RecvError};

/// Wakes whoever watches an order.
#[derive(Clone, Debug)]
pub(super) struct Wakes(broadcast::Sender<Arc<str>>);

/// A watcher of one order.
struct Watch {
    store: Arc<dyn Store>,
    order_id: Arc<str>,
    wakes: broadcast::Receiver<Arc<str>>,
    stopping: Stopping,
    seen: Stage,
    unsent: VecDeque<OrderEvent>,
}

/// Wakes that a slow watcher may fall behind before it just looks again.
const WAKES: usize = 256;
const POLL: Duration = Duration::from_secs(2);

// === impl Wakes ===

impl Wakes {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(WAKES))
    }

    pub(super) fn wake(&self, order_id: &str) {
        // Without watchers there is nobody to wake.
        let _ = self.0.send(order_id.into());
    }

    /// Events of an order that exists; ends after it is delivered.
    pub(super) fn watch(
        &self,
        store: Arc<dyn Store>,
        order_id: &str,
        stopping: Stopping,
    ) -> impl Stream<Item = Result<OrderEvent, Status>> + Send + use<> {
        let watch = Watch {
            store,
            order_id: order_id.into(),
            // Before the first look, so that nothing falls between.
            wakes: self.0.subscribe(),
            stopping,
            seen: Stage::Unspecified,
            unsent: VecDeque::new(),
        };
        stream::try_unfold(watch, async |mut watch| {
            Ok(watch.next().await?.map(|event| (event, watch)))
        })
    }
}

// === impl Watch ===

impl Watch {
    async fn next(&mut self) -> Result<Option<OrderEvent>, Status> {
        loop {
            if let Some(event) = self.unsent.pop_front() {
                self.seen = event.stage();
                return Ok(Some(event));
            }
            if self.seen == Stage::Delivered {
                return Ok(None);
            }
            let events = self.store.events_after(&self.order_id, self.seen).await?;
            if events.is_empty() {
                self.woken().await?;
            } else {
                self.unsent.extend(events);
            }
        }
    }

    /// Returns when it is worth another look.
    async fn woken(&mut self) -> Result<(), Status> {
        let wakes = &mut self.wakes;
        let order_id = &self.order_id;
        let own_wake = async {
            loop {
                match wakes.recv().await {
                    Ok(woken) if woken == *order_id => return,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return,
                    // The service is gone; so will be this stream.
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            () = own_wake => Ok(()),
            () = tokio::time::sleep(POLL) => Ok(()),
            () = self.stopping.wait() => Err(stopping::cut_short()),
        }
    }
}
