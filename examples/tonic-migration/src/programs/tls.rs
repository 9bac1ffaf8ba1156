/// Texts in PEM.
#[derive(Clone, Debug)]
pub struct Pem {
    /// Who signs both certificates.
    pub authority: String,
    /// The server's certificate, and its key.
    pub server: (String, String),
    /// The client's certificate, and its key.
    pub client: (String, String),
}

/// Serves by TLS until `stop`; with `is_mutual`, only those who show a certificate.
///
/// # Errors
/// When the server fails.
pub async fn serve(
    pem: Pem,
    is_mutual: bool,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), BoxError> {
    let (certificate, key) = pem.server;
    let mut tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
    if is_mutual {
        tls = tls.client_ca_root(Certificate::from_pem(pem.authority));
    }
    Server::builder()
        .tls_config(tls)?
        .add_service(GreeterServer::new(MyGreeter))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await?;
    Ok(())
}

/// Calls `localhost` with a certificate of its own, then without; gives what it heard.
///
/// # Errors
/// When a call fails that should not.
pub async fn call(pem: Pem, uri: String) -> Result<Vec<String>, BoxError> {
    let mut heard = Vec::new();
    let trusting = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(pem.authority))
        .domain_name("localhost");
    let (certificate, key) = pem.client;
    let known = trusting.clone().identity(Identity::from_pem(certificate, key));
    for tls in [known, trusting] {
        let channel = Endpoint::from_shared(uri.clone())?.tls_config(tls)?.connect_lazy();
        let mut client = GreeterClient::new(channel).max_decoding_message_size(1024);
        let request = HelloRequest {
            name: "TLS".to_owned(),
        };
        heard.push(match client.say_hello(request).await {
            Ok(answer) => answer.into_inner().message,
            Err(_) => "refused".to_owned(),
        });
    }
    Ok(heard)
}
