/// Says who it is.
#[derive(Clone, Debug)]
pub struct Replica(pub String);

#[async_trait]
impl Greeter for Replica {
    async fn say_hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply {
            message: self.0.clone(),
        }))
    }
}

/// Serves as `name` until `stop`.
///
/// # Errors
/// When the server fails.
pub async fn serve(
    name: String,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), BoxError> {
    Server::builder()
        .add_service(GreeterServer::new(Replica(name)))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await?;
    Ok(())
}

/// Calls until each of `count` replicas has answered; gives their names in order.
async fn everyone(channel: Channel, count: usize) -> Result<Vec<String>, BoxError> {
    let mut client = GreeterClient::new(channel);
    let mut names = BTreeSet::new();
    for _ in 0..1000 {
        let answer = client.say_hello(HelloRequest::default()).await?;
        names.insert(answer.into_inner().message);
        if names.len() == count {
            break;
        }
    }
    Ok(names.into_iter().collect())
}

/// Calls by a fixed list and by one that changes, and gives who answered.
///
/// # Errors
/// When a call fails.
pub async fn call(uris: Vec<String>) -> Result<Vec<String>, BoxError> {
    let count = uris.len();
    let endpoints = uris.into_iter().map(Endpoint::from_shared);
    let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
    let fixed = Channel::balance_list(endpoints.clone().into_iter());
    let mut heard = everyone(fixed, count).await?;

    let (changing, changes) = Channel::balance_channel(10);
    for (key, endpoint) in endpoints.into_iter().enumerate() {
        changes.send(Change::Insert(key, endpoint)).await?;
    }
    heard.extend(everyone(changing.clone(), count).await?);
    Ok(heard)
}
