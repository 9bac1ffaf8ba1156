//! Calls at a steady rate, whether the ones before have been answered or not, each counted.

use crate::proto::{Request, replica_client::ReplicaClient};
use sampan::Channel;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tonic::Code;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The method that may be tried again.
    Read,
    /// The one that may not.
    Write,
}

/// How much is called.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What is called.
    pub kind: Kind,
    /// Calls a second.
    pub rate: f64,
    /// Of each call.
    pub deadline: Duration,
}

/// Calls that are being made.
#[derive(Debug)]
pub struct Load {
    stop: watch::Sender<bool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    deadline: Duration,
    began: Instant,
    runtime: Handle,
    task: JoinHandle<()>,
}

/// How one call went.
#[derive(Clone, Debug)]
pub struct Sample {
    /// No other call of this process has it.
    pub id: u64,
    /// When it began, after the load did.
    pub at: Duration,
    /// From there to its end.
    pub took: Duration,
    /// Who answered, or why nobody did.
    pub outcome: Result<String, (Code, String)>,
}

/// What many calls come to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// All of them.
    pub calls: usize,
    /// Those that failed, by code and message.
    pub failed: BTreeMap<String, usize>,
    /// The answers of each replica.
    pub shares: BTreeMap<String, usize>,
    took: Vec<Duration>,
}

/// Between two looks at what is due.
const BEAT: Duration = Duration::from_millis(2);
/// More are not begun, whatever the rate.
const MOST_AT_ONCE: usize = 20_000;
const PATIENCE: Duration = Duration::from_secs(30);

// === impl Load ===

impl Load {
    /// Begins to call.
    #[must_use]
    pub fn start(runtime: &Handle, channel: &Channel, settings: Settings) -> Self {
        let (stop, stopped) = watch::channel(false);
        let samples = Arc::<Mutex<Vec<Sample>>>::default();
        let began = Instant::now();
        let task = runtime.spawn(run(
            channel.clone(),
            settings,
            began,
            stopped,
            Arc::clone(&samples),
        ));
        Self {
            stop,
            samples,
            deadline: settings.deadline,
            began,
            runtime: runtime.clone(),
            task,
        }
    }

    /// How long it has run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The calls that have ended so far.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Begins no more calls, waits for those under way, and gives them all.
    #[must_use]
    pub fn finish(self) -> Vec<Sample> {
        self.stop.send_replace(true);
        let limit = self.deadline + PATIENCE;
        let ended = self
            .runtime
            .block_on(async { timeout(limit, self.task).await });
        ended.expect("every call ends by its deadline").unwrap();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *samples)
    }
}

async fn run(
    channel: Channel,
    settings: Settings,
    began: Instant,
    mut stopped: watch::Receiver<bool>,
    samples: Arc<Mutex<Vec<Sample>>>,
) {
    let mut calls = JoinSet::new();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut begun = 0u64;
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|is_stopped| *is_stopped) => break,
            _ = beat.tick() => {}
        }
        let due = (began.elapsed().as_secs_f64() * settings.rate) as u64;
        while begun < due && calls.len() < MOST_AT_ONCE {
            begun += 1;
            let (channel, samples) = (channel.clone(), Arc::clone(&samples));
            calls.spawn(async move {
                let at = began.elapsed();
                let (id, outcome) = call(channel, settings.kind, settings.deadline).await;
                let took = began.elapsed() - at;
                let sample = Sample {
                    id,
                    at,
                    took,
                    outcome,
                };
                samples
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(sample);
            });
        }
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
}

/// Makes one call; gives its id and who answered it.
pub async fn call(
    channel: Channel,
    kind: Kind,
    deadline: Duration,
) -> (u64, Result<String, (Code, String)>) {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut request = tonic::Request::new(Request { id });
    request.set_timeout(deadline);
    let mut client = ReplicaClient::new(channel);
    let answer = match kind {
        Kind::Read => client.read(request).await,
        Kind::Write => client.write(request).await,
    };
    let outcome = match answer {
        Ok(answer) => {
            let answer = answer.into_inner();
            assert_eq!(answer.id, id, "the answer to another call");
            Ok(answer.name)
        }
        Err(status) => Err((status.code(), status.message().to_owned())),
    };
    (id, outcome)
}

// === impl Tally ===

impl Tally {
    /// Counts them.
    pub fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut tally = Self::default();
        for sample in samples {
            tally.calls += 1;
            tally.took.push(sample.took);
            match &sample.outcome {
                Ok(name) => *tally.shares.entry(name.clone()).or_default() += 1,
                Err((code, message)) => {
                    let why = format!("{code:?}: {}", shortened(message));
                    *tally.failed.entry(why).or_default() += 1;
                }
            }
        }
        tally.took.sort_unstable();
        tally
    }

    /// Those that failed.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.failed.values().sum()
    }

    /// The answers of this replica, as a share of all calls.
    #[must_use]
    pub fn share(&self, name: &str) -> f64 {
        let answers = self.shares.get(name).copied().unwrap_or(0);
        answers as f64 / self.calls.max(1) as f64
    }

    /// So many of a hundred calls took no longer.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Duration {
        let last = self.took.len().saturating_sub(1);
        let index = (last as f64 * percent / 100.0).round() as usize;
        self.took.get(index).copied().unwrap_or_default()
    }
}

/// Without what differs from call to call: addresses and numbers.
fn shortened(message: &str) -> String {
    message.replace(|c: char| c.is_ascii_digit(), "#")
}
