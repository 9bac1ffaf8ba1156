//! Sampan beside its peers and raw sockets, case by case. Run by `scripts/bench`; what each
//! row means is in docs/performance.md.

mod cases;
mod lab;
mod load;
mod memory;
mod options;
mod programs;
mod raw;
mod remote;
mod report;
mod run;
mod sample;
mod service_process;
mod usage;
mod volo;

use options::{Command, USAGE};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Some(cores) = usage::Cores::of_this_process() else {
        eprintln!("two cores are needed");
        return ExitCode::FAILURE;
    };
    match options::parse(std::env::args().skip(1), cores) {
        Ok(Command::Help) => println!("{USAGE}"),
        Ok(Command::List) => {
            for case in cases::CASES {
                println!("{:<16}{}", case.name, case.about);
            }
        }
        Ok(Command::Once { setup, peer, calls }) => {
            programs::once(&lab::Lab::start(peer, setup, cores), calls);
        }
        Ok(Command::Serve { peer, address }) => return exit(remote::serve(peer, &address)),
        Ok(Command::Drive {
            peer,
            address,
            drive,
        }) => return exit(remote::drive(peer, &address, drive)),
        Ok(Command::Run { cases, plan, json }) => {
            usage::raise_file_limit();
            let mut report = report::Report::default();
            for case in cases {
                report.add(case, run::run(case, &plan));
            }
            report.print();
            if let Some(path) = json
                && let Err(error) = std::fs::write(&path, report.json())
            {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}

fn exit(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
