//! Asks an upstream for the descriptors of its services.
//!
//! Source: grpc/reflection/v1/reflection.proto; v1alpha has the same messages.

use super::Caller;
use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, prost_types::FileDescriptorProto};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Code, Status, Streaming, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// Bounds of what one upstream may describe.
const MAX_FILES: usize = 4096;
const MAX_BYTES: usize = 32 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Services about the server itself, which each server has: not for browsers, and not routable.
const OWN: [&str; 2] = ["grpc.reflection.", "grpc.health."];

/// Why an upstream's services are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReflectionError {
    #[error("the upstream cannot be asked for its services: {:?}: {}", .0.code(), .0.message())]
    Call(Status),
    #[error(
        "the upstream has no reflection: turn it on there, or give the gateway a descriptor set"
    )]
    Unimplemented,
    #[error("the upstream did not describe its services within {TIMEOUT:?}")]
    TimedOut,
    #[error("the upstream's answer to reflection ended early")]
    Cut,
    #[error("the upstream describes more than {MAX_FILES} files or {MAX_BYTES} bytes")]
    TooMuch,
    #[error("the upstream does not have {0}: {1}")]
    Missing(String, String),
    #[error("the upstream's descriptors are malformed")]
    Decode(#[from] prost::DecodeError),
    #[error("the upstream's descriptors do not fit together")]
    Link(#[from] prost_reflect::DescriptorError),
}

/// All that the upstream serves but its own reflection and health.
pub(super) async fn discover(caller: Caller) -> Result<DescriptorPool, ReflectionError> {
    let asked = async {
        match ask(caller.clone(), V1).await {
            Err(ReflectionError::Unimplemented) => ask(caller, V1_ALPHA).await,
            answered => answered,
        }
    };
    timeout(TIMEOUT, asked)
        .await
        .map_err(|_| ReflectionError::TimedOut)?
}

async fn ask(caller: Caller, path: &'static str) -> Result<DescriptorPool, ReflectionError> {
    let (mut conversation, services) = Conversation::begin(caller, path).await?;
    let mut files = Files::default();
    for service in services {
        let described = conversation
            .files(MessageRequest::FileContainingSymbol(service.clone()))
            .await?;
        files.add(described.map_err(|reason| ReflectionError::Missing(service, reason))?)?;
        while let Some(name) = files.wanted.pop_front() {
            if files.by_name.contains_key(&name) {
                continue;
            }
            let described = conversation
                .files(MessageRequest::FileByFilename(name.clone()))
                .await?;
            match (described, well_known(&name)) {
                (Ok(described), _) => files.add(described)?,
                // Not every server carries protobuf's own files.
                (Err(_), Some(file)) => files.add(vec![file])?,
                (Err(reason), None) => return Err(ReflectionError::Missing(name, reason)),
            }
        }
    }
    files.link()
}

fn well_known(name: &str) -> Option<Bytes> {
    let file = DescriptorPool::global().get_file_by_name(name)?;
    Some(file.encode_to_vec().into())
}

/// A stream on which one question follows another.
struct Conversation {
    questions: mpsc::Sender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
}

impl Conversation {
    /// Opens the stream by asking for the full names of the services: some servers send no head
    /// before the first question.
    async fn begin(
        caller: Caller,
        path: &'static str,
    ) -> Result<(Self, BTreeSet<String>), ReflectionError> {
        let (questions, asked) = mpsc::channel(1);
        questions
            .send(question(MessageRequest::ListServices(String::new())))
            .await
            .map_err(|_| ReflectionError::Cut)?;
        let asked = futures_util::stream::unfold(asked, async |mut asked| {
            let question = asked.recv().await?;
            Some((question, asked))
        });
        let answers = Grpc::new(caller)
            .streaming(
                tonic::Request::new(asked),
                PathAndQuery::from_static(path),
                ProstCodec::default(),
            )
            .await
            .map_err(ReflectionError::of)?
            .into_inner();
        let mut conversation = Self { questions, answers };
        let MessageResponse::ListServicesResponse(list) = conversation.answer().await? else {
            return Err(ReflectionError::Cut);
        };
        let names = list
            .service
            .into_iter()
            .map(|service| service.name)
            .filter(|name| !OWN.iter().any(|own| name.starts_with(own)))
            .collect();
        Ok((conversation, names))
    }

    /// Encoded files, or why the upstream does not give them.
    async fn files(
        &mut self,
        about: MessageRequest,
    ) -> Result<Result<Vec<Bytes>, String>, ReflectionError> {
        self.questions
            .send(question(about))
            .await
            .map_err(|_| ReflectionError::Cut)?;
        match self.answer().await? {
            MessageResponse::FileDescriptorResponse(files) => Ok(Ok(files
                .file_descriptor_proto
                .into_iter()
                .map(Bytes::from)
                .collect())),
            MessageResponse::ErrorResponse(error) => Ok(Err(error.error_message)),
            _ => Err(ReflectionError::Cut),
        }
    }

    async fn answer(&mut self) -> Result<MessageResponse, ReflectionError> {
        self.answers
            .message()
            .await
            .map_err(ReflectionError::of)?
            .and_then(|answer| answer.message_response)
            .ok_or(ReflectionError::Cut)
    }
}

fn question(about: MessageRequest) -> ServerReflectionRequest {
    ServerReflectionRequest {
        host: String::new(),
        message_request: Some(about),
    }
}

/// The files that came, and those that they need.
#[derive(Default)]
struct Files {
    by_name: BTreeMap<String, Bytes>,
    wanted: VecDeque<String>,
    bytes: usize,
}

impl Files {
    fn add(&mut self, files: Vec<Bytes>) -> Result<(), ReflectionError> {
        for file in files {
            let FileDescriptorProto {
                name, dependency, ..
            } = FileDescriptorProto::decode(file.clone())?;
            self.bytes += file.len();
            if self.by_name.len() == MAX_FILES || self.bytes > MAX_BYTES {
                return Err(ReflectionError::TooMuch);
            }
            self.wanted.extend(dependency);
            self.by_name.insert(name.unwrap_or_default(), file);
        }
        Ok(())
    }

    /// As encoded bytes, because decoding them with prost alone would lose options.
    fn link(self) -> Result<DescriptorPool, ReflectionError> {
        let set = EncodedFiles {
            file: self.by_name.into_values().collect(),
        };
        let mut pool = DescriptorPool::new();
        pool.decode_file_descriptor_set(Bytes::from(set.encode_to_vec()))?;
        Ok(pool)
    }
}

/// `google.protobuf.FileDescriptorSet` with its files still encoded.
#[derive(Clone, PartialEq, Message)]
struct EncodedFiles {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

// === impl ReflectionError ===

impl ReflectionError {
    fn of(status: Status) -> Self {
        if status.code() == Code::Unimplemented {
            Self::Unimplemented
        } else {
            Self::Call(status)
        }
    }
}
