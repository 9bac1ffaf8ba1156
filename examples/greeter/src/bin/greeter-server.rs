//! Serves the greeter on `PORT` (50051), with health, readiness and metrics on port 9090.

use greeter::{Greeter, proto::greeter_server::GreeterServer};

fn main() -> std::process::ExitCode {
    sampan::run("greeter-server", || async {
        sampan::Server::from_env()?
            .add_service(GreeterServer::new(Greeter))
            .serve()
            .await?;
        Ok(())
    })
}
