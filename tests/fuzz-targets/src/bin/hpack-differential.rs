//! Compares our HPACK with somebody else's: `hpack-differential [LISTS [SEED]]`.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use fuzz_targets::differential::run;

const USAGE: &str = "usage: hpack-differential [LISTS [SEED]], both numbers";

fn main() -> ExitCode {
    let mut numbers = [1_000_000, 7541];
    for (at, argument) in std::env::args().skip(1).enumerate() {
        match (numbers.get_mut(at), argument.parse()) {
            (Some(number), Ok(given)) => *number = given,
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(64);
            }
        }
    }
    let [lists, seed] = numbers;
    let terminal = io::stderr().is_terminal();
    let mut shown = 0;
    let outcome = run(lists, seed, |so_far| {
        let done = so_far.passed + so_far.failed;
        if terminal && (done - shown >= 5_000 || done == lists) {
            shown = done;
            // Nothing to be done when the terminal is gone.
            let _ = write!(io::stderr(), "\r{done} of {lists} lists");
        }
    });
    if terminal {
        eprintln!();
    }
    for difference in &outcome.differences {
        println!("{difference}");
    }
    println!("{} passed, {} failed", outcome.passed, outcome.failed);
    if outcome.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
