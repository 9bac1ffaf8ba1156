//! The arithmetic of a container's limits.

use crate::cgroup;
use std::path::Path;

/// What the surroundings grant this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The memory limit of the container; None: no limit is set.
    pub memory_bytes: Option<u64>,
    /// The cores that may be used; at least 1.
    pub cores: usize,
}

/// How the granted memory and cores are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// 70 % of the memory limit; None without a limit.
    pub heap_bytes: Option<u64>,
    /// 10 % of the memory limit; None without a limit.
    pub stack_bytes: Option<u64>,
    /// 20 % of the memory limit; None without a limit.
    pub cache_bytes: Option<u64>,
    /// Connections that a server keeps: one per 64 KiB of the heap, at most 10,000.
    pub max_connections: usize,
    /// Connections that a channel keeps: one per MiB of the memory limit, at most 10,000.
    pub channel_connections: usize,
    /// Threads that handle calls: one per core.
    pub workers: usize,
}

const HEAP_PER_CONNECTION: u64 = 64 << 10;
const LIMIT_PER_CHANNEL_CONNECTION: u64 = 1 << 20;
const MOST_CONNECTIONS: u64 = 10_000;

// === impl Grant ===

impl Grant {
    /// Asks the system: the cgroup of this process (v1 or v2) and the cores it may run on, the
    /// CPU quota counted in. Where there are no cgroups, no memory limit is seen.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self {
            memory_bytes: Self::memory_limit(Path::new("/")),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
        }
    }

    /// The memory limit by the `proc` and `sys` under `root`, the smallest of this process's
    /// cgroup and those around it. None when none is set or nothing can be read.
    #[must_use]
    pub fn memory_limit(root: &Path) -> Option<u64> {
        Some(cgroup::memory_limit(root)?.0)
    }
}

// === impl Plan ===

impl Plan {
    /// Shares out `grant`.
    #[must_use]
    pub fn new(grant: Grant) -> Self {
        let percent = |share: u64| grant.memory_bytes.map(|bytes| bytes / 100 * share);
        let heap_bytes = percent(70);
        let connections = |bytes: Option<u64>, each| {
            let most = bytes.map_or(MOST_CONNECTIONS, |bytes| bytes / each);
            usize::try_from(most.clamp(1, MOST_CONNECTIONS)).unwrap_or(usize::MAX)
        };
        Self {
            heap_bytes,
            stack_bytes: percent(10),
            cache_bytes: percent(20),
            max_connections: connections(heap_bytes, HEAP_PER_CONNECTION),
            channel_connections: connections(grant.memory_bytes, LIMIT_PER_CHANNEL_CONNECTION),
            workers: grant.cores.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(memory_bytes: Option<u64>) -> Plan {
        Plan::new(Grant {
            memory_bytes,
            cores: 2,
        })
    }

    #[test]
    fn memory_is_shared_seventy_ten_twenty() {
        let plan = plan(Some(1000 << 20));
        assert_eq!(plan.heap_bytes, Some(700 << 20));
        assert_eq!(plan.stack_bytes, Some(100 << 20));
        assert_eq!(plan.cache_bytes, Some(200 << 20));
    }

    #[test]
    fn a_channel_has_a_connection_per_mebibyte_between_one_and_ten_thousand() {
        assert_eq!(plan(Some(64 << 20)).channel_connections, 64);
        assert_eq!(plan(Some(64 << 30)).channel_connections, 10_000);
        assert_eq!(plan(Some(1)).channel_connections, 1);
        assert_eq!(plan(None).channel_connections, 10_000);
    }

    #[test]
    fn connections_follow_the_heap_between_one_and_ten_thousand() {
        assert_eq!(plan(Some(64 << 20)).max_connections, 716);
        assert_eq!(plan(Some(4 << 30)).max_connections, 10_000);
        assert_eq!(plan(Some(1)).max_connections, 1);
        assert_eq!(plan(None).max_connections, 10_000);
    }
}
