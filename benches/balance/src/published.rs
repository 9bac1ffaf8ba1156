//! Results that others published, simulated with our pickers.

use crate::{
    crew,
    policies::{Contender, Kind},
    server::{MILLI, Nature, SECOND},
    tally::Tally,
    world::{Changes, Plan, World},
};

const PLAIN: Nature = Nature {
    workers: 1,
    mean_work: 10 * MILLI,
    speed: 1.0,
    queue_limit: usize::MAX,
    pushback: None,
    one_long_of: None,
    one_fails_of: None,
    pause: None,
    tells_work: false,
};

/// One policy over load, for the plot.
pub(crate) struct Ramp {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, Tally)>,
}

/// Of what a replica was granted: what calls ask for.
const LOADS: [f64; 8] = [0.75, 0.9, 1.0, 1.03, 1.2, 1.4, 1.6, 1.74];

/// Mean time in a queue with one server, in service times, when one client sees all queues:
/// Mitzenmacher's 10 → 2.6 at load 0.9.
pub(crate) fn two_choices() {
    let kinds = [Kind::Random, Kind::LeastRequest];
    let tallies = crew::run(&kinds, |kind| {
        World::run(Plan {
            contender: Contender::bare(*kind),
            servers: vec![PLAIN; 500],
            clients: 1,
            calls_per_second: 0.9 * 500.0 * 100.0,
            deadline: 1000 * SECOND,
            warm_up: 10 * SECOND,
            span: 20 * SECOND,
            changes: Changes::None,
            seed: 5,
        })
    });
    println!("\nTwo choices: mean time at load 0.9, in service times (published 10 and 2.6)");
    for (kind, tally) in kinds.iter().zip(&tallies) {
        let name = Contender::new(*kind).name();
        println!("  {name:<20} {:>6.2}", tally.mean_ms() / 10.0);
    }
}

/// One of ten replicas takes 2 s for half of the time, and callers wait 1 s: linkerd's 95, 99 and
/// 99.9 % (round robin, least loaded, peak EWMA).
pub(crate) fn one_slow_node() {
    // As many workers as there are calls: only the one that is slow makes anybody wait.
    let server = Nature {
        workers: 10_000,
        mean_work: 100 * MILLI,
        ..PLAIN
    };
    let kinds = [
        Kind::RoundRobin,
        Kind::LeastRequest,
        Kind::PeakEwma,
        Kind::LeastTime,
    ];
    let tallies = crew::run(&kinds, |kind| {
        World::run(Plan {
            contender: Contender::bare(*kind),
            servers: vec![server; 10],
            clients: 1,
            calls_per_second: 1000.0,
            deadline: SECOND,
            warm_up: 10 * SECOND,
            span: 30 * SECOND,
            changes: Changes::Work(400 * SECOND, 25 * SECOND),
            seed: 5,
        })
    });
    println!("\nOne slow node: calls that succeed within 1 s (published 95, 99 and 99.9 %)");
    for (kind, tally) in kinds.iter().zip(&tallies) {
        let name = Contender::new(*kind).name();
        println!("  {name:<20} {:>6.2} %", 100.0 - tally.failed_percent());
    }
}

/// Replicas may use what others on their machines leave. Where these leave nothing, a replica
/// has what it was granted and no more: weights from its own utilization do not see that.
/// Published: timeouts from 1.03 × with weighted round robin, none up to 1.74 × with Prequal,
/// and half the tail below that.
pub(crate) fn antagonists() -> Vec<Ramp> {
    // Of what it was granted, what a replica can have: nothing more on a quarter of the machines.
    let speeds = vec![1.0, 1.4, 1.8, 2.2, 2.6, 1.0, 2.0, 2.6];
    let server = Nature {
        workers: 4,
        mean_work: 20 * MILLI,
        queue_limit: 2000,
        tells_work: true,
        ..PLAIN
    };
    let kinds = [
        Kind::WeightedRoundRobin,
        Kind::LeastRequest,
        Kind::LeastTime,
        Kind::PeakEwma,
        Kind::Prequal,
    ];
    let cells: Vec<_> = kinds
        .iter()
        .flat_map(|kind| LOADS.map(|load| (*kind, load)))
        .collect();
    let mut tallies = crew::run(&cells, |(kind, load)| {
        World::run(Plan {
            contender: Contender::bare(*kind),
            servers: vec![server; 100],
            clients: 100,
            calls_per_second: load * 100.0 * 200.0,
            deadline: SECOND,
            warm_up: 5 * SECOND,
            span: 10 * SECOND,
            changes: Changes::Speeds(speeds.clone(), 5 * SECOND),
            seed: 5,
        })
    })
    .into_iter();
    println!("\nAntagonists: p99 in ms, and calls that time out, by load of what was granted");
    print!("  {:<20}", "");
    LOADS.iter().for_each(|load| print!("{load:>15.2}"));
    println!();
    kinds
        .into_iter()
        .map(|kind| {
            let name = Contender::new(kind).name();
            let points: Vec<_> = LOADS.into_iter().zip(tallies.by_ref()).collect();
            print!("  {name:<20}");
            for (_, tally) in &points {
                let (p99, failed) = (tally.quantile_ms(0.99), tally.failed_percent());
                print!("{p99:>7.0} {failed:>5.2} %");
            }
            println!();
            Ramp { name, points }
        })
        .collect()
}
