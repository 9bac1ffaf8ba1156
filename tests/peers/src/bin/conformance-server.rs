//! The server that the Connect conformance suite starts for each set of settings.

use sampan::{
    Server,
    client::{Certificate, Identity},
};
use sampan_peers::{
    Failure,
    conformance::{
        self,
        proto::{
            ServerCompatRequest, ServerCompatResponse,
            conformance_service_server::ConformanceServiceServer,
        },
        server::Conformance,
    },
    trailers::WithTrailers,
};
use sampan_transport::{Address, ServerTlsSettings};
use std::{io, net::SocketAddr, time::Duration};
use tonic::codec::CompressionEncoding;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let asked: ServerCompatRequest =
        conformance::read(&mut io::stdin())?.ok_or("nothing was asked for")?;
    let mut service = ConformanceServiceServer::new(Conformance)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    if asked.message_receive_limit > 0 {
        service = service.max_decoding_message_size(usize::try_from(asked.message_receive_limit)?);
    }
    let mut server = Server::builder()
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .lame_duck(Duration::ZERO)
        .drain_timeout(Duration::from_secs(1))
        .add_service(WithTrailers(service));
    let mut pem_cert = Vec::new();
    if asked.use_tls {
        let creds = asked.server_creds.ok_or("TLS without a certificate")?;
        let mut tls = ServerTlsSettings::new(Identity::from_pem(&creds.cert, &creds.key));
        if !asked.client_tls_cert.is_empty() {
            tls.client_ca = Some(Certificate::from_pem(&asked.client_tls_cert));
        }
        server = server.tls(&tls)?;
        pem_cert = creds.cert;
    }
    let server = server.bind().await?;
    let Address::Tcp(address) = server.local_addresses()[0] else {
        return Err("no TCP address".into());
    };
    let at = ServerCompatResponse {
        host: address.ip().to_string(),
        port: address.port().into(),
        pem_cert,
    };
    conformance::write(&mut io::stdout(), &at)?;
    Ok(server.serve().await?)
}
