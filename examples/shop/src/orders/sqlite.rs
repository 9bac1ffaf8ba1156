//! Orders in an SQLite file.
//!
//! Why a thread: SQLite blocks. One connection on one thread of its own keeps the runtime free
//! and writes in order. A commit returns after the write-ahead log is on disk
//! (`synchronous = FULL`), so what was answered outlives a `kill -9` and a power cut.

use super::{
    lifecycle::{Decision, Refusal, Standing, Step},
    store::{NewOrder, PLACED_NOTE, Recorded, Store, StoreError},
};
use crate::{
    moment::Moment,
    proto::{Item, Order, OrderEvent, Stage},
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, TransactionBehavior, params};
use std::{path::Path, path::PathBuf, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Orders in an SQLite file.
#[derive(Clone, Debug)]
pub(super) struct Sqlite {
    jobs: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Why a file cannot keep orders.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("cannot open {}: is its folder there and writable?", .0.display())]
    Open(PathBuf, #[source] rusqlite::Error),
    #[error("{path} takes no write-ahead log (its journal is `{1}`)", path = .0.display())]
    Journal(PathBuf, String),
    #[error("cannot start the database's thread")]
    Thread(#[source] std::io::Error),
}

/// Waiting jobs; callers beyond wait for room, each until its deadline.
const QUEUE: usize = 256;
/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(2);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS orders (
    sequence        INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    idempotency_key TEXT NOT NULL UNIQUE,
    total_cents     INTEGER NOT NULL,
    stage           INTEGER NOT NULL,
    payment_id      TEXT UNIQUE,
    placed_at       INTEGER NOT NULL -- microseconds since 1970
) STRICT;
CREATE TABLE IF NOT EXISTS order_items (
    order_id    TEXT NOT NULL REFERENCES orders (id),
    position    INTEGER NOT NULL,
    product_id  TEXT NOT NULL,
    quantity    INTEGER NOT NULL,
    name        TEXT NOT NULL,
    price_cents INTEGER NOT NULL,
    PRIMARY KEY (order_id, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS order_events (
    order_id TEXT NOT NULL REFERENCES orders (id),
    stage    INTEGER NOT NULL,
    note     TEXT NOT NULL,
    at       INTEGER NOT NULL, -- microseconds since 1970
    PRIMARY KEY (order_id, stage)
) STRICT, WITHOUT ROWID;
";

// === impl Sqlite ===

impl Sqlite {
    /// Opens the file, and makes it and its tables where they are not there yet.
    ///
    /// # Errors
    /// The file cannot be opened or written.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let mut connection =
            connect(path).map_err(|error| OpenError::Open(path.to_owned(), error))?;
        let journal: String = connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(|error| OpenError::Open(path.to_owned(), error))?;
        if journal != "wal" {
            return Err(OpenError::Journal(path.to_owned(), journal));
        }
        connection
            .execute_batch(SCHEMA)
            .map_err(|error| OpenError::Open(path.to_owned(), error))?;

        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new()
            .name("orders-sqlite".into())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
            })
            .map_err(OpenError::Thread)?;
        Ok(Self { jobs })
    }

    /// Runs `work` on the connection's thread.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // A caller that left while this waited wants no answer any more.
            if !answer.is_closed() {
                // One that left meanwhile may ask again.
                let _ = answer.send(work(connection));
            }
        });
        self.jobs.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

#[sampan::async_trait]
impl Store for Sqlite {
    async fn place(&self, order: NewOrder) -> Result<Order, StoreError> {
        self.run(move |connection| place(connection, order)).await
    }

    async fn placed_by_key(&self, idempotency_key: &str) -> Result<Option<Order>, StoreError> {
        let key = idempotency_key.to_owned();
        self.run(move |connection| placed_by_key(connection, &key))
            .await
    }

    async fn order(&self, id: &str) -> Result<Option<Order>, StoreError> {
        let id = id.to_owned();
        self.run(move |connection| order(connection, &id)).await
    }

    async fn newest(&self, limit: u32) -> Result<Vec<Order>, StoreError> {
        self.run(move |connection| newest(connection, limit)).await
    }

    async fn record(&self, id: &str, step: Step, at: Moment) -> Result<Recorded, StoreError> {
        let id = id.to_owned();
        self.run(move |connection| record(connection, &id, &step, at))
            .await
    }

    async fn events_after(&self, id: &str, stage: Stage) -> Result<Vec<OrderEvent>, StoreError> {
        let id = id.to_owned();
        self.run(move |connection| events_after(connection, &id, stage))
            .await
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn place(connection: &mut Connection, new: NewOrder) -> Result<Order, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(placed) = placed_by_key(&transaction, &new.idempotency_key)? {
        return Ok(placed);
    }
    transaction
        .prepare_cached(
            "INSERT INTO orders (id, idempotency_key, total_cents, stage, placed_at) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            new.id,
            new.idempotency_key,
            new.total_cents,
            Stage::Placed as i32,
            new.placed_at.micros()
        ])?;
    {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO order_items \
             (order_id, position, product_id, quantity, name, price_cents) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for (position, item) in new.items.iter().enumerate() {
            let Item {
                product_id,
                quantity,
                name,
                price_cents,
            } = item;
            insert.execute(params![
                new.id,
                position as i64,
                product_id,
                quantity,
                name,
                price_cents
            ])?;
        }
    }
    insert_event(
        &transaction,
        &new.id,
        Stage::Placed,
        PLACED_NOTE,
        new.placed_at,
    )?;
    transaction.commit()?;
    Ok(new.into_order())
}

fn placed_by_key(connection: &Connection, key: &str) -> Result<Option<Order>, StoreError> {
    let order = connection
        .prepare_cached(
            "SELECT id, total_cents, stage, placed_at FROM orders WHERE idempotency_key = ?1",
        )?
        .query_row([key], order_without_items)
        .optional()?;
    order
        .map(|order| {
            let order = with_items(connection, order)?;
            Ok(Order {
                stage: Stage::Placed.into(),
                ..order
            })
        })
        .transpose()
}

fn order(connection: &Connection, id: &str) -> Result<Option<Order>, StoreError> {
    let order = connection
        .prepare_cached("SELECT id, total_cents, stage, placed_at FROM orders WHERE id = ?1")?
        .query_row([id], order_without_items)
        .optional()?;
    order.map(|order| with_items(connection, order)).transpose()
}

fn newest(connection: &Connection, limit: u32) -> Result<Vec<Order>, StoreError> {
    let orders = connection
        .prepare_cached(
            "SELECT id, total_cents, stage, placed_at FROM orders \
             ORDER BY sequence DESC LIMIT ?1",
        )?
        .query_map([limit], order_without_items)?
        .collect::<Result<Vec<_>, _>>()?;
    orders
        .into_iter()
        .map(|order| with_items(connection, order))
        .collect()
}

fn record(
    connection: &mut Connection,
    id: &str,
    step: &Step,
    at: Moment,
) -> Result<Recorded, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let standing = transaction
        .prepare_cached("SELECT stage, payment_id FROM orders WHERE id = ?1")?
        .query_row([id], |row| {
            Ok(Standing {
                stage: stage_of(row.get(0)?),
                payment_id: row.get(1)?,
            })
        })
        .optional()?
        .ok_or(Refusal::UnknownOrder)?;
    let new = step.decide(&standing)? == Decision::Record;
    if new {
        if let Some(payment_id) = step.payment_id() {
            let used = transaction
                .prepare_cached("SELECT 1 FROM orders WHERE payment_id = ?1")?
                .exists([payment_id])?;
            if used {
                return Err(Refusal::PaymentUsed.into());
            }
        }
        transaction
            .prepare_cached(
                "UPDATE orders SET stage = ?2, payment_id = coalesce(?3, payment_id) \
                 WHERE id = ?1",
            )?
            .execute(params![id, step.stage() as i32, step.payment_id()])?;
        insert_event(&transaction, id, step.stage(), step.note(), at)?;
    }
    let order = order(&transaction, id)?.ok_or(Refusal::UnknownOrder)?;
    let event = transaction
        .prepare_cached(
            "SELECT order_id, stage, note, at FROM order_events \
             WHERE order_id = ?1 AND stage = ?2",
        )?
        .query_row(params![id, step.stage() as i32], event_of)?;
    transaction.commit()?;
    Ok(Recorded { order, event, new })
}

fn events_after(
    connection: &Connection,
    id: &str,
    stage: Stage,
) -> Result<Vec<OrderEvent>, StoreError> {
    let events = connection
        .prepare_cached(
            "SELECT order_id, stage, note, at FROM order_events \
             WHERE order_id = ?1 AND stage > ?2 ORDER BY stage",
        )?
        .query_map(params![id, stage as i32], event_of)?
        .collect::<Result<_, _>>()?;
    Ok(events)
}

fn insert_event(
    connection: &Connection,
    id: &str,
    stage: Stage,
    note: &str,
    at: Moment,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO order_events (order_id, stage, note, at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![id, stage as i32, note, at.micros()])?;
    Ok(())
}

fn with_items(connection: &Connection, order: Order) -> Result<Order, StoreError> {
    let items = connection
        .prepare_cached(
            "SELECT product_id, quantity, name, price_cents FROM order_items \
             WHERE order_id = ?1 ORDER BY position",
        )?
        .query_map([&order.id], |row| {
            Ok(Item {
                product_id: row.get(0)?,
                quantity: row.get(1)?,
                name: row.get(2)?,
                price_cents: row.get(3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(Order { items, ..order })
}

fn order_without_items(row: &Row<'_>) -> rusqlite::Result<Order> {
    Ok(Order {
        id: row.get(0)?,
        items: Vec::new(),
        total_cents: row.get(1)?,
        stage: row.get(2)?,
        placed_at: Some(Moment::from_micros(row.get(3)?).into()),
    })
}

fn event_of(row: &Row<'_>) -> rusqlite::Result<OrderEvent> {
    Ok(OrderEvent {
        order_id: row.get(0)?,
        stage: row.get(1)?,
        note: row.get(2)?,
        at: Some(Moment::from_micros(row.get(3)?).into()),
    })
}

/// Only this program writes stages, so all are known.
fn stage_of(number: i32) -> Stage {
    Stage::try_from(number).unwrap_or_default()
}

fn gone() -> StoreError {
    StoreError::failed("the database's thread is gone")
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::unavailable(error),
            _ => Self::failed(error),
        }
    }
}
