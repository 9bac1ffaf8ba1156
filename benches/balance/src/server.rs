//! A simulated replica: workers behind one queue, whose speed changes.

use rand::Rng;
use sampan_client::balance::LoadReport;
use std::{collections::VecDeque, time::Duration};

/// Nanoseconds of virtual time.
pub(crate) type Nanos = u64;

pub(crate) const SECOND: Nanos = 1_000_000_000;
pub(crate) const MILLI: Nanos = 1_000_000;

/// What a replica is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    pub(crate) workers: usize,
    /// Of the work of a call at speed 1; exponential.
    pub(crate) mean_work: Nanos,
    pub(crate) speed: f64,
    /// More that wait are shed, with this pushback.
    pub(crate) queue_limit: usize,
    pub(crate) pushback: Option<Nanos>,
    /// One call of so many takes ten times the work.
    pub(crate) one_long_of: Option<u32>,
    /// Answers one call of so many at once, with an error.
    pub(crate) one_fails_of: Option<u32>,
    /// Stops for so long, so often.
    pub(crate) pause: Option<(Nanos, Nanos)>,
    /// Whether utilization is told as work done of what was granted, at speed 1, instead of as
    /// time that workers are busy.
    pub(crate) tells_work: bool,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) nature: Nature,
    pub(crate) busy: usize,
    pub(crate) queue: VecDeque<u32>,
    /// Time that it stood still, until now.
    pub(crate) paused: Nanos,
    pub(crate) is_paused: bool,
    window: Window,
    latencies: [f32; 24],
    pub(crate) taken: u64,
}

/// What is counted for load reports, each half second.
#[derive(Debug, Default)]
struct Window {
    began: Nanos,
    calls: u32,
    errors: u32,
    used: f64,
    told: LoadReport,
}

const WINDOW: Nanos = SECOND / 2;

// === impl Server ===

impl Server {
    pub(crate) fn new(nature: Nature) -> Self {
        Self {
            nature,
            busy: 0,
            queue: VecDeque::new(),
            paused: 0,
            is_paused: false,
            window: Window::default(),
            latencies: [0.0; 24],
            taken: 0,
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.busy + self.queue.len()
    }

    /// How long a worker needs for a call that it begins now.
    pub(crate) fn work(&self, rng: &mut impl Rng) -> Nanos {
        let drawn: f64 = rng.random();
        let is_long = self
            .nature
            .one_long_of
            .is_some_and(|of| rng.random_range(0..of) == 0);
        let times = if is_long { 10.0 } else { 1.0 };
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "some seconds at most"
        )]
        let nanos =
            (-(1.0 - drawn).ln() * times * self.nature.mean_work as f64 / self.nature.speed) as u64;
        nanos.max(1)
    }

    /// A call that came at `arrived`, with so many others there, ends now.
    pub(crate) fn ended(&mut self, now: Nanos, arrived: Nanos, with: usize, used: Nanos) {
        self.roll(now);
        self.window.calls += 1;
        let speed = if self.nature.tells_work {
            self.nature.speed
        } else {
            1.0
        };
        #[allow(clippy::cast_precision_loss, reason = "some seconds at most")]
        let (used, took) = (used as f64, (now - arrived) as f32 / 1e9);
        self.window.used += used * speed;
        let slot = &mut self.latencies[slot(with)];
        *slot = if *slot == 0.0 {
            took
        } else {
            *slot * 0.9 + took * 0.1
        };
    }

    pub(crate) fn failed(&mut self, now: Nanos) {
        self.roll(now);
        self.window.calls += 1;
        self.window.errors += 1;
    }

    /// What it says in its trailers.
    pub(crate) fn report(&self) -> LoadReport {
        let open = self.open();
        let at_load = self.latencies[..=slot(open)].iter().rev();
        let latency = at_load.copied().find(|took| *took > 0.0).unwrap_or(0.0);
        LoadReport {
            in_flight: u32::try_from(open).ok(),
            latency: Some(Duration::from_secs_f32(latency)),
            ..self.window.told.clone()
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "some seconds at most")]
    fn roll(&mut self, now: Nanos) {
        let window = &mut self.window;
        let age = now - window.began;
        if age < WINDOW {
            return;
        }
        let seconds = age as f64 / 1e9;
        let granted = age as f64 * self.nature.workers as f64;
        window.told.cpu_utilization = (window.used / granted).max(0.001);
        window.told.calls_per_second = f64::from(window.calls) / seconds;
        window.told.errors_per_second = f64::from(window.errors) / seconds;
        (window.began, window.calls, window.errors, window.used) = (now, 0, 0, 0.0);
    }
}

/// Twice as many calls in flight are another slot.
const fn slot(open: usize) -> usize {
    let slot = (open + 1).ilog2() as usize;
    if slot < 24 { slot } else { 23 }
}
