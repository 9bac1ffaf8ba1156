//! The figures of one turn, and what many turns say together.

use std::collections::BTreeMap;

/// One kind of figure. The order is that of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    P50,
    P99,
    Rate,
    ClientCpu,
    ServerCpu,
    /// Of both sides.
    Cpu,
    Switches,
    Megabytes,
    Mebibytes,
    KibPerConnection,
    KibPerStream,
    Millis,
    Allocations,
    SystemCalls,
}

/// What one turn gave.
pub(crate) type Sample = BTreeMap<Figure, f64>;

/// A median with an interval that holds it in 95 of 100 repetitions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Median {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

// === impl Figure ===

impl Figure {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::Rate => "per second",
            Self::ClientCpu => "client CPU µs",
            Self::ServerCpu => "server CPU µs",
            Self::Cpu => "CPU µs",
            Self::Switches => "switches",
            Self::Megabytes => "MB/s",
            Self::Mebibytes => "MiB",
            Self::KibPerConnection => "KiB/connection",
            Self::KibPerStream => "KiB/stream",
            Self::Millis => "ms",
            Self::Allocations => "allocations",
            Self::SystemCalls => "system calls",
        }
    }

    /// Its name in JSON.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::P50 => "p50_micros",
            Self::P99 => "p99_micros",
            Self::Rate => "per_second",
            Self::ClientCpu => "client_cpu_micros",
            Self::ServerCpu => "server_cpu_micros",
            Self::Cpu => "cpu_micros",
            Self::Switches => "context_switches",
            Self::Megabytes => "megabytes_per_second",
            Self::Mebibytes => "resident_mebibytes",
            Self::KibPerConnection => "kibibytes_per_connection",
            Self::KibPerStream => "kibibytes_per_stream",
            Self::Millis => "millis",
            Self::Allocations => "allocations",
            Self::SystemCalls => "system_calls",
        }
    }
}

// === impl Median ===

impl Median {
    /// Of at least one figure.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let n = figures.len();
        let middle = *figures.get(n / 2)?;
        let value = if n.is_multiple_of(2) {
            f64::midpoint(middle, figures[n / 2 - 1])
        } else {
            middle
        };
        let rank = outer_rank(n);
        Some(Self {
            value,
            low: figures[rank],
            high: figures[n - 1 - rank],
        })
    }
}

/// How many figures lie outside of the interval at each end: as many as leave it 95 %, when
/// each figure is as likely above the true median as below.
fn outer_rank(n: usize) -> usize {
    let mut probability = 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let (mut sum, mut rank) = (0.0, 0);
    for k in 0..n / 2 {
        sum += probability;
        if 2.0 * sum > 0.05 {
            break;
        }
        rank = k;
        probability *= (n - k) as f64 / (k + 1) as f64;
    }
    rank
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_ten_leaves_out_one_at_each_end() {
        // P(0 or 1 of 10 below) = 11/1024: twice that is under 5 %.
        let median = Median::of((1..=10).map(f64::from)).expect("there are figures");
        assert_eq!((median.low, median.value, median.high), (2.0, 5.5, 9.0));
    }

    #[test]
    fn few_figures_are_all_inside() {
        let median = Median::of([3.0, 1.0, 2.0]).expect("there are figures");
        assert_eq!((median.low, median.value, median.high), (1.0, 2.0, 3.0));
        assert!(Median::of([]).is_none());
    }
}
