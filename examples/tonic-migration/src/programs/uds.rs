/// Serves at a Unix socket until `stop`.
///
/// # Errors
/// When the server fails.
pub async fn serve(
    listener: UnixListener,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), BoxError> {
    Server::builder()
        .add_service(GreeterServer::new(MyGreeter))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop)
        .await?;
    Ok(())
}

/// Calls over the socket, and gives what it heard.
///
/// # Errors
/// When a call fails.
pub async fn call(path: PathBuf) -> Result<Vec<String>, BoxError> {
    // The URI is not used: the connector knows where to go.
    let channel = Endpoint::try_from("http://[::]:50051")?
        .connect_with_connector(service_fn(move |_: Uri| {
            let path = path.clone();
            async move {
                let socket = UnixStream::connect(path).await?;
                Ok::<_, std::io::Error>(TokioIo::new(socket))
            }
        }))
        .await?;
    let request = Request::new(HelloRequest {
        name: "socket".to_owned(),
    });
    let answer = GreeterClient::new(channel).say_hello(request).await?;
    Ok(vec![answer.into_inner().message])
}
