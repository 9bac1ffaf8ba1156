//! The server of the interop cases: grpc-go's flags. Prints where it listens.
//!
//! `--write_certificates DIR` writes an authority and a server's certificate and key instead.

use sampan::{
    Server,
    client::Identity,
    compression::{Compression, Encoding},
    server::{LoadReporting, ServerMetricsRecorder},
};
use sampan_peers::{Failure, certificates::Certificates, flags::Flags, interop};
use sampan_transport::ServerTlsSettings;
use std::{fs, net::SocketAddr, path::Path, time::Duration};

const FLAGS: [&str; 5] = [
    "port",
    "use_tls",
    "tls_cert_file",
    "tls_key_file",
    "write_certificates",
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let flags = Flags::read(&FLAGS)?;
    if let Some(folder) = flags.optional("write_certificates") {
        return write_certificates(Path::new(folder));
    }
    let address = SocketAddr::from(([127, 0, 0, 1], flags.value("port", 10_000)?));
    let load = ServerMetricsRecorder::default();
    let reporting = LoadReporting::new()
        .with_recorder(load.clone())
        .recorded_only()
        .with_shortest_interval(Duration::from_secs(1));
    let mut server = Server::builder()
        .listen(address)
        .lame_duck(Duration::ZERO)
        .compression(Compression::new(Encoding::Gzip).always())
        .load_reports(reporting)
        .add_service(interop::service(load));
    if flags.is_on("use_tls") {
        let identity = Identity::from_pem(
            fs::read(flags.text("tls_cert_file")?)?,
            fs::read(flags.text("tls_key_file")?)?,
        );
        server = server.tls(&ServerTlsSettings::new(identity))?;
    }
    let server = server.bind().await?;
    println!("listening on {}", server.local_addresses()[0]);
    Ok(server.serve().await?)
}

fn write_certificates(folder: &Path) -> Result<(), Failure> {
    let made = Certificates::generate()?;
    fs::write(folder.join("ca.pem"), made.ca)?;
    fs::write(folder.join("server.pem"), made.server)?;
    fs::write(folder.join("server.key"), made.key)?;
    Ok(())
}
