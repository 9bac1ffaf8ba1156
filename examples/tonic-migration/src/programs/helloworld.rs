/// Greets.
#[derive(Clone, Copy, Debug, Default)]
pub struct MyGreeter;

#[async_trait]
impl Greeter for MyGreeter {
    async fn say_hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloReply>, Status> {
        let message = format!("Hello {}!", request.into_inner().name);
        Ok(Response::new(HelloReply { message }))
    }
}

/// Serves until `stop`.
///
/// # Errors
/// When the server fails.
pub async fn serve(
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), BoxError> {
    Server::builder()
        .add_service(GreeterServer::new(MyGreeter))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await?;
    Ok(())
}

/// Calls, and gives what it heard.
///
/// # Errors
/// When a call fails.
pub async fn call(uri: String) -> Result<Vec<String>, BoxError> {
    let mut client = GreeterClient::connect(uri).await?;
    let request = Request::new(HelloRequest {
        name: "world".to_owned(),
    });
    let response = client.say_hello(request).await?;
    // A message without a request around it is one as well.
    let again = client.say_hello(HelloRequest::default()).await?;
    Ok(vec![
        response.into_inner().message,
        again.into_inner().message,
    ])
}
