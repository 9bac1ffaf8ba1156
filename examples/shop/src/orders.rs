//! Orders and their events, kept in SQLite or Postgres.
//!
//! An order is answered after its commit, and an idempotency key has one order: a caller that
//! heard nothing asks again with the same key and gets what was placed.

mod database_url;
mod lifecycle;
mod postgres;
mod pricing;
mod sqlite;
mod store;
mod validate;
mod watch;

pub use database_url::{DatabaseUrl, InvalidDatabaseUrl};

use crate::{
    config::Environment,
    moment::Moment,
    proto::{
        FILE_DESCRIPTOR_SET, GetOrderRequest, ListOrdersRequest, ListOrdersResponse,
        MarkPaidRequest, Order, OrderEvent, PlaceOrderRequest, RecordEventRequest,
        WatchOrderRequest, catalog_client::CatalogClient, orders_server,
    },
    stopping::Stopping,
};
use futures_util::stream::BoxStream;
use lifecycle::{Refusal, Step};
use pricing::Pricing;
use sampan::{Request, Response, Status};
use std::sync::Arc;
use store::{NewOrder, Recorded, Store, StoreError};
use validate::Wanted;
use watch::Wakes;

/// Answers calls for orders.
#[derive(Clone, Debug)]
struct Orders {
    store: Arc<dyn Store>,
    pricing: Pricing,
    wakes: Wakes,
    stopping: Stopping,
}

/// Serves orders.
///
/// # Errors
/// The settings are wrong, the database cannot be opened, or the server could not listen.
pub async fn serve() -> Result<(), sampan::Error> {
    let config = Environment::of_process()
        .orders()
        .map_err(sampan::Error::configuration)?;
    let orders = Orders {
        pricing: Pricing::new(CatalogClient::dial(&config.catalog)?),
        store: open(config.database).await?,
        wakes: Wakes::new(),
        stopping: Stopping::on_signal().map_err(sampan::Error::other)?,
    };
    sampan::Server::from_env()?
        .add_service(orders_server::OrdersServer::new(orders))
        .reflection(FILE_DESCRIPTOR_SET)
        .serve()
        .await?;
    Ok(())
}

async fn open(database: DatabaseUrl) -> Result<Arc<dyn Store>, sampan::Error> {
    match database {
        DatabaseUrl::Sqlite(path) => {
            let store = sqlite::Sqlite::open(&path).map_err(sampan::Error::other)?;
            Ok(Arc::new(store))
        }
        DatabaseUrl::Postgres(config) => {
            let store = postgres::Postgres::open(*config)
                .await
                .map_err(sampan::Error::other)?;
            Ok(Arc::new(store))
        }
    }
}

// === impl Orders ===

impl Orders {
    async fn record(&self, id: &str, step: Step) -> Result<Recorded, StoreError> {
        let recorded = self.store.record(id, step, Moment::now()).await?;
        if recorded.new {
            self.wakes.wake(id);
        }
        Ok(recorded)
    }

    async fn existing(&self, id: &str) -> Result<Order, StoreError> {
        Ok(self.store.order(id).await?.ok_or(Refusal::UnknownOrder)?)
    }
}

#[sampan::async_trait]
impl orders_server::Orders for Orders {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        let wanted = Wanted::try_from(request.into_inner())?;
        // First, so that asking again needs no catalog.
        let placed = match self.store.placed_by_key(&wanted.idempotency_key).await? {
            Some(placed) => placed,
            None => {
                let items = self.pricing.priced(&wanted.items).await?;
                let order = NewOrder {
                    id: new_id(),
                    idempotency_key: wanted.idempotency_key.clone(),
                    total_cents: pricing::total_cents(&items)?,
                    items,
                    placed_at: Moment::now(),
                };
                self.store.place(order).await?
            }
        };
        // Also after placing: another caller may have been faster with the same key.
        if wanted.asked_for(&placed.items) {
            Ok(Response::new(placed))
        } else {
            Err(Refusal::OtherItems.into())
        }
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        let GetOrderRequest { id } = request.into_inner();
        validate::order_id("id", &id)?;
        Ok(Response::new(self.existing(&id).await?))
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        let limit = validate::limit(request.into_inner())?;
        let orders = self.store.newest(limit).await?;
        Ok(Response::new(ListOrdersResponse { orders }))
    }

    async fn mark_paid(
        &self,
        request: Request<MarkPaidRequest>,
    ) -> Result<Response<Order>, Status> {
        let (id, step) = validate::paid(request.into_inner())?;
        Ok(Response::new(self.record(&id, step).await?.order))
    }

    async fn record_event(
        &self,
        request: Request<RecordEventRequest>,
    ) -> Result<Response<OrderEvent>, Status> {
        let (id, step) = validate::event(request.into_inner())?;
        Ok(Response::new(self.record(&id, step).await?.event))
    }

    type WatchOrderStream = BoxStream<'static, Result<OrderEvent, Status>>;

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let WatchOrderRequest { order_id } = request.into_inner();
        validate::order_id("order_id", &order_id)?;
        self.existing(&order_id).await?;
        let events = self
            .wakes
            .watch(self.store.clone(), &order_id, self.stopping.clone());
        Ok(Response::new(Box::pin(events)))
    }
}

/// 80 random bits: nobody finds another's order by counting.
fn new_id() -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    (0..16)
        .map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())]))
        .collect()
}
