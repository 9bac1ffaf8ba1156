//! Replicas as processes.

use crate::replica::Behaviour;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

/// A replica that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    orders: ChildStdin,
    program: Program,
    address: SocketAddr,
}

/// How a replica is started.
#[derive(Clone, Debug)]
#[must_use]
pub struct Program {
    path: PathBuf,
    name: String,
    words: Vec<String>,
}

const PATIENCE: Duration = Duration::from_secs(30);

// === impl Program ===

impl Program {
    /// The replica `name`; `path` is that of the program `replica`.
    pub fn new(path: &str, name: &str) -> Self {
        Self {
            path: path.into(),
            name: name.to_owned(),
            words: Vec::new(),
        }
    }

    /// With one more argument, as `src/bin/replica.rs` says.
    pub fn with(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Writes its calls down there.
    pub fn with_journal(self, path: &Path) -> Self {
        self.with(format!("journal={}", path.display()))
    }

    /// Starts it on a free port, and waits until it listens.
    #[must_use]
    pub fn start(self) -> Process {
        self.start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
            .unwrap()
    }

    /// Starts it there, and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it ends before it listens.
    pub fn start_at(self, address: SocketAddr) -> Result<Process, String> {
        let mut child = Command::new(&self.path)
            .arg(&self.name)
            .arg(format!("listen={address}"))
            .args(&self.words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let read = lines.read_line(&mut said);
        match said.trim().strip_prefix("listening on ") {
            Some(address) => Ok(Process {
                address: address.parse().unwrap(),
                child,
                orders,
                program: self,
            }),
            None => {
                let ended = child.wait();
                Err(format!("it said \"{said}\" and ended: {read:?}, {ended:?}"))
            }
        }
    }
}

// === impl Process ===

impl Process {
    /// Three replicas of the names a, b and c.
    #[must_use]
    pub fn three(path: &str, change: impl Fn(Program) -> Program) -> [Self; 3] {
        ["a", "b", "c"].map(|name| change(Program::new(path, name)).start())
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// It does so from now on.
    pub fn behave(&mut self, behaviour: Behaviour) {
        self.orders
            .write_all(behaviour.to_string().as_bytes())
            .unwrap();
    }

    /// Stops it where it stands: its sockets stay, and nobody answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Asks it to drain, and waits until it has.
    pub fn drain(&mut self) {
        self.signal(Signal::TERM);
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "it does not drain");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again at the same address, after it has ended.
    pub fn restart(&mut self) {
        let began = Instant::now();
        loop {
            match self.program.clone().start_at(self.address) {
                Ok(process) => {
                    *self = process;
                    return;
                }
                // Its port may still be in use by what the other left.
                Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `ipv4:` and all addresses.
#[must_use]
pub fn target(fleet: &[Process]) -> String {
    let addresses: Vec<_> = fleet.iter().map(|one| one.address.to_string()).collect();
    format!("ipv4:{}", addresses.join(","))
}
