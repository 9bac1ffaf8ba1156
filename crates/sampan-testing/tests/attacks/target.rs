//! The server that is attacked: a process of its own, so that its memory can be read.

use crate::honest::Honest;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
};

pub(crate) const MIB: u64 = 1 << 20;

/// A running `sampan-echo`; ends with this value.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    child: Child,
}

/// A target with an honest client on it.
pub(crate) struct Scene {
    pub(crate) address: SocketAddr,
    target: Target,
    honest: Honest,
    before: u64,
}

// === impl Target ===

impl Target {
    pub(crate) fn start(keys: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sampan-echo"))
            .env_clear()
            .env("SAMPAN_HOST", "127.0.0.1")
            .env("PORT", "0")
            .env("SAMPAN_PROBE_PORT", "off")
            .envs(keys.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it did not start");
            if let Some((_, at)) = line.split_once("listening on ") {
                let at: String = at
                    .chars()
                    .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':'))
                    .collect();
                break at.parse().unwrap();
            }
        };
        // What it writes later must not block it.
        thread::spawn(move || log.read_to_end(&mut Vec::new()));
        Self { address, child }
    }

    /// The most memory it has had, in bytes.
    fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib: u64 = line
            .and_then(|line| line.split_whitespace().nth(1))
            .unwrap()
            .parse()
            .unwrap();
        kib << 10
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

// === impl Scene ===

impl Scene {
    /// A server whose honest client has had its first answers.
    pub(crate) fn set() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(keys: &[(&str, &str)]) -> Self {
        let target = Target::start(keys);
        let honest = Honest::start(target.address);
        Self {
            address: target.address,
            before: target.most_memory(),
            target,
            honest,
        }
    }

    /// The attack is over: the honest client has seen no error, and memory has not grown by
    /// more than `mib`.
    pub(crate) fn ends_well(self, mib: u64) {
        self.honest.had_no_error();
        let grown = self.target.most_memory() - self.before;
        assert!(
            grown <= mib * MIB,
            "the server has grown by {} KiB",
            grown >> 10
        );
    }
}
