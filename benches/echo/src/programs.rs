//! Figures that other programs take: h2load, strace, bench-counts; and the start of a service.

use crate::{
    lab::{Lab, current_thread},
    load::Limit,
    sample::{Figure, Sample},
    service_process::{ServiceProcess, beside},
    usage::{Cores, pin},
};
use bench_echo::{
    peer::{Peer, Target},
    service::{Client, EchoMessage, Handler},
};
use std::{
    fs,
    process::{Command, Output},
    thread,
    time::Instant,
};
use tonic::Request;

/// The server of a lab under h2load, which has the second core.
pub(crate) fn h2load(lab: &Lab, requests: u32, cores: Cores) -> Result<Sample, String> {
    let Target::Tcp(address) = lab.target() else {
        return Err("h2load speaks plaintext TCP".to_owned());
    };
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let body = folder.path().join("request");
    fs::write(&body, framed_message()).map_err(|error| error.to_string())?;
    let mut command = Command::new("h2load");
    command
        .args([
            "-c",
            "4",
            "-m",
            "16",
            "-t",
            "1",
            "-n",
            &requests.to_string(),
        ])
        .arg("-d")
        .arg(&body)
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers"])
        .arg(format!("http://{address}/bench.v1.Echo/Unary"));
    let before = lab.server().used();
    let started = Instant::now();
    let output = run(command, &[cores.second])?;
    let seconds = started.elapsed().as_secs_f64();
    let used = lab.server().used() - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.contains(&format!("{requests} succeeded, 0 failed")) {
        return Err(format!("h2load failed: {text}"));
    }
    let calls = f64::from(requests);
    Ok(Sample::from([
        (Figure::ServerCpu, used.cpu.as_secs_f64() * 1e6 / calls),
        (Figure::Switches, used.switches as f64 / calls),
        (Figure::Rate, calls / seconds),
    ]))
}

/// How long a service takes from its start to its first answered call. The client is the same
/// for all.
pub(crate) fn start(peer: Peer, cores: Cores) -> Sample {
    let runtime = current_thread();
    let service = ServiceProcess::start(peer, &cores.both());
    runtime.block_on(async {
        let mut client = service.target().tonic().await;
        let request = Request::new(EchoMessage::default());
        let answer = Client::unary(&mut client, Handler::Echo, request).await;
        answer.expect("the echo answers");
    });
    let millis = service.started().elapsed().as_secs_f64() * 1e3;
    Sample::from([(Figure::Millis, millis)])
}

/// Allocations of a call, as the difference between a short run and a long one.
pub(crate) fn allocations(peer: Peer) -> Result<Sample, String> {
    let subject = match peer {
        Peer::Sampan => "sampan",
        _ => "tonic",
    };
    let mut command = Command::new(beside("bench-counts"));
    command.args([subject, "1000", "--allocations"]);
    let output = run(command, &[])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let count = text
        .trim()
        .parse()
        .map_err(|_| format!("bench-counts: {text}"))?;
    Ok(Sample::from([(Figure::Allocations, count)]))
}

/// System calls of a call, as the difference between a short run and a long one.
pub(crate) fn system_calls(case: &str, peer: Peer) -> Result<Sample, String> {
    const SHORT: u64 = 2_000;
    const LONG: u64 = 6_000;
    let count = |calls: u64| -> Result<u64, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let table = folder.path().join("table");
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(&table).arg(own);
        command.args(["once", case, peer.name(), &calls.to_string()]);
        run(command, &[])?;
        let text = fs::read_to_string(&table).map_err(|error| error.to_string())?;
        strace_total(&text).ok_or_else(|| format!("strace wrote no total: {text}"))
    };
    let each = (count(LONG)? - count(SHORT)?) as f64 / (LONG - SHORT) as f64;
    Ok(Sample::from([(Figure::SystemCalls, each)]))
}

/// What [`system_calls`] has strace run.
pub(crate) fn once(lab: &Lab, calls: u64) {
    lab.turn(Limit::Calls(calls));
}

/// Runs it to its end on `cores`; none: on all.
fn run(mut command: Command, cores: &[usize]) -> Result<Output, String> {
    let cores = cores.to_vec();
    let name = command.get_program().to_string_lossy().into_owned();
    // The process has the cores of the thread that starts it.
    let started = thread::spawn(move || {
        if !cores.is_empty() {
            pin(&cores);
        }
        command.output()
    });
    let output = started.join().expect("the thread ends well");
    let output = output.map_err(|error| format!("{name} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{name} failed: {words}"))
}

/// The number of calls in the last line of strace's table, after percent, seconds and
/// microseconds per call.
fn strace_total(table: &str) -> Option<u64> {
    let line = table.lines().rev().find(|line| line.ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// A message of 32 bytes as gRPC has it on the wire.
fn framed_message() -> Vec<u8> {
    use prost::Message;
    let message = EchoMessage {
        payload: vec![7; 32].into(),
    };
    let encoded = message.encode_to_vec();
    let len = u32::try_from(encoded.len()).expect("it is short");
    let mut framed = vec![0];
    framed.extend(len.to_be_bytes());
    framed.extend(encoded);
    framed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_straces_table_is_read() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     51.89    0.829422      118488         7           futex\n\
                     100.00    1.598355          33     48210         9 total\n";
        assert_eq!(strace_total(table), Some(48_210));
        assert_eq!(strace_total("strace: nothing ran\n"), None);
    }
}
