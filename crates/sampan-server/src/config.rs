//! A server's settings, and where they come from.

mod env;
mod value;

use crate::{loads::LoadReporting, local::LocalSettings, secure::Secure};
use sampan_container::{Grant, Plan};
use sampan_middleware::compression::Compression;
use sampan_middleware::overload::QueueDelaySettings;
use sampan_transport::{Address, ListenSettings, MemoryBudget, ServeSettings};
use std::{fmt, net::TcpListener, os::unix::net::UnixListener, sync::Arc, time::Duration};

pub(crate) use env::{log_filter, probe_for_health};

/// All that a server does besides its services.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: Vec<Listen>,
    pub(crate) probe: Option<Address>,
    pub(crate) lame_duck: Duration,
    pub(crate) drain_timeout: Duration,
    /// None: by the container's memory.
    pub(crate) max_connections: Option<usize>,
    /// None: one per granted core.
    pub(crate) workers: Option<usize>,
    pub(crate) longest_call: Option<Duration>,
    /// When calls that wait are shed; None: never.
    pub(crate) queue_delay: Option<QueueDelaySettings>,
    /// None: nobody is told of the load.
    pub(crate) load_reports: Option<LoadReporting>,
    pub(crate) compression: Option<Compression>,
    pub(crate) sockets: ListenSettings,
    pub(crate) connections: ServeSettings,
    pub(crate) tls: Option<Arc<dyn Secure>>,
    pub(crate) granted: Grant,
    pub(crate) local: LocalSettings,
}

#[derive(Debug)]
pub(crate) enum Listen {
    At(Address),
    On(TcpListener),
    OnUnix(UnixListener),
}

/// An environment key that [`Server::from_env`](crate::Server::from_env) or
/// [`run`](crate::run) reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnvironmentKey {
    /// Its name.
    pub name: &'static str,
    /// What holds when it is not set; empty: nothing.
    pub default: &'static str,
    /// What it sets.
    pub meaning: &'static str,
}

/// Every key of the environment that a server knows. Any other one that begins with `SAMPAN_`
/// is refused, so that a misspelt one is noticed.
pub const ENVIRONMENT: &[EnvironmentKey] = &[
    key("PORT", "50051", "the port to listen on; 0 takes a free one"),
    key(
        "SAMPAN_HOST",
        "0.0.0.0",
        "the IP address to listen on, for calls and for probes",
    ),
    key(
        "SAMPAN_UNIX_SOCKET",
        "",
        "the path of a Unix socket to listen on as well",
    ),
    key(
        "LISTEN_FDS",
        "",
        "so many sockets, from descriptor 3 on, are bound already and taken over in place of these; LISTEN_PID, if set, says for whom",
    ),
    key(
        "SAMPAN_PROBE_PORT",
        "9090",
        "the port of /health, /ready and /metrics; off: none",
    ),
    key(
        "SAMPAN_LAME_DUCK",
        "5s",
        "how long calls are still accepted after SIGTERM",
    ),
    key(
        "SAMPAN_DRAIN_TIMEOUT",
        "25s",
        "how long the whole drain may take, lame duck included",
    ),
    key(
        "SAMPAN_WORKERS",
        "",
        "threads that handle calls; not set: one per granted core; a multi-thread runtime has its own",
    ),
    key(
        "SAMPAN_REUSE_PORT",
        "off",
        "on: other processes may listen on the same port and share its connections (Linux)",
    ),
    key(
        "SAMPAN_MAX_CONNECTIONS",
        "",
        "connections at once; not set: one per 64 KiB of 70 % of the container's memory, at most 10000",
    ),
    key(
        "SAMPAN_MAX_CONCURRENT_STREAMS",
        "256",
        "calls at once on a connection",
    ),
    key(
        "SAMPAN_MAX_CONNECTION_AGE",
        "",
        "the age at which a connection is asked to go, ±10 %; not set: none",
    ),
    key(
        "SAMPAN_MAX_CONNECTION_AGE_GRACE",
        "",
        "how long its calls may then take; not set: as long as they want",
    ),
    key(
        "SAMPAN_KEEPALIVE_INTERVAL",
        "2h",
        "the silence after which a client is pinged; off: never",
    ),
    key(
        "SAMPAN_KEEPALIVE_TIMEOUT",
        "20s",
        "how long its answer may take",
    ),
    key(
        "SAMPAN_LOCAL_DIR",
        "",
        "a folder that the containers of a host share: servers listen there too, channels look there first",
    ),
    key(
        "SAMPAN_LOCAL_TRUST",
        "0",
        "1: such sockets are used without TLS too; whoever can write the folder can then pose as any service",
    ),
    key(
        "SAMPAN_LOG",
        "info",
        "what is logged: a level, or levels by module, as in info,sampan=debug; RUST_LOG if not set",
    ),
];

const fn key(name: &'static str, default: &'static str, meaning: &'static str) -> EnvironmentKey {
    EnvironmentKey {
        name,
        default,
        meaning,
    }
}

/// Every fault of a configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    faults: Vec<String>,
}

// === impl Config ===

impl Config {
    /// What the container grants, and what was asked for instead.
    pub(crate) fn plan(&self) -> Plan {
        let granted = Plan::new(self.granted);
        Plan {
            max_connections: self.max_connections.unwrap_or(granted.max_connections),
            workers: self.workers.unwrap_or(granted.workers),
            ..granted
        }
    }
}

/// What messages may hold while they arrive: a quarter of the container's memory.
pub(crate) fn receive_budget(granted: Grant) -> MemoryBudget {
    const WITHOUT_A_LIMIT: u64 = 256 << 20;
    let budget = granted
        .memory_bytes
        .map_or(WITHOUT_A_LIMIT, |bytes| bytes / 4);
    MemoryBudget::new(usize::try_from(budget).unwrap_or(usize::MAX))
}

impl Default for Config {
    fn default() -> Self {
        // Asked once: it is half a hundred system calls.
        let granted = Grant::of_this_process();
        Self {
            listen: Vec::new(),
            probe: None,
            lame_duck: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(25),
            max_connections: None,
            workers: None,
            longest_call: None,
            queue_delay: None,
            load_reports: None,
            compression: None,
            sockets: ListenSettings::default(),
            connections: ServeSettings {
                receive_budget: receive_budget(granted),
                ..ServeSettings::default()
            },
            tls: None,
            granted,
            local: LocalSettings::default(),
        }
    }
}

// === impl ConfigError ===

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [fault] => write!(f, "the environment is wrong: {fault}"),
            faults => {
                write!(f, "the environment is wrong in {} places:", faults.len())?;
                faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_key_with_its_default() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let text = std::fs::read_to_string(path).unwrap();
        for key in ENVIRONMENT {
            let default = match key.default {
                "" => "–".to_owned(),
                default => format!("`{default}`"),
            };
            let row = format!("| `{}` | {default} | {} |", key.name, key.meaning);
            assert!(text.contains(&row), "docs/configuration.md lacks\n{row}");
        }
    }
}
