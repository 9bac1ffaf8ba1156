/// Echoes.
#[derive(Clone, Copy, Debug, Default)]
pub struct MyEcho;

type ResponseStream = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

#[async_trait]
impl Echo for MyEcho {
    async fn unary_echo(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<EchoResponse>, Status> {
        let (metadata, _, EchoRequest { message }) = request.into_parts();
        let mut response = Response::new(EchoResponse { message });
        if let Some(note) = metadata.get("x-note") {
            response.metadata_mut().insert("x-note", note.clone());
        }
        if let Some(raw) = metadata.get_bin("x-raw-bin") {
            response.metadata_mut().insert_bin("x-raw-bin", raw.clone());
        }
        match response.get_ref().message.as_str() {
            "fail" => {
                let mut why = MetadataMap::new();
                why.insert("x-why", MetadataValue::from_static("asked for"));
                Err(Status::with_details_and_metadata(
                    Code::DataLoss,
                    "as you wish: ü%\n",
                    vec![0, 1, 255].into(),
                    why,
                ))
            }
            _ => Ok(response),
        }
    }

    type ServerStreamingEchoStream = ResponseStream;

    async fn server_streaming_echo(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<ResponseStream>, Status> {
        let EchoRequest { message } = request.into_inner();
        let messages = (0..3).map(move |n| {
            Ok(EchoResponse {
                message: format!("{message} {n}"),
            })
        });
        let end = Err(Status::aborted("enough"));
        let stream = tokio_stream::iter(messages.chain([end]));
        Ok(Response::new(Box::pin(stream)))
    }

    type BidirectionalStreamingEchoStream = ResponseStream;

    async fn bidirectional_streaming_echo(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<ResponseStream>, Status> {
        let stream = request.into_inner().map(|request| {
            let EchoRequest { message } = request?;
            Ok(EchoResponse { message })
        });
        Ok(Response::new(Box::pin(stream)))
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
    let echo = EchoServer::new(MyEcho)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    Server::builder()
        .add_service(echo)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await?;
    Ok(())
}

/// What a failed call told.
fn tell(status: &Status) -> String {
    format!(
        "{:?} {:?} {:?} {:?}",
        status.code(),
        status.message(),
        status.details(),
        status.metadata().get("x-why"),
    )
}

/// Calls in many ways, and gives what it heard.
///
/// # Errors
/// When a call fails that should not.
pub async fn call(uri: String) -> Result<Vec<String>, BoxError> {
    let mut heard = Vec::new();
    let channel = Endpoint::from_shared(uri)?.connect().await?;
    let says = |message: &str| EchoRequest {
        message: message.to_owned(),
    };
    let plain = EchoClient::new(channel.clone());
    let compressed = EchoClient::new(channel)
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip);
    for mut client in [plain, compressed] {
        let mut request = Request::new(says("noted"));
        request.set_timeout(Duration::from_secs(20));
        request.metadata_mut().insert("x-note", "as sent".parse()?);
        let raw = MetadataValue::from_bytes(&[0, 1, 255]);
        request.metadata_mut().insert_bin("x-raw-bin", raw);
        let response = client.unary_echo(request).await?;
        let metadata = response.metadata();
        heard.push(format!("{:?}", metadata.get("x-note")));
        let raw = metadata.get_bin("x-raw-bin").map(|raw| raw.to_bytes());
        heard.push(format!("{raw:?}"));
        heard.push(response.into_inner().message);

        if let Err(status) = client.unary_echo(says("fail")).await {
            heard.push(tell(&status));
        }

        let mut stream = client.server_streaming_echo(says("tick")).await?.into_inner();
        while let Some(answer) = stream.next().await {
            heard.push(match answer {
                Ok(answer) => answer.message,
                Err(status) => tell(&status),
            });
        }

        // Each is sent when the one before it was heard.
        let (send, receive) = mpsc::channel(1);
        let requests = ReceiverStream::new(receive);
        let stream = client.bidirectional_streaming_echo(requests).await?;
        let mut stream = stream.into_inner();
        for n in 0..3 {
            send.send(says(&format!("ping {n}"))).await?;
            let answer = stream.message().await?;
            heard.push(answer.map(|answer| answer.message).unwrap_or_default());
        }
        drop(send);
        heard.push(format!("{:?}", stream.message().await?));
    }

    Ok(heard)
}
