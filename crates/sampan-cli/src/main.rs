#![doc = include_str!("../README.md")]

mod args;
mod call;
mod codec;
mod config;
mod describe;
mod dial;
mod exit;
mod failure;
mod gateway;
mod health;
mod list;
mod log;
mod message;
mod output;
mod report;
mod schema;

use args::{Stop, Verb};
use failure::Failure;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let verb = match args::parse(std::env::args_os().skip(1)) {
        Ok(verb) => verb,
        Err(Stop::Asked(text)) => return ended(output::print(&text).map(|()| 0)),
        Err(Stop::Wrong(failure)) => return ended(Err(failure)),
    };
    // One call needs one thread; a gateway takes all it is granted.
    let (mut builder, default_log) = match &verb {
        Verb::Gateway(_) => (tokio::runtime::Builder::new_multi_thread(), "info"),
        _ => (tokio::runtime::Builder::new_current_thread(), "off"),
    };
    if let Err(failure) = log::start(default_log) {
        return ended(Err(failure));
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(Failure::because("cannot start a runtime", error))),
    };
    let code = ended(runtime.block_on(run(verb)));
    // A read of standard input that still waits would hold an ordinary shutdown up.
    runtime.shutdown_background();
    code
}

async fn run(verb: Verb) -> Result<u8, Failure> {
    match verb {
        Verb::Call(args) => call::run(&args).await.map(|()| 0),
        Verb::List(args) => list::run(&args).await.map(|()| 0),
        Verb::Describe(args) => describe::run(&args).await.map(|()| 0),
        Verb::Health(args) => health::run(&args).await,
        Verb::Gateway(args) => gateway::run(&args).await.map(|()| 0),
    }
}

fn ended(result: Result<u8, Failure>) -> ExitCode {
    match result {
        Ok(code) => code.into(),
        Err(failure) => {
            eprint!("{}", report::render(&failure));
            failure.exit_code().into()
        }
    }
}
