/// Serves until `stop`, and says that it is healthy.
///
/// # Errors
/// When the server fails.
pub async fn serve(
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), BoxError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<GreeterServer<MyGreeter>>().await;
    Server::builder()
        .add_service(health)
        .add_service(GreeterServer::new(MyGreeter))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await?;
    Ok(())
}

/// Asks about a service that is there and one that is not; gives what it heard.
///
/// # Errors
/// When a call fails that should not.
pub async fn call(uri: String) -> Result<Vec<String>, BoxError> {
    let mut heard = Vec::new();
    let mut client = HealthClient::new(Endpoint::from_shared(uri)?.connect().await?);
    for service in ["helloworld.Greeter", "helloworld.Nobody"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        heard.push(match client.check(request).await {
            Ok(answer) => format!("{:?}", answer.into_inner().status()),
            Err(status) => format!("{:?}", status.code()),
        });
    }
    let request = HealthCheckRequest::default();
    let mut watched = client.watch(request).await?.into_inner();
    let first = watched.message().await?;
    heard.push(format!("{:?}", first.map(|answer| answer.status())));
    Ok(heard)
}
