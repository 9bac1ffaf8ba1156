//! The echo service as a Sampan service's author writes it; the environment says where.

use bench_echo::service::{Echo, sampan_stubs::echo_server::EchoServer};
use std::process::ExitCode;

fn main() -> ExitCode {
    sampan::run("serve-sampan", || async {
        sampan::Server::from_env()?
            .add_service(EchoServer::new(Echo))
            .serve()
            .await?;
        Ok(())
    })
}
