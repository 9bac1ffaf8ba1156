//! How long a service takes from its start to its first answered call.
//!
//! `bench-start BINARY [RUNS]` starts `sampan-echo` (or what serves the same) again and again,
//! each time on a fresh port, calls it until it answers, and prints the quartiles.

use sampan_testing::proto::{EchoRequest, echo_client::EchoClient};
use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

/// A service that has not answered by then never will.
const LIMIT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (binary, runs) = (arguments.next(), arguments.next());
    let runs = runs.map_or(Some(20), |runs| {
        runs.parse::<usize>().ok().filter(|n| *n > 0)
    });
    let (Some(binary), Some(runs)) = (binary, runs) else {
        eprintln!("usage: bench-start BINARY [RUNS]");
        return ExitCode::from(64);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime starts");
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        match runtime.block_on(first_answer(&binary)) {
            Ok(time) => times.push(time),
            Err(problem) => {
                eprintln!("{binary}: {problem}");
                return ExitCode::FAILURE;
            }
        }
    }
    times.sort();
    let millis = |quarter: usize| times[(runs - 1) * quarter / 4].as_secs_f64() * 1e3;
    println!(
        "start to first answered call, {runs} runs: median {:.1} ms ({:.1} to {:.1})",
        millis(2),
        millis(1),
        millis(3)
    );
    ExitCode::SUCCESS
}

async fn first_answer(binary: &str) -> Result<Duration, String> {
    let port = free_port().map_err(|error| format!("no free port: {error}"))?;
    let started = Instant::now();
    let _service = Service::start(binary, port)?;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if started.elapsed() > LIMIT {
            return Err(format!("nothing listens on port {port} after {LIMIT:?}"));
        }
        std::thread::yield_now();
    }
    let client = EchoClient::dial(format!("127.0.0.1:{port}"));
    let mut client = client.map_err(|error| error.to_string())?;
    client
        .unary(EchoRequest::default())
        .await
        .map_err(|status| status.to_string())?;
    Ok(started.elapsed())
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A running service, ended with this value.
struct Service(Child);

impl Service {
    fn start(binary: &str, port: u16) -> Result<Self, String> {
        let child = Command::new(binary)
            .env("PORT", port.to_string())
            .env("SAMPAN_HOST", "127.0.0.1")
            .env("SAMPAN_PROBE_PORT", "0")
            .stderr(Stdio::null())
            .spawn();
        child
            .map(Self)
            .map_err(|error| format!("cannot be started: {error}"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
