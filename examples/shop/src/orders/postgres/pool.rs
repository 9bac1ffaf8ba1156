//! A few connections that are made when needed and thrown away when in doubt.

use crate::{chain::Chain, orders::store::StoreError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::{Client, Config, NoTls};

/// Connections to one database.
#[derive(Debug)]
pub(super) struct Pool {
    config: Config,
    permits: Semaphore,
    idle: Mutex<Vec<Client>>,
}

/// A connection on loan. Dropped without [`Lease::give_back`], it is closed: what failed or was
/// cut short may have left it in the midst of something.
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    client: Client,
    _permit: SemaphorePermit<'a>,
}

const MAX_CONNECTIONS: usize = 4;

// === impl Pool ===

impl Pool {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            permits: Semaphore::new(MAX_CONNECTIONS),
            idle: Mutex::default(),
        }
    }

    /// An open connection; waits for one to come free when all are out.
    ///
    /// # Errors
    /// The database cannot be reached, or does not let us in.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn lease(&self) -> Result<Lease<'_>, StoreError> {
        let permit = self.permits.acquire().await.map_err(StoreError::failed)?;
        let client = match self.take_idle() {
            Some(client) => client,
            None => self.connect().await?,
        };
        Ok(Lease {
            pool: self,
            client,
            _permit: permit,
        })
    }

    fn take_idle(&self) -> Option<Client> {
        let mut idle = self.idle();
        // The server closes them all when it restarts.
        idle.retain(|client| !client.is_closed());
        idle.pop()
    }

    async fn connect(&self) -> Result<Client, StoreError> {
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = %Chain(&error), "a connection to the database broke");
            }
        });
        Ok(client)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Lease ===

impl Lease<'_> {
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Keeps the connection for the next lease.
    pub(super) fn give_back(self) {
        self.pool.idle().push(self.client);
    }
}
