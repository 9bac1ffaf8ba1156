//! Which faults there are and when, by the seed alone.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{fmt, time::Duration};

/// The faults of one run.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// One replica at a time is at fault, so that the others can do its work.
    pub(crate) is_gentle: bool,
    pub(crate) faults: Vec<Fault>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) replica: usize,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
    pub(crate) what: What,
}

/// What becomes of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Its process is killed, and starts again at the end.
    Crash,
    /// It drains, and starts again at the end.
    Drain,
    /// What is sent to and from it is lost.
    Partition,
    /// What is sent to and from it arrives at the end.
    Hold,
    /// Each call takes so much longer.
    Slow(Duration),
    /// Each call fails at once.
    Fail,
    /// Each call is shed, with a pushback.
    Shed,
    /// No call is answered.
    Mute,
}

pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];
/// No fault begins or ends later.
pub(crate) const FAULTS_END: Duration = Duration::from_secs(6);

// === impl Schedule ===

impl Schedule {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let is_gentle = seed.is_multiple_of(2);
        let count = rng.random_range(2..=5);
        let end = FAULTS_END.as_millis() as u64;
        let mut faults = Vec::new();
        let mut free_from = 500;
        for _ in 0..count {
            let from = if is_gentle {
                free_from
            } else {
                rng.random_range(500..end - 1000)
            };
            let until = from + rng.random_range(200..2000);
            if until > end {
                break;
            }
            // Long enough for it to be back among the others.
            free_from = until + 1000;
            faults.push(Fault {
                replica: rng.random_range(0..NAMES.len()),
                from: Duration::from_millis(from),
                until: Duration::from_millis(until),
                what: What::drawn(&mut rng),
            });
        }
        Self { is_gentle, faults }
    }
}

impl What {
    fn drawn(rng: &mut StdRng) -> Self {
        match rng.random_range(0..8) {
            0 => Self::Crash,
            1 => Self::Drain,
            2 => Self::Partition,
            3 => Self::Hold,
            4 => Self::Slow(Duration::from_millis(rng.random_range(50..500))),
            5 => Self::Fail,
            6 => Self::Shed,
            _ => Self::Mute,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}",
            if self.is_gentle {
                "one at a time"
            } else {
                "any number at once"
            }
        )?;
        for fault in &self.faults {
            let Fault {
                replica,
                from,
                until,
                what,
            } = fault;
            writeln!(f, "  {from:?} to {until:?}: {} {what:?}", NAMES[*replica])?;
        }
        Ok(())
    }
}
