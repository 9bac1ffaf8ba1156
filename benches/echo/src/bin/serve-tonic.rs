//! The echo service on plain tonic: a current-thread runtime, `SAMPAN_HOST:PORT`.

use bench_echo::service::{Echo, tonic_stubs::echo_server::EchoServer};
use std::{env, error::Error, net::SocketAddr};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let host = env::var("SAMPAN_HOST").unwrap_or_else(|_| "0.0.0.0".to_owned());
    let address = SocketAddr::new(host.parse()?, env::var("PORT")?.parse()?);
    tonic::transport::Server::builder()
        .add_service(EchoServer::new(Echo))
        .serve(address)
        .await?;
    Ok(())
}
