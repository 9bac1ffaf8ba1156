//! Compares the channel's pickers over simulated replicas, in virtual time and from one seed.
//!
//! `cargo run --release -p bench-balance -- [--svg FILE]`. docs/balancing.md says what it shows.

mod crew;
mod plot;
mod policies;
mod published;
mod scenarios;
mod server;
mod tally;
mod world;

use policies::Contender;
use scenarios::Scenario;
use std::process::ExitCode;
use tally::Tally;
use world::World;

/// One run of the table.
#[derive(Clone, Copy, Debug)]
struct Cell {
    scenario: Scenario,
    replicas: usize,
    clients: usize,
    load: f64,
    contender: Contender,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let svg = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => None,
        (Some("--svg"), Some(file)) => Some(file),
        _ => {
            eprintln!("usage: bench-balance [--svg FILE]");
            return ExitCode::from(64);
        }
    };
    let cells = cells();
    let tallies = crew::run(&cells, |cell| World::run(cell.plan()));
    let rows: Vec<_> = cells.into_iter().zip(tallies).collect();
    print(&rows);
    published::two_choices();
    published::one_slow_node();
    let ramps = published::antagonists();
    if let Some(file) = svg
        && let Err(error) = std::fs::write(&file, plot::draw(&rows, &ramps))
    {
        eprintln!("cannot write {file}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

impl Cell {
    fn plan(&self) -> world::Plan {
        self.scenario
            .plan(self.contender, self.replicas, self.clients, self.load)
    }
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for scenario in scenarios::ALL {
        let settings = [
            (3, 100, 0.8),
            (10, 4, 0.8),
            (10, 100, 0.5),
            (10, 100, 0.8),
            (10, 100, 0.95),
            (10, 100, 1.2),
            (100, 100, 0.8),
            (1000, 100, 0.8),
        ];
        for (replicas, clients, load) in settings {
            for contender in policies::ALL {
                cells.push(Cell {
                    scenario,
                    replicas,
                    clients,
                    load,
                    contender,
                });
            }
        }
    }
    cells
}

fn print(rows: &[(Cell, Tally)]) {
    let mut last = None;
    for (cell, tally) in rows {
        let setting = (
            cell.scenario,
            cell.replicas,
            cell.clients,
            cell.load.to_bits(),
        );
        if last.replace(setting) != Some(setting) {
            println!(
                "\n{}; {} replicas, {} clients, load {:.0} %",
                cell.scenario.name(),
                cell.replicas,
                cell.clients,
                100.0 * cell.load
            );
            println!(
                "  {:<20} {:>8} {:>8} {:>8} {:>9} {:>9}",
                "", "p50 ms", "p99 ms", "p99.9 ms", "failed %", "its share"
            );
        }
        println!(
            "  {:<20} {:>8.1} {:>8.1} {:>8.1} {:>9.3} {:>9.3}",
            cell.contender.name(),
            tally.quantile_ms(0.5),
            tally.quantile_ms(0.99),
            tally.quantile_ms(0.999),
            tally.failed_percent(),
            tally.last_of_even()
        );
    }
}
