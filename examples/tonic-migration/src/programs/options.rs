/// Implements but one method: the others answer by themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

#[async_trait]
impl Options for Counting {
    async fn one(self: Arc<Self>, request: Request<Number>) -> Result<Response<Number>, Status> {
        let value = request.into_inner().value + 1;
        Ok(Response::new(Number { value }))
    }

    async fn down(
        self: Arc<Self>,
        request: Request<Number>,
    ) -> Result<Response<BoxStream<Number>>, Status> {
        let numbers = (0..request.into_inner().value).rev();
        let numbers = numbers.map(|value| Ok(Number { value }));
        Ok(Response::new(Box::pin(tokio_stream::iter(numbers))))
    }

    async fn sum(
        self: Arc<Self>,
        request: Request<Streaming<Number>>,
    ) -> Result<Response<Number>, Status> {
        let mut numbers = request.into_inner();
        let mut value = 0;
        while let Some(number) = numbers.message().await? {
            value += number.value;
        }
        Ok(Response::new(Number { value }))
    }

    async fn each(
        self: Arc<Self>,
        request: Request<Streaming<Number>>,
    ) -> Result<Response<BoxStream<Number>>, Status> {
        Ok(Response::new(Box::pin(request.into_inner())))
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
        .add_service(OptionsServer::from_arc(Arc::new(Counting)))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await?;
    Ok(())
}

/// Calls every method by the codec of the user's, and gives what it heard.
///
/// # Errors
/// When a call fails that should not.
pub async fn call(uri: String) -> Result<Vec<String>, BoxError> {
    let mut heard = Vec::new();
    let number = |value| Number { value };
    let mut client = OptionsClient::connect(uri).await?;
    heard.push(client.one(number(1)).await?.into_inner().value);
    let mut down = client.down(number(3)).await?.into_inner();
    while let Some(number) = down.message().await? {
        heard.push(number.value);
    }
    let numbers = || tokio_stream::iter([number(1), number(20)]);
    heard.push(client.sum(numbers()).await?.into_inner().value);
    let mut each = client.each(numbers()).await?.into_inner();
    while let Some(number) = each.message().await? {
        heard.push(number.value);
    }
    let mut heard: Vec<_> = heard.iter().map(u32::to_string).collect();
    if let Err(status) = client.missing(number(1)).await {
        heard.push(format!("{:?}: {}", status.code(), status.message()));
    }
    Ok(heard)
}
