//! The same promises on a real Postgres, where there is one on this machine.

use crate::{
    orders::{keeps_its_promises, place, request},
    process::{CATALOG, LIMIT, ORDERS, Program, free_port, until_some, within},
};
use rustix::process::{Pid, Signal, getuid, kill_process};
use sampan::Code;
use shop::proto::orders_client::OrdersClient;
use std::{
    io::Write,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::{Child, Command};

/// Postgres does not run as root; anybody else will do.
const NOBODY: u32 = 65_534;

/// A Postgres of our own in a fresh folder.
struct Server {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    running: Option<Child>,
}

// === impl Server ===

impl Server {
    async fn start(programs: PathBuf) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("shop-postgres")
            .tempdir()
            .unwrap();
        if getuid().is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut server = Self {
            programs,
            folder,
            port: free_port(),
            running: None,
        };
        let made = server
            .command("initdb")
            .args([
                "--username=shop",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-sync",
            ])
            .output();
        let made = tokio::time::timeout(2 * LIMIT, made)
            .await
            .expect("initdb hangs")
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        server.resume();
        server
    }

    fn resume(&mut self) {
        let child = self
            .command("postgres")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-k", ""])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running = Some(child);
    }

    /// Closes every connection, as a restart does.
    async fn stop(&mut self) {
        let mut child = self.running.take().unwrap();
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().unwrap()))
            .unwrap();
        // Postgres' "fast" shutdown.
        kill_process(pid, Signal::INT).unwrap();
        within(child.wait()).await.unwrap();
    }

    fn url(&self) -> String {
        format!("postgres://shop@127.0.0.1:{}/postgres", self.port)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-D").arg(self.folder.path().join("data"));
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if getuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    std::env::split_paths(&path)
        .chain(debian.flatten().map(|version| version.path().join("bin")))
        .find(|folder| has(folder, "initdb") && has(folder, "postgres"))
}

fn has(folder: &Path, program: &str) -> bool {
    folder.join(program).is_file()
}

#[tokio::test]
async fn postgres_keeps_what_orders_promises_and_may_restart_meanwhile() {
    let Some(programs) = programs() else {
        // Not by eprintln!, which a passing test keeps to itself.
        let loud = "SKIPPED: no initdb and postgres on this machine (apt install postgresql)";
        writeln!(std::io::stderr(), "{loud}").unwrap();
        return;
    };
    let mut server = Server::start(programs).await;
    let catalog = Program::new(CATALOG).start().await;
    let program = Program::new(ORDERS)
        .with("CATALOG_ADDR", catalog.target())
        .with("DATABASE_URL", server.url());
    // Postgres is starting meanwhile; orders waits for it.
    let process = program.start().await;
    let mut orders = OrdersClient::dial(process.target()).unwrap();
    keeps_its_promises(&mut orders).await;

    server.stop().await;
    let down = orders
        .place_order(request("down", &[("tea", 1)]))
        .await
        .unwrap_err();
    assert_eq!(down.code(), Code::Unavailable, "{down}");
    server.resume();
    let placed = until_some(async || {
        orders
            .place_order(request("down", &[("tea", 1)]))
            .await
            .ok()
            .map(|order| order.into_inner())
    })
    .await;

    // Two processes on one database make one order of one key.
    let other = program.start().await;
    let mut other = OrdersClient::dial(other.target()).unwrap();
    assert_eq!(place(&mut other, "down", &[("tea", 1)]).await, placed);
    server.stop().await;
}
