//! Runs the built command.

use std::{process::Stdio, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

/// Nothing here takes a fraction of it.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

// === impl Ran ===

impl Ran {
    /// What standard output holds: JSON values one after the other.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        serde_json::Deserializer::from_str(&self.out)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Starts the command with all its streams piped; it is killed when dropped.
pub(crate) fn start(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sampan"))
        .args(args)
        .env_remove("SAMPAN_LOG")
        .env_remove("RUST_LOG")
        .env("CLI_TEST_TOKEN", "t0k")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Runs the command without input.
pub(crate) async fn sampan(args: &[&str]) -> Ran {
    sampan_with(args, "").await
}

/// Runs the command with this input.
pub(crate) async fn sampan_with(args: &[&str], input: &str) -> Ran {
    let mut child = start(args);
    let mut stdin = child.stdin.take().unwrap();
    // It may end without having read.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("{args:?} did not end"))
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
