//! Serves the echo service, configured by the environment like every Sampan server.

use sampan_testing::{Echo, proto};
use std::process::ExitCode;

fn main() -> ExitCode {
    sampan::run("sampan-echo", || async {
        sampan::Server::from_env()?
            .reflection(proto::FILE_DESCRIPTOR_SET)
            .add_service(Echo::named("echo").into_service())
            .serve()
            .await?;
        Ok(())
    })
}
