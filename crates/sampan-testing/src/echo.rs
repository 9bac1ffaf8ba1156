//! The echo service.

use crate::proto::{
    EchoRequest, EchoResponse, FailRequest, StreamRequest,
    echo_server::{self, EchoServer},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use std::{pin::Pin, sync::Arc, sync::atomic::AtomicU64, sync::atomic::Ordering, time::Duration};
use tonic::{Code, Request, Response, Status, Streaming, metadata::KeyAndValueRef};

/// Answers every shape of call, and counts the calls that reached it.
#[derive(Clone, Debug, Default)]
pub struct Echo {
    calls: Arc<AtomicU64>,
    name: Arc<str>,
}

type Answers = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

// === impl Echo ===

impl Echo {
    /// An echo that answers an empty text with `name`, to tell replicas apart.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            calls: Arc::default(),
            name: name.into(),
        }
    }

    /// The calls that reached a handler so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The tonic service.
    #[must_use]
    pub fn into_service(self) -> EchoServer<Self> {
        EchoServer::new(self)
    }

    fn count(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn answer(&self, request: EchoRequest, index: u32) -> EchoResponse {
        let text = if request.text.is_empty() {
            self.name.to_string()
        } else {
            request.text
        };
        let payload = match request.answer_bytes {
            0 => request.payload,
            n => vec![0; n as usize],
        };
        EchoResponse {
            text,
            payload,
            index,
        }
    }
}

#[tonic::async_trait]
impl echo_server::Echo for Echo {
    async fn unary(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        self.count();
        let (metadata, _, message) = request.into_parts();
        wait(message.delay.as_ref()).await;
        let mut response = Response::new(self.answer(message, 0));
        for entry in metadata.iter() {
            match entry {
                KeyAndValueRef::Ascii(key, value) if key.as_str().starts_with("echo-") => {
                    response.metadata_mut().append(key, value.clone());
                }
                KeyAndValueRef::Binary(key, value) if key.as_str().starts_with("echo-") => {
                    response.metadata_mut().append_bin(key, value.clone());
                }
                _ => {}
            }
        }
        Ok(response)
    }

    type ServerStreamStream = Answers;

    async fn server_stream(
        &self,
        request: Request<StreamRequest>,
    ) -> Result<Response<Answers>, Status> {
        self.count();
        let StreamRequest {
            text,
            count,
            interval,
            final_code,
        } = request.into_inner();
        let echo = self.clone();
        let end = (final_code != 0)
            .then(|| Err(Status::new(Code::from_i32(final_code), "asked to end so")));
        let answers = stream::iter(0..count)
            .then(move |index| {
                let answer = echo.answer(
                    EchoRequest {
                        text: text.clone(),
                        ..EchoRequest::default()
                    },
                    index,
                );
                async move {
                    if index > 0 {
                        wait(interval.as_ref()).await;
                    }
                    Ok(answer)
                }
            })
            .chain(stream::iter(end));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        self.count();
        let mut requests = request.into_inner();
        let (mut texts, mut index, mut bytes) = (Vec::new(), 0, 0);
        while let Some(request) = requests.message().await? {
            texts.push(request.text);
            bytes += request.payload.len();
            index += 1;
        }
        let payload = Bytes::from(bytes.to_string()).into();
        Ok(Response::new(EchoResponse {
            text: texts.join(" "),
            payload,
            index,
        }))
    }

    type BidiStream = Answers;

    async fn bidi(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Answers>, Status> {
        self.count();
        let echo = self.clone();
        let answers = request
            .into_inner()
            .enumerate()
            .then(move |(index, request)| {
                let echo = echo.clone();
                async move {
                    let request = request?;
                    wait(request.delay.as_ref()).await;
                    Ok(echo.answer(request, u32::try_from(index).unwrap_or(u32::MAX)))
                }
            });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn fail(&self, request: Request<FailRequest>) -> Result<Response<EchoResponse>, Status> {
        self.count();
        let FailRequest {
            code,
            message,
            panic,
        } = request.into_inner();
        assert!(!panic, "asked to panic: {message}");
        Err(Status::new(Code::from_i32(code), message))
    }
}

async fn wait(delay: Option<&sampan::__codegen::prost_types::Duration>) {
    let Some(delay) = delay else { return };
    if let Ok(delay) = Duration::try_from(*delay)
        && !delay.is_zero()
    {
        tokio::time::sleep(delay).await;
    }
}
