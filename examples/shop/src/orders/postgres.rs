//! Orders in a Postgres database.

mod pool;

use super::{
    lifecycle::{Decision, Refusal, Standing, Step},
    store::{NewOrder, PLACED_NOTE, Recorded, Store, StoreError},
};
use crate::{
    chain::Chain,
    moment::Moment,
    proto::{Item, Order, OrderEvent, Stage},
};
use pool::Pool;
use std::{collections::HashMap, time::Duration};
use tokio_postgres::{Config, GenericClient, Row, error::SqlState};

/// Orders in a Postgres database.
#[derive(Debug)]
pub(super) struct Postgres {
    pool: Pool,
}

/// Longest time for one call of the store, connecting included; below the deadlines of the
/// services' methods, so that callers learn what failed.
const CALL_LIMIT: Duration = Duration::from_millis(1_800);
/// How long a start waits for a database that is starting too.
const START_LIMIT: Duration = Duration::from_secs(30);
const START_PAUSE: Duration = Duration::from_millis(500);

/// Serialises the making of tables among processes that start together.
const SCHEMA_LOCK: &str = "SELECT pg_advisory_xact_lock(7262734201)";
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS orders (
    sequence        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    idempotency_key TEXT NOT NULL UNIQUE,
    total_cents     BIGINT NOT NULL,
    stage           INTEGER NOT NULL,
    payment_id      TEXT UNIQUE,
    placed_at       BIGINT NOT NULL -- microseconds since 1970
);
CREATE TABLE IF NOT EXISTS order_items (
    order_id    TEXT NOT NULL REFERENCES orders (id),
    position    INTEGER NOT NULL,
    product_id  TEXT NOT NULL,
    quantity    BIGINT NOT NULL,
    name        TEXT NOT NULL,
    price_cents BIGINT NOT NULL,
    PRIMARY KEY (order_id, position)
);
CREATE TABLE IF NOT EXISTS order_events (
    order_id TEXT NOT NULL REFERENCES orders (id),
    stage    INTEGER NOT NULL,
    note     TEXT NOT NULL,
    at       BIGINT NOT NULL, -- microseconds since 1970
    PRIMARY KEY (order_id, stage)
);
";

// === impl Postgres ===

impl Postgres {
    /// Connects, waiting for a database that is starting, and makes the tables that are not
    /// there yet.
    ///
    /// # Errors
    /// The database cannot be reached, or does not let us in.
    pub(super) async fn open(config: Config) -> Result<Self, StoreError> {
        let store = Self {
            pool: Pool::new(config),
        };
        let give_up = tokio::time::Instant::now() + START_LIMIT;
        loop {
            match limited(store.make_tables()).await {
                Err(StoreError::Unavailable(source)) if tokio::time::Instant::now() < give_up => {
                    tracing::warn!(error = %Chain(&*source), "waiting for the database");
                    tokio::time::sleep(START_PAUSE).await;
                }
                made => return made.map(|()| store),
            }
        }
    }

    async fn make_tables(&self) -> Result<(), StoreError> {
        let mut lease = self.pool.lease().await?;
        let transaction = lease.client().transaction().await?;
        transaction.batch_execute(SCHEMA_LOCK).await?;
        transaction.batch_execute(SCHEMA).await?;
        transaction.commit().await?;
        lease.give_back();
        Ok(())
    }
}

#[sampan::async_trait]
impl Store for Postgres {
    async fn place(&self, order: NewOrder) -> Result<Order, StoreError> {
        limited(async {
            let mut lease = self.pool.lease().await?;
            let placed = place(lease.client(), order).await?;
            lease.give_back();
            Ok(placed)
        })
        .await
    }

    async fn placed_by_key(&self, idempotency_key: &str) -> Result<Option<Order>, StoreError> {
        limited(async {
            let mut lease = self.pool.lease().await?;
            let order = placed_by_key(lease.client(), idempotency_key).await?;
            lease.give_back();
            Ok(order)
        })
        .await
    }

    async fn order(&self, id: &str) -> Result<Option<Order>, StoreError> {
        limited(async {
            let mut lease = self.pool.lease().await?;
            let order = order(lease.client(), id).await?;
            lease.give_back();
            Ok(order)
        })
        .await
    }

    async fn newest(&self, limit: u32) -> Result<Vec<Order>, StoreError> {
        limited(async {
            let mut lease = self.pool.lease().await?;
            let rows = lease
                .client()
                .query(
                    "SELECT id, total_cents, stage, placed_at FROM orders \
                     ORDER BY sequence DESC LIMIT $1",
                    &[&i64::from(limit)],
                )
                .await?;
            let orders = rows
                .iter()
                .map(order_without_items)
                .collect::<Result<_, _>>()?;
            let orders = with_items(lease.client(), orders).await?;
            lease.give_back();
            Ok(orders)
        })
        .await
    }

    async fn record(&self, id: &str, step: Step, at: Moment) -> Result<Recorded, StoreError> {
        limited(async {
            let mut lease = self.pool.lease().await?;
            let recorded = match record(lease.client(), id, &step, at).await {
                // A refusal leaves the connection as good as it was.
                Err(StoreError::Refused(refusal)) => Err(refusal.into()),
                Err(failure) => return Err(failure),
                Ok(recorded) => Ok(recorded),
            };
            lease.give_back();
            recorded
        })
        .await
    }

    async fn events_after(&self, id: &str, stage: Stage) -> Result<Vec<OrderEvent>, StoreError> {
        limited(async {
            let mut lease = self.pool.lease().await?;
            let rows = lease
                .client()
                .query(
                    "SELECT order_id, stage, note, at FROM order_events \
                     WHERE order_id = $1 AND stage > $2 ORDER BY stage",
                    &[&id, &(stage as i32)],
                )
                .await?;
            lease.give_back();
            rows.iter().map(event_of).collect()
        })
        .await
    }
}

/// Bounds a call. One that is cut leaves its connection unfit, so the lease drops it.
async fn limited<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(CALL_LIMIT, call)
        .await
        .unwrap_or_else(|_| {
            Err(StoreError::unavailable(format!(
                "no answer within {} ms",
                CALL_LIMIT.as_millis()
            )))
        })
}

async fn place(client: &mut tokio_postgres::Client, new: NewOrder) -> Result<Order, StoreError> {
    let transaction = client.transaction().await?;
    // A second writer of the same key waits here until the first has committed.
    let inserted = transaction
        .execute(
            "INSERT INTO orders (id, idempotency_key, total_cents, stage, placed_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (idempotency_key) DO NOTHING",
            &[
                &new.id,
                &new.idempotency_key,
                &new.total_cents,
                &(Stage::Placed as i32),
                &new.placed_at.micros(),
            ],
        )
        .await?;
    if inserted == 0 {
        return placed_by_key(&transaction, &new.idempotency_key)
            .await?
            .ok_or_else(|| StoreError::failed("an order's key is taken by no order"));
    }
    let insert = transaction
        .prepare(
            "INSERT INTO order_items \
             (order_id, position, product_id, quantity, name, price_cents) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .await?;
    for (position, item) in (0_i32..).zip(&new.items) {
        let Item {
            product_id,
            quantity,
            name,
            price_cents,
        } = item;
        let quantity = i64::from(*quantity);
        transaction
            .execute(
                &insert,
                &[&new.id, &position, product_id, &quantity, name, price_cents],
            )
            .await?;
    }
    insert_event(
        &transaction,
        &new.id,
        Stage::Placed,
        PLACED_NOTE,
        new.placed_at,
    )
    .await?;
    transaction.commit().await?;
    Ok(new.into_order())
}

async fn placed_by_key(
    client: &impl GenericClient,
    key: &str,
) -> Result<Option<Order>, StoreError> {
    let row = client
        .query_opt(
            "SELECT id, total_cents, stage, placed_at FROM orders WHERE idempotency_key = $1",
            &[&key],
        )
        .await?;
    let order = one_with_items(client, row).await?;
    Ok(order.map(|order| Order {
        stage: Stage::Placed.into(),
        ..order
    }))
}

async fn order(client: &impl GenericClient, id: &str) -> Result<Option<Order>, StoreError> {
    let row = client
        .query_opt(
            "SELECT id, total_cents, stage, placed_at FROM orders WHERE id = $1",
            &[&id],
        )
        .await?;
    one_with_items(client, row).await
}

async fn record(
    client: &mut tokio_postgres::Client,
    id: &str,
    step: &Step,
    at: Moment,
) -> Result<Recorded, StoreError> {
    let transaction = client.transaction().await?;
    let row = transaction
        .query_opt(
            "SELECT stage, payment_id FROM orders WHERE id = $1 FOR UPDATE",
            &[&id],
        )
        .await?
        .ok_or(Refusal::UnknownOrder)?;
    let standing = Standing {
        stage: Stage::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default(),
        payment_id: row.try_get(1)?,
    };
    let new = step.decide(&standing)? == Decision::Record;
    if new {
        let updated = transaction
            .execute(
                "UPDATE orders SET stage = $2, payment_id = coalesce($3, payment_id) \
                 WHERE id = $1",
                &[&id, &(step.stage() as i32), &step.payment_id()],
            )
            .await;
        match updated {
            // The only unique column that it writes is the payment's.
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                return Err(Refusal::PaymentUsed.into());
            }
            updated => updated?,
        };
        insert_event(&transaction, id, step.stage(), step.note(), at).await?;
    }
    let order = order(&transaction, id)
        .await?
        .ok_or(Refusal::UnknownOrder)?;
    let event = transaction
        .query_one(
            "SELECT order_id, stage, note, at FROM order_events \
             WHERE order_id = $1 AND stage = $2",
            &[&id, &(step.stage() as i32)],
        )
        .await?;
    let event = event_of(&event)?;
    transaction.commit().await?;
    Ok(Recorded { order, event, new })
}

async fn insert_event(
    client: &impl GenericClient,
    id: &str,
    stage: Stage,
    note: &str,
    at: Moment,
) -> Result<(), StoreError> {
    client
        .execute(
            "INSERT INTO order_events (order_id, stage, note, at) VALUES ($1, $2, $3, $4)",
            &[&id, &(stage as i32), &note, &at.micros()],
        )
        .await?;
    Ok(())
}

async fn one_with_items(
    client: &impl GenericClient,
    row: Option<Row>,
) -> Result<Option<Order>, StoreError> {
    let Some(row) = row else { return Ok(None) };
    let orders = with_items(client, vec![order_without_items(&row)?]).await?;
    Ok(orders.into_iter().next())
}

/// Fills in the items of all orders by one query.
async fn with_items(
    client: &impl GenericClient,
    mut orders: Vec<Order>,
) -> Result<Vec<Order>, StoreError> {
    let ids: Vec<&str> = orders.iter().map(|order| order.id.as_str()).collect();
    let rows = client
        .query(
            "SELECT order_id, product_id, quantity, name, price_cents FROM order_items \
             WHERE order_id = ANY($1) ORDER BY order_id, position",
            &[&ids],
        )
        .await?;
    let mut items: HashMap<String, Vec<Item>> = HashMap::with_capacity(orders.len());
    for row in rows {
        let item = Item {
            product_id: row.try_get(1)?,
            quantity: u32::try_from(row.try_get::<_, i64>(2)?).map_err(StoreError::failed)?,
            name: row.try_get(3)?,
            price_cents: row.try_get(4)?,
        };
        items.entry(row.try_get(0)?).or_default().push(item);
    }
    for order in &mut orders {
        order.items = items.remove(&order.id).unwrap_or_default();
    }
    Ok(orders)
}

fn order_without_items(row: &Row) -> Result<Order, StoreError> {
    Ok(Order {
        id: row.try_get(0)?,
        items: Vec::new(),
        total_cents: row.try_get(1)?,
        stage: row.try_get(2)?,
        placed_at: Some(Moment::from_micros(row.try_get(3)?).into()),
    })
}

fn event_of(row: &Row) -> Result<OrderEvent, StoreError> {
    Ok(OrderEvent {
        order_id: row.try_get(0)?,
        stage: row.try_get(1)?,
        note: row.try_get(2)?,
        at: Some(Moment::from_micros(row.try_get(3)?).into()),
    })
}

impl From<tokio_postgres::Error> for StoreError {
    /// Without a code from the server it is the connection that failed.
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            None => Self::unavailable(error),
            Some(code) if is_passing(code) => Self::unavailable(error),
            Some(_) => Self::failed(error),
        }
    }
}

/// Whether a later try may find the server in a better state.
fn is_passing(code: &SqlState) -> bool {
    // Connections, resources, operators (a shutdown or a start), and serialisation.
    ["08", "53", "57", "40"]
        .iter()
        .any(|class| code.code().starts_with(class))
}
