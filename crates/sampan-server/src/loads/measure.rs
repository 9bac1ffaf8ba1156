//! What a server measures of itself, looked at once a second by whoever asks first.

use sampan_container::{Usage, UsageMeter};
use sampan_wire::orca::LoadReport;
use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

#[derive(Debug)]
pub(super) struct Measures {
    meter: UsageMeter,
    /// When to look again, in nanoseconds; `NEVER` while somebody does.
    due: AtomicU64,
    window: Mutex<Window>,
    cpu: Share,
    memory: Share,
    calls: Share,
    errors: Share,
}

/// A number that is read and written at once.
#[derive(Debug, Default)]
struct Share(AtomicU64);

/// What was seen in the last seconds. Pure.
#[derive(Debug, Default)]
struct Window {
    seen: VecDeque<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Duration,
    cpu: Option<Duration>,
    calls: u64,
    errors: u64,
}

/// What comes of it: parts of the granted, and each second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Rates {
    cpu: f64,
    calls: f64,
    errors: f64,
}

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Rates are those of so long, or of the time between the last two looks if that is longer.
const SPAN: Duration = Duration::from_secs(5);
const NEVER: u64 = u64::MAX;

// === impl Measures ===

impl Measures {
    pub(super) fn new(meter: UsageMeter) -> Self {
        let mut window = Window::default();
        let usage = meter.read();
        window.see(Seen::new(Duration::ZERO, &usage, (0, 0)), meter.cores());
        let measures = Self {
            meter,
            due: AtomicU64::new(nanos(PAUSE)),
            window: Mutex::new(window),
            cpu: Share::default(),
            memory: Share::default(),
            calls: Share::default(),
            errors: Share::default(),
        };
        measures.memory.set(usage.memory.unwrap_or(0.0));
        measures
    }

    /// Tells what was measured of late, after a look when it is due. `counted` are the calls so
    /// far, and those that failed.
    pub(super) fn fill(&self, report: &mut LoadReport, at: Duration, counted: (u64, u64)) {
        let due = self.due.load(Relaxed);
        let is_due = due != NEVER && nanos(at) >= due;
        if is_due
            && self
                .due
                .compare_exchange(due, NEVER, Relaxed, Relaxed)
                .is_ok()
        {
            self.look(at, counted);
            self.due.store(nanos(at + PAUSE), Relaxed);
        }
        report.cpu_utilization = self.cpu.get();
        report.memory_utilization = self.memory.get();
        report.calls_per_second = self.calls.get();
        report.errors_per_second = self.errors.get();
    }

    fn look(&self, at: Duration, counted: (u64, u64)) {
        let usage = self.meter.read();
        let seen = Seen::new(at, &usage, counted);
        let rates = {
            // No code that can panic runs under it.
            let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            window.see(seen, self.meter.cores())
        };
        self.cpu.set(rates.cpu);
        self.memory.set(usage.memory.unwrap_or(0.0));
        self.calls.set(rates.calls);
        self.errors.set(rates.errors);
    }
}

fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(NEVER - 1)
}

// === impl Share ===

impl Share {
    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }
}

// === impl Seen ===

impl Seen {
    const fn new(at: Duration, usage: &Usage, (calls, errors): (u64, u64)) -> Self {
        Self {
            at,
            cpu: usage.cpu,
            calls,
            errors,
        }
    }
}

// === impl Window ===

impl Window {
    fn see(&mut self, seen: Seen, cores: f64) -> Rates {
        self.seen.push_back(seen);
        while self.seen.len() > 2 && self.seen[1].at + SPAN <= seen.at {
            self.seen.pop_front();
        }
        let first = self.seen[0];
        let span = seen.at.saturating_sub(first.at).as_secs_f64();
        if span == 0.0 {
            return Rates::default();
        }
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let each_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / span;
        let used = match (seen.cpu, first.cpu) {
            (Some(now), Some(then)) => now.saturating_sub(then).as_secs_f64(),
            _ => 0.0,
        };
        Rates {
            cpu: used / span / cores,
            calls: each_second(seen.calls, first.calls),
            errors: each_second(seen.errors, first.errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(seconds: u64, cpu_millis: u64, calls: u64, errors: u64) -> Seen {
        Seen {
            at: Duration::from_secs(seconds),
            cpu: Some(Duration::from_millis(cpu_millis)),
            calls,
            errors,
        }
    }

    #[test]
    fn rates_are_those_of_the_last_five_seconds_against_what_is_granted() {
        let mut window = Window::default();
        assert_eq!(window.see(seen(0, 0, 0, 0), 2.0), Rates::default());
        let rates = |cpu, calls, errors| Rates { cpu, calls, errors };
        assert_eq!(window.see(seen(1, 1000, 10, 1), 2.0), rates(0.5, 10.0, 1.0));
        for second in 2..=9 {
            window.see(seen(second, 1000, 10, 1), 2.0);
        }
        assert_eq!(window.see(seen(10, 1000, 10, 1), 2.0), Rates::default());
        assert!(window.seen.len() <= 7);
    }

    #[test]
    fn after_a_pause_the_rate_is_that_of_the_pause() {
        let mut window = Window::default();
        window.see(seen(0, 0, 0, 0), 1.0);
        window.see(seen(1, 0, 100, 0), 1.0);
        let rates = window.see(seen(101, 0, 200, 0), 1.0);
        assert!((rates.calls - 1.0).abs() < 1e-9, "{rates:?}");
    }

    #[test]
    fn numbers_change_at_most_once_a_second() {
        let measures = Measures::new(UsageMeter::under(std::path::Path::new("/nowhere"), 1));
        let calls = |millis, count| {
            let mut report = LoadReport::default();
            measures.fill(&mut report, Duration::from_millis(millis), (count, 0));
            report.calls_per_second
        };
        assert_eq!(calls(999, 50), 0.0);
        assert_eq!(calls(1000, 50), 50.0);
        assert_eq!(calls(1999, 5000), 50.0);
        assert_eq!(calls(2000, 5000), 2500.0);
    }
}
