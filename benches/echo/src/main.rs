//! The same unary echo on Sampan, on plain tonic and on raw sockets, side by side.
//!
//! Client and server run in one process, each on a current-thread runtime in a thread of its
//! own. The subjects take turns in short blocks, so that a drift of the machine's speed hits
//! all alike; figures are medians over the blocks, ratios are made block by block. A second
//! tonic row shows the noise; a third has the deadline that Sampan sets by default.

mod peer;
mod raw;
mod report;
mod subject;

use std::{process::ExitCode, time::Duration};
use subject::{Load, Subject};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "bench-echo [--blocks N] [--millis N] [--in-flight N] [--json FILE]

  --blocks N    turns of each subject (10)
  --millis N    length of one turn (300)
  --in-flight N only this load, in place of 1 and 64
  --json FILE   also writes the figures there

Pin it from outside: `taskset -c 0 bench-echo` has both sides on one core.";

struct Options {
    blocks: usize,
    turn: Duration,
    loads: Vec<Load>,
    json: Option<String>,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    let subjects = [
        Subject::sampan(),
        Subject::tonic("tonic"),
        Subject::tonic("tonic again"),
        Subject::tonic_with_deadline(),
    ];
    let raw = raw::PingPong::start();

    let mut report = report::Report::default();
    for block in 0..options.blocks {
        eprint!("\rblock {} of {}", block + 1, options.blocks);
        report.raw(raw.run(options.turn));
        for &load in &options.loads {
            for subject in &subjects {
                report.add(subject.name(), load, subject.run(load, options.turn));
            }
        }
    }
    eprintln!();
    report.print();
    if let Some(path) = options.json
        && let Err(error) = std::fs::write(&path, report.json())
    {
        eprintln!("{path}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        blocks: 10,
        turn: Duration::from_millis(300),
        loads: vec![Load { in_flight: 1 }, Load { in_flight: 64 }],
        json: None,
    };
    while let Some(flag) = arguments.next() {
        if flag == "--help" || flag == "-h" {
            return Ok(None);
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || {
            value
                .parse::<usize>()
                .ok()
                .filter(|n| *n > 0)
                .ok_or(format!("{flag} {value}: no count"))
        };
        match flag.as_str() {
            "--blocks" => options.blocks = number()?,
            "--millis" => options.turn = Duration::from_millis(number()? as u64),
            "--in-flight" => {
                options.loads = vec![Load {
                    in_flight: number()?,
                }]
            }
            "--json" => options.json = Some(value),
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    Ok(Some(options))
}
