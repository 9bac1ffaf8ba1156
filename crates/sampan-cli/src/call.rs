//! `sampan call`: one call of any shape, its messages as text.

mod input;

use crate::{
    args::{CallArgs, Task},
    codec::Encoded,
    describe,
    dial::{self, Context},
    failure::Failure,
    list,
    message::MessageFormat,
    output::{self, Log},
    schema::{LookupError, NotFound, Reflection, Schema},
};
use bytes::Bytes;
use futures_util::Stream;
use http::uri::PathAndQuery;
use input::{Requests, Source};
use prost_reflect::MethodDescriptor;
use sampan_client::Channel;
use sampan_wire::policy::MaxDecodingMessageSize;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, client::Grpc, metadata::MetadataMap};

/// Requests that are read before the connection has taken them.
const REQUESTS_AHEAD: usize = 1;

/// So long a hint may take to find out.
const HINT_TIME: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: &CallArgs) -> Result<(), Failure> {
    match Task::of_call(&args.words)? {
        Task::Call { address, method } => {
            let ended = call(args, &address, &method).await;
            ended.map_err(|failure| {
                if args.format_error {
                    as_json(failure)
                } else {
                    failure
                }
            })
        }
        Task::List { address, service } => {
            list::show(
                &args.connection,
                &args.schema,
                address.as_deref(),
                service.as_deref(),
            )
            .await
        }
        Task::Describe { address, symbol } => {
            let (address, symbol) = (address.as_deref(), symbol.as_deref());
            describe::show(&args.connection, &args.schema, address, symbol, false).await
        }
    }
}

async fn call(args: &CallArgs, address: &str, path: &str) -> Result<(), Failure> {
    let rpc_metadata = dial::metadata(&args.connection, &args.rpc_headers)?;
    let opened = dial::open(&args.connection, &args.schema, Some(address)).await?;
    let (Some(dialed), mut schema) = (opened.dialed, opened.schema) else {
        return Err(Failure::usage("the line lacks an address"));
    };
    let method = schema.method(path).await.map_err(unknown_method)?;
    let format = MessageFormat {
        format: args.format,
        emit_defaults: args.emit_defaults,
        allow_unknown_fields: args.allow_unknown_fields,
    };
    let log = Log::new(&args.connection);
    log.method(&method);
    let source = Source::new(args.data.as_deref());
    let requests = Requests::new(source, method.input(), format, schema.clone());
    let exchange = Exchange {
        channel: dialed.channel,
        context: dialed.context,
        metadata: rpc_metadata,
        max_message_bytes: args
            .connection
            .max_msg_sz
            .map_or_else(MaxDecodingMessageSize::default, MaxDecodingMessageSize),
        method,
        format,
        schema,
        reflection: opened.reflection,
        log,
    };
    if !exchange.method.is_client_streaming() {
        let request = requests.only().await?;
        return exchange.run(tokio_stream::once(request)).await;
    }
    let (sender, receiver) = mpsc::channel(REQUESTS_AHEAD);
    let feeding = async {
        match tokio::spawn(requests.feed(sender)).await {
            Ok(Ok(())) => std::future::pending().await,
            Ok(Err(broken)) => broken,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    };
    tokio::select! {
        ended = exchange.run(ReceiverStream::new(receiver)) => ended,
        broken = feeding => Err(broken.failure),
    }
}

/// One call under way.
struct Exchange {
    channel: Channel,
    context: Context,
    metadata: MetadataMap,
    max_message_bytes: MaxDecodingMessageSize,
    method: MethodDescriptor,
    format: MessageFormat,
    schema: Schema,
    reflection: Option<Reflection>,
    log: Log,
}

// === impl Exchange ===

impl Exchange {
    /// Sends `requests` and prints each answer as it arrives.
    async fn run(
        mut self,
        requests: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<(), Failure> {
        match self.converse(requests).await {
            Ok(()) => Ok(()),
            Err(Ended::Failed(failure)) => Err(failure),
            Err(Ended::With(status)) => Err(self.explain(status).await),
        }
    }

    async fn converse(
        &mut self,
        requests: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<(), Ended> {
        let mut request = Request::new(requests);
        *request.metadata_mut() = self.metadata.clone();
        self.context.apply(&mut request)?;
        self.log.request(request.metadata());
        let path = format!(
            "/{}/{}",
            self.method.parent_service().full_name(),
            self.method.name()
        );
        let path: PathAndQuery = path
            .parse()
            .map_err(|error| Failure::because(format!("{path} is no path"), error))?;
        // Beside tonic's limit, whose code is OUT_OF_RANGE, the channel's, which looks first.
        request.extensions_mut().insert(self.max_message_bytes);
        let MaxDecodingMessageSize(limit) = self.max_message_bytes;
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(limit);
        let response = grpc.streaming(request, path, Encoded).await?;
        self.log.headers(response.metadata());
        let mut answers = response.into_inner();
        let mut count = 0_usize;
        while let Some(answer) = answers.message().await? {
            count += 1;
            if count > 1 && !self.method.is_server_streaming() {
                return Err(Status::internal("the server answered more than once").into());
            }
            self.log.answer(answer.len());
            let answer = self.schema.decode(&self.method.output(), answer).await?;
            let text = self
                .format
                .write(&answer)
                .map_err(|error| Failure::because("cannot print the answer", error))?;
            output::message(&text, self.format.format, count)?;
        }
        self.log.trailers(answers.trailers().await?.as_ref());
        if count == 0 && !self.method.is_server_streaming() {
            return Err(Status::internal("the server answered OK without a message").into());
        }
        Ok(())
    }

    /// Adds to a status what can be found out about it.
    async fn explain(&mut self, status: Status) -> Failure {
        self.log.trailers(Some(status.metadata()));
        let details = self.details(&status).await;
        let unimplemented = status.code() == tonic::Code::Unimplemented;
        let mut failure = Failure::from(status);
        if let Failure::Status(ended) = &mut failure {
            ended.details = details;
            if unimplemented && ended.hint.is_none() {
                ended.hint = self.method_meant().await;
            }
        }
        failure
    }

    async fn details(&mut self, status: &Status) -> Vec<String> {
        if status.details().is_empty() {
            return Vec::new();
        }
        let json = MessageFormat::default();
        match self.schema.decode_details(status.details()).await {
            Ok(details) => details
                .iter()
                .map(|detail| json.write(detail).unwrap_or_else(|error| error.to_string()))
                .collect(),
            Err(failure) => vec![failure.to_string()],
        }
    }

    /// Asks the server's reflection for the method that was meant, if it has one that is near.
    async fn method_meant(&mut self) -> Option<String> {
        let mut server = Schema::of_server(self.reflection.take()?);
        let path = format!(
            "{}/{}",
            self.method.parent_service().full_name(),
            self.method.name()
        );
        let lookup = tokio::time::timeout(HINT_TIME, server.method(&path));
        match lookup.await {
            Ok(Err(LookupError::NotFound(NotFound {
                meant: Some(meant), ..
            }))) => Some(format!("did you mean {meant}?")),
            _ => None,
        }
    }
}

/// How a call ended that did not end well.
enum Ended {
    With(Status),
    Failed(Failure),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self::With(status)
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What the server does not have it answers with UNIMPLEMENTED; so does this command, although
/// it cannot send a request whose type nobody knows.
fn unknown_method(error: LookupError) -> Failure {
    match error {
        LookupError::NotFound(absent) if absent.by_server => {
            let hint = absent
                .meant
                .as_ref()
                .map(|meant| format!("did you mean {meant}?"));
            Failure::from(Status::unimplemented(absent.to_string())).with_hint(hint)
        }
        error => error.into(),
    }
}

fn as_json(mut failure: Failure) -> Failure {
    if let Failure::Status(ended) = &mut failure {
        ended.as_json = true;
    }
    failure
}
