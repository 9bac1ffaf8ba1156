//! A service's binary as an operator meets it: arguments, keys, ports, health, drain.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use sampan_testing::proto::{EchoRequest, echo_client::EchoClient};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixListener},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

fn echo(keys: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sampan-echo"));
    command
        .env_clear()
        .env("SAMPAN_HOST", "127.0.0.1")
        .env("PORT", "0");
    command
        .env("SAMPAN_PROBE_PORT", "0")
        .envs(keys.iter().copied());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A running binary, killed with this value.
struct Running {
    child: Child,
    /// Where it listens.
    address: String,
    log: BufReader<std::process::ChildStderr>,
}

impl Running {
    /// Starts it and waits until it listens.
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        while !seen.contains("listening on") {
            assert_ne!(log.read_line(&mut seen).unwrap(), 0, "it ended:\n{seen}");
        }
        let address = seen.rsplit("listening on ").next().unwrap().trim();
        Self {
            child,
            address: address.to_owned(),
            log,
        }
    }

    /// The processor time that it has had, in ticks of 10 ms.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        // utime and stime.
        let fields = after_name.split_whitespace().skip(11).take(2);
        fields.map(|field| field.parse::<u64>().unwrap()).sum()
    }

    /// Asks it to end, and gives its exit code and the rest of its log.
    fn end(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn an_unknown_argument_is_refused_with_what_was_meant() {
    let text = refused(&echo(&[]).arg("helth").output().unwrap());
    assert!(
        text.contains("helth") && text.contains("did you mean") && text.contains("health"),
        "{text}"
    );
}

#[test]
fn an_unknown_key_is_refused_with_what_was_meant() {
    let text = refused(&echo(&[("SAMPAN_PROB_PORT", "1")]).output().unwrap());
    assert!(
        text.contains("SAMPAN_PROB_PORT") && text.contains("SAMPAN_PROBE_PORT"),
        "{text}"
    );
}

#[test]
fn all_wrong_values_are_told_at_once() {
    let keys = [("PORT", "many"), ("SAMPAN_LAME_DUCK", "5 parsecs")];
    let text = refused(&echo(&keys).output().unwrap());
    assert!(
        text.contains("many") && text.contains("5 parsecs"),
        "{text}"
    );
}

#[test]
fn a_taken_port_is_told_by_its_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();
    let output = echo(&[("PORT", &port)]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains(&address.to_string()) && text.contains("in use"),
        "{text}"
    );
}

#[test]
fn health_is_told_while_it_serves_and_not_after() {
    let probe = free_port().to_string();
    let keys = [
        ("SAMPAN_PROBE_PORT", probe.as_str()),
        ("SAMPAN_LAME_DUCK", "0s"),
    ];
    let service = Running::start(echo(&keys));
    let health = || echo(&keys).arg("health").output().unwrap().status.code();
    assert_eq!(health(), Some(0));
    let (code, log) = service.end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(health(), Some(1));
}

#[test]
#[cfg(target_os = "linux")]
fn without_free_descriptors_it_waits_idly_and_goes_on_when_some_are_free() {
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 64 && exec \"$0\""])
        .arg(env!("CARGO_BIN_EXE_sampan-echo"))
        .env_clear()
        .envs([("SAMPAN_HOST", "127.0.0.1"), ("PORT", "0")])
        .env("SAMPAN_PROBE_PORT", "off")
        .stderr(Stdio::piped());
    let service = Running::start(limited);
    let connect = |_| TcpStream::connect(&service.address).unwrap();
    let crowd: Vec<_> = (0..128).map(connect).collect();

    let before = service.ticks();
    thread::sleep(Duration::from_secs(2));
    let ticks = service.ticks() - before;
    assert!(ticks <= 10, "{ticks} ticks of 200: more than 5 %");

    drop(crowd);
    let runtime = runtime();
    runtime.block_on(async {
        let mut client = EchoClient::dial(&service.address).unwrap();
        client.unary(EchoRequest::default()).await.unwrap();
    });
}

/// A service that takes over a socket, which comes to it as descriptor 3.
fn heir(socket: impl Into<OwnedFd>) -> Running {
    let mut heir = Command::new("sh");
    heir.args(["-c", "exec \"$0\" 3<&0 0</dev/null"])
        .arg(env!("CARGO_BIN_EXE_sampan-echo"))
        .env_clear()
        .envs([("LISTEN_FDS", "1"), ("SAMPAN_PROBE_PORT", "off")])
        .env("SAMPAN_LAME_DUCK", "0s")
        .stdin(socket.into())
        .stderr(Stdio::piped());
    Running::start(heir)
}

#[test]
fn a_restart_with_an_inherited_socket_loses_no_call() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let first = heir(listener.try_clone().unwrap());
    assert_eq!(first.address, address);
    let runtime = runtime();
    let mut client = {
        let _inside = runtime.enter();
        EchoClient::dial(&address).unwrap()
    };
    let mut call = || runtime.block_on(client.unary(EchoRequest::default()));
    call().unwrap();
    let second = heir(listener.try_clone().unwrap());
    let (code, log) = first.end();
    assert_eq!(code, Some(0), "{log}");
    for _ in 0..100 {
        call().unwrap();
    }
    let (code, log) = second.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn an_inherited_unix_socket_is_served_and_its_file_left_to_its_maker() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let service = heir(UnixListener::bind(&path).unwrap());
    runtime().block_on(async {
        let mut client = EchoClient::dial(format!("unix:{}", path.display())).unwrap();
        client.unary(EchoRequest::default()).await.unwrap();
    });
    assert_eq!(service.end().0, Some(0));
    assert!(path.exists());
}
