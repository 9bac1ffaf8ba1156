//! Types from the server itself: grpc.reflection, v1 and, where that is missing, v1alpha.
//!
//! Both versions have the same messages; only the path differs.

use crate::{dial::Context, failure::Failure};
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use sampan_client::Channel;
use sampan_wire::policy::MaxDecodingMessageSize;
use std::collections::{BTreeMap, BTreeSet};
use tonic::{Code, Request, Status, client::Grpc, metadata::MetadataMap};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ErrorResponse, ServerReflectionRequest, ServerReflectionResponse,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// A server whose files go on for longer is not believed.
const MAX_FILES: usize = 10_000;

/// A server's reflection service.
#[derive(Clone, Debug)]
pub(crate) struct Reflection {
    channel: Channel,
    context: Context,
    metadata: MetadataMap,
    path: Option<&'static str>,
    /// Symbols that the server said it does not have.
    absent: BTreeSet<String>,
}

/// The server has neither version.
#[derive(Debug, thiserror::Error)]
#[error("the server does not offer reflection")]
pub(crate) struct NoReflection;

// === impl Reflection ===

impl Reflection {
    pub(crate) fn new(channel: Channel, context: Context, metadata: MetadataMap) -> Self {
        Self {
            channel,
            context,
            metadata,
            path: None,
            absent: BTreeSet::new(),
        }
    }

    /// The full names of the services that the server lists.
    pub(crate) async fn services(&mut self) -> Result<Vec<String>, Failure> {
        let answers = self
            .ask(vec![MessageRequest::ListServices(String::new())])
            .await?;
        match answers.into_iter().next() {
            Some(MessageResponse::ListServicesResponse(list)) => Ok(list
                .service
                .into_iter()
                .map(|service| service.name)
                .collect()),
            other => Err(unexpected("a list of services", other)),
        }
    }

    /// Puts the file that defines `symbol`, and all that it imports, into `pool`; whether the
    /// server has it.
    pub(crate) async fn fetch(
        &mut self,
        symbol: &str,
        pool: &mut DescriptorPool,
    ) -> Result<bool, Failure> {
        if self.absent.contains(symbol) {
            return Ok(false);
        }
        let question = MessageRequest::FileContainingSymbol(symbol.to_owned());
        let files = match self.ask(vec![question]).await?.into_iter().next() {
            Some(MessageResponse::FileDescriptorResponse(answer)) => answer.file_descriptor_proto,
            Some(MessageResponse::ErrorResponse(error)) if is_absence(&error) => {
                self.absent.insert(symbol.to_owned());
                return Ok(false);
            }
            other => return Err(unexpected("the file of a symbol", other)),
        };
        let set = self.with_imports(files, pool).await?;
        pool.decode_file_descriptor_set(set).map_err(|error| {
            Failure::because(
                format!("the server's files around {symbol} do not fit together"),
                error,
            )
        })?;
        Ok(true)
    }

    /// These files and, by further questions, all that they import and `pool` lacks, as an
    /// encoded `FileDescriptorSet`: in decoded ones options of users would be lost.
    async fn with_imports(
        &mut self,
        files: Vec<Vec<u8>>,
        pool: &DescriptorPool,
    ) -> Result<Bytes, Failure> {
        let well_known = DescriptorPool::global();
        let mut have: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut fresh = files;
        while !fresh.is_empty() {
            let mut wanted = BTreeSet::new();
            for bytes in std::mem::take(&mut fresh) {
                let file = FileDescriptorProto::decode(bytes.as_slice()).map_err(|error| {
                    Failure::because("the server sent a file that cannot be decoded", error)
                })?;
                wanted.extend(file.dependency.iter().cloned());
                have.insert(file.name().to_owned(), bytes);
            }
            wanted.retain(|name| !have.contains_key(name) && pool.get_file_by_name(name).is_none());
            if have.len() + wanted.len() > MAX_FILES {
                return Err(Failure::runtime(format!(
                    "the server has more than {MAX_FILES} files"
                )));
            }
            let mut questions = Vec::new();
            for name in wanted {
                match well_known.get_file_by_name(&name) {
                    Some(file) => fresh.push(file.encode_to_vec()),
                    None => questions.push(MessageRequest::FileByFilename(name)),
                }
            }
            for answer in self.ask(questions).await? {
                match answer {
                    MessageResponse::FileDescriptorResponse(answer) => {
                        fresh.extend(answer.file_descriptor_proto);
                    }
                    other => return Err(unexpected("a file", Some(other))),
                }
            }
        }
        Ok(encode_set(have.into_values()))
    }

    /// Asks all at once over one stream; the answers come in the same order, up to the first for
    /// which the server ends the stream.
    async fn ask(
        &mut self,
        questions: Vec<MessageRequest>,
    ) -> Result<Vec<MessageResponse>, Failure> {
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(path) = self.path {
            return self.ask_at(path, questions).await.map_err(Failure::from);
        }
        match self.ask_at(V1, questions.clone()).await {
            Err(status) if status.code() == Code::Unimplemented => {}
            answers => {
                self.path = Some(V1);
                return answers.map_err(Failure::from);
            }
        }
        match self.ask_at(V1ALPHA, questions).await {
            Err(status) if status.code() == Code::Unimplemented => {
                Err(
                    Failure::because("cannot learn the types", NoReflection).with_hint(Some(
                        "name its types by --proto FILE or --protoset FILE".to_owned(),
                    )),
                )
            }
            answers => {
                self.path = Some(V1ALPHA);
                answers.map_err(Failure::from)
            }
        }
    }

    async fn ask_at(
        &self,
        path: &'static str,
        questions: Vec<MessageRequest>,
    ) -> Result<Vec<MessageResponse>, Status> {
        let expected = questions.len();
        let questions = questions
            .into_iter()
            .map(|question| ServerReflectionRequest {
                host: String::new(),
                message_request: Some(question),
            });
        let mut request = Request::new(tokio_stream::iter(questions));
        *request.metadata_mut() = self.metadata.clone();
        self.context.apply(&mut request)?;
        // The limit that the user sets is for answers, not for descriptors.
        request
            .extensions_mut()
            .insert(MaxDecodingMessageSize(usize::MAX));
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let codec = ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
        let response = grpc
            .streaming(request, PathAndQuery::from_static(path), codec)
            .await?;
        let mut stream = response.into_inner();
        let mut answers = Vec::with_capacity(expected);
        while answers.len() < expected {
            let answer = match stream.message().await {
                Ok(Some(answer)) => answer
                    .message_response
                    .ok_or_else(|| Status::internal("reflection gave an answer without content"))?,
                Ok(None) => {
                    let what = "reflection ended before it answered every question";
                    return Err(Status::internal(what));
                }
                // tonic's service ends the stream where others answer with an error.
                Err(status) if status.code() == Code::NotFound => {
                    answers.push(MessageResponse::ErrorResponse(ErrorResponse {
                        error_code: status.code().into(),
                        error_message: status.message().to_owned(),
                    }));
                    break;
                }
                Err(status) => return Err(status),
            };
            answers.push(answer);
        }
        Ok(answers)
    }
}

fn is_absence(error: &ErrorResponse) -> bool {
    // Some servers answer INVALID_ARGUMENT or UNKNOWN for a symbol that they lack.
    !matches!(
        Code::from_i32(error.error_code),
        Code::Unauthenticated | Code::PermissionDenied | Code::Unavailable
    )
}

fn unexpected(wanted: &str, answer: Option<MessageResponse>) -> Failure {
    match answer {
        Some(MessageResponse::ErrorResponse(error)) => Failure::runtime(format!(
            "asked reflection for {wanted} and got {:?}: {}",
            Code::from_i32(error.error_code),
            error.error_message
        )),
        _ => Failure::runtime(format!(
            "asked reflection for {wanted} and got something else"
        )),
    }
}

/// A `FileDescriptorSet` of encoded files.
fn encode_set(files: impl Iterator<Item = Vec<u8>>) -> Bytes {
    let mut set = Vec::new();
    for file in files {
        prost::encoding::bytes::encode(1, &file, &mut set);
    }
    set.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_files_make_a_set() {
        let pool = DescriptorPool::global();
        let files = pool.files().map(|file| file.encode_to_vec());
        let decoded = DescriptorPool::decode(encode_set(files)).unwrap();
        assert_eq!(decoded.files().len(), pool.files().len());
    }
}
