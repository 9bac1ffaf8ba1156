/// What the server's interceptor leaves for the handler.
#[derive(Clone, Debug)]
struct Caller(String);

/// Greets whoever the interceptor says is calling.
#[derive(Clone, Copy, Debug, Default)]
pub struct Personal;

#[async_trait]
impl Greeter for Personal {
    async fn say_hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloReply>, Status> {
        let Some(Caller(name)) = request.extensions().get() else {
            return Err(Status::internal("the interceptor was not asked"));
        };
        let message = format!("{} from {name}", request.get_ref().name);
        Ok(Response::new(HelloReply { message }))
    }
}

/// Lets in whoever says a name.
fn check(mut request: Request<()>) -> Result<Request<()>, Status> {
    let caller = request.metadata().get("x-caller");
    let caller = caller.and_then(|caller| caller.to_str().ok().map(str::to_owned));
    match caller {
        Some(caller) => {
            request.extensions_mut().insert(Caller(caller));
            Ok(request)
        }
        None => Err(Status::unauthenticated("who is there?")),
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
        .add_service(GreeterServer::with_interceptor(Personal, check))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await?;
    Ok(())
}

/// An interceptor with a name.
#[derive(Debug)]
struct Name(&'static str);

impl Interceptor for Name {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let method = request.extensions().get::<GrpcMethod<'_>>();
        if method.is_none_or(|method| method.method() != "SayHello") {
            return Err(Status::internal("the method is not told"));
        }
        let name = MetadataValue::from_static(self.0);
        request.metadata_mut().insert("x-caller", name);
        Ok(request)
    }
}

/// Calls with and without a name, and by an interceptor that refuses; gives what it heard.
///
/// # Errors
/// When a call fails that should not.
pub async fn call(uri: String) -> Result<Vec<String>, BoxError> {
    type Named = GreeterClient<InterceptedService<Channel, Name>>;
    let mut heard = Vec::new();
    let hello = || HelloRequest {
        name: "hello".to_owned(),
    };
    let channel = Endpoint::from_shared(uri)?.connect().await?;

    let mut named: Named = GreeterClient::with_interceptor(channel.clone(), Name("me"));
    heard.push(named.say_hello(hello()).await?.into_inner().message);

    let mut nameless = GreeterClient::new(channel.clone());
    let status = nameless.say_hello(hello()).await.err();
    heard.push(format!("{:?}", status.as_ref().map(Status::code)));
    heard.push(status.map(|status| status.message().to_owned()).unwrap_or_default());

    let refuse = |_: Request<()>| Err(Status::resource_exhausted("not today"));
    let mut refused = GreeterClient::with_interceptor(channel, refuse);
    let status = refused.say_hello(hello()).await.err();
    heard.push(format!("{:?}", status.map(|status| status.code())));
    Ok(heard)
}
