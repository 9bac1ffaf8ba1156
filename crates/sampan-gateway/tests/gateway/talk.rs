//! The service behind the gateway, written by hand over tonic.

use sampan_gateway::{Gateway, GatewayBuilder, Upstream};
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Code, Request, Response, Status, Streaming,
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ask {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(uint32, tag = "2")]
    pub(crate) count: u32,
    #[prost(int32, tag = "3")]
    pub(crate) fail_with: i32,
    #[prost(bool, tag = "4")]
    pub(crate) hang: bool,
    #[prost(bool, tag = "5")]
    pub(crate) panic: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Said {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(uint32, tag = "2")]
    pub(crate) index: u32,
    #[prost(int64, tag = "3")]
    pub(crate) big: i64,
}

/// More than a double holds.
pub(crate) const BIG: i64 = 9_007_199_254_740_993;

/// `test.v1.Talk`.
#[derive(Clone, Default)]
pub(crate) struct Talk {
    /// Calls that run now.
    pub(crate) open: Arc<AtomicUsize>,
}

struct Open(Arc<AtomicUsize>);

type Answers = Pin<Box<dyn Stream<Item = Result<Said, Status>> + Send>>;

/// The encoded descriptors of tests/proto.
pub(crate) fn descriptor_set() -> Vec<u8> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proto");
    let mut compiler = protox::Compiler::new([root]).unwrap();
    compiler.include_imports(true);
    compiler.open_file("test/v1/test.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

/// A gateway before `talk`.
pub(crate) fn before(talk: &Talk) -> GatewayBuilder {
    Gateway::builder().upstream(Upstream::service(talk.clone(), descriptor_set()))
}

impl Talk {
    fn open(&self) -> Open {
        self.open.fetch_add(1, Ordering::SeqCst);
        Open(Arc::clone(&self.open))
    }

    async fn say(self, request: Request<Ask>) -> Result<Response<Said>, Status> {
        let _open = self.open();
        let said = request.metadata().get("x-say").cloned();
        let ask = request.into_inner();
        assert!(!ask.panic, "asked to");
        if ask.hang {
            std::future::pending::<()>().await;
        }
        end(&ask)?;
        let mut response = Response::new(answer(&ask, 0));
        if let Some(said) = said {
            response.metadata_mut().insert("x-say", said);
        }
        Ok(response)
    }

    async fn repeat(self, request: Request<Ask>) -> Result<Response<Answers>, Status> {
        let open = self.open();
        let ask = request.into_inner();
        let again = ask.clone();
        let answers = tokio_stream::iter(0..ask.count).map(move |index| Ok(answer(&ask, index)));
        let last = tokio_stream::once(()).then(move |()| {
            let again = again.clone();
            async move {
                assert!(!again.panic, "asked to");
                if again.hang {
                    std::future::pending::<()>().await;
                }
                end(&again).map(|()| Said::default())
            }
        });
        let last = last.filter(Result::is_err);
        let answers = answers.chain(last).map(move |answer| {
            let _held = &open;
            answer
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn join(self, request: Request<Streaming<Ask>>) -> Result<Response<Said>, Status> {
        let _open = self.open();
        let mut asks = request.into_inner();
        let mut texts = Vec::new();
        while let Some(ask) = asks.message().await? {
            end(&ask)?;
            texts.push(ask.text);
        }
        Ok(Response::new(Said {
            text: texts.join(" "),
            index: u32::try_from(texts.len()).unwrap(),
            big: BIG,
        }))
    }

    async fn chat(self, request: Request<Streaming<Ask>>) -> Result<Response<Answers>, Status> {
        let open = self.open();
        let mut index = 0;
        let answers = request.into_inner().map(move |ask| {
            let _held = &open;
            let ask = ask?;
            end(&ask)?;
            index += 1;
            Ok(answer(&ask, index - 1))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn answer(ask: &Ask, index: u32) -> Said {
    Said {
        text: ask.text.clone(),
        index,
        big: BIG,
    }
}

fn end(ask: &Ask) -> Result<(), Status> {
    if ask.fail_with == 0 {
        return Ok(());
    }
    // google.rpc.Status with one detail: type.googleapis.com/test.v1.Said, bytes 1.
    let details = b"\x1a\x25\x0a\x20type.googleapis.com/test.v1.Said\x12\x01\x01";
    let mut status = Status::with_details(
        Code::from_i32(ask.fail_with),
        "asked to: 100 % é",
        details.as_slice().into(),
    );
    status
        .metadata_mut()
        .insert("x-why", "asked".parse().unwrap());
    Err(status)
}

impl NamedService for Talk {
    const NAME: &'static str = "test.v1.Talk";
}

impl Service<http::Request<tonic::body::Body>> for Talk {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let talk = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Said, Ask>::default());
            Ok(match request.uri().path() {
                "/test.v1.Talk/Say" | "/test.v1.Talk/Act" => {
                    grpc.unary(service_fn(|ask| talk.clone().say(ask)), request)
                        .await
                }
                "/test.v1.Talk/Repeat" => {
                    grpc.server_streaming(service_fn(|ask| talk.clone().repeat(ask)), request)
                        .await
                }
                "/test.v1.Talk/Join" => {
                    grpc.client_streaming(service_fn(|asks| talk.clone().join(asks)), request)
                        .await
                }
                "/test.v1.Talk/Chat" => {
                    grpc.streaming(service_fn(|asks| talk.clone().chat(asks)), request)
                        .await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
