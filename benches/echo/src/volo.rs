//! volo-grpc, measured by a program of its own (benches/volo) that takes a turn for each line.

use crate::{
    lab::sample,
    load::{Limit, Outcome},
    sample::Sample,
    usage::{Threads, Used, pin},
};
use std::{
    cell::RefCell,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

pub(crate) struct Volo {
    child: Child,
    ends: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

// === impl Volo ===

impl Volo {
    /// Client and server on these cores.
    pub(crate) fn start(program: &str, cores: &[usize]) -> Result<Self, String> {
        let (cores, command) = (cores.to_vec(), Command::new(program));
        // The process has the cores of the thread that starts it.
        let start = move || {
            let mut command = command;
            pin(&cores);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        };
        let child = thread::spawn(start).join().expect("the thread ends well");
        let mut child = child.map_err(|error| format!("{program}: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let ends = input.zip(output).ok_or("the program has no pipes")?;
        Ok(Self {
            child,
            ends: RefCell::new((ends.0, BufReader::new(ends.1))),
        })
    }

    /// Asks for so many milliseconds; is told messages, bytes and nanoseconds.
    pub(crate) fn turn(&self, limit: Limit) -> Result<Sample, String> {
        let Limit::Time(time) = limit else {
            return Err("volo runs for a time".to_owned());
        };
        let mut ends = self.ends.borrow_mut();
        let before = Threads::of(self.child.id()).used();
        let mut line = String::new();
        writeln!(ends.0, "{}", time.as_millis())
            .and_then(|()| ends.1.read_line(&mut line))
            .map_err(|error| format!("volo's program ended: {error}"))?;
        let numbers: Vec<u64> = line
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        let [count, bytes, nanos] = numbers[..] else {
            return Err(format!("volo's program wrote {line:?}"));
        };
        let outcome = Outcome {
            count,
            bytes,
            elapsed: Duration::from_nanos(nanos),
            latencies: Vec::new(),
        };
        let used = Threads::of(self.child.id()).used() - before;
        Ok(sample(outcome, used, Used::default()))
    }
}

impl Drop for Volo {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
