//! One row of the table: alone on the machine, and told by its figure.

use sampan::Channel;
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::runtime::{Builder, Handle, Runtime};

/// A row that is being shown. The next begins when it is dropped.
#[derive(Debug)]
pub struct Row {
    name: &'static str,
    runtime: Runtime,
    began: Instant,
    _turn: MutexGuard<'static, ()>,
}

/// Calls a second in the full form, and in the short one.
const RATES: (f64, f64) = (2_000.0, 500.0);
const PATIENCE: Duration = Duration::from_secs(30);
/// A machine that lets a thread wait so much too long is no judge of milliseconds,
const STANDSTILL: Duration = Duration::from_millis(30);
/// nor is one where somebody waits for a core more often than not.
const BUSY: f64 = 0.5;
const TURNS: usize = 3;

/// Watches how long threads that are due have to wait on this machine.
struct Standstills {
    longest: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
    began: Instant,
    waited: Option<Duration>,
}

// === impl Row ===

impl Row {
    /// Waits for its turn.
    #[must_use]
    pub fn begin(name: &'static str) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self {
            name,
            runtime,
            began: Instant::now(),
            _turn: turn,
        }
    }

    /// Where its calls are made.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Tells what was measured.
    pub fn figure(&self, figure: impl fmt::Display) {
        println!(
            "{}: {figure} [{:.1} s]",
            self.name,
            self.began.elapsed().as_secs_f64()
        );
    }

    /// Shows what the machine itself can spoil, by standing still when a moment matters: where it
    /// is wrong and the machine did, it is shown again, three times at most.
    ///
    /// # Panics
    ///
    /// When it is wrong although the machine went on, or each time.
    pub fn judge(&self, mut show: impl FnMut() -> Result<(), String>) {
        for turn in 1..=TURNS {
            let standstills = Standstills::watch();
            let shown = show();
            let (longest, busy) = standstills.end();
            let machine = format!(
                "stood still for {longest:?}, cores were missing for {busy:.2} of the time"
            );
            match shown {
                Ok(()) => return,
                Err(wrong) if turn < TURNS && (longest >= STANDSTILL || busy >= BUSY) => {
                    println!("{}: {wrong}, but the machine {machine}: again", self.name);
                }
                Err(wrong) => panic!("{wrong} (the machine {machine})"),
            }
        }
    }

    /// Waits until so many endpoints are connected.
    pub fn until_ready(&self, channel: &Channel, count: usize) {
        wait_until("the endpoints are ready", PATIENCE, || {
            // An attempt that began while nobody could be reached may still fail.
            let connect = async { tokio::time::timeout(PATIENCE, channel.connect()).await };
            matches!(self.runtime.block_on(connect), Ok(Ok(()))) && ready(channel) == count
        });
    }
}

// === impl Standstills ===

impl Standstills {
    fn watch() -> Self {
        const BEAT: Duration = Duration::from_millis(5);
        let (longest, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let thread = thread::spawn({
            let (longest, is_over) = (Arc::clone(&longest), Arc::clone(&is_over));
            move || {
                while !is_over.load(Relaxed) {
                    let began = Instant::now();
                    thread::sleep(BEAT);
                    let late = began.elapsed().saturating_sub(BEAT);
                    longest.fetch_max(late.as_micros() as u64, Relaxed);
                }
            }
        });
        Self {
            longest,
            is_over,
            thread,
            began: Instant::now(),
            waited: waited_for_cores(),
        }
    }

    /// The longest one, and for which part of the time somebody waited for a core.
    fn end(self) -> (Duration, f64) {
        self.is_over.store(true, Relaxed);
        self.thread.join().unwrap();
        let longest = Duration::from_micros(self.longest.load(Relaxed));
        let busy = match (self.waited, waited_for_cores()) {
            (Some(before), Some(now)) => {
                now.saturating_sub(before).as_secs_f64() / self.began.elapsed().as_secs_f64()
            }
            _ => 0.0,
        };
        (longest, busy)
    }
}

/// For how long somebody has waited for a core of this machine, as far as it tells.
fn waited_for_cores() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let micros = some.rsplit_once("total=")?.1.parse().ok()?;
    Some(Duration::from_micros(micros))
}

/// What is wrong, unless it is so.
///
/// # Errors
///
/// When it is not.
pub fn holds(is_so: bool, wrong: impl fmt::Display) -> Result<(), String> {
    if is_so {
        Ok(())
    } else {
        Err(wrong.to_string())
    }
}

/// Endpoints that are connected.
#[must_use]
pub fn ready(channel: &Channel) -> usize {
    let endpoints = channel.endpoints();
    let is_ready = |state| state == sampan::client::ConnectivityState::Ready;
    endpoints.iter().filter(|one| is_ready(one.state)).count()
}

/// Attempts of all calls, as far as the endpoints that are there count them.
#[must_use]
pub fn attempts(channel: &Channel) -> u64 {
    channel.endpoints().iter().map(|one| one.attempts).sum()
}

/// Looks until it is so; gives how long that took.
///
/// # Panics
///
/// When it takes longer than `limit`.
pub fn wait_until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(2));
    }
    began.elapsed()
}

/// Whether rows are shown as long as the issue says, instead of in seconds.
#[must_use]
pub fn is_full() -> bool {
    std::env::var("FAULTS").is_ok_and(|form| form == "full")
}

/// The one time or the other.
#[must_use]
pub fn seconds(short: u64, full: u64) -> Duration {
    Duration::from_secs(if is_full() { full } else { short })
}

/// Calls a second; `FAULTS_RATE` sets another number.
#[must_use]
pub fn rate() -> f64 {
    let set = std::env::var("FAULTS_RATE").ok();
    set.and_then(|rate| rate.parse().ok())
        .unwrap_or(if is_full() { RATES.0 } else { RATES.1 })
}
