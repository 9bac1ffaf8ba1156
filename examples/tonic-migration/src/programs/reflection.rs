/// Serves until `stop`, and tells what there is.
///
/// # Errors
/// When the server fails.
pub async fn serve(
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), BoxError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1()?;
    Server::builder()
        .add_service(reflection)
        .add_service(GreeterServer::new(MyGreeter))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await?;
    Ok(())
}

/// Asks for the file of a symbol, and gives what it heard.
///
/// # Errors
/// When a call fails.
pub async fn call(uri: String) -> Result<Vec<String>, BoxError> {
    let mut client = ServerReflectionClient::new(Endpoint::from_shared(uri)?.connect().await?);
    let asks = |symbol: &str| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(symbol.to_owned())),
    };
    let questions = ["helloworld.Greeter", "helloworld.Nobody"].map(asks);
    let stream = client.server_reflection_info(tokio_stream::iter(questions));
    let mut answers = stream.await?.into_inner();
    let mut heard = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => heard.push(match answer.message_response {
                Some(MessageResponse::FileDescriptorResponse(files)) => {
                    format!("{} file", files.file_descriptor_proto.len())
                }
                _ => "something else".to_owned(),
            }),
            Ok(None) => return Ok(heard),
            Err(status) => {
                heard.push(format!("{:?}", status.code()));
                return Ok(heard);
            }
        }
    }
}
