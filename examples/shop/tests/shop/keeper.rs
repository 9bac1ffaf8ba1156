use crate::process::{CATALOG, Process, Program, free_port, until_some, within};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sampan::Channel;
use shop::proto::{
    KillRequest, ListProductsRequest, StartRequest, catalog_client::CatalogClient,
    keeper_client::KeeperClient,
};
use std::path::PathBuf;

/// A keeper and the target of its replica.
struct Kept {
    program: Program,
    process: Process,
    keeper: KeeperClient<Channel>,
    replica: String,
}

// === impl Kept ===

impl Kept {
    async fn start() -> Self {
        Self::start_from(CATALOG).await
    }

    async fn start_from(path: impl Into<PathBuf>) -> Self {
        let port = free_port();
        let program = Program::new(path)
            .with("PORT", port.to_string())
            .with("SHOP_KEEPER_PORT", (port + 100).to_string())
            .with("SAMPAN_PROBE_PORT", free_port().to_string());
        let process = program.start().await;
        // Both log, in any order.
        for port in [port, port + 100] {
            process
                .logged(&format!("listening on 127.0.0.1:{port}"))
                .await;
        }
        let keeper = KeeperClient::dial(format!("static:///127.0.0.1:{}", port + 100)).unwrap();
        Self {
            program,
            process,
            keeper,
            replica: format!("static:///127.0.0.1:{port}"),
        }
    }

    async fn pid(&mut self) -> Pid {
        let status = self
            .keeper
            .start(StartRequest {})
            .await
            .unwrap()
            .into_inner();
        assert!(status.running);
        Pid::from_raw(status.pid.try_into().unwrap()).unwrap()
    }

    /// Over a connection of its own, so that it says how it is now.
    async fn answers(&self) -> bool {
        let mut catalog = CatalogClient::dial(&self.replica).unwrap();
        catalog
            .list_products(ListProductsRequest::default())
            .await
            .is_ok()
    }
}

#[tokio::test]
async fn a_killed_replica_stays_down_until_it_is_started() {
    let mut kept = Kept::start().await;
    assert!(kept.answers().await);
    assert_eq!(kept.program.health().await, Some(0));
    let pid = kept.pid().await;
    let killed = kept.keeper.kill(KillRequest {}).await.unwrap().into_inner();
    assert!(!killed.running);
    assert!(test_kill_process(pid).is_err(), "it is gone and reaped");
    assert!(!kept.answers().await);
    assert_eq!(kept.program.health().await, Some(1));
    let again = kept.keeper.kill(KillRequest {}).await.unwrap().into_inner();
    assert!(!again.running);

    assert_ne!(kept.pid().await, pid);
    until_some(async || kept.answers().await.then_some(())).await;
}

#[tokio::test]
async fn a_replica_that_crashes_is_started_again() {
    let mut kept = Kept::start().await;
    let pid = kept.pid().await;
    kill_process(pid, Signal::KILL).unwrap();
    kept.process.logged("starting it again").await;
    until_some(async || kept.answers().await.then_some(())).await;
    assert_ne!(kept.pid().await, pid);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_replica_starts_again_after_its_file_was_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("shop-catalog");
    std::fs::copy(CATALOG, &copy).unwrap();
    let mut kept = Kept::start_from(&copy).await;
    std::fs::remove_file(&copy).unwrap();
    kept.keeper.kill(KillRequest {}).await.unwrap();
    kept.pid().await;
    until_some(async || kept.answers().await.then_some(())).await;
}

#[tokio::test]
async fn a_keeper_that_is_asked_to_stop_stops_its_replica_first() {
    let mut kept = Kept::start().await;
    let pid = kept.pid().await;
    let status = kept.process.terminate().await;
    assert!(status.success(), "{status}");
    assert!(test_kill_process(pid).is_err());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_replica_does_not_outlive_a_keeper_that_is_killed() {
    let mut kept = Kept::start().await;
    let pid = kept.pid().await;
    let Kept { process, .. } = kept;
    process.kill().await;
    // Whoever adopts it may reap it late, so a dead one may still have its number.
    let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
    until_some(async || match std::fs::read_to_string(&stat) {
        Ok(stat) => stat.contains(") Z ").then_some(()),
        Err(_) => Some(()),
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_refuses_its_settings_ends_its_keeper() {
    let port = free_port();
    let program = Program::new(CATALOG)
        .with("PORT", port.to_string())
        .with("SHOP_KEEPER_PORT", (port + 100).to_string())
        .with("SAMPAN_DRAIN_TIMEOUT", "soon");
    let (code, told) = within(program.refusal()).await;
    assert_eq!(code, Some(64), "{told}");
    assert!(told.contains("SAMPAN_DRAIN_TIMEOUT"), "{told}");
}
