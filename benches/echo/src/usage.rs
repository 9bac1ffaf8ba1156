//! What threads and processes use: CPU time, switches of context, memory. By /proc.

use rustix::thread::CpuSet;
use std::{collections::BTreeSet, fs, ops::Sub, time::Duration};

/// Threads of one process, by the kernel's numbers.
#[derive(Clone, Debug)]
pub(crate) struct Threads {
    process: u32,
    numbers: BTreeSet<u32>,
}

/// What they have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) cpu: Duration,
    pub(crate) switches: u64,
}

/// The first two cores that this process may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) first: usize,
    pub(crate) second: usize,
}

// === impl Threads ===

impl Threads {
    /// All that `process` has now.
    pub(crate) fn of(process: u32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the process lives");
        let number =
            |task: std::io::Result<fs::DirEntry>| task.ok()?.file_name().to_str()?.parse().ok();
        Self {
            process,
            numbers: tasks.filter_map(number).collect(),
        }
    }

    pub(crate) fn own() -> Self {
        Self::of(std::process::id())
    }

    /// The one that asks.
    pub(crate) fn current() -> Self {
        let number = rustix::thread::gettid().as_raw_nonzero().get();
        Self {
            process: std::process::id(),
            numbers: BTreeSet::from([number.cast_unsigned()]),
        }
    }

    /// Those that are not among `others`.
    pub(crate) fn without(&self, others: &Self) -> Self {
        Self {
            process: self.process,
            numbers: &self.numbers - &others.numbers,
        }
    }

    /// Threads that have ended count for nothing.
    pub(crate) fn used(&self) -> Used {
        let mut used = Used::default();
        for thread in &self.numbers {
            let folder = format!("/proc/{}/task/{thread}", self.process);
            let text = fs::read_to_string(format!("{folder}/schedstat")).unwrap_or_default();
            let nanos = text.split(' ').next().and_then(|field| field.parse().ok());
            used.cpu += Duration::from_nanos(nanos.unwrap_or(0));
            let text = fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
            used.switches += field(&text, "voluntary_ctxt_switches:").unwrap_or(0);
            used.switches += field(&text, "nonvoluntary_ctxt_switches:").unwrap_or(0);
        }
        used
    }
}

// === impl Used ===

impl Sub for Used {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

// === impl Cores ===

impl Cores {
    /// None on a machine with a single core.
    pub(crate) fn of_this_process() -> Option<Self> {
        let set = rustix::thread::sched_getaffinity(None).ok()?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
        let (first, second) = (cores.next()?, cores.next()?);
        Some(Self { first, second })
    }

    pub(crate) fn both(self) -> [usize; 2] {
        [self.first, self.second]
    }
}

/// Keeps this thread, and those it starts, on `cores`.
pub(crate) fn pin(cores: &[usize]) {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    rustix::thread::sched_setaffinity(None, &set).expect("the cores are there");
}

/// Bytes of memory that `process` has resident.
pub(crate) fn resident(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).expect("the process lives");
    field(&text, "VmRSS:").expect("it has memory") * 1024
}

/// Lets this process have as many open files as it may.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    // Where it cannot be raised the connections that are refused tell it.
    setrlimit(Resource::Nofile, limit).ok();
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
