//! Runs a service's binary: its command line, its log, its exit code.

use crate::{
    Error,
    config::{ENVIRONMENT, log_filter, probe_for_health},
    error::{Kind, write_chain},
};
use sampan_wire::suggest;
use std::{
    error::Error as StdError,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};
use tokio::runtime::{Builder, LocalOptions};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Wrong command line or configuration. Source: sysexits.h, EX_USAGE.
const USAGE: u8 = 64;
const FAILURE: u8 = 1;

/// How long `health` waits for an answer.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Serve,
    Health,
    Help,
    Version,
}

/// Runs `service` on a current-thread runtime and gives the process's exit code; call it from
/// `main`.
///
/// Understands `health` (asks the running service's probe port whether it is ready: for a
/// container's HEALTHCHECK), `--help` and `--version`. Logs to standard error. Errors are
/// printed with their causes and a hint. Exit codes: 64 for a wrong command line or
/// configuration, 1 for other failures.
pub fn run<F, Fut>(service: &str, f: F) -> ExitCode
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<(), Error>>,
{
    let exit_code = |error: &Error| {
        if error.is_configuration() {
            USAGE
        } else {
            FAILURE
        }
    };
    run_with(service, f, exit_code)
}

/// [`run`] for services with an error of their own, whose exit code `exit_code` tells.
pub fn run_with<F, Fut, E>(service: &str, f: F, exit_code: fn(&E) -> u8) -> ExitCode
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: StdError + 'static,
{
    let arguments = std::env::args_os().skip(1);
    let arguments: Vec<_> = arguments
        .map(|text| text.to_string_lossy().into_owned())
        .collect();
    match Command::parse(&arguments) {
        Ok(Command::Serve) => {}
        Ok(Command::Health) => return health(service),
        Ok(Command::Help) => return print(&help(service)),
        Ok(Command::Version) => {
            let version = env!("CARGO_PKG_VERSION");
            return print(&format!("{service} (sampan {version})\n"));
        }
        Err(fault) => {
            eprintln!("{service}: {fault}\n\n{}", help(service));
            return USAGE.into();
        }
    }
    start_log();
    // Local: a program that makes no other runtime has no multi-thread scheduler in it.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(service, &Error::from(Kind::Runtime(error)), FAILURE),
    };
    match runtime.block_on(f()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(service, &error, exit_code(&error)),
    }
}

fn fail(service: &str, error: &dyn StdError, code: u8) -> ExitCode {
    let mut text = String::new();
    // Errors of ours print their causes themselves; those are not repeated.
    if write_chain(&mut text, error).is_ok() {
        eprintln!("{service}: {text}");
    }
    code.into()
}

fn print(text: &str) -> ExitCode {
    // A reader that has gone needs no help.
    io::stdout().write_all(text.as_bytes()).ok();
    ExitCode::SUCCESS
}

/// Logs to standard error, unless the program has set up a log of its own.
fn start_log() {
    let filter = log_filter();
    let (filter, fault) = match filter.parse::<Targets>() {
        Ok(filter) => (filter, None),
        Err(error) => {
            let info = Targets::new().with_default(LevelFilter::INFO);
            (info, Some(error))
        }
    };
    let log = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_writer(io::stderr)
        .finish()
        .with(filter);
    if log.try_init().is_ok()
        && let Some(error) = fault
    {
        tracing::warn!(%error, "the log filter cannot be read; info is taken");
    }
}

fn help(service: &str) -> String {
    let mut text = format!(
        "Usage: {service} [health]\n\n\
         Without an argument: serves, until SIGTERM or SIGINT and the drain that follows.\n\n  \
         health     exit code 0 when the running service is ready, else 1\n  \
         --help     this text\n  \
         --version  the version\n\n\
         Environment:\n"
    );
    for key in ENVIRONMENT {
        let default = match key.default {
            "" => String::new(),
            default => format!(" [{default}]"),
        };
        text.push_str(&format!("  {}{default}\n      {}\n", key.name, key.meaning));
    }
    text
}

/// Asks the probe port of the service that runs under the same environment.
fn health(service: &str) -> ExitCode {
    let fault = match probe_for_health() {
        Ok(Some(address)) => match is_ready(address) {
            Ok(status) if status.contains(" 200 ") => return ExitCode::SUCCESS,
            Ok(status) => format!("{address} is not ready: {status}"),
            Err(error) => format!("{address} does not answer: {error}"),
        },
        Ok(None) => "SAMPAN_PROBE_PORT is off: nothing to ask".to_owned(),
        Err(error) => {
            eprintln!("{service}: {error}");
            return USAGE.into();
        }
    };
    eprintln!("{service}: {fault}");
    FAILURE.into()
}

/// The status line that /ready is answered with.
fn is_ready(address: SocketAddr) -> io::Result<String> {
    let mut socket = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
    socket.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    socket.set_write_timeout(Some(HEALTH_TIMEOUT))?;
    socket.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    socket.take(1024).read_to_end(&mut answer)?;
    let line = answer
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

// === impl Command ===

impl Command {
    const NAMES: [&str; 3] = ["health", "--help", "--version"];

    fn parse(arguments: &[String]) -> Result<Self, String> {
        let argument = match arguments {
            [] => return Ok(Self::Serve),
            [argument] => argument.as_str(),
            [_, second, ..] => return Err(format!("one argument too many: {second}")),
        };
        match argument {
            "health" => Ok(Self::Health),
            "--help" | "-h" | "help" => Ok(Self::Help),
            "--version" | "-V" => Ok(Self::Version),
            other => Err(match suggest::nearest(other, Self::NAMES) {
                Some(meant) => format!("unknown argument {other}: did you mean {meant}?"),
                None => format!("unknown argument {other}"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, String> {
        let arguments: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
        Command::parse(&arguments)
    }

    #[test]
    fn a_wrong_argument_is_answered_with_what_was_meant() {
        assert_eq!(parse(&[]), Ok(Command::Serve));
        assert_eq!(parse(&["health"]), Ok(Command::Health));
        assert_eq!(parse(&["-V"]), Ok(Command::Version));
        let error = parse(&["helth"]).unwrap_err();
        assert!(error.contains("did you mean health?"), "{error}");
        let error = parse(&["--hepl"]).unwrap_err();
        assert!(error.contains("did you mean --help?"), "{error}");
        assert!(parse(&["health", "x"]).unwrap_err().contains("too many"));
    }

    #[test]
    fn help_tells_every_key() {
        let text = help("orders");
        for key in ENVIRONMENT {
            assert!(text.contains(key.name));
        }
    }
}
