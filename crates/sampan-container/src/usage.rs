//! What of the granted is used.

use crate::cgroup::{self, Group};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Reads what is used of a container's processor and memory. Where they are looked up is found
/// out once.
#[derive(Clone, Debug)]
pub struct UsageMeter {
    cpu: Cpu,
    /// How many cores are granted; may be a part of one.
    cores: f64,
    memory: Option<(u64, Group)>,
}

/// What was used by one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time since the container, or the process, began. None: it cannot be read here.
    pub cpu: Option<Duration>,
    /// Of the memory limit, from 0 to 1. None without a limit.
    pub memory: Option<f64>,
}

/// Whose time is read.
#[derive(Clone, Debug)]
enum Cpu {
    /// The group's that has the quota: all its processes use it up.
    Group(Group),
    /// Without a quota, this process's.
    Process(PathBuf),
}

/// `/proc/self/stat` counts in these, on every architecture that Linux has.
const TICKS_PER_SECOND: u64 = 100;

// === impl UsageMeter ===

impl UsageMeter {
    /// For this process. Where the CPU has no quota, all of `cores` are granted.
    #[must_use]
    pub fn of_this_process(cores: usize) -> Self {
        Self::under(Path::new("/"), cores)
    }

    /// By the `proc` and `sys` under `root`.
    #[must_use]
    pub fn under(root: &Path, cores: usize) -> Self {
        let quotas = cgroup::groups(root, "cpu").into_iter();
        let quotas = quotas.filter_map(|group| Some((quota(&group)?, group)));
        let (cpu, cores) = match quotas.min_by(|(a, _), (b, _)| a.total_cmp(b)) {
            Some((quota, group)) => (Cpu::Group(group), quota),
            #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
            None => (Cpu::Process(root.join("proc/self/stat")), cores as f64),
        };
        Self {
            cpu,
            cores,
            memory: cgroup::memory_limit(root),
        }
    }

    /// The cores that are granted; may be a part of one.
    #[must_use]
    pub const fn cores(&self) -> f64 {
        self.cores
    }

    /// Reads it now: two short files.
    #[must_use]
    pub fn read(&self) -> Usage {
        Usage {
            cpu: match &self.cpu {
                Cpu::Group(group) => group_time(group),
                Cpu::Process(stat) => process_time(stat),
            },
            memory: self.memory.as_ref().and_then(|(limit, group)| {
                let text = group.read("memory.current", "memory.usage_in_bytes")?;
                let used: u64 = text.trim().parse().ok()?;
                #[allow(clippy::cast_precision_loss, reason = "a share")]
                let share = used as f64 / (*limit).max(1) as f64;
                Some(share.min(1.0))
            }),
        }
    }
}

/// The cores that a group may use. None: as many as there are.
fn quota(group: &Group) -> Option<f64> {
    let quota = group.read("cpu.max", "cpu.cfs_quota_us")?;
    let mut numbers = quota.split_whitespace();
    let quota: f64 = numbers.next()?.parse().ok()?;
    let period: f64 = if group.is_v2 {
        numbers.next()?.parse().ok()?
    } else {
        let text = group.read("", "cpu.cfs_period_us")?;
        text.trim().parse().ok()?
    };
    let cores = quota / period;
    (cores.is_finite() && cores > 0.0).then_some(cores)
}

fn group_time(group: &Group) -> Option<Duration> {
    if !group.is_v2 {
        // The two controllers are mounted as one, under both names, wherever there are quotas.
        let text = group.read("", "cpuacct.usage")?;
        return text.trim().parse().ok().map(Duration::from_nanos);
    }
    let text = group.read("cpu.stat", "")?;
    let mut lines = text.lines();
    let micros = lines.find_map(|line| line.strip_prefix("usage_usec "))?;
    micros.trim().parse().ok().map(Duration::from_micros)
}

fn process_time(stat: &Path) -> Option<Duration> {
    let text = fs::read_to_string(stat).ok()?;
    // The name stands in parentheses and may have spaces: what follows has none.
    let (_, fields) = text.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    let ticks = ticks()?.checked_add(ticks()?)?;
    Some(Duration::from_millis(
        ticks.saturating_mul(1000 / TICKS_PER_SECOND),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(files: &[(&str, &str)]) -> (UsageMeter, Usage) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let meter = UsageMeter::under(root.path(), 4);
        let usage = meter.read();
        (meter, usage)
    }

    #[test]
    fn the_time_of_the_group_with_the_quota_is_read_against_it() {
        let (meter, usage) = meter(&[
            ("proc/self/cgroup", "0::/pod/app\n"),
            ("sys/fs/cgroup/pod/app/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/pod/app/cpu.stat", "usage_usec 1\n"),
            ("sys/fs/cgroup/pod/cpu.max", "50000 100000\n"),
            (
                "sys/fs/cgroup/pod/cpu.stat",
                "usage_usec 2500000\nuser_usec 1\n",
            ),
            ("sys/fs/cgroup/pod/memory.max", "1000\n"),
            ("sys/fs/cgroup/pod/memory.current", "250\n"),
        ]);
        assert_eq!(meter.cores(), 0.5);
        assert_eq!(usage.cpu, Some(Duration::from_millis(2500)));
        assert_eq!(usage.memory, Some(0.25));
    }

    #[test]
    fn v1_has_other_names_for_the_same() {
        let (meter, usage) = meter(&[
            ("proc/self/cgroup", "4:cpu,cpuacct:/x\n3:memory:/x\n"),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "200000\n"),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu/x/cpuacct.usage", "3000000000\n"),
            ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "100\n"),
            ("sys/fs/cgroup/memory/x/memory.usage_in_bytes", "90\n"),
        ]);
        assert_eq!(meter.cores(), 2.0);
        assert_eq!(usage.cpu, Some(Duration::from_secs(3)));
        assert_eq!(usage.memory, Some(0.9));
    }

    #[test]
    fn without_a_quota_this_process_is_read_against_all_cores() {
        let stat = "7 (a b) c) S 1 1 1 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 1 0 1\n";
        let (meter, usage) = meter(&[
            ("proc/self/cgroup", "0::/user\n"),
            ("sys/fs/cgroup/user/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/user/cpu.stat", "usage_usec 99\n"),
            ("proc/self/stat", stat),
        ]);
        assert_eq!(meter.cores(), 4.0);
        assert_eq!(usage.cpu, Some(Duration::from_secs(2)));
        assert_eq!(usage.memory, None);
    }

    #[test]
    fn where_nothing_can_be_read_nothing_is_told() {
        let (meter, usage) = meter(&[]);
        assert_eq!((meter.cores(), usage), (4.0, Usage::default()));
    }
}
