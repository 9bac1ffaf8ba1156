//! Services as processes.

use rustix::process::{Pid, Signal, kill_process};
use shop::proto::Stage;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::watch,
};

/// Longest wait for anything in these tests.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// How long a service that stops waits for its calls.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// A binary of the shop and what it is to be started with.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    environment: BTreeMap<String, String>,
}

/// A program that runs. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: watch::Receiver<String>,
    address: SocketAddr,
}

pub(crate) const CATALOG: &str = env!("CARGO_BIN_EXE_shop-catalog");
pub(crate) const GATEWAY: &str = env!("CARGO_BIN_EXE_shop-gateway");
pub(crate) const ORDERS: &str = env!("CARGO_BIN_EXE_shop-orders");
pub(crate) const PAYMENTS: &str = env!("CARGO_BIN_EXE_shop-payments");
pub(crate) const SUPPORT: &str = env!("CARGO_BIN_EXE_shop-support");
pub(crate) const TRACKING: &str = env!("CARGO_BIN_EXE_shop-tracking");

// === impl Program ===

impl Program {
    /// Listens on a free port of loopback, without a probe port, and stops without ado.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            environment: BTreeMap::new(),
        }
        .with("SAMPAN_HOST", "127.0.0.1")
        .with("PORT", "0")
        .with("SAMPAN_PROBE_PORT", "off")
        .with("SAMPAN_LAME_DUCK", "0s")
        .with(
            "SAMPAN_DRAIN_TIMEOUT",
            format!("{}s", DRAIN_TIMEOUT.as_secs()),
        )
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.environment.insert(key.to_owned(), value.into());
        self
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start(&self) -> Process {
        let mut child = self.spawn();
        let log = collect(&mut child);
        let mut process = Process {
            child,
            log,
            address: (Ipv4Addr::UNSPECIFIED, 0).into(),
        };
        let line = process.logged("listening on ").await;
        process.address = address_in(&line).unwrap_or_else(|| panic!("no address in: {line}"));
        process
    }

    /// Starts it where it is expected to refuse; gives its exit code and what it printed.
    pub(crate) async fn refusal(&self) -> (Option<i32>, String) {
        let output = within(self.command().output()).await.unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    /// Asks it for its health, as a container's HEALTHCHECK does; gives the exit code.
    pub(crate) async fn health(&self) -> Option<i32> {
        let output = within(self.command().arg("health").output()).await;
        output.unwrap().status.code()
    }

    fn spawn(&self) -> Child {
        self.command()
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

// === impl Process ===

impl Process {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A target that a channel can dial.
    pub(crate) fn target(&self) -> String {
        format!("static:///{}", self.address)
    }

    /// The first line of its log, past or to come, that holds `part`.
    pub(crate) async fn logged(&self, part: &str) -> String {
        let mut log = self.log.clone();
        let waited = log.wait_for(|log| line_with(log, part).is_some());
        match tokio::time::timeout(LIMIT, waited).await {
            Ok(Ok(log)) => line_with(&log, part).unwrap_or_default().to_owned(),
            _ => panic!("no `{part}` in its log:\n{}", self.log()),
        }
    }

    /// All it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// As `kill -9` does.
    pub(crate) async fn kill(mut self) {
        within(self.child.kill()).await.unwrap();
    }

    /// Asks it to stop and waits for its end.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        let pid = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().unwrap()))
            .unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        within(self.child.wait()).await.unwrap()
    }
}

fn collect(child: &mut Child) -> watch::Receiver<String> {
    let (tell, log) = watch::channel(String::new());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            tell.send_modify(|log| {
                log.push_str(&line);
                log.push('\n');
            });
        }
    });
    log
}

fn line_with<'a>(log: &'a str, part: &str) -> Option<&'a str> {
    // A line that is still being written has no end yet.
    log.split_inclusive('\n')
        .find(|line| line.ends_with('\n') && line.contains(part))
}

fn address_in(line: &str) -> Option<SocketAddr> {
    line.split("listening on ")
        .nth(1)?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Waits for it, but not for ever.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future)
        .await
        .expect("it takes too long")
}

/// Tries until it gives something, but not for ever.
pub(crate) async fn until_some<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    within(async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// A port that is free, and whose keeper's port is too. Outside of what the system hands out by
/// itself, so that it is still free after its listener was killed.
pub(crate) fn free_port() -> u16 {
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    std::iter::repeat_with(|| rand::random_range(10_000..30_000))
        .take(1_000)
        .find(|port| is_free(*port) && is_free(port + 100))
        .expect("no port is free")
}

/// The stages of a parcel's whole way.
pub(crate) const WHOLE_WAY: [Stage; 5] = [
    Stage::Placed,
    Stage::Paid,
    Stage::Packed,
    Stage::OnTheWay,
    Stage::Delivered,
];
