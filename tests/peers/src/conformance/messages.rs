//! What all requests and all answers of the service have in common, and errors.

use super::proto::{
    BidiStreamRequest, BidiStreamResponse, ClientStreamRequest, ClientStreamResponse,
    ConformancePayload, Error, IdempotentUnaryRequest, IdempotentUnaryResponse,
    ServerStreamRequest, ServerStreamResponse, UnaryRequest, UnaryResponse,
    UnaryResponseDefinition, UnimplementedResponse,
};
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status, metadata::MetadataMap};

/// `google.rpc.Status`, which carries an error's details.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// A message of the service.
pub trait Named: Message + Default + 'static {
    /// Its name in the package.
    const NAME: &'static str;

    /// Around its bytes.
    fn any(&self) -> Any {
        Any {
            type_url: format!(
                "type.googleapis.com/connectrpc.conformance.v1.{}",
                Self::NAME
            ),
            value: self.encode_to_vec(),
        }
    }
}

/// An answer of the service.
pub trait Answer: Default + Send + 'static {
    /// An answer with this payload.
    fn of(payload: ConformancePayload) -> Self;

    /// Its payload.
    fn payload(self) -> Option<ConformancePayload>;
}

/// A request whose answer is a single one.
pub trait Single: Named {
    /// How it is to be answered.
    fn definition(&self) -> Option<&UnaryResponseDefinition>;
}

macro_rules! named {
    ($($message:ident)*) => {$(
        impl Named for $message {
            const NAME: &'static str = stringify!($message);
        }
    )*};
}

macro_rules! answers {
    ($($message:ident)*) => {$(
        impl Answer for $message {
            fn of(payload: ConformancePayload) -> Self {
                Self { payload: Some(payload) }
            }

            fn payload(self) -> Option<ConformancePayload> {
                Some(self.payload.unwrap_or_default())
            }
        }
    )*};
}

macro_rules! single {
    ($($message:ident)*) => {$(
        impl Single for $message {
            fn definition(&self) -> Option<&UnaryResponseDefinition> {
                self.response_definition.as_ref()
            }
        }
    )*};
}

named!(UnaryRequest IdempotentUnaryRequest ServerStreamRequest ClientStreamRequest BidiStreamRequest);
answers!(UnaryResponse IdempotentUnaryResponse ServerStreamResponse ClientStreamResponse BidiStreamResponse);
single!(UnaryRequest IdempotentUnaryRequest ClientStreamRequest);

impl Named for super::proto::conformance_payload::RequestInfo {
    const NAME: &'static str = "ConformancePayload.RequestInfo";
}

impl Answer for UnimplementedResponse {
    fn of(_: ConformancePayload) -> Self {
        Self {}
    }

    fn payload(self) -> Option<ConformancePayload> {
        None
    }
}

/// The status that tells an error of the suite.
#[must_use]
pub fn status(error: Error, metadata: MetadataMap) -> Status {
    let message = error.message.unwrap_or_default();
    let code = Code::from_i32(error.code);
    if error.details.is_empty() {
        return Status::with_metadata(code, message, metadata);
    }
    let details = RpcStatus {
        code: error.code,
        message: message.clone(),
        details: error.details,
    };
    let details = details.encode_to_vec().into();
    Status::with_details_and_metadata(code, message, details, metadata)
}

/// The error that a status tells.
#[must_use]
pub fn error(status: &Status) -> Error {
    let details = RpcStatus::decode(status.details())
        .map(|status| status.details)
        .unwrap_or_default();
    Error {
        code: status.code().into(),
        message: Some(status.message().to_owned()),
        details,
    }
}
