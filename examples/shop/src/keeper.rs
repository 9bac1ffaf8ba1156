//! Keeps one catalog process: starts it, kills it when asked to, and starts it again.
//!
//! Why: a demonstration needs a replica that dies as a crashed process does and comes back at
//! the same address. The keeper is the same binary and works as a container's first process:
//! it hands signals on, and the replica, its only child, is always reaped.

mod plan;
mod replica;

use crate::{
    config::KeeperConfig,
    proto::{KeeperStatus, KillRequest, StartRequest, keeper_server},
};
use replica::{Handle, Replica, Wish};
use sampan::{Address, Request, Response, Status};
use std::{net::SocketAddr, time::Duration};

/// Passes calls on to the task that owns the replica.
#[derive(Clone, Debug)]
struct Keeper {
    replica: Handle,
}

/// Keeps a replica and serves `shop.v1.Keeper` until a signal comes; returns once the replica
/// has drained.
///
/// # Errors
/// The keeper could not listen, or the replica could not be started or refused its settings.
pub(crate) async fn serve(config: KeeperConfig) -> Result<(), sampan::Error> {
    let (replica, handle) = Replica::new(config.revive).map_err(sampan::Error::other)?;
    let server = sampan::Server::builder()
        .listen(Address::Tcp(SocketAddr::new(config.host, config.port)))
        .lame_duck(Duration::ZERO)
        .add_service(keeper_server::KeeperServer::new(Keeper { replica: handle }))
        .bind()
        .await?;

    let (ended, until_ended) = tokio::sync::oneshot::channel();
    let keeping = async {
        let end = replica.keep().await;
        // The server may have failed already.
        let _ = ended.send(());
        end
    };
    let serving = server.serve_until(async {
        let _ = until_ended.await;
    });
    let (kept, served) = tokio::join!(keeping, serving);
    kept.map_err(|error| {
        if error.is_configuration() {
            sampan::Error::configuration(error)
        } else {
            sampan::Error::other(error)
        }
    })?;
    served?;
    Ok(())
}

/// Makes this process end with `keeper`, its parent, however that ends.
///
/// # Errors
/// The keeper is gone already.
#[cfg(target_os = "linux")]
pub(crate) fn die_with(keeper: u32) -> std::io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    set_parent_process_death_signal(Some(Signal::TERM))?;
    // It may have ended before the line above.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent == Some(keeper) {
        Ok(())
    } else {
        Err(std::io::Error::other(format!(
            "the keeper, process {keeper}, is gone"
        )))
    }
}

/// Elsewhere than on Linux a replica outlives a keeper that is killed.
#[cfg(not(target_os = "linux"))]
pub(crate) fn die_with(_keeper: u32) -> std::io::Result<()> {
    Ok(())
}

// === impl Keeper ===

impl Keeper {
    async fn ask(&self, wish: Wish) -> Result<Response<KeeperStatus>, Status> {
        let pid = self
            .replica
            .ask(wish)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(KeeperStatus {
            running: pid.is_some(),
            pid: pid.unwrap_or_default(),
        }))
    }
}

#[sampan::async_trait]
impl keeper_server::Keeper for Keeper {
    async fn kill(&self, _: Request<KillRequest>) -> Result<Response<KeeperStatus>, Status> {
        self.ask(Wish::Kill).await
    }

    async fn start(&self, _: Request<StartRequest>) -> Result<Response<KeeperStatus>, Status> {
        self.ask(Wish::Start).await
    }
}
