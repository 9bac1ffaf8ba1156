//! The calls that the suite asks for.

use super::{
    headers, map,
    messages::{Answer, Named, error},
    proto::{
        BidiStreamRequest, ClientCompatRequest, ClientResponseResult, ClientStreamRequest,
        Compression, ConformancePayload, IdempotentUnaryRequest, ServerStreamRequest, StreamType,
        UnaryRequest, UnimplementedRequest, client_compat_request::cancel::CancelTiming,
        conformance_service_client::ConformanceServiceClient,
    },
};
use crate::{Failure, recorded::Recorded};
use futures_util::{Stream, StreamExt, future::Either, stream};
use http::Request as HttpRequest;
use sampan::{
    Channel,
    client::{Certificate, ClientTls, Identity},
    policy::{CallFacts, MaxDecodingMessageSize, MethodKind},
};

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, codec::CompressionEncoding};
use tower_service::Service;

/// A channel that sets no deadline of its own: the suite wants none where it asks for none.
#[derive(Clone, Debug)]
pub struct WithoutDefaults(pub Channel);

type Client = ConformanceServiceClient<Recorded<WithoutDefaults>>;

// === impl WithoutDefaults ===

impl Service<HttpRequest<tonic::body::Body>> for WithoutDefaults {
    type Response = <Channel as Service<HttpRequest<tonic::body::Body>>>::Response;
    type Error = <Channel as Service<HttpRequest<tonic::body::Body>>>::Error;
    type Future = <Channel as Service<HttpRequest<tonic::body::Body>>>::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: HttpRequest<tonic::body::Body>) -> Self::Future {
        let known = request.extensions_mut();
        if let Some(facts) = known.remove::<CallFacts>() {
            known.insert(MaxDecodingMessageSize(facts.max_decoding_message_size));
        }
        known.remove::<MethodKind>();
        self.0.call(request)
    }
}

/// A channel to the server that a case names.
///
/// # Errors
/// When its TLS settings cannot be used.
pub fn dial(case: &ClientCompatRequest) -> Result<Channel, Failure> {
    let mut channel = Channel::configure(format!("{}:{}", case.host, case.port));
    if !case.server_tls_cert.is_empty() {
        let mut tls = ClientTls::new().with_roots(Certificate::from_pem(&case.server_tls_cert));
        if let Some(mine) = &case.client_tls_creds {
            tls = tls.with_identity(Identity::from_pem(&mine.cert, &mine.key));
        }
        channel = channel.tls(tls);
    }
    Ok(channel.build()?)
}

/// Makes the call of a case on `channel` and tells what came of it.
///
/// # Errors
/// When the case asks for what is not there.
pub async fn call(
    case: &ClientCompatRequest,
    channel: Channel,
) -> Result<ClientResponseResult, Failure> {
    let recorded = Recorded::new(WithoutDefaults(channel));
    let mut client = Client::new(recorded.clone());
    if case.compression() == Compression::Gzip {
        client = client
            .send_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Gzip);
    }
    if let Ok(limit @ 1..) = usize::try_from(case.message_receive_limit) {
        client = client.max_decoding_message_size(limit);
    }
    let call = Call {
        case,
        sent: Arc::default(),
        all_sent: Arc::default(),
    };
    let mut outcome = Outcome::default();
    let ended = match case.method.as_deref().unwrap_or_default() {
        "Unimplemented" => {
            let message = first::<UnimplementedRequest>(case)?;
            let answer = client.unimplemented(call.request(message)?);
            outcome.one(answer.await)
        }
        "IdempotentUnary" => {
            let message = first::<IdempotentUnaryRequest>(case)?;
            let answer = client.idempotent_unary(call.request(message)?);
            outcome.one(call.or_cancelled(answer).await)
        }
        "Unary" => {
            let message = first::<UnaryRequest>(case)?;
            let answer = client.unary(call.request(message)?);
            outcome.one(call.or_cancelled(answer).await)
        }
        "ServerStream" => {
            let message = first::<ServerStreamRequest>(case)?;
            let answers = client.server_stream(call.request(message)?);
            call.many(answers, &mut outcome).await
        }
        "ClientStream" => {
            let messages = call.messages::<ClientStreamRequest>()?;
            let answer = client.client_stream(call.request(messages)?);
            outcome.one(call.or_cancelled(answer).await)
        }
        "BidiStream" if case.stream_type() == StreamType::FullDuplexBidiStream => {
            call.by_turns(client, &mut outcome).await?
        }
        "BidiStream" => {
            let messages = call.messages::<BidiStreamRequest>()?;
            let answers = client.bidi_stream(call.request(messages)?);
            call.many(answers, &mut outcome).await
        }
        other => return Err(format!("no method {other}").into()),
    };
    let seen = recorded.seen();
    let mut result = ClientResponseResult {
        response_headers: headers(&seen.headers.unwrap_or_default()),
        response_trailers: headers(&seen.trailers),
        payloads: outcome.payloads,
        ..ClientResponseResult::default()
    };
    if let Err(status) = ended {
        result.error = Some(error(&status));
        let sent = call.sent.load(Ordering::Relaxed);
        let unsent = case.request_messages.len().saturating_sub(sent);
        result.num_unsent_requests = i32::try_from(unsent)?;
    }
    Ok(result)
}

#[derive(Default)]
struct Outcome {
    payloads: Vec<ConformancePayload>,
}

struct Call<'a> {
    case: &'a ClientCompatRequest,
    sent: Arc<AtomicUsize>,
    all_sent: Arc<Notify>,
}

// === impl Outcome ===

impl Outcome {
    fn one<T: Answer>(&mut self, answer: Result<Response<T>, Status>) -> Result<(), Status> {
        self.payloads.extend(answer?.into_inner().payload());
        Ok(())
    }
}

// === impl Call ===

impl Call<'_> {
    fn request<T>(&self, message: T) -> Result<Request<T>, Failure> {
        let mut request = Request::new(message);
        *request.metadata_mut() =
            tonic::metadata::MetadataMap::from_headers(map(&self.case.request_headers)?);
        if let Some(millis) = self.case.timeout_ms {
            request.set_timeout(Duration::from_millis(millis.into()));
        }
        match self.case.stream_type() {
            StreamType::Unary | StreamType::ServerStream => {
                self.sent.store(1, Ordering::Relaxed);
                self.all_sent.notify_one();
            }
            _ => {}
        }
        Ok(request)
    }

    /// The messages of a case, each after its delay. They never end when the case cancels
    /// instead.
    fn messages<T: Named + Send>(&self) -> Result<impl Stream<Item = T> + Send + use<T>, Failure> {
        let mut messages = Vec::new();
        for any in &self.case.request_messages {
            messages.push(T::decode(any.value.as_slice())?);
        }
        let delay = Duration::from_millis(self.case.request_delay_ms.into());
        let (sent, all_sent) = (Arc::clone(&self.sent), Arc::clone(&self.all_sent));
        let end = if self.timing() == Some(CancelTiming::BeforeCloseSend(())) {
            Either::Left(stream::pending())
        } else {
            Either::Right(stream::empty())
        };
        Ok(stream::iter(messages)
            .then(move |message| {
                let sent = Arc::clone(&sent);
                async move {
                    sleep(delay).await;
                    sent.fetch_add(1, Ordering::Relaxed);
                    message
                }
            })
            .chain(stream::once(async move { all_sent.notify_one() }).filter_map(async |()| None))
            .chain(end))
    }

    fn timing(&self) -> Option<CancelTiming> {
        let cancel = self.case.cancel.as_ref()?;
        // Without a timing it is at once.
        Some(
            cancel
                .cancel_timing
                .unwrap_or(CancelTiming::AfterCloseSendMs(0)),
        )
    }

    /// Resolves when the case wants its call cancelled.
    async fn cancelled(&self) {
        let wait = match self.timing() {
            None | Some(CancelTiming::AfterNumResponses(_)) => return std::future::pending().await,
            Some(CancelTiming::BeforeCloseSend(())) => 0,
            Some(CancelTiming::AfterCloseSendMs(millis)) => millis,
        };
        self.all_sent.notified().await;
        sleep(Duration::from_millis(wait.into())).await;
    }

    async fn or_cancelled<T>(
        &self,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        tokio::select! {
            biased;
            answer = answer => answer,
            () = self.cancelled() => Err(Status::cancelled("the case wants it")),
        }
    }

    async fn many<T: Answer>(
        &self,
        answers: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
        outcome: &mut Outcome,
    ) -> Result<(), Status> {
        let all = async {
            let mut answers = answers.await?.into_inner();
            while let Some(answer) = answers.message().await? {
                self.keep(answer, outcome)?;
            }
            Ok(())
        };
        self.or_cancelled(all).await
    }

    fn keep<T: Answer>(&self, answer: T, outcome: &mut Outcome) -> Result<(), Status> {
        outcome.payloads.extend(answer.payload());
        match self.timing() {
            Some(CancelTiming::AfterNumResponses(wanted))
                if outcome.payloads.len() == wanted as usize =>
            {
                Err(Status::cancelled("the case wants it"))
            }
            _ => Ok(()),
        }
    }

    /// Sends each message when the answer to the one before is there.
    async fn by_turns(
        &self,
        mut client: Client,
        outcome: &mut Outcome,
    ) -> Result<Result<(), Status>, Failure> {
        let (say, said) = mpsc::channel(1);
        let request = self.request(ReceiverStream::new(said))?;
        let messages = self.messages::<BidiStreamRequest>()?;
        let all = async {
            let mut messages = pin!(messages);
            let mut say = Some(say);
            self.turn(&mut messages, &mut say).await;
            let mut answers = client.bidi_stream(request).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                self.keep(answer, outcome)?;
                self.turn(&mut messages, &mut say).await;
            }
            Ok(())
        };
        Ok(self.or_cancelled(all).await)
    }

    /// Sends the next message, or closes when there is none.
    async fn turn<T>(
        &self,
        messages: &mut (impl Stream<Item = T> + Unpin),
        say: &mut Option<mpsc::Sender<T>>,
    ) {
        let Some(open) = say else { return };
        match messages.next().await {
            None => *say = None,
            Some(message) => {
                if open.send(message).await.is_err() {
                    self.sent.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }
}

fn first<T: prost::Message + Default>(case: &ClientCompatRequest) -> Result<T, Failure> {
    let any = case.request_messages.first().ok_or("no request message")?;
    Ok(T::decode(any.value.as_slice())?)
}
